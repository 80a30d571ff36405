SET LOCAL ROLE modelyard_owner;

-- What people ask about the past and the present of policies. A view runs with its owner's rights.

-- Who changed what is live, when, why, on what evidence, and what was there before.
CREATE VIEW exp.promotion_history AS
SELECT
    p.promotion_id,
    p.occurred_at,
    p.policy_id,
    p.kind,
    p.version,
    pv.mlflow_model_name,
    pv.mlflow_model_version,
    pv.config_defaults,
    p.replaced_version,
    rv.mlflow_model_version AS replaced_model_version,
    p.actor,
    p.reason,
    a.created_by AS approved_by,
    p.evaluation_id,
    e.metrics,
    d.name AS dataset_name,
    d.version AS dataset_version,
    d.digest AS dataset_digest,
    e.gate_sha256,
    e.mlflow_run_id AS evaluation_run_id,
    -- of a rollback: the moment whose state it restored
    r.occurred_at AS restored_at,
    p.request_id
FROM exp.promotions AS p
INNER JOIN exp.policy_versions AS pv ON p.policy_version_id = pv.policy_version_id
LEFT JOIN exp.policy_versions AS rv ON p.replaced_policy_version_id = rv.policy_version_id
LEFT JOIN exp.approvals AS a ON p.approval_id = a.approval_id
LEFT JOIN exp.evaluations AS e ON p.evaluation_id = e.evaluation_id
LEFT JOIN exp.datasets AS d ON e.dataset_id = d.dataset_id
LEFT JOIN exp.promotions AS r ON p.restores_promotion_id = r.promotion_id;

-- What was live from when until when. At a moment t it is the row with from_at <= t AND (until_at > t OR until_at IS
-- NULL); before a policy's first row nothing was.
CREATE VIEW exp.served AS
SELECT
    p.policy_id,
    p.version,
    pv.policy_version_id,
    pv.mlflow_model_name,
    pv.mlflow_model_version,
    pv.config_defaults,
    p.occurred_at AS from_at,
    next.occurred_at AS until_at,
    p.kind,
    p.actor,
    p.reason,
    p.promotion_id
FROM exp.promotions AS p
INNER JOIN exp.policy_versions AS pv ON p.policy_version_id = pv.policy_version_id
LEFT JOIN exp.promotions AS next
    ON p.policy_id = next.policy_id AND p.promotion_id = next.previous_promotion_id;

-- Every policy: what is live since when and by whom, and what waits.
CREATE VIEW exp.policy_overview AS
SELECT
    p.policy_id,
    p.mlflow_model_name,
    p.requires_approval,
    live.version AS live_version,
    live.mlflow_model_version AS live_model_version,
    last.occurred_at AS live_since_at,
    last.actor AS live_by,
    last.reason AS live_reason,
    newest.version AS newest_version,
    newest.mlflow_model_version AS newest_model_version,
    newest.stage AS newest_stage,
    (SELECT count(*) FROM exp.promotions AS l WHERE l.policy_id = p.policy_id) AS nb_changes,
    p.created_by,
    p.created_at
FROM exp.policies AS p
LEFT JOIN exp.policy_versions AS live ON p.live_policy_version_id = live.policy_version_id
LEFT JOIN LATERAL (
    SELECT l.occurred_at, l.actor, l.reason FROM exp.promotions AS l
    WHERE l.policy_id = p.policy_id ORDER BY l.promotion_id DESC LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
    SELECT pv.version, pv.mlflow_model_version, s.stage
    FROM exp.policy_versions AS pv
    INNER JOIN exp.stages AS s USING (mlflow_model_name, mlflow_model_version)
    WHERE pv.policy_id = p.policy_id ORDER BY pv.version DESC LIMIT 1
) AS newest ON true;

GRANT SELECT ON exp.promotion_history, exp.served, exp.policy_overview
TO trainer, evaluator, reader, modelyard_viewer;
