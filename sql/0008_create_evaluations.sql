SET LOCAL ROLE modelyard_owner;

CREATE TABLE exp.evaluations (
    evaluation_id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT evaluations_pkey PRIMARY KEY,
    mlflow_model_name text NOT NULL,
    mlflow_model_version text NOT NULL,
    dataset_id uuid NOT NULL CONSTRAINT evaluations_dataset_id_fkey REFERENCES exp.datasets,
    gate jsonb NOT NULL,
    gate_sha256 text NOT NULL CONSTRAINT evaluations_gate_sha256_check CHECK (gate_sha256 ~ '^[0-9a-f]{64}$'),
    baseline_policy_version_id uuid CONSTRAINT evaluations_baseline_policy_version_id_fkey
        REFERENCES exp.policy_versions,
    -- null stands for a metric that is missing or not finite, and never passes
    metrics jsonb NOT NULL CONSTRAINT evaluations_metrics_check CHECK (
        jsonb_typeof(metrics) = 'object'
        AND NOT jsonb_path_exists(metrics, '$.* ? (@.type() != "number" && @.type() != "null")')
    ),
    baselines jsonb NOT NULL CONSTRAINT evaluations_baselines_check CHECK (jsonb_typeof(baselines) = 'object'),
    limits jsonb NOT NULL CONSTRAINT evaluations_limits_check CHECK (jsonb_typeof(limits) = 'array'),
    reasons jsonb NOT NULL,
    passed boolean NOT NULL,
    mlflow_run_id text NOT NULL,
    job_id uuid CONSTRAINT evaluations_job_id_fkey REFERENCES exp.jobs,
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT evaluations_model_version_fkey FOREIGN KEY (mlflow_model_name, mlflow_model_version)
        REFERENCES exp.model_versions (mlflow_model_name, mlflow_model_version),
    CONSTRAINT evaluations_reasons_check CHECK (
        jsonb_typeof(reasons) = 'array'
        AND NOT jsonb_path_exists(reasons, 'strict $[*] ? (@.type() != "string")')
        AND passed = (reasons = '[]')
    ),
    CONSTRAINT evaluations_passed_check CHECK (
        NOT passed OR (metrics <> '{}' AND NOT jsonb_path_exists(metrics, '$.* ? (@ == null)'))
    ),
    CONSTRAINT evaluations_verdict_key UNIQUE NULLS NOT DISTINCT
        (mlflow_model_name, mlflow_model_version, dataset_id, gate_sha256, baseline_policy_version_id)
);

CREATE TRIGGER evaluations_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.evaluations
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();

-- The policy's row is the queue for its version numbers: MAX(version) + 1 alone gives the same number twice.
CREATE FUNCTION exp.check_policy_version() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    owned_model text;
    next_version integer;
    refusal text;
BEGIN
    SELECT p.mlflow_model_name INTO owned_model
    FROM exp.policies AS p WHERE p.policy_id = NEW.policy_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NEW;  -- the foreign key says it better
    END IF;
    SELECT coalesce(max(v.version), 0) + 1 INTO next_version
    FROM exp.policy_versions AS v WHERE v.policy_id = NEW.policy_id;

    refusal := CASE
        WHEN NEW.mlflow_model_name <> owned_model THEN
            format('its model is %s, not %s', owned_model, NEW.mlflow_model_name)
        WHEN NEW.version <> next_version THEN
            format('its next version is %s, not %s', next_version, NEW.version)
        WHEN NOT EXISTS (
            SELECT FROM exp.evaluations AS e
            WHERE e.mlflow_model_name = NEW.mlflow_model_name
                AND e.mlflow_model_version = NEW.mlflow_model_version
                AND e.passed
        ) THEN
            format('%s version %s has no passed evaluation', NEW.mlflow_model_name, NEW.mlflow_model_version)
    END;
    IF refusal IS NOT NULL THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('policy %s takes no such version: %s', NEW.policy_id, refusal),
            CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER policy_versions_insert_check BEFORE INSERT ON exp.policy_versions
FOR EACH ROW EXECUTE FUNCTION exp.check_policy_version();
