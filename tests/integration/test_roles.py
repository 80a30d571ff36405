"""Who may do what: each rule of the role matrix, by breaking it as that role."""

import subprocess
from contextlib import ExitStack

import pytest
from psycopg.errors import InsufficientPrivilege, RestrictViolation

from modelyard.errors import ServiceFailed
from modelyard.store.connections import connect, find_value
from modelyard.store.migrations import check_migrations, migrate

PERSONS = ("alice_viewer", "alice_trainer", "alice_promoter", "alice_approver")
SERVICES = ("mlflow", "trainer", "evaluator", "reader", "backup", "application")
VIEWS = ("stages", "live_policies", "verdicts", "lineage", "history", "job_states")
IMMUTABLE = (
    "datasets", "dataset_files", "model_files", "model_versions", "policy_versions", "evaluations",
    "stage_transitions",
)  # fmt: skip
TABLES = (*IMMUTABLE, "policies", "jobs", "attempts", "schema_migrations")
ANY_COLUMN = {
    "datasets": "name", "dataset_files": "path", "model_files": "path", "model_versions": "workload",
    "policy_versions": "version", "evaluations": "passed", "stage_transitions": "reason", "policies": "policy_id",
    "jobs": "state", "attempts": "state", "schema_migrations": "name",
}  # fmt: skip

SUBMIT = "SELECT exp.submit_job('train', '{}', repeat('a', 64), gen_random_uuid())"
RESOLVE = "SELECT exp.resolve_policy('houses_policy')"
ADD = "SELECT exp.add_policy_version('houses_policy', 'houses_model', '1')"
BEGIN = "SELECT exp.begin_attempt((SELECT job_id FROM exp.job_states LIMIT 1), 'w')"
HASHES = "SELECT mlflow_model_id, path, sha256, size_bytes FROM exp.model_files"
INSERT_EVALUATION = """
    INSERT INTO exp.evaluations (mlflow_model_name, mlflow_model_version, dataset_id, gate, gate_sha256, metrics,
        baselines, limits, reasons, passed, mlflow_run_id)
    SELECT 'houses_model', '1', dataset_id, '[]', repeat('f', 64), '{"rmse": 1}', '{}', '[]', '[]', true, 'r'
    FROM exp.datasets"""
INSERT_MODEL_FILE = """
    INSERT INTO exp.model_files (mlflow_model_id, path, sha256, size_bytes)
    VALUES ('m', 'p', repeat('a', 64), 1)"""
INSERT_VERSION = """
    INSERT INTO exp.policy_versions (policy_id, version, mlflow_model_name, mlflow_model_version)
    VALUES ('houses_policy', 2, 'houses_model', '1')"""
PUT_LIVE = "UPDATE exp.policies SET live_policy_version_id = (SELECT policy_version_id FROM exp.policy_versions)"

ALLOWED = [
    ("mlflow", "CREATE TABLE runs (run_id text)"),
    ("trainer", INSERT_MODEL_FILE),
    ("trainer", SUBMIT),
    ("trainer", BEGIN),
    ("evaluator", INSERT_EVALUATION),
    ("evaluator", ADD),
    ("evaluator", SUBMIT),
    ("evaluator", BEGIN),
    ("application", HASHES),
    ("alice_trainer", SUBMIT),
    *[(role, f"TABLE exp.{view}") for role in ("trainer", "evaluator", "reader", "backup", *PERSONS) for view in VIEWS],
    *[(role, f"TABLE exp.{table}") for role in ("trainer", "evaluator", "backup", *PERSONS) for table in TABLES],
]

