"""Who may connect, how often and for how long; and what a backup's login can bring back."""

import subprocess
from contextlib import ExitStack

import pytest

from modelyard.errors import ServiceFailed
from modelyard.store.connections import connect, find_value
from modelyard.store.migrations import check_migrations, migrate


def test_a_stranger_may_not_even_connect(cluster, shared_database):
    cluster.run("CREATE ROLE passer_by LOGIN")
    with pytest.raises(ServiceFailed, match="permission denied for database"):
        connect(shared_database.dsn("passer_by"))


def test_statements_and_idle_transactions_of_services_are_bounded(shared_database):
    connect_as = shared_database.connect
    assert find_value(connect_as("application"), "SHOW statement_timeout") == "5s"
    assert find_value(connect_as("trainer"), "SHOW idle_in_transaction_session_timeout") == "1min"
    assert find_value(connect_as("mlflow"), "SHOW statement_timeout") == "0"  # a schema upgrade takes what it takes


def test_the_number_of_connections_of_a_service_is_bounded(shared_database):
    with ExitStack() as opened, pytest.raises(ServiceFailed, match="too many connections for role"):
        for _ in range(9):
            opened.enter_context(connect(shared_database.dsn("backup")))


def test_workers_may_have_the_connections_they_need_and_a_limit_that_somebody_set_is_kept(empty_cluster):
    database = empty_cluster.create_database()
    with connect(empty_cluster.dsn("admin", "postgres")) as admin:
        admin.execute("CREATE ROLE evaluator LOGIN CONNECTION LIMIT 9")
    migrate(empty_cluster.dsn("admin", database))
    with connect(empty_cluster.dsn("postgres", database)) as owner:
        query = "SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname IN ('trainer', 'evaluator')"
        limits = {row["rolname"]: row["rolconnlimit"] for row in owner.execute(query)}
    assert limits == {"trainer": 80, "evaluator": 9}


@pytest.mark.parametrize("admin", ["admin", "postgres"])
def test_backup_dumps_the_whole_database_and_a_superuser_restores_it(empty_cluster, tmp_path, admin):
    old, new = (empty_cluster.create_database() for _ in range(2))
    migrate(empty_cluster.dsn(admin, old))
    with connect(empty_cluster.dsn("mlflow", old)) as mlflow:
        mlflow.execute("CREATE TABLE later (run_id bigserial)")
        mlflow.execute("INSERT INTO later DEFAULT VALUES")
    dump = tmp_path / "dump"
    tool(empty_cluster, "pg_dump", "-Fc", f"--file={dump}", empty_cluster.dsn("backup", old))
    restored = empty_cluster.dsn("postgres", new)
    tool(empty_cluster, "pg_restore", "--exit-on-error", f"--dbname={restored}", str(dump))
    with connect(restored) as connection:
        assert find_value(connection, "SELECT count(*) FROM mlflow.later") == 1
    assert check_migrations(restored).current


def tool(cluster, *command: str) -> None:
    done = subprocess.run([cluster.binaries / command[0], *command[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
