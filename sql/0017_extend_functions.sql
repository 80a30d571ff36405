SET LOCAL ROLE modelyard_owner;

-- As before, but made by two at once the first time it is one policy, and no refusal.
-- The policy's version of this model version and config: the one that is there, else the next one, as a candidate.
CREATE OR REPLACE FUNCTION exp.add_policy_version(
    policy_id text, model_name text, model_version text, config_defaults jsonb DEFAULT '{}'
) RETURNS exp.policy_versions
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    found_version exp.policy_versions;
    old_stage text;
BEGIN
    INSERT INTO exp.policies (policy_id, mlflow_model_name)
    VALUES (add_policy_version.policy_id, add_policy_version.model_name)
    -- on any constraint: another transaction that makes the same policy may be seen by its model first
    ON CONFLICT DO NOTHING;
    PERFORM FROM exp.policies AS p WHERE p.policy_id = add_policy_version.policy_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE unique_violation USING
            MESSAGE = format('another policy owns model %s', add_policy_version.model_name),
            CONSTRAINT = 'policies_mlflow_model_name_key';
    END IF;

    SELECT pv.* INTO found_version FROM exp.policy_versions AS pv
    WHERE pv.policy_id = add_policy_version.policy_id
        AND pv.mlflow_model_name = add_policy_version.model_name
        AND pv.mlflow_model_version = add_policy_version.model_version
        AND pv.config_md5 = md5(add_policy_version.config_defaults::text);
    IF FOUND THEN
        RETURN found_version;
    END IF;

    INSERT INTO exp.policy_versions (policy_id, version, mlflow_model_name, mlflow_model_version, config_defaults)
    SELECT
        add_policy_version.policy_id, coalesce(max(pv.version), 0) + 1,
        add_policy_version.model_name, add_policy_version.model_version, add_policy_version.config_defaults
    FROM exp.policy_versions AS pv WHERE pv.policy_id = add_policy_version.policy_id
    RETURNING policy_versions.* INTO found_version;

    SELECT s.stage INTO old_stage FROM exp.stages AS s
    WHERE s.mlflow_model_name = add_policy_version.model_name
        AND s.mlflow_model_version = add_policy_version.model_version;
    -- another config of a model version that is a candidate or live changes no stage
    IF old_stage IN ('none', 'archived') THEN
        INSERT INTO exp.stage_transitions (
            mlflow_model_name, mlflow_model_version, policy_id, policy_version_id,
            from_stage, to_stage, evaluation_id, reason
        )
        SELECT
            e.mlflow_model_name, e.mlflow_model_version, found_version.policy_id, found_version.policy_version_id,
            old_stage, 'candidate', e.evaluation_id, 'passed its evaluation'
        FROM exp.evaluations AS e
        WHERE e.mlflow_model_name = add_policy_version.model_name
            AND e.mlflow_model_version = add_policy_version.model_version
            AND e.passed
        ORDER BY e.created_at DESC LIMIT 1;
    END IF;
    RETURN found_version;
END
$$;
