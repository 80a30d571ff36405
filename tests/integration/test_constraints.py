"""Every constraint of the tables, by a row that breaks it."""

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

SHA = "a" * 64
DATASET = "(SELECT dataset_id FROM exp.datasets WHERE name = 'houses')"
POLICY_VERSION = "(SELECT policy_version_id FROM exp.policy_versions)"
POLICY_VERSION_1 = "(SELECT policy_version_id FROM exp.policy_versions WHERE version = 1)"
JOB = "(SELECT job_id FROM exp.jobs WHERE kind = 'train')"
SWEEP = "(SELECT sweep_id FROM exp.sweeps)"
EVALUATION = "(SELECT evaluation_id FROM exp.evaluations)"
NOWHERE = "gen_random_uuid()"
NEW_DATASET = "'11111111-1111-1111-1111-111111111111'"
REMOVED_DATASET = "'22222222-2222-2222-2222-222222222222'"

# A good row of each table, as SQL expressions, beside those that are there.
GOOD = {
    "datasets": {
        "name": "'other'", "version": "'1.0.0'", "workload": "'houses'", "digest": f"'{SHA}'",
        "raw_digest": f"'{SHA}'", "raw_files": "'[]'", "location": "'l'", "mlflow_run_id": "'r'", "num_rows": "1",
        "num_elements": "1", "schema": "'[]'", "profile": "'{}'", "split_counts": "'{}'", "parameters": "'{}'",
        "data_source": "'sample'",
    },
    "dataset_uses": {
        "dataset_id": DATASET, "mlflow_run_id": "'r2'", "run_type": "'training'", "context": "'training'",
    },
    "dataset_files": {"dataset_id": NEW_DATASET, "path": "'new'", "sha256": f"'{SHA}'", "size_bytes": "0"},
    "jobs": {"kind": "'train'", "arguments": "'{}'", "fingerprint": f"'{SHA}'"},
    "attempts": {
        "job_id": JOB, "attempt": "2", "worker": "'w'", "state": "'lost'",
        "ended_at": "now()",
    },
    "queue_migrations": {"name": "'99.00.00_01_pre_new.sql'"},
    "model_files": {"mlflow_model_id": "'m-new'", "path": "'p'", "sha256": f"'{SHA}'", "size_bytes": "0"},
    "model_versions": {
        "mlflow_model_name": "'houses_model'", "mlflow_model_version": "'2'", "mlflow_run_id": "'r2'",
        "mlflow_model_id": "'m-1'", "workload": "'houses'", "task": "'t'", "model_type": "'m'",
        "dataset_id": DATASET, "parameters": "'{}'", "code_version": "'{}'", "metrics": "'{}'",
    },
    "policies": {"policy_id": "'other_policy'", "mlflow_model_name": "'other_model'"},
    "policy_versions": {
        "policy_id": "'houses_policy'", "version": "2", "mlflow_model_name": "'houses_model'",
        "mlflow_model_version": "'1'", "config_defaults": """'{"depth": 2}'""",
    },
    "evaluations": {
        "mlflow_model_name": "'houses_model'", "mlflow_model_version": "'1'", "dataset_id": DATASET, "gate": "'[]'",
        "gate_sha256": f"'{SHA}'", "metrics": """'{"rmse": 1}'""", "baselines": "'{}'", "limits": "'[]'",
        "reasons": "'[]'", "passed": "true", "mlflow_run_id": "'r'",
    },
    "stage_transitions": {
        "mlflow_model_name": "'houses_model'", "mlflow_model_version": "'1'", "policy_id": "'houses_policy'",
        "policy_version_id": POLICY_VERSION, "from_stage": "'candidate'", "to_stage": "'production'",
        "reason": "'better'",
    },
    "gates": {"mlflow_model_name": "'houses_model'", "gate": "'{}'", "gate_sha256": f"'{SHA}'", "reason": "'shipped'"},
    "approval_rules": {"policy_id": "'houses_policy'", "required": "true", "reason": "'it sets prices'"},
    "approvals": {
        "policy_id": "'houses_policy'", "policy_version_id": POLICY_VERSION, "reason": "''",
    },
    "promotions": {
        "policy_id": "'houses_policy'", "kind": "'promotion'", "policy_version_id": POLICY_VERSION, "version": "1",
        "evaluation_id": EVALUATION, "reason": "''", "request_id": NOWHERE, "arguments": "'{}'",
        "occurred_at": "now()",
    },
    "drift_reports": {
        "dataset_id": DATASET, "current_digest": f"'{SHA}'", "current_rows": "1", "columns": "'[]'",
        "limits": "'{}'", "drifted": "false", "mlflow_run_id": "'r3'",
    },
    "reconciliations": {"findings": "'[]'"},
    "sweeps": {"workload": "'houses'", "arguments": "'{}'", "fingerprint": f"'{SHA}'"},
    "sweep_jobs": {
        "sweep_id": SWEEP, "place": "2", "job_id": "(SELECT job_id FROM exp.jobs WHERE kind = 'evaluate' LIMIT 1)",
    },
    "reproductions": {
        "mlflow_model_name": "'houses_model'", "mlflow_model_version": "'1'", "equal_predictions": "true",
        "metrics": "'{}'", "differences": "'[]'", "code_version": "'{}'", "environment": "'{}'",
        "mlflow_run_id": "'r4'",
    },
}  # fmt: skip

