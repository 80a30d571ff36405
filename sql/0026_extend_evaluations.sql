SET LOCAL ROLE modelyard_owner;

-- What the model version was compared on: rows, units of resampling, an interval per metric. Null in earlier rows.
ALTER TABLE exp.evaluations ADD COLUMN comparison jsonb
CONSTRAINT evaluations_comparison_check CHECK (jsonb_typeof(comparison) = 'object');
-- Whether test rows that a model was trained on were left out: then it is a verdict of its own.
ALTER TABLE exp.evaluations ADD COLUMN unseen_rows boolean NOT NULL DEFAULT false;
ALTER TABLE exp.evaluations DROP CONSTRAINT evaluations_verdict_key;
ALTER TABLE exp.evaluations ADD CONSTRAINT evaluations_verdict_key UNIQUE NULLS NOT DISTINCT
(mlflow_model_name, mlflow_model_version, dataset_id, gate_sha256, baseline_policy_version_id, unseen_rows);
GRANT INSERT (comparison, unseen_rows) ON exp.evaluations TO evaluator;
