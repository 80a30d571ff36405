SET LOCAL ROLE modelyard_owner;

CREATE TABLE exp.drift_reports (
    drift_report_id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT drift_reports_pkey PRIMARY KEY,
    -- the reference
    dataset_id uuid NOT NULL CONSTRAINT drift_reports_dataset_id_fkey REFERENCES exp.datasets,
    -- what was held against it: a dataset of ours, or raw data
    current_dataset_id uuid CONSTRAINT drift_reports_current_dataset_id_fkey REFERENCES exp.datasets,
    current_digest text NOT NULL CONSTRAINT drift_reports_current_digest_check CHECK (current_digest ~ '^[0-9a-f]{64}$'),
    current_raw_digest text
        CONSTRAINT drift_reports_current_raw_digest_check CHECK (current_raw_digest ~ '^[0-9a-f]{64}$'),
    current_rows bigint NOT NULL CONSTRAINT drift_reports_current_rows_check CHECK (current_rows > 0),
    columns jsonb NOT NULL CONSTRAINT drift_reports_columns_check CHECK (jsonb_typeof(columns) = 'array'),
    limits jsonb NOT NULL CONSTRAINT drift_reports_limits_check CHECK (jsonb_typeof(limits) = 'object'),
    drifted boolean NOT NULL,
    mlflow_run_id text NOT NULL CONSTRAINT drift_reports_mlflow_run_id_key UNIQUE,
    job_id uuid CONSTRAINT drift_reports_job_id_fkey REFERENCES exp.jobs,
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX drift_reports_dataset_id_idx ON exp.drift_reports (dataset_id, created_at);
CREATE INDEX drift_reports_current_dataset_id_idx ON exp.drift_reports (current_dataset_id);
CREATE INDEX drift_reports_current_raw_digest_idx ON exp.drift_reports (current_raw_digest);
CREATE INDEX drift_reports_job_id_idx ON exp.drift_reports (job_id);
CREATE TRIGGER drift_reports_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.drift_reports
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();
GRANT SELECT ON exp.drift_reports TO trainer, evaluator, modelyard_viewer;
GRANT INSERT (
    dataset_id, current_dataset_id, current_digest, current_raw_digest, current_rows, columns, limits, drifted,
    mlflow_run_id, job_id
) ON exp.drift_reports TO evaluator;