BROKEN = [
    ("datasets", {"name": "''"}, "datasets_name_check"),
    ("datasets", {"version": "'two words'"}, "datasets_version_check"),
    ("datasets", {"digest": "'d41f'"}, "datasets_digest_check"),
    ("datasets", {"digest": f"'{'A' * 64}'"}, "datasets_digest_check"),
    ("datasets", {"raw_digest": "''"}, "datasets_raw_digest_check"),
    ("datasets", {"raw_files": "'{}'"}, "datasets_raw_files_check"),
    ("datasets", {"raw_files": """'[{"name": "f"}]'"""}, "datasets_raw_files_check"),
    ("datasets", {"num_rows": "0"}, "datasets_num_rows_check"),
    ("datasets", {"num_elements": "0"}, "datasets_num_elements_check"),
    ("datasets", {"name": "'houses'"}, "datasets_name_version_key"),
    (
        "datasets",
        {
            "name": "'houses'",
            "version": "'1.1.0'",
            "preprocessing_hash": "(SELECT preprocessing_hash FROM exp.datasets WHERE name = 'houses')",
        },
        "datasets_name_digest_preprocessing_hash_key",
    ),
    ("datasets", {"parent_dataset_id": NOWHERE}, "datasets_parent_dataset_id_fkey"),
    ("datasets", {"parent_dataset_id": REMOVED_DATASET}, "datasets_removed_check"),
    ("datasets", {"job_id": NOWHERE}, "datasets_job_id_fkey"),
    ("datasets", {"rows_digest": "'a'"}, "datasets_rows_digest_check"),
    ("datasets", {"preprocessing_hash": "'a'"}, "datasets_preprocessing_hash_check"),
    ("datasets", {"targets": "'{}'"}, "datasets_targets_check"),
    ("datasets", {"code_version": "'[]'"}, "datasets_code_version_check"),
    ("datasets", {"notes": "'[]'"}, "datasets_notes_check"),
    ("datasets", {"violations": "'{}'"}, "datasets_violations_check"),
    ("datasets", {"removed_at": "now()"}, "datasets_removed_at_check"),
    ("datasets", {"files_deleted_at": "now()"}, "datasets_removed_at_check"),
    (
        "datasets",
        {"removed_at": "now()", "removed_by": "'ada'", "removal_reason": "' '"},
        "datasets_removal_reason_check",
    ),
    ("dataset_uses", {"dataset_id": NOWHERE}, "dataset_uses_dataset_id_fkey"),
    ("dataset_uses", {"mlflow_run_id": "''"}, "dataset_uses_mlflow_run_id_check"),
    ("dataset_uses", {"run_type": "'reading'"}, "dataset_uses_run_type_check"),
    ("dataset_uses", {"context": "''"}, "dataset_uses_context_check"),
    ("dataset_uses", {"mlflow_run_id": "'r1'"}, "dataset_uses_pkey"),
    ("dataset_files", {"dataset_id": NOWHERE}, "dataset_files_closed_check"),
    ("dataset_files", {"dataset_id": DATASET}, "dataset_files_closed_check"),
    ("dataset_files", {"path": "'X.parquet'"}, "dataset_files_pkey"),
    ("dataset_files", {"sha256": "'a'"}, "dataset_files_sha256_check"),
    ("dataset_files", {"size_bytes": "-1"}, "dataset_files_size_bytes_check"),
    ("jobs", {"kind": "'destroy'"}, "jobs_kind_check"),
    ("jobs", {"arguments": "'[]'"}, "jobs_arguments_check"),
    ("jobs", {"fingerprint": "'a'"}, "jobs_fingerprint_check"),
    ("jobs", {"state": "'done'", "finished_at": "now()"}, "jobs_state_check"),
    ("jobs", {"state": "'failed'"}, "jobs_finished_at_check"),
    ("jobs", {"finished_at": "now()"}, "jobs_finished_at_check"),
    ("jobs", {"attempts_allowed": "0"}, "jobs_attempts_allowed_check"),
    ("jobs", {"parent_job_id": NOWHERE}, "jobs_parent_job_id_fkey"),
    ("jobs", {"kind": "'evaluate'", "parent_job_id": JOB}, "jobs_parent_job_id_kind_key"),
    ("jobs", {"queue": "'Two words'"}, "jobs_queue_check"),
    ("attempts", {"job_id": NOWHERE}, "attempts_job_id_fkey"),
    ("attempts", {"attempt": "1"}, "attempts_pkey"),
    ("attempts", {"attempt": "0"}, "attempts_attempt_check"),
    ("attempts", {"state": "'done'"}, "attempts_state_check"),
    ("attempts", {"ended_at": "NULL"}, "attempts_ended_at_check"),
    ("attempts", {"progress_share": "1.1"}, "attempts_progress_share_check"),
    ("attempts", {"state": "'running'", "ended_at": "NULL"}, "attempts_job_id_running_key"),
    ("attempts", {"results": "'{}'"}, "attempts_results_check"),
    ("queue_migrations", {"name": "(SELECT min(name) FROM exp.queue_migrations)"}, "queue_migrations_pkey"),
    ("model_files", {"mlflow_model_id": "''"}, "model_files_mlflow_model_id_check"),
    ("model_files", {"sha256": "'a'"}, "model_files_sha256_check"),
    ("model_files", {"size_bytes": "-1"}, "model_files_size_bytes_check"),
    ("model_files", {"mlflow_model_id": "'m-1'"}, "model_files_closed_check"),
    ("model_versions", {"mlflow_model_version": "'1'"}, "model_versions_pkey"),
    ("model_versions", {"mlflow_model_version": "'latest'"}, "model_versions_mlflow_model_version_check"),
    ("model_versions", {"mlflow_run_id": "'run-1'"}, "model_versions_mlflow_run_id_key"),
    ("model_versions", {"dataset_id": NOWHERE}, "model_versions_dataset_id_fkey"),
    ("model_versions", {"job_id": NOWHERE}, "model_versions_job_id_fkey"),
    ("model_versions", {"mlflow_model_id": "'m-unknown'"}, "model_versions_files_check"),
    ("model_versions", {"dataset_id": REMOVED_DATASET}, "model_versions_removed_check"),
    ("model_versions", {"environment": "'[]'"}, "model_versions_environment_check"),
    ("policies", {"policy_id": "'Houses Policy'"}, "policies_policy_id_check"),
    ("policies", {"policy_id": "'houses_policy'"}, "policies_pkey"),
    ("policies", {"mlflow_model_name": "'houses_model'"}, "policies_mlflow_model_name_key"),
    ("policies", {"live_policy_version_id": POLICY_VERSION}, "policies_live_policy_version_id_fkey"),
    ("policy_versions", {"policy_id": "'no_policy'"}, "policies_mlflow_model_name_key"),
    ("policy_versions", {"version": "3"}, "policy_versions_insert_check"),
    ("policy_versions", {"version": "1"}, "policy_versions_insert_check"),
    ("policy_versions", {"mlflow_model_version": "'2'"}, "policy_versions_insert_check"),
    ("policy_versions", {"mlflow_model_name": "'other_model'"}, "policy_versions_insert_check"),
    ("policy_versions", {"config_defaults": "'[]'"}, "policy_versions_config_defaults_check"),
    ("policy_versions", {"config_defaults": "'{}'"}, "policy_versions_policy_id_model_config_key"),
    ("policy_versions", {"policy_version_id": POLICY_VERSION}, "policy_versions_pkey"),
    ("evaluations", {"mlflow_model_version": "'2'"}, "evaluations_model_version_fkey"),
    ("evaluations", {"dataset_id": NOWHERE}, "evaluations_dataset_id_fkey"),
    ("evaluations", {"dataset_id": REMOVED_DATASET}, "evaluations_removed_check"),
    ("evaluations", {"job_id": NOWHERE}, "evaluations_job_id_fkey"),
    ("evaluations", {"baseline_policy_version_id": NOWHERE}, "evaluations_baseline_policy_version_id_fkey"),
    ("evaluations", {"gate_sha256": "'a'"}, "evaluations_gate_sha256_check"),
    ("evaluations", {"gate_sha256": "(SELECT gate_sha256 FROM exp.evaluations)"}, "evaluations_verdict_key"),
    ("evaluations", {"metrics": """'{"rmse": "good"}'"""}, "evaluations_metrics_check"),
    ("evaluations", {"metrics": """'{"rmse": null}'"""}, "evaluations_passed_check"),
    ("evaluations", {"metrics": "'{}'"}, "evaluations_passed_check"),
    ("evaluations", {"baselines": "'[]'"}, "evaluations_baselines_check"),
    ("evaluations", {"limits": "'{}'"}, "evaluations_limits_check"),
    ("evaluations", {"comparison": "'[]'"}, "evaluations_comparison_check"),
    ("evaluations", {"reasons": """'["too slow"]'"""}, "evaluations_reasons_check"),
    ("evaluations", {"passed": "false"}, "evaluations_reasons_check"),
    ("evaluations", {"reasons": "'[1]'", "passed": "false"}, "evaluations_reasons_check"),
    ("stage_transitions", {"mlflow_model_version": "'2'"}, "stage_transitions_model_version_fkey"),
    ("stage_transitions", {"policy_version_id": NOWHERE}, "stage_transitions_policy_version_id_fkey"),
    ("stage_transitions", {"evaluation_id": NOWHERE}, "stage_transitions_evaluation_id_fkey"),
    ("stage_transitions", {"from_stage": "'training'"}, "stage_transitions_from_stage_check"),
    ("stage_transitions", {"to_stage": "'live'"}, "stage_transitions_to_stage_check"),
    ("gates", {"mlflow_model_name": "''"}, "gates_mlflow_model_name_check"),
    ("gates", {"gate": "'[]'"}, "gates_gate_check"),
    ("gates", {"gate": """'{"always": "rmse <= 0.7"}'"""}, "gates_gate_check"),
    ("gates", {"gate": """'{"always": [0.7]}'"""}, "gates_gate_check"),
    ("gates", {"gate_sha256": "'a'"}, "gates_gate_sha256_check"),
    ("gates", {"reason": "' '"}, "gates_reason_check"),
    ("approval_rules", {"policy_id": "'no_policy'"}, "approval_rules_policy_id_fkey"),
    ("approval_rules", {"reason": "' '"}, "approval_rules_reason_check"),
    ("approvals", {"policy_version_id": NOWHERE}, "approvals_policy_version_id_fkey"),
    ("approvals", {"replaces_policy_version_id": NOWHERE}, "approvals_replaces_policy_version_id_fkey"),
    (
        "promotions",
        {"kind": "'accident'", "restores_promotion_id": "-1", "reason": "'why'"},
        "promotions_kind_check",
    ),
    ("promotions", {"policy_version_id": NOWHERE}, "promotions_policy_version_id_fkey"),
    ("promotions", {"evaluation_id": NOWHERE}, "promotions_evaluation_id_fkey"),
    ("promotions", {"approval_id": "-1"}, "promotions_approval_id_fkey"),
    ("promotions", {"arguments": "'[]'"}, "promotions_arguments_check"),
    ("promotions", {"evaluation_id": "NULL"}, "promotions_evidence_check"),
    ("promotions", {"kind": "'rollback'"}, "promotions_evidence_check"),
    ("promotions", {"replaced_version": "1"}, "promotions_replaced_check"),
    ("promotions", {"previous_promotion_id": "-1"}, "promotions_replaced_check"),
    (
        "promotions",
        {"previous_promotion_id": "-1", "replaced_policy_version_id": NOWHERE, "replaced_version": "1"},
        "promotions_previous_promotion_id_fkey",
    ),
    ("drift_reports", {"dataset_id": NOWHERE}, "drift_reports_dataset_id_fkey"),
    ("drift_reports", {"current_dataset_id": NOWHERE}, "drift_reports_current_dataset_id_fkey"),
    ("drift_reports", {"current_digest": "'a'"}, "drift_reports_current_digest_check"),
    ("drift_reports", {"current_raw_digest": "'a'"}, "drift_reports_current_raw_digest_check"),
    ("drift_reports", {"current_rows": "0"}, "drift_reports_current_rows_check"),
    ("drift_reports", {"columns": "'{}'"}, "drift_reports_columns_check"),
    ("drift_reports", {"limits": "'[]'"}, "drift_reports_limits_check"),
    ("drift_reports", {"mlflow_run_id": "'r1'"}, "drift_reports_mlflow_run_id_key"),
    ("drift_reports", {"job_id": NOWHERE}, "drift_reports_job_id_fkey"),
    ("reconciliations", {"findings": "'{}'"}, "reconciliations_findings_check"),
    ("reconciliations", {"findings": '\'[{"kind": "lost"}]\''}, "reconciliations_findings_check"),
    ("reconciliations", {"findings": "'[1]'"}, "reconciliations_findings_check"),
    ("sweeps", {"workload": "''"}, "sweeps_workload_check"),
    ("sweeps", {"arguments": "'[]'"}, "sweeps_arguments_check"),
    ("sweeps", {"fingerprint": "'a'"}, "sweeps_fingerprint_check"),
    ("sweep_jobs", {"sweep_id": NOWHERE}, "sweep_jobs_sweep_id_fkey"),
    ("sweep_jobs", {"job_id": NOWHERE}, "sweep_jobs_job_id_fkey"),
    ("sweep_jobs", {"place": "0"}, "sweep_jobs_place_check"),
    ("sweep_jobs", {"place": "1"}, "sweep_jobs_pkey"),
    ("sweep_jobs", {"job_id": JOB}, "sweep_jobs_sweep_id_job_id_key"),
    ("reproductions", {"mlflow_model_version": "'2'"}, "reproductions_model_version_fkey"),
    ("reproductions", {"metrics": "'[]'"}, "reproductions_metrics_check"),
    ("reproductions", {"differences": "'{}'"}, "reproductions_differences_check"),
    ("reproductions", {"mlflow_run_id": "'r1'"}, "reproductions_mlflow_run_id_key"),
    ("reproductions", {"job_id": NOWHERE}, "reproductions_job_id_fkey"),
]


