"""Who may do what: each rule of the role matrix, by breaking it as that role."""

import re

import pytest
from psycopg.errors import InsufficientPrivilege, RestrictViolation

from modelyard.store.connections import find_value

PERSONS = ("alice_viewer", "alice_trainer", "alice_promoter", "alice_approver")
SERVICES = ("mlflow", "trainer", "evaluator", "reader", "backup", "application")
VIEWS = (
    "stages", "live_policies", "verdicts", "lineage", "history", "job_states", "current_gates", "promotion_history",
    "served", "policy_overview",
)  # fmt: skip
IMMUTABLE = (
    "datasets", "dataset_files", "model_files", "model_versions", "policy_versions", "evaluations",
    "stage_transitions", "gates", "approval_rules", "approvals", "promotions", "reconciliations", "sweeps",
    "sweep_jobs",
)  # fmt: skip
TABLES = (*IMMUTABLE, "policies", "jobs", "attempts", "schema_migrations", "queue_migrations")
ANY_COLUMN = {
    "datasets": "name", "dataset_files": "path", "model_files": "path", "model_versions": "workload",
    "policy_versions": "version", "evaluations": "passed", "stage_transitions": "reason", "policies": "policy_id",
    "jobs": "state", "attempts": "state", "schema_migrations": "name", "queue_migrations": "name",
    "gates": "reason", "approval_rules": "reason", "approvals": "reason", "promotions": "reason",
    "reconciliations": "findings", "sweeps": "workload", "sweep_jobs": "place",
}  # fmt: skip

SUBMIT = "SELECT exp.submit_job('train', '{}', repeat('a', 64), gen_random_uuid())"
INSERT_RECONCILIATION = "INSERT INTO exp.reconciliations (findings) VALUES ('[]')"
INSERT_SWEEP = "INSERT INTO exp.sweeps (workload, arguments, fingerprint) VALUES ('houses', '{}', repeat('a', 64))"
INSERT_SWEEP_JOB = """
    INSERT INTO exp.sweep_jobs (sweep_id, place, job_id)
    SELECT sweep_id, 2, job_id FROM exp.sweeps, exp.job_states WHERE kind = 'evaluate' LIMIT 1"""
SUBMIT_CHILD = """
    SELECT exp.submit_job('process', '{}', repeat('b', 64), gen_random_uuid(),
        parent_job_id => (SELECT job_id FROM exp.job_states WHERE kind = 'train'))"""
