SET LOCAL ROLE modelyard_owner;

GRANT USAGE ON SCHEMA exp TO trainer, evaluator, reader, application, modelyard_viewer;

GRANT SELECT ON ALL TABLES IN SCHEMA exp TO trainer, evaluator, modelyard_viewer;
GRANT SELECT ON exp.stages, exp.live_policies, exp.verdicts, exp.lineage, exp.history, exp.job_states TO reader;
GRANT SELECT (mlflow_model_id, path, sha256, size_bytes) ON exp.model_files TO application;

-- Column by column: who made a row and when are defaults that no caller can set.
GRANT INSERT (
    name, version, workload, digest, raw_digest, raw_files, location, mlflow_run_id, num_rows, num_elements, schema,
    profile, split_counts, parameters, data_source
) ON exp.datasets TO trainer;
GRANT INSERT (dataset_id, path, sha256, size_bytes) ON exp.dataset_files TO trainer;
GRANT INSERT (mlflow_model_id, path, sha256, size_bytes) ON exp.model_files TO trainer;
GRANT INSERT (
    mlflow_model_name, mlflow_model_version, mlflow_run_id, mlflow_model_id, workload, task, model_type, dataset_id,
    job_id, parameters, code_version, metrics
) ON exp.model_versions TO trainer;
GRANT INSERT (
    mlflow_model_name, mlflow_model_version, dataset_id, gate, gate_sha256, baseline_policy_version_id, metrics,
    baselines, limits, reasons, passed, mlflow_run_id, job_id
) ON exp.evaluations TO evaluator;

GRANT EXECUTE ON FUNCTION exp.submit_job TO trainer, evaluator, modelyard_trainer;
GRANT EXECUTE ON FUNCTION exp.begin_attempt, exp.report_progress, exp.finish_attempt, exp.finish_job
TO trainer, evaluator;
GRANT EXECUTE ON FUNCTION exp.add_policy_version TO evaluator;
GRANT EXECUTE ON FUNCTION exp.resolve_policy TO application;

RESET ROLE;
SET LOCAL ROLE mlflow_owner;
GRANT USAGE, CREATE ON SCHEMA mlflow TO mlflow;
RESET ROLE;

-- backup reads everything. Who may not grant pg_read_all_data (no superuser) grants table by table, later ones too.
DO $$
BEGIN
    IF pg_has_role(current_user, 'pg_read_all_data', 'MEMBER WITH ADMIN OPTION') THEN
        GRANT pg_read_all_data TO backup;
    ELSE
        GRANT USAGE ON SCHEMA exp, mlflow, queue TO backup;
        GRANT SELECT ON ALL TABLES IN SCHEMA exp, mlflow, queue TO backup;
        GRANT SELECT ON ALL SEQUENCES IN SCHEMA exp, mlflow, queue TO backup;
        ALTER DEFAULT PRIVILEGES FOR ROLE modelyard_owner, mlflow_owner, mlflow GRANT SELECT ON TABLES TO backup;
        ALTER DEFAULT PRIVILEGES FOR ROLE modelyard_owner, mlflow_owner, mlflow GRANT SELECT ON SEQUENCES TO backup;
    END IF;
END
$$;
