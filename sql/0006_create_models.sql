SET LOCAL ROLE modelyard_owner;

-- Files of an MLflow logged model (m-…), recorded after the upload and before the registration.
CREATE TABLE exp.model_files (
    mlflow_model_id text NOT NULL CONSTRAINT model_files_mlflow_model_id_check CHECK (mlflow_model_id <> ''),
    path text NOT NULL,
    sha256 text NOT NULL CONSTRAINT model_files_sha256_check CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    size_bytes bigint NOT NULL CONSTRAINT model_files_size_bytes_check CHECK (size_bytes >= 0),
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT model_files_pkey PRIMARY KEY (mlflow_model_id, path)
);

CREATE TABLE exp.model_versions (
    mlflow_model_name text NOT NULL,
    mlflow_model_version text NOT NULL CONSTRAINT model_versions_mlflow_model_version_check
        CHECK (mlflow_model_version ~ '^[1-9][0-9]{0,8}$'),
    mlflow_run_id text NOT NULL CONSTRAINT model_versions_mlflow_run_id_key UNIQUE,
    mlflow_model_id text NOT NULL,
    workload text NOT NULL,
    task text NOT NULL,
    model_type text NOT NULL,
    dataset_id uuid NOT NULL CONSTRAINT model_versions_dataset_id_fkey REFERENCES exp.datasets,
    job_id uuid CONSTRAINT model_versions_job_id_fkey REFERENCES exp.jobs,
    parameters jsonb NOT NULL,
    code_version jsonb NOT NULL,
    metrics jsonb NOT NULL,
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT model_versions_pkey PRIMARY KEY (mlflow_model_name, mlflow_model_version)
);
CREATE INDEX model_versions_dataset_id_idx ON exp.model_versions (dataset_id);
CREATE INDEX model_versions_mlflow_model_id_idx ON exp.model_versions (mlflow_model_id);

-- Registration closes a model's list of files. Both triggers take the same lock, or a file could slip in between.
CREATE FUNCTION exp.require_model_files() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('model_files ' || NEW.mlflow_model_id, 0));
    IF NOT EXISTS (SELECT FROM exp.model_files AS f WHERE f.mlflow_model_id = NEW.mlflow_model_id) THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('model version %s %s is refused: no file of its model %s is recorded',
                             NEW.mlflow_model_name, NEW.mlflow_model_version, NEW.mlflow_model_id),
            HINT = 'record the sha256 of every model file in exp.model_files first',
            CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER model_versions_files_check BEFORE INSERT ON exp.model_versions
FOR EACH ROW EXECUTE FUNCTION exp.require_model_files();

CREATE FUNCTION exp.refuse_late_files() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('model_files ' || NEW.mlflow_model_id, 0));
    IF EXISTS (SELECT FROM exp.model_versions AS v WHERE v.mlflow_model_id = NEW.mlflow_model_id) THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('file %s is refused: model %s is registered, its list of files is closed',
                             NEW.path, NEW.mlflow_model_id),
            CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER model_files_closed_check BEFORE INSERT ON exp.model_files
FOR EACH ROW EXECUTE FUNCTION exp.refuse_late_files();

CREATE TRIGGER model_files_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.model_files
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();
CREATE TRIGGER model_versions_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.model_versions
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();
