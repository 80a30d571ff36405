"""The queue library's tables: made once, kept up with its releases, and a database from before there was a queue."""

import shutil
from importlib.resources import files
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from modelyard.errors import MigrationRefused
from modelyard.store import queue_schema
from modelyard.store.connections import connect
from modelyard.store.jobs import get_job, list_jobs, submit_job
from modelyard.store.migration_files import find_sql_folder
from modelyard.store.migrations import check_migrations, migrate

SHIPPED = sorted(path.name for path in (files("procrastinate") / "sql/migrations").iterdir() if path.suffix == ".sql")
STRUCTURE = """
    SELECT pg_get_functiondef(p.oid) AS text FROM pg_proc AS p WHERE p.pronamespace = 'queue'::regnamespace
    UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid::regclass::text LIKE 'queue.%'
    UNION ALL SELECT format('%s of %s', tgname, tgrelid::regclass) FROM pg_trigger
        WHERE tgrelid::regclass::text LIKE 'queue.%' AND NOT tgisinternal
    UNION ALL SELECT format('%s %s', t.typname, e.enumlabel) FROM pg_enum AS e JOIN pg_type AS t ON e.enumtypid = t.oid
        WHERE t.typnamespace = 'queue'::regnamespace
    UNION ALL SELECT format('%s.%s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull)
        FROM pg_attribute WHERE attrelid::regclass::text LIKE 'queue.procrastinate_%' AND attnum > 0
            AND NOT attisdropped AND attrelid::regclass::text NOT LIKE '%_seq'
    ORDER BY 1
"""
RIGHTS = """
    SELECT c.relname, r.rolname, c.relkind, pg_get_userbyid(c.relowner) AS owner,
        has_table_privilege(r.rolname, c.oid, 'SELECT, INSERT, UPDATE, DELETE') AS granted
    FROM pg_class AS c CROSS JOIN pg_roles AS r
    WHERE c.relnamespace = 'queue'::regnamespace AND c.relkind = 'r' AND r.rolname IN ('trainer', 'evaluator')
"""


@pytest.fixture
def dsn(cluster):
    """The admin's login to an empty database."""
    name = cluster.create_database()
    yield cluster.dsn("admin", name)
    cluster.drop_database(name)


def fetch(dsn, query):
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(query).fetchall()


def list_applied(dsn):
    return fetch(dsn, "SELECT name, applied_at FROM exp.queue_migrations ORDER BY name")


def as_release(monkeypatch, folder: Path, names: list[str]) -> None:
    """Let the library be an earlier release: the one whose migrations these are, and whose schema is their sum."""
    sql = folder / "sql"
    (sql / "migrations").mkdir(parents=True)
    for name in names:
        (sql / "migrations" / name).write_bytes((files("procrastinate") / "sql/migrations" / name).read_bytes())
    (sql / "schema.sql").write_text("\n".join((sql / "migrations" / name).read_text() for name in names))
    monkeypatch.setattr(queue_schema, "files", lambda _: folder)


def test_the_tables_are_made_once_by_an_admin_without_superuser_and_belong_to_the_owner(dsn):
    migrate(dsn)
    before = list_applied(dsn)
    assert [row["name"] for row in before] == SHIPPED
    rights = fetch(dsn, RIGHTS)
    assert {row["relname"] for row in rights} >= {"procrastinate_jobs", "procrastinate_workers", "procrastinate_events"}
    assert {row["owner"] for row in rights} == {"modelyard_owner"}
    assert all(row["granted"] for row in rights)
    migrate(dsn)
    assert list_applied(dsn) == before


def test_tables_of_a_newer_release_of_the_library_are_left_alone(dsn, cluster):
    migrate(dsn)
    with connect(dsn.replace("user=admin", "user=postgres")) as owner:
        owner.execute("INSERT INTO exp.queue_migrations VALUES ('99.00.00_01_pre_future.sql')")
    before = fetch(dsn, STRUCTURE), list_applied(dsn)
    with pytest.raises(MigrationRefused, match=r"newer release of procrastinate.*99\.00\.00_01_pre_future\.sql"):
        migrate(dsn)
    assert (fetch(dsn, STRUCTURE), list_applied(dsn)) == before