RESOLVE = "SELECT exp.resolve_policy('houses_policy')"
RESOLVE_VERSIONS = (
    "SELECT exp.resolve_policy_version('houses_policy', 1)",
    "SELECT exp.resolve_model_version('houses_model', '1')",
)
ADD = "SELECT exp.add_policy_version('houses_policy', 'houses_model', '1')"
TRAINING, EVALUATION = (
    f"(SELECT job_id FROM exp.job_states WHERE kind = '{kind}' AND state <> 'succeeded')"
    for kind in ("train", "evaluate")
)
BEGIN_TRAINING, BEGIN_EVALUATION = (f"SELECT exp.begin_attempt({job}, 'w', 60)" for job in (TRAINING, EVALUATION))
# what a worker may do with the first attempt of a job that it has begun
ATTEMPT = (
    "hold_attempt({job}, 1)",
    "renew_claim({job}, 1, 60)",
    "report_progress({job}, 1, 'training', 0.5, 'fitting')",
    "report_result({job}, 1, 'dataset', '{{}}')",
    "keep_result({job}, 1, '{{}}')",
    "finish_attempt({job}, 1, 'failed', 'no disk')",
    "finish_job({job}, 1, 'succeeded', '{{}}', NULL)",
)
OF_TRAINING, OF_EVALUATION = (
    [f"SELECT exp.{call.format(job=job)}" for call in ATTEMPT] for job in (TRAINING, EVALUATION)
)
SWEEP = "SELECT exp.sweep_jobs(60)"
TIDY = f"SELECT exp.tidy_job({TRAINING}, 1)"
CANCEL, RETRY = (f"SELECT exp.{verb}_job({EVALUATION})" for verb in ("cancel", "retry"))
REMOVE = "SELECT exp.remove_dataset(gen_random_uuid(), 'no use')"  # that a trainer may is in test_removals
NOTE = "SELECT exp.note_files_deleted(gen_random_uuid())"
DEPENDENTS = "SELECT exp.list_dataset_dependents(gen_random_uuid())"
INTERNAL = (
    "SELECT exp.name_worker_role('train')",
    "SELECT exp.name_queue('train', 'vision')",
    f"SELECT exp.dispatch_job({TRAINING})",
    f"SELECT exp.end_job({TRAINING}, 'failed', 'no disk', false)",
    f"SELECT exp.pass_on_job({TRAINING}, 'no disk', 0, false)",
    f"SELECT exp.hold_running_attempt({TRAINING}, 1)",
)
QUEUE = [
    f"SET LOCAL search_path = queue; {statement}"  # the library's triggers look for their tables there
    for statement in (
        "TABLE queue.procrastinate_jobs",
        "INSERT INTO queue.procrastinate_jobs (queue_name, task_name) VALUES ('trainer', 'run_job')",
        "UPDATE queue.procrastinate_jobs SET priority = 1",
        "DELETE FROM queue.procrastinate_jobs",
        "SELECT queue.procrastinate_fetch_job_v2(ARRAY['trainer']::varchar[], NULL)",
        "SELECT queue.procrastinate_register_worker_v1()",
    )
]
HASHES = "SELECT mlflow_model_id, path, sha256, size_bytes FROM exp.model_files"
INSERT_EVALUATION = """
    INSERT INTO exp.evaluations (mlflow_model_name, mlflow_model_version, dataset_id, gate, gate_sha256, metrics,
        baselines, limits, reasons, passed, mlflow_run_id)
    SELECT 'houses_model', '1', dataset_id, '[]', repeat('f', 64), '{"rmse": 1}', '{}', '[]', '[]', true, 'r'
    FROM exp.datasets"""
NEW_JOB = "'44444444-4444-4444-4444-444444444444'"
VERDICT = INSERT_EVALUATION.replace("mlflow_run_id)", "mlflow_run_id, job_id)").replace("'r'", f"'r', {NEW_JOB}")
ASKED = """'{"model_name": "houses_model", "model_version": "1"}'"""
EVALUATE = f"""
    SELECT exp.submit_job('evaluate', {ASKED}, repeat('d', 64), {NEW_JOB});
    SELECT exp.begin_attempt({NEW_JOB}, 'w', 60); {VERDICT}"""

INSERT_MODEL_FILE = """
    INSERT INTO exp.model_files (mlflow_model_id, path, sha256, size_bytes)
    VALUES ('m', 'p', repeat('a', 64), 1)"""
INSERT_VERSION = """
    INSERT INTO exp.policy_versions (policy_id, version, mlflow_model_name, mlflow_model_version, config_defaults)
    VALUES ('houses_policy', 2, 'houses_model', '1', '{"depth": 2}')"""
