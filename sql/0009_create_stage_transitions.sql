SET LOCAL ROLE modelyard_owner;

CREATE TABLE exp.stage_transitions (
    stage_transition_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT stage_transitions_pkey PRIMARY KEY,
    mlflow_model_name text NOT NULL,
    mlflow_model_version text NOT NULL,
    policy_id text NOT NULL,
    policy_version_id uuid NOT NULL,
    from_stage text NOT NULL CONSTRAINT stage_transitions_from_stage_check
        CHECK (from_stage IN ('none', 'candidate', 'production', 'archived')),
    to_stage text NOT NULL CONSTRAINT stage_transitions_to_stage_check
        CHECK (to_stage IN ('none', 'candidate', 'production', 'archived')),
    evaluation_id uuid CONSTRAINT stage_transitions_evaluation_id_fkey REFERENCES exp.evaluations,
    reason text NOT NULL,
    request_id uuid,
    actor text NOT NULL DEFAULT session_user,
    -- the time of the statement, not of the transaction, which may have waited for a lock
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT stage_transitions_model_version_fkey FOREIGN KEY (mlflow_model_name, mlflow_model_version)
        REFERENCES exp.model_versions (mlflow_model_name, mlflow_model_version),
    CONSTRAINT stage_transitions_policy_version_id_fkey FOREIGN KEY (policy_id, policy_version_id)
        REFERENCES exp.policy_versions (policy_id, policy_version_id),
    -- one request moves several model versions, each at most once to a stage
    CONSTRAINT stage_transitions_request_id_key
        UNIQUE (request_id, mlflow_model_name, mlflow_model_version, to_stage)
);
CREATE INDEX stage_transitions_model_version_idx
ON exp.stage_transitions (mlflow_model_name, mlflow_model_version, stage_transition_id DESC);
CREATE INDEX stage_transitions_policy_id_occurred_at_idx ON exp.stage_transitions (policy_id, occurred_at DESC);

CREATE TRIGGER stage_transitions_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.stage_transitions
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();