@pytest.mark.parametrize("nb_pending", [2, 9])
def test_tables_of_an_older_release_become_those_of_this_one_and_keep_what_waits(
    dsn, cluster, template, tmp_path, monkeypatch, nb_pending
):
    with monkeypatch.context() as patch:
        as_release(patch, tmp_path, SHIPPED[:-nb_pending])
        migrate(dsn)
    assert [row["name"] for row in list_applied(dsn)] == SHIPPED[:-nb_pending]
    with connect(dsn.replace("user=admin", "user=trainer")) as trainer:
        job_id = submit_job(trainer, kind="train", arguments={})
    assert migrate(dsn) == []
    assert [row["name"] for row in list_applied(dsn)] == SHIPPED
    assert fetch(dsn, STRUCTURE) == fetch(cluster.dsn("admin", template), STRUCTURE)
    assert all(row["granted"] and row["owner"] == "modelyard_owner" for row in fetch(dsn, RIGHTS))
    with connect(dsn.replace("user=admin", "user=trainer")) as trainer:
        trainer.execute("SET search_path = queue")
        row = trainer.execute("SELECT (procrastinate_fetch_job_v2(ARRAY['trainer']::varchar[], NULL)).args").fetchone()
    assert row == {"args": {"job_id": str(job_id)}}


def test_a_library_whose_files_fail_leaves_its_tables_as_they_were(dsn, tmp_path, monkeypatch):
    migrate(dsn)
    before = fetch(dsn, STRUCTURE), list_applied(dsn)
    as_release(monkeypatch, tmp_path, SHIPPED)
    broken = tmp_path / "sql/migrations/99.00.00_01_pre_broken.sql"
    broken.write_text("CREATE TABLE procrastinate_halves (); SELECT 1 / 0;")
    with pytest.raises(psycopg.Error):
        migrate(dsn)
    assert (fetch(dsn, STRUCTURE), list_applied(dsn)) == before


OLD_JOBS = """
    SET SESSION AUTHORIZATION trainer;
    SELECT exp.submit_job('train', '{"n": 1}', repeat('a', 64), '00000000-0000-0000-0000-000000000001');
    SELECT exp.submit_job('train', '{"n": 2}', repeat('b', 64), '00000000-0000-0000-0000-000000000002');
    SELECT exp.submit_job('train', '{"n": 3}', repeat('c', 64), '00000000-0000-0000-0000-000000000003');
    SELECT exp.submit_job('train', '{"n": 4}', repeat('d', 64), '00000000-0000-0000-0000-000000000004');
    SELECT exp.begin_attempt('00000000-0000-0000-0000-000000000002', 'w');
    SELECT exp.begin_attempt('00000000-0000-0000-0000-000000000003', 'w');
    SELECT exp.finish_job('00000000-0000-0000-0000-000000000003', 1, 'succeeded', '{"version": "7"}', NULL);
    SELECT exp.begin_attempt('00000000-0000-0000-0000-000000000004', 'w');
    SELECT exp.finish_attempt('00000000-0000-0000-0000-000000000004', 1, 'interrupted', 'stopped by its user');
    INSERT INTO exp.model_files (mlflow_model_id, path, sha256, size_bytes) VALUES ('m', 'p', repeat('e', 64), 1);
"""
OLD_COLUMNS = "job_id, kind, arguments, fingerprint, result, created_by, created_at"


def test_a_database_from_before_the_queue_keeps_every_row_and_what_was_unfinished_is_cancelled(dsn, tmp_path):
    old = tmp_path / "sql"
    shutil.copytree(
        find_sql_folder(), old, ignore=lambda _, names: [n for n in names if n[:4].isdigit() and n > "0014"]
    )
    with pytest.raises(psycopg.errors.UndefinedTable, match="queue_migrations"):
        migrate(dsn, folder=old)  # the last step of today's runner, which that release did not have
    with connect(dsn.replace("user=admin", "user=postgres")) as owner:
        owner.execute(OLD_JOBS)
    asked = f"SELECT {OLD_COLUMNS} FROM exp.jobs ORDER BY job_id"
    before = fetch(dsn, asked), fetch(dsn, "TABLE exp.model_files"), fetch(dsn, "TABLE exp.schema_migrations")

    assert next(migration.version for migration in migrate(dsn)) == 14
    assert check_migrations(dsn).current
    after = fetch(dsn, asked), fetch(dsn, "TABLE exp.model_files"), fetch(dsn, "TABLE exp.schema_migrations")
    assert after[:2] == before[:2]
    assert after[2][: len(before[2])] == before[2]
    with connect(dsn.replace("user=admin", "user=trainer")) as trainer:
        jobs = {job.arguments["n"]: job for job in list_jobs(trainer)}
        assert {n: job.state for n, job in jobs.items()} == {
            1: "cancelled", 2: "cancelled", 3: "succeeded", 4: "cancelled",
        }  # fmt: skip
        assert {jobs[n].error for n in (1, 2, 4)} == {"asked for before jobs were queued; ask again"}
        assert all(job.ended for job in jobs.values())
        states = trainer.execute("SELECT state FROM exp.attempts ORDER BY job_id").fetchall()
        assert [row["state"] for row in states] == ["lost", "succeeded", "interrupted"]
        again = submit_job(trainer, kind="train", arguments={"n": 1})
        assert get_job(trainer, job_id=again).state == "queued", "the same is asked for again"
