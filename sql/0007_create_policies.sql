SET LOCAL ROLE modelyard_owner;

CREATE TABLE exp.policies (
    policy_id text NOT NULL CONSTRAINT policies_policy_id_check CHECK (policy_id ~ '^[a-z][a-z0-9_]{0,99}$')
        CONSTRAINT policies_pkey PRIMARY KEY,
    mlflow_model_name text NOT NULL CONSTRAINT policies_mlflow_model_name_key UNIQUE,
    live_policy_version_id uuid,
    requires_approval boolean NOT NULL DEFAULT false,
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE exp.policy_versions (
    policy_version_id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT policy_versions_pkey PRIMARY KEY,
    policy_id text NOT NULL CONSTRAINT policy_versions_policy_id_fkey REFERENCES exp.policies,
    version integer NOT NULL CONSTRAINT policy_versions_version_check CHECK (version >= 1),
    mlflow_model_name text NOT NULL,
    mlflow_model_version text NOT NULL,
    config_defaults jsonb NOT NULL DEFAULT '{}' CONSTRAINT policy_versions_config_defaults_check
        CHECK (jsonb_typeof(config_defaults) = 'object'),
    -- a unique key over jsonb itself fails when the value is large
    config_md5 text NOT NULL GENERATED ALWAYS AS (md5(config_defaults::text)) STORED,
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT policy_versions_model_version_fkey FOREIGN KEY (mlflow_model_name, mlflow_model_version)
        REFERENCES exp.model_versions (mlflow_model_name, mlflow_model_version),
    CONSTRAINT policy_versions_policy_id_version_key UNIQUE (policy_id, version),
    CONSTRAINT policy_versions_policy_id_model_config_key
        UNIQUE (policy_id, mlflow_model_name, mlflow_model_version, config_md5),
    CONSTRAINT policy_versions_policy_id_policy_version_id_key UNIQUE (policy_id, policy_version_id)
);
CREATE INDEX policy_versions_model_version_idx ON exp.policy_versions (mlflow_model_name, mlflow_model_version);

-- What is live is one column of one row, and it can only name a version of this very policy.
ALTER TABLE exp.policies ADD CONSTRAINT policies_live_policy_version_id_fkey
FOREIGN KEY (policy_id, live_policy_version_id) REFERENCES exp.policy_versions (policy_id, policy_version_id);

CREATE TRIGGER policy_versions_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.policy_versions
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();
CREATE TRIGGER policies_immutable_check
BEFORE UPDATE OF policy_id, mlflow_model_name, created_by, created_at OR DELETE OR TRUNCATE ON exp.policies
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();