COPIED = """version, workload, digest, raw_digest, raw_files, location, mlflow_run_id, num_rows, num_elements, schema,
    profile, split_counts, parameters, data_source"""
# what lies there in each test: a deleted dataset, and one whose list of files is open in this transaction
PREPARE = f"""
    INSERT INTO exp.datasets (dataset_id, name, removed_at, removed_by, removal_reason, {COPIED})
    SELECT given.*, {COPIED} FROM exp.datasets AS d, (VALUES
        ({NEW_DATASET}::uuid, 'new', NULL::timestamptz, NULL, NULL),
        ({REMOVED_DATASET}, 'removed', now(), 'ada', 'it held names')
    ) AS given WHERE d.name = 'houses';
    INSERT INTO exp.dataset_files (dataset_id, path, sha256, size_bytes)
    VALUES ({NEW_DATASET}, 'X.parquet', '{SHA}', 0)
"""
WITH_FIRST_ROW = ("dataset_uses", "drift_reports", "reproductions")  # of the MLflow run r1


def insert(connection, table: str, changes: dict[str, str]) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute(PREPARE)
        first_row = [{"mlflow_run_id": "'r1'"}] if table in WITH_FIRST_ROW else []
        for row in (GOOD[table] | each for each in (*first_row, changes)):
            columns, values = ", ".join(row), ", ".join(row.values())
            connection.execute(f"INSERT INTO exp.{table} ({columns}) VALUES ({values})")


