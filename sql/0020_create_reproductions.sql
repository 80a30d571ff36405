SET LOCAL ROLE modelyard_owner;

-- Packages, processor and threads that a model was made with; null in rows of releases that did not keep them.
ALTER TABLE exp.model_versions ADD COLUMN environment jsonb
CONSTRAINT model_versions_environment_check CHECK (jsonb_typeof(environment) = 'object');
GRANT INSERT (environment) ON exp.model_versions TO trainer;

CREATE TABLE exp.reproductions (
    reproduction_id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT reproductions_pkey PRIMARY KEY,
    mlflow_model_name text NOT NULL,
    mlflow_model_version text NOT NULL,
    equal_predictions boolean NOT NULL,
    metrics jsonb NOT NULL CONSTRAINT reproductions_metrics_check CHECK (jsonb_typeof(metrics) = 'object'),
    differences jsonb NOT NULL CONSTRAINT reproductions_differences_check CHECK (jsonb_typeof(differences) = 'array'),
    code_version jsonb NOT NULL,
    environment jsonb NOT NULL,
    mlflow_run_id text NOT NULL CONSTRAINT reproductions_mlflow_run_id_key UNIQUE,
    job_id uuid CONSTRAINT reproductions_job_id_fkey REFERENCES exp.jobs,
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT reproductions_model_version_fkey FOREIGN KEY (mlflow_model_name, mlflow_model_version)
        REFERENCES exp.model_versions (mlflow_model_name, mlflow_model_version)
);
CREATE INDEX reproductions_model_version_idx ON exp.reproductions (mlflow_model_name, mlflow_model_version);
CREATE TRIGGER reproductions_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.reproductions
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();
GRANT SELECT ON exp.reproductions TO trainer, evaluator, modelyard_viewer;
GRANT INSERT (
    mlflow_model_name, mlflow_model_version, equal_predictions, metrics, differences, code_version, environment,
    mlflow_run_id, job_id
) ON exp.reproductions TO trainer;