DECLARE = "SELECT exp.declare_gate('houses_model', '{}', encode(sha256('{}'), 'hex'), 'as agreed')"
PROMOTE = "SELECT exp.promote('houses_policy', 1, 0, '')"
ROLLBACK = "SELECT exp.rollback('houses_policy', NULL, 0, 'it fails')"
ARCHIVE = "SELECT exp.archive_version('houses_policy', 1, 'too slow')"
SUBMIT_EVALUATION = "SELECT exp.submit_evaluation('{}', repeat('c', 64), gen_random_uuid())"
APPROVE = "SELECT exp.approve('houses_policy', 1, 0)"
REQUIRE = "SELECT exp.require_approval('houses_policy', true, 'it sets prices')"
INTERNAL_PROMOTION = (
    "SELECT exp.hash_gate('{}')",
    "SELECT exp.hold_policy('houses_policy')",
    "SELECT exp.get_policy_version('houses_policy', 1)",
    "SELECT exp.expect_live('houses_policy', 1, 1)",
    "SELECT exp.find_promotion_request(gen_random_uuid(), '{}')",
    "SELECT exp.put_live(NULL)",
)
INSERT_TRANSITION = """
    INSERT INTO exp.stage_transitions (mlflow_model_name, mlflow_model_version, policy_id, policy_version_id,
        from_stage, to_stage, reason)
    SELECT mlflow_model_name, mlflow_model_version, policy_id, policy_version_id, 'candidate', 'production', 'mine'
    FROM exp.policy_versions"""
INSERT_PROMOTION = """
    INSERT INTO exp.promotions (policy_id, kind, policy_version_id, version, reason, request_id, arguments, occurred_at)
    SELECT policy_id, 'promotion', policy_version_id, version, '', gen_random_uuid(), '{}', now()
    FROM exp.policy_versions"""
INSERT_APPROVAL = """
    INSERT INTO exp.approvals (policy_id, policy_version_id, reason)
    SELECT policy_id, policy_version_id, '' FROM exp.policy_versions"""
PUT_LIVE = "UPDATE exp.policies SET live_policy_version_id = (SELECT policy_version_id FROM exp.policy_versions)"

ALLOWED = [
    ("mlflow", "CREATE TABLE runs (run_id text)"),
    ("trainer", INSERT_MODEL_FILE),
    ("trainer", BEGIN_TRAINING),
    *[("trainer", call) for call in OF_TRAINING],
    ("evaluator", EVALUATE),
    ("evaluator", ADD),
    *[("evaluator", f"{BEGIN_EVALUATION}; {call}") for call in OF_EVALUATION],
    *[(role, call) for role in ("trainer", "evaluator") for call in (SUBMIT, SWEEP, TIDY, *QUEUE)],
    ("trainer", SUBMIT_CHILD),
    *[("alice_trainer", statement) for statement in (INSERT_SWEEP, INSERT_SWEEP_JOB)],
    *[(role, DECLARE) for role in ("evaluator", "alice_promoter", "alice_approver")],
    *[("alice_promoter", call) for call in (SUBMIT_EVALUATION, ARCHIVE, ADD, INSERT_VERSION)],
    ("alice_approver", f"{APPROVE}; {REQUIRE}"),
    *[(role, INSERT_RECONCILIATION) for role in ("evaluator", "alice_promoter")],
    ("application", HASHES),
    *[(role, call) for role in ("application", "trainer", "evaluator", *PERSONS) for call in RESOLVE_VERSIONS],
    *[("alice_trainer", call) for call in (SUBMIT, CANCEL, f"{CANCEL}; {RETRY}")],
    ("alice_trainer", NOTE),
    *[(role, DEPENDENTS) for role in PERSONS],
    ("backup", "TABLE queue.procrastinate_jobs"),
    *[(role, f"TABLE exp.{view}") for role in ("trainer", "evaluator", "reader", "backup", *PERSONS) for view in VIEWS],
    *[(role, f"TABLE exp.{table}") for role in ("trainer", "evaluator", "backup", *PERSONS) for table in TABLES],
]