@pytest.fixture(scope="module")
def owner(shared_database):
    return shared_database.connect("postgres")


@pytest.mark.parametrize("table", GOOD)
def test_a_good_row_is_taken(owner, table):
    insert(owner, table, {})


@pytest.mark.parametrize(("table", "changes", "constraint"), BROKEN, ids=str)
def test_a_broken_row_is_refused(owner, table, changes, constraint):
    with pytest.raises(psycopg.IntegrityError) as refused:
        insert(owner, table, changes)
    assert refused.value.diag.constraint_name == constraint


def test_one_request_moves_a_model_version_to_a_stage_once(owner):
    row = GOOD["stage_transitions"] | {"request_id": f"'{'0' * 32}'"}
    statement = f"INSERT INTO exp.stage_transitions ({', '.join(row)}) VALUES ({', '.join(row.values())})"
    with pytest.raises(psycopg.errors.UniqueViolation, match="stage_transitions_request_id_key"), owner.transaction():
        owner.execute(statement)
        owner.execute(statement)


def test_a_promotion_follows_one_other_uses_one_approval_and_is_asked_for_once(owner):
    def promotion(number, **changes):
        row = GOOD["promotions"] | {"request_id": f"'{number:032}'"} | changes
        return f"INSERT INTO exp.promotions ({', '.join(row)}) VALUES ({', '.join(row.values())})"

    approval = "(SELECT max(approval_id) FROM exp.approvals)"
    other_version = "'33333333-3333-3333-3333-333333333333'"
    following = {
        "policy_version_id": other_version, "version": "2", "replaced_policy_version_id": POLICY_VERSION_1,
        "replaced_version": "1", "previous_promotion_id": "(SELECT min(promotion_id) FROM exp.promotions)",
    }  # fmt: skip
    policy_version = GOOD["policy_versions"] | {"policy_version_id": other_version}
    with owner.transaction(force_rollback=True):
        for table, row in (("approvals", GOOD["approvals"]), ("policy_versions", policy_version)):
            owner.execute(f"INSERT INTO exp.{table} ({', '.join(row)}) VALUES ({', '.join(row.values())})")
        owner.execute(promotion(1, policy_version_id=POLICY_VERSION_1, approval_id=approval))
        for changes, constraint in (
            ({"policy_version_id": POLICY_VERSION_1}, "promotions_previous_promotion_id_key"),
            (following | {"request_id": f"'{1:032}'"}, "promotions_request_id_key"),
            (following | {"approval_id": approval}, "promotions_approval_id_key"),
            (following | {"replaced_policy_version_id": NOWHERE}, "promotions_replaced_policy_version_id_fkey"),
            (following | {"replaced_policy_version_id": other_version}, "promotions_replaced_check"),
            (
                following | {"kind": "'rollback'", "reason": "'it fails'", "restores_promotion_id": "-1"},
                "promotions_restores_promotion_id_fkey",
            ),
        ):
            with pytest.raises(psycopg.IntegrityError) as refused, owner.transaction():
                owner.execute(promotion(2, **changes))
            assert refused.value.diag.constraint_name == constraint
        owner.execute(promotion(2, **following))


