SET LOCAL ROLE modelyard_owner;

-- A view runs with its owner's rights, so that a reader needs none on the tables.

CREATE VIEW exp.stages AS
SELECT
    v.mlflow_model_name,
    v.mlflow_model_version,
    CASE
        WHEN live.policy_id IS NOT NULL THEN 'production'
        -- the policy's row is the truth: what it does not name is not in production
        WHEN last.to_stage = 'production' THEN 'archived'
        ELSE coalesce(last.to_stage, 'none')
    END AS stage,
    coalesce(live.policy_id, last.policy_id) AS policy_id,
    coalesce(last.occurred_at, v.created_at) AS stage_since_at,
    coalesce(last.actor, v.created_by) AS actor,
    last.reason
FROM exp.model_versions AS v
LEFT JOIN LATERAL (
    SELECT p.policy_id
    FROM exp.policies AS p
    INNER JOIN exp.policy_versions AS pv ON p.live_policy_version_id = pv.policy_version_id
    WHERE pv.mlflow_model_name = v.mlflow_model_name AND pv.mlflow_model_version = v.mlflow_model_version
    LIMIT 1
) AS live ON true
LEFT JOIN LATERAL (
    SELECT t.to_stage, t.policy_id, t.occurred_at, t.actor, t.reason
    FROM exp.stage_transitions AS t
    WHERE t.mlflow_model_name = v.mlflow_model_name AND t.mlflow_model_version = v.mlflow_model_version
    ORDER BY t.stage_transition_id DESC
    LIMIT 1
) AS last ON true;

CREATE VIEW exp.live_policies AS
SELECT
    p.policy_id,
    p.mlflow_model_name,
    p.requires_approval,
    pv.policy_version_id,
    pv.version,
    v.mlflow_model_version,
    v.mlflow_model_id,
    pv.config_defaults
FROM exp.policies AS p
LEFT JOIN exp.policy_versions AS pv ON p.live_policy_version_id = pv.policy_version_id
LEFT JOIN exp.model_versions AS v
    ON pv.mlflow_model_name = v.mlflow_model_name AND pv.mlflow_model_version = v.mlflow_model_version;

CREATE VIEW exp.verdicts AS
SELECT
    e.evaluation_id,
    e.mlflow_model_name,
    e.mlflow_model_version,
    e.passed,
    e.reasons,
    e.metrics,
    e.baselines,
    e.limits,
    d.name AS dataset_name,
    d.version AS dataset_version,
    d.digest AS dataset_digest,
    e.gate_sha256,
    b.policy_id AS baseline_policy_id,
    b.version AS baseline_version,
    e.mlflow_run_id,
    e.created_by,
    e.created_at
FROM exp.evaluations AS e
INNER JOIN exp.datasets AS d ON e.dataset_id = d.dataset_id
LEFT JOIN exp.policy_versions AS b ON e.baseline_policy_version_id = b.policy_version_id;

CREATE VIEW exp.lineage AS
SELECT
    v.mlflow_model_name,
    v.mlflow_model_version,
    v.workload,
    v.model_type,
    v.parameters,
    v.code_version,
    v.metrics,
    v.mlflow_run_id,
    v.mlflow_model_id,
    d.name AS dataset_name,
    d.version AS dataset_version,
    d.digest AS dataset_digest,
    d.location AS dataset_location,
    d.mlflow_run_id AS dataset_run_id,
    d.parameters AS dataset_parameters,
    d.data_source,
    d.raw_digest,
    d.raw_files,
    v.job_id,
    v.created_by,
    v.created_at
FROM exp.model_versions AS v
INNER JOIN exp.datasets AS d ON v.dataset_id = d.dataset_id;

CREATE VIEW exp.history AS
SELECT
    t.stage_transition_id,
    t.occurred_at,
    t.policy_id,
    pv.version AS policy_version,
    t.mlflow_model_name,
    t.mlflow_model_version,
    t.from_stage,
    t.to_stage,
    t.actor,
    t.reason,
    t.evaluation_id,
    t.request_id
FROM exp.stage_transitions AS t
INNER JOIN exp.policy_versions AS pv ON t.policy_version_id = pv.policy_version_id;

CREATE VIEW exp.job_states AS
SELECT
    j.job_id,
    j.kind,
    j.arguments,
    j.fingerprint,
    j.state,
    j.result,
    coalesce(j.error, a.error) AS error,
    coalesce(a.attempt, 0) AS attempt,
    a.worker,
    coalesce(a.progress_share, 0) AS progress_share,
    coalesce(a.progress_message, '') AS progress_message,
    j.created_by,
    j.created_at,
    a.progressed_at,
    j.finished_at
FROM exp.jobs AS j
LEFT JOIN LATERAL (
    SELECT last.* FROM exp.attempts AS last WHERE last.job_id = j.job_id ORDER BY last.attempt DESC LIMIT 1
) AS a ON true;