FORBIDDEN = [
    # nobody but these roles executes the functions
    *[(role, SUBMIT) for role in ("mlflow", "reader", "backup", "application", "alice_viewer", "alice_promoter")],
    *[(role, BEGIN) for role in ("reader", "backup", *PERSONS)],
    *[(role, ADD) for role in ("mlflow", "trainer", "reader", "backup", "application", *PERSONS)],
    *[(role, RESOLVE) for role in ("mlflow", "trainer", "evaluator", "reader", "backup", *PERSONS)],
    *[(role, "SELECT exp.hold_attempt(gen_random_uuid(), 1)") for role in ("trainer", "evaluator", *PERSONS)],
    # verdicts, policies and what is live
    *[(role, INSERT_EVALUATION) for role in ("trainer", "backup", *PERSONS)],
    *[(role, INSERT_VERSION) for role in ("trainer", "evaluator", "reader", "application", *PERSONS)],
    *[(role, PUT_LIVE) for role in ("trainer", "evaluator", "backup", *PERSONS)],
    *[(role, "UPDATE exp.policies SET requires_approval = false") for role in (*SERVICES, *PERSONS)],
    *[(role, "INSERT INTO exp.jobs (kind, arguments, fingerprint) VALUES ('train', '{}', '')")
      for role in ("trainer", "evaluator", *PERSONS)],
    *[(role, INSERT_MODEL_FILE) for role in ("evaluator", "reader", "backup", "application", *PERSONS)],
    # history
    *[(role, f"UPDATE exp.{table} SET {ANY_COLUMN[table]} = {ANY_COLUMN[table]}")
      for role in (*SERVICES, *PERSONS) for table in TABLES],
    *[(role, f"DELETE FROM exp.{table}") for role in (*SERVICES, *PERSONS) for table in TABLES],
    *[(role, f"TRUNCATE exp.{table} CASCADE") for role in (*SERVICES, *PERSONS) for table in TABLES],
    # reading
    *[(role, f"TABLE exp.{table}") for role in ("mlflow", "reader", "application") for table in TABLES],
    *[(role, f"TABLE exp.{view}") for role in ("mlflow", "application") for view in VIEWS],
    # making things
    *[(role, f"CREATE TABLE {schema}.mine ()")
      for role in (*SERVICES, *PERSONS) for schema in ("exp", "queue", "public")],
    *[(role, "CREATE TABLE mlflow.mine ()") for role in (*SERVICES, *PERSONS) if role != "mlflow"],
    *[(role, "CREATE TEMPORARY TABLE mine ()") for role in (*SERVICES, *PERSONS)],
    *[(role, "CREATE SCHEMA mine") for role in (*SERVICES, *PERSONS)],
    *[(role, "CREATE ROLE mine") for role in (*SERVICES, *PERSONS)],
    *[(role, "SET ROLE modelyard_owner") for role in (*SERVICES, *PERSONS)],
]  # fmt: skip


def name(case: object) -> str:
    return " ".join(str(case).split())[:60]


@pytest.fixture(scope="module")
def logins(shared_database):
    """One connection for each role."""
    return {role: shared_database.connect(role) for role in (*SERVICES, *PERSONS)}


def run(connection, statement: str) -> None:
    """Run a statement and take it back."""
    with connection.transaction(force_rollback=True):
        connection.execute(statement)


@pytest.mark.parametrize(("role", "statement"), ALLOWED, ids=name)
def test_a_role_may_do_its_work(logins, role, statement):
    run(logins[role], statement)


@pytest.mark.parametrize(("role", "statement"), FORBIDDEN, ids=name)
def test_a_role_may_do_nothing_else(logins, role, statement):
    with pytest.raises(InsufficientPrivilege, match=r"permission denied|must be owner"):
        run(logins[role], statement)


@pytest.mark.parametrize("role", ["modelyard_owner", "postgres"])
@pytest.mark.parametrize("table", IMMUTABLE)
def test_not_even_the_owner_changes_history(shared_database, role, table):
    owner = shared_database.connect("postgres")
    column = ANY_COLUMN[table]
    for change in (
        f"UPDATE exp.{table} SET {column} = {column}", f"DELETE FROM exp.{table}", f"TRUNCATE exp.{table} CASCADE"
    ):  # fmt: skip
        with pytest.raises(RestrictViolation, match="its rows are never changed"), owner.transaction():
            owner.execute(f"SET LOCAL ROLE {role}")
            owner.execute(change)


