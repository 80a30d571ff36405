"""Migrations: in order, once each, all or nothing, and never behind an operator's back."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from modelyard.errors import MigrationRefused, ServiceFailed
from modelyard.store.connections import connect
from modelyard.store.migration_files import find_sql_folder, list_migrations
from modelyard.store.migrations import check_migrations, migrate

NAMES = [migration.name for migration in list_migrations(find_sql_folder())]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations that a test may change."""
    copy = tmp_path / "sql"
    shutil.copytree(find_sql_folder(), copy)
    return copy


@pytest.fixture
def dsn(cluster):
    """The admin's login to an empty database."""
    name = cluster.create_database()
    yield cluster.dsn("admin", name)
    cluster.drop_database(name)


def fetch(dsn: str, query: str) -> list:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()


def test_every_migration_is_applied_once_and_recorded(dsn):
    assert [migration.name for migration in migrate(dsn)] == NAMES
    assert migrate(dsn) == []
    rows = fetch(dsn, "SELECT name, applied_by, length(sha256) FROM exp.schema_migrations ORDER BY version")
    assert rows == [(name, "admin", 64) for name in NAMES]


def test_a_superuser_may_migrate_a_new_server(empty_cluster):
    dsn = empty_cluster.dsn("postgres", empty_cluster.create_database())
    migrate(dsn)
    assert check_migrations(dsn).current
    owners = fetch(dsn, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'exp'")
    assert owners == [("modelyard_owner",)]


def test_databases_of_a_new_server_can_be_migrated_at_once(empty_cluster):
    dsns = [empty_cluster.dsn("admin", empty_cluster.create_database()) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, dsns))
    assert all(check_migrations(dsn).current for dsn in dsns)


def test_two_migrations_at_once_both_succeed(dsn):
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(migrate, [dsn] * 4))
    assert sorted(len(migrations) for migrations in applied) == [0, 0, 0, len(NAMES)]


def test_the_status_of_an_empty_database_is_told_and_nothing_is_made(dsn):
    status = check_migrations(dsn)
    assert status.pending == tuple(NAMES)
    assert not status.current
    assert fetch(dsn, "SELECT nspname FROM pg_namespace WHERE nspname = 'exp'") == []


def test_an_edited_applied_file_is_refused_by_name(dsn, folder):
    migrate(dsn, folder=folder)
    edited = folder / "0005_create_jobs.sql"
    edited.write_text(edited.read_text() + "-- a thought\n")
    assert check_migrations(dsn, folder=folder).edited == ("0005_create_jobs.sql",)
    with pytest.raises(MigrationRefused, match=r"0005_create_jobs\.sql was edited.* put the file back"):
        migrate(dsn, folder=folder)


def test_a_database_of_a_newer_release_is_left_alone(dsn, folder):
    (folder / "9000_create_futures.sql").write_text("CREATE TABLE exp.futures ();")
    migrate(dsn, folder=folder)
    before = fetch(dsn, "SELECT * FROM exp.schema_migrations ORDER BY version")
    assert check_migrations(dsn).newer == ("9000_create_futures.sql",)
    with pytest.raises(MigrationRefused, match=r"newer release.* 9000_create_futures\.sql"):
        migrate(dsn)
    assert fetch(dsn, "SELECT * FROM exp.schema_migrations ORDER BY version") == before


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("CREATE TABLE exp.halves ();\n\n-- a comment; with a semicolon\nSELECT\n    nonsense;\n", 5),
        ("CREATE TABLE exp.halves ();\nSELECT 'a;b', $x$;$x$;\n\nDO $$ BEGIN RAISE 'no;pe'; END $$;\n", 4),
        ("CREATE TABLE exp.halves ();\nSELECT 1;\nSELECT 1 / 0", 3),
    ],
    ids=["analysis", "do-block", "execution"],
)
def test_a_failing_file_leaves_nothing_and_is_named_with_its_line(dsn, folder, text, line):
    (folder / "0100_create_wholes.sql").write_text("CREATE TABLE exp.wholes ();")
    (folder / "0101_create_halves.sql").write_text(text)
    with pytest.raises(MigrationRefused, match=rf"0101_create_halves\.sql, line {line}, failed"):
        migrate(dsn, folder=folder)
    assert fetch(dsn, "SELECT to_regclass('exp.wholes') IS NULL, to_regclass('exp.halves') IS NULL") == [(False, True)]
    assert check_migrations(dsn, folder=folder).pending == ("0101_create_halves.sql",)


def test_a_number_below_the_applied_ones_is_refused(dsn, folder):
    (folder / "0101_create_last.sql").write_text("SELECT 1;")
    migrate(dsn, folder=folder)
    (folder / "0100_create_late.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationRefused, match=r"0100_create_late\.sql comes before"):
        migrate(dsn, folder=folder)


@pytest.mark.parametrize("name", ["fix.sql", "0014_Fix_it.sql", "14_fix_it.sql", "0013_fix_it.sql"])
def test_a_file_with_a_wrong_name_or_a_used_number_is_refused(folder, name):
    (folder / name).write_text("SELECT 1;")
    with pytest.raises(MigrationRefused, match=name):
        list_migrations(folder)


def test_roles_of_somebody_else_are_refused_with_the_way_out(cluster, template):
    cluster.run("CREATE ROLE stranger LOGIN CREATEROLE")
    name = cluster.create_database(owner="stranger")
    with pytest.raises(
        MigrationRefused, match=r"exists already and stranger may not.*GRANT \w+ TO stranger WITH ADMIN"
    ):
        migrate(cluster.dsn("stranger", name))
    cluster.drop_database(name)


def test_tables_that_mlflow_makes_land_in_its_schema(dsn, cluster):
    migrate(dsn)
    with connect(dsn.replace("user=admin", "user=mlflow")) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num text)")
    assert fetch(dsn, "SELECT 1 FROM mlflow.alembic_version") == []


def test_a_database_that_is_away_is_said_in_one_line(cluster):
    with pytest.raises(ServiceFailed, match="PostgreSQL cannot be reached") as refused:
        migrate(cluster.dsn("admin", "nowhere"))
    assert "\n" not in str(refused.value)