def test_a_large_config_is_taken_and_told_from_another(owner):
    config = Jsonb({"prompt": "x" * 20_000})
    row = sql.SQL(
        "INSERT INTO exp.policy_versions (policy_id, version, mlflow_model_name, mlflow_model_version, config_defaults)"
        " VALUES ('houses_policy', {}, 'houses_model', '1', {})"
    )
    with pytest.raises(psycopg.errors.UniqueViolation, match="config_key"), owner.transaction():
        owner.execute(row.format(2, config))
        owner.execute(row.format(3, config))


def test_every_constraint_is_broken_by_a_test(owner):
    rows = owner.execute("""
        SELECT conname AS name FROM pg_constraint
        WHERE connamespace = 'exp'::regnamespace AND contype IN ('c', 'f', 'u', 'p')
        UNION SELECT tgname FROM pg_trigger
        WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'exp.%'
            AND tgname NOT LIKE '%\\_immutable\\_check' AND tgname NOT LIKE '%\\_tell'
            AND tgname <> 'policy_versions_candidate'
        UNION SELECT indexrelid::regclass::text FROM pg_index
        WHERE indisunique AND indrelid::regclass::text LIKE 'exp.%'
    """).fetchall()
    known = {constraint for _, _, constraint in BROKEN} | {
        "stage_transitions_request_id_key", "promotions_previous_promotion_id_key", "promotions_request_id_key",
        "promotions_approval_id_key", "promotions_replaced_policy_version_id_fkey",
        "promotions_restores_promotion_id_fkey",
    }  # fmt: skip
    generated_here = {
        "datasets_pkey", "jobs_pkey", "model_files_pkey", "evaluations_pkey", "stage_transitions_pkey",
        "drift_reports_pkey", "reproductions_pkey", "gates_pkey", "approval_rules_pkey", "approvals_pkey",
        "promotions_pkey", "reconciliations_pkey", "sweeps_pkey",
        # a trigger speaks before these
        "dataset_files_dataset_id_fkey",
        "policy_versions_version_check", "policy_versions_policy_id_version_key", "policy_versions_model_version_fkey",
        # in test_roles: it is about who inserts
        "evaluations_job_check",
        # a trigger makes what it asks for
        "policy_versions_policy_id_fkey",
        # contain the primary key: they are there for foreign keys
        "policy_versions_policy_id_policy_version_id_key", "promotions_policy_id_promotion_id_key",
    }  # fmt: skip
    names = {row["name"].removeprefix("exp.") for row in rows}
    assert {name for name in names - known - generated_here if not name.startswith("schema_migrations_")} == set()