@pytest.mark.parametrize("change", ["policy_id = 'other_policy'", "mlflow_model_name = 'other_model'"])
def test_a_policy_keeps_its_name_and_its_model(shared_database, change):
    with pytest.raises(RestrictViolation, match="never changed"):
        run(shared_database.connect("postgres"), f"UPDATE exp.policies SET {change}")


ATTRIBUTION = [
    ("trainer", "datasets", "created_by"), ("trainer", "datasets", "created_at"),
    ("trainer", "model_files", "created_by"), ("trainer", "model_files", "created_at"),
    ("trainer", "model_versions", "created_by"), ("trainer", "model_versions", "created_at"),
    ("evaluator", "evaluations", "created_by"), ("evaluator", "evaluations", "created_at"),
]  # fmt: skip


@pytest.mark.parametrize(("role", "table", "column"), ATTRIBUTION)
def test_attribution_cannot_be_forged(logins, role, table, column):
    with pytest.raises(InsufficientPrivilege):
        run(logins[role], f"INSERT INTO exp.{table} ({column}) VALUES (DEFAULT)")


def test_functions_attribute_to_the_login_that_called_them(shared_database, logins):
    assert find_value(logins["reader"], "SELECT actor FROM exp.history") == "evaluator"
    with logins["alice_trainer"].transaction(force_rollback=True):
        job_id = find_value(logins["alice_trainer"], SUBMIT)
        query = "SELECT created_by FROM exp.job_states WHERE job_id = %(job_id)s"
        assert find_value(logins["alice_trainer"], query, {"job_id": job_id}) == "alice_trainer"


def test_an_application_resolves_a_policy(database, records):
    records.put_live(records.policy_version())
    row = database.connect("application").execute("SELECT * FROM exp.resolve_policy('houses_policy')").fetchone()
    assert (row["mlflow_model_name"], row["mlflow_model_version"], row["mlflow_model_id"]) == (
        "houses_model",
        "1",
        "m-1",
    )


def test_every_definer_function_has_a_fixed_path_and_no_function_is_public(shared_database):
    rows = shared_database.connect("postgres").execute("""
        SELECT p.proname, p.prosecdef, p.proconfig, pg_get_userbyid(p.proowner) AS owner,
               has_function_privilege('public', p.oid, 'EXECUTE') AS public
        FROM pg_proc AS p WHERE p.pronamespace IN ('exp'::regnamespace, 'queue'::regnamespace)
    """).fetchall()  # fmt: skip
    assert len(rows) >= 8
    for row in rows:
        assert row["proconfig"] == ["search_path=pg_catalog, exp, pg_temp"], row
        assert row["owner"] == "modelyard_owner", row
        assert not row["public"], row


def test_no_service_or_person_owns_or_administers_anything(shared_database):
    rows = (
        shared_database.connect("postgres")
        .execute(
            """
        SELECT rolname FROM pg_roles
        WHERE rolname = ANY(%s) AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
        UNION ALL
        SELECT rolname FROM pg_roles AS r INNER JOIN pg_class AS c ON c.relowner = r.oid WHERE rolname = ANY(%s)
        """,
            [[*SERVICES, *PERSONS]] * 2,
        )
        .fetchall()
    )
    assert rows == []


def test_a_stranger_may_not_even_connect(cluster, shared_database):
    cluster.run("CREATE ROLE passer_by LOGIN")
    with pytest.raises(ServiceFailed, match="permission denied for database"):
        connect(shared_database.dsn("passer_by"))


def test_statements_and_idle_transactions_of_services_are_bounded(logins):
    assert find_value(logins["application"], "SHOW statement_timeout") == "5s"
    assert find_value(logins["trainer"], "SHOW idle_in_transaction_session_timeout") == "1min"
    assert find_value(logins["mlflow"], "SHOW statement_timeout") == "0"  # a schema upgrade takes what it takes


def test_the_number_of_connections_of_a_service_is_bounded(shared_database):
    with ExitStack() as opened, pytest.raises(ServiceFailed, match="too many connections for role"):
        for _ in range(9):
            opened.enter_context(connect(shared_database.dsn("backup")))


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
