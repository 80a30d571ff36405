SET LOCAL ROLE modelyard_owner;

-- As before, for whoever may insert rows and nothing else: it runs as the owner, and the first version of a policy
-- makes the policy. The policy's row is the queue for its version numbers: MAX(version) + 1 alone gives one twice.
CREATE OR REPLACE FUNCTION exp.check_policy_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    owned_model text;
    next_version integer;
    refusal text;
BEGIN
    INSERT INTO exp.policies (policy_id, mlflow_model_name) VALUES (NEW.policy_id, NEW.mlflow_model_name)
    -- on any constraint: another transaction that makes the same policy may be seen by its model first
    ON CONFLICT DO NOTHING;
    SELECT p.mlflow_model_name INTO owned_model
    FROM exp.policies AS p WHERE p.policy_id = NEW.policy_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE unique_violation USING
            MESSAGE = format('another policy owns model %s', NEW.mlflow_model_name),
            CONSTRAINT = 'policies_mlflow_model_name_key';
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

-- A model version becomes a candidate with the first policy version of it; another config changes no stage.
CREATE FUNCTION exp.note_candidate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    INSERT INTO exp.stage_transitions (
        mlflow_model_name, mlflow_model_version, policy_id, policy_version_id, from_stage, to_stage, evaluation_id, reason
    )
    SELECT
        NEW.mlflow_model_name, NEW.mlflow_model_version, NEW.policy_id, NEW.policy_version_id, s.stage, 'candidate',
        e.evaluation_id, 'passed its evaluation'
    FROM exp.stages AS s
    CROSS JOIN LATERAL (
        SELECT passed.evaluation_id FROM exp.evaluations AS passed
        WHERE passed.mlflow_model_name = NEW.mlflow_model_name
            AND passed.mlflow_model_version = NEW.mlflow_model_version AND passed.passed
        ORDER BY passed.created_at DESC LIMIT 1
    ) AS e
    WHERE s.mlflow_model_name = NEW.mlflow_model_name AND s.mlflow_model_version = NEW.mlflow_model_version
        AND s.stage IN ('none', 'archived')
        -- what a person has archived stays so until a person takes that back
        AND NOT EXISTS (
            SELECT FROM (
                SELECT t.from_stage, t.to_stage FROM exp.stage_transitions AS t
                WHERE t.mlflow_model_name = NEW.mlflow_model_name
                    AND t.mlflow_model_version = NEW.mlflow_model_version
                ORDER BY t.stage_transition_id DESC LIMIT 1
            ) AS last_move
            WHERE last_move.from_stage = 'candidate' AND last_move.to_stage = 'archived'
        );
    RETURN NULL;
END
$$;
CREATE TRIGGER policy_versions_candidate AFTER INSERT ON exp.policy_versions
FOR EACH ROW EXECUTE FUNCTION exp.note_candidate();

-- The policy's version of this model version and config: the one that is there, else the next one, as a candidate.
CREATE OR REPLACE FUNCTION exp.add_policy_version(
    policy_id text, model_name text, model_version text, config_defaults jsonb DEFAULT '{}'
) RETURNS exp.policy_versions
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    found_version exp.policy_versions;
BEGIN
    -- whoever adds the same at the same time waits here, also where there is no policy yet
    PERFORM pg_advisory_xact_lock(hashtextextended('policy ' || add_policy_version.policy_id, 0));
    SELECT pv.* INTO found_version FROM exp.policy_versions AS pv
    WHERE pv.policy_id = add_policy_version.policy_id
        AND pv.mlflow_model_name = add_policy_version.model_name
        AND pv.mlflow_model_version = add_policy_version.model_version
        AND pv.config_md5 = md5(add_policy_version.config_defaults::text);
    IF FOUND THEN
        RETURN found_version;
    END IF;
    PERFORM FROM exp.policies AS p WHERE p.policy_id = add_policy_version.policy_id FOR NO KEY UPDATE;
    INSERT INTO exp.policy_versions (policy_id, version, mlflow_model_name, mlflow_model_version, config_defaults)
    SELECT
        add_policy_version.policy_id, coalesce(max(pv.version), 0) + 1,
        add_policy_version.model_name, add_policy_version.model_version, add_policy_version.config_defaults
    FROM exp.policy_versions AS pv WHERE pv.policy_id = add_policy_version.policy_id
    RETURNING policy_versions.* INTO found_version;
    RETURN found_version;
END
$$;

GRANT INSERT (policy_id, version, mlflow_model_name, mlflow_model_version, config_defaults) ON exp.policy_versions
TO modelyard_promoter;
GRANT EXECUTE ON FUNCTION exp.add_policy_version TO modelyard_promoter;