FORBIDDEN = [
    # nobody but these roles executes the functions
    *[(role, SUBMIT) for role in (*SERVICES, *PERSONS) if role not in ("trainer", "evaluator", "alice_trainer")],
    *[(role, call) for role in (*SERVICES, *PERSONS) if role != "alice_trainer" for call in (CANCEL, RETRY)],
    *[(role, call) for role in (*SERVICES, *PERSONS) if role not in ("trainer", "evaluator")
      for call in (BEGIN_TRAINING, BEGIN_EVALUATION, *OF_TRAINING, SWEEP, TIDY)],
    ("evaluator", BEGIN_TRAINING),
    ("trainer", BEGIN_EVALUATION),
    *[(role, SUBMIT_CHILD) for role in ("evaluator", "alice_trainer")],
    *[(role, ADD) for role in (*SERVICES, *PERSONS) if role not in ("evaluator", "alice_promoter")],
    # what is live, and who agrees to it
    *[(role, DECLARE) for role in (*SERVICES, *PERSONS)
      if role not in ("evaluator", "alice_promoter", "alice_approver")],
    *[(role, call) for role in (*SERVICES, *PERSONS) if role != "alice_promoter"
      for call in (PROMOTE, ROLLBACK, ARCHIVE, SUBMIT_EVALUATION)],
    *[(role, call) for role in (*SERVICES, *PERSONS) if role != "alice_approver" for call in (APPROVE, REQUIRE)],
    *[(role, call) for role in (*SERVICES, *PERSONS) for call in INTERNAL_PROMOTION],
    *[(role, statement) for role in (*SERVICES, *PERSONS)
      for statement in (INSERT_TRANSITION, INSERT_PROMOTION, INSERT_APPROVAL)],
    *[(role, RESOLVE) for role in ("mlflow", "trainer", "evaluator", "reader", "backup", *PERSONS)],
    *[(role, call) for role in ("mlflow", "reader", "backup") for call in RESOLVE_VERSIONS],
    *[(role, call) for role in (*SERVICES, *PERSONS) for call in INTERNAL],
    *[(role, call) for role in (*SERVICES, *PERSONS) if role != "alice_trainer" for call in (REMOVE, NOTE)],
    *[(role, DEPENDENTS) for role in SERVICES],
    *[(role, statement) for role in (*SERVICES, *PERSONS) if role != "alice_trainer"
      for statement in (INSERT_SWEEP, INSERT_SWEEP_JOB)],
    *[(role, INSERT_RECONCILIATION) for role in (*SERVICES, *PERSONS) if role not in ("evaluator", "alice_promoter")],
    # the queue
    *[(role, call) for role in ("mlflow", "reader", "application", *PERSONS) for call in QUEUE],
    *[("backup", call) for call in QUEUE[1:]],
    *[(role, "TRUNCATE queue.procrastinate_jobs CASCADE") for role in (*SERVICES, *PERSONS)],
    # verdicts, policies and what is live
    *[(role, INSERT_EVALUATION) for role in (*SERVICES, *PERSONS)],
    # a verdict on a version whose evaluation does not run
    ("evaluator", EVALUATE.replace("'houses_model', '1'", "'houses_model', '2'")),
    *[(role, INSERT_VERSION) for role in (*SERVICES, *PERSONS) if role != "alice_promoter"],
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
    ("alice_trainer", "sweeps", "created_by"), ("alice_trainer", "sweeps", "created_at"),
    ("alice_promoter", "policy_versions", "created_by"), ("alice_promoter", "policy_versions", "created_at"),
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
        SELECT p.pronamespace::regnamespace::text AS schema, p.proname, p.prosecdef, p.proconfig,
               pg_get_userbyid(p.proowner) AS owner,
               has_function_privilege('public', p.oid, 'EXECUTE') AS public
        FROM pg_proc AS p WHERE p.pronamespace IN ('exp'::regnamespace, 'queue'::regnamespace)
    """).fetchall()  # fmt: skip
    ours = [row for row in rows if row["schema"] == "exp"]
    assert len(ours) >= 20
    for row in ours:  # PostgreSQL's own names first, a caller's temporary ones last
        [path] = row["proconfig"]
        assert re.fullmatch(r"search_path=pg_catalog(, exp)?(, queue)?, pg_temp", path), row
    assert not [row for row in rows if row["prosecdef"] and row not in ours]
    for row in rows:
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
