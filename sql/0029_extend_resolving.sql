SET LOCAL ROLE modelyard_owner;

-- What is needed to load a model and to know what it takes; of a model version alone, nothing about a policy.
CREATE TYPE exp.loadable AS (
    policy_id text,
    policy_version_id uuid,
    policy_version integer,
    mlflow_model_name text,
    mlflow_model_version text,
    mlflow_model_id text,
    config_defaults jsonb,
    workload text,
    task text,
    dataset_name text,
    dataset_version text,
    schema jsonb,
    targets jsonb
);

-- A policy's version, or without a number the one that is live now. A refusal names in its detail what there is.
CREATE FUNCTION exp.resolve_policy_version(policy_id text, version integer DEFAULT NULL) RETURNS exp.loadable
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    found_version exp.loadable;
BEGIN
    SELECT
        pv.policy_id, pv.policy_version_id, pv.version, pv.mlflow_model_name, pv.mlflow_model_version,
        v.mlflow_model_id, pv.config_defaults, v.workload, v.task, d.name, d.version, d.schema, d.targets
    INTO found_version
    FROM exp.policies AS p
    INNER JOIN exp.policy_versions AS pv ON pv.policy_version_id = CASE
        WHEN resolve_policy_version.version IS NULL THEN p.live_policy_version_id
        ELSE (
            SELECT numbered.policy_version_id FROM exp.policy_versions AS numbered
            WHERE numbered.policy_id = p.policy_id AND numbered.version = resolve_policy_version.version
        )
    END
    INNER JOIN exp.model_versions AS v
        ON pv.mlflow_model_name = v.mlflow_model_name AND pv.mlflow_model_version = v.mlflow_model_version
    INNER JOIN exp.datasets AS d ON v.dataset_id = d.dataset_id
    WHERE p.policy_id = resolve_policy_version.policy_id;
    IF NOT FOUND THEN
        IF NOT EXISTS (SELECT FROM exp.policies AS p WHERE p.policy_id = resolve_policy_version.policy_id) THEN
            RAISE no_data_found USING
                MESSAGE = format('there is no policy %s', resolve_policy_version.policy_id),
                DETAIL = (
                    SELECT coalesce(jsonb_agg(p.policy_id), '[]')::text
                    FROM (SELECT p.policy_id FROM exp.policies AS p ORDER BY p.created_at DESC LIMIT 1000) AS p
                ),
                CONSTRAINT = 'loadable_policy_check';
        ELSIF resolve_policy_version.version IS NULL THEN
            RAISE no_data_found USING
                MESSAGE = format('policy %s has no live version', resolve_policy_version.policy_id),
                CONSTRAINT = 'loadable_live_check';
        END IF;
        RAISE no_data_found USING
            MESSAGE = format('policy %s has no version %s',
                             resolve_policy_version.policy_id, resolve_policy_version.version),
            DETAIL = (
                SELECT coalesce(jsonb_agg(pv.version ORDER BY pv.version), '[]')::text
                FROM (
                    SELECT pv.version FROM exp.policy_versions AS pv
                    WHERE pv.policy_id = resolve_policy_version.policy_id ORDER BY pv.version DESC LIMIT 1000
                ) AS pv
            ),
            CONSTRAINT = 'loadable_version_check';
    END IF;
    RETURN found_version;
END
$$;

-- The same of a registered model version, whether or not a policy has it.
CREATE FUNCTION exp.resolve_model_version(model_name text, model_version text) RETURNS exp.loadable
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    found_version exp.loadable;
BEGIN
    SELECT
        NULL, NULL, NULL, v.mlflow_model_name, v.mlflow_model_version,
        v.mlflow_model_id, '{}', v.workload, v.task, d.name, d.version, d.schema, d.targets
    INTO found_version
    FROM exp.model_versions AS v
    INNER JOIN exp.datasets AS d ON v.dataset_id = d.dataset_id
    WHERE v.mlflow_model_name = resolve_model_version.model_name
        AND v.mlflow_model_version = resolve_model_version.model_version;
    IF NOT FOUND THEN
        RAISE no_data_found USING
            MESSAGE = format('there is no model version %s/%s',
                             resolve_model_version.model_name, resolve_model_version.model_version),
            DETAIL = (
                SELECT coalesce(jsonb_agg(v.mlflow_model_name || '/' || v.mlflow_model_version), '[]')::text
                FROM (
                    SELECT v.mlflow_model_name, v.mlflow_model_version FROM exp.model_versions AS v
                    ORDER BY v.mlflow_model_name = resolve_model_version.model_name DESC, v.created_at DESC LIMIT 1000
                ) AS v
            ),
            CONSTRAINT = 'loadable_model_check';
    END IF;
    RETURN found_version;
END
$$;

GRANT EXECUTE ON FUNCTION exp.resolve_policy_version, exp.resolve_model_version
TO application, trainer, evaluator, modelyard_viewer;
