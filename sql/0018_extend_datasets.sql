SET LOCAL ROLE modelyard_owner;

-- What a person logs from Python may have no raw files; what it was made from is then another dataset, or not known.
ALTER TABLE exp.datasets
    ALTER COLUMN raw_digest DROP NOT NULL,
    ADD COLUMN parent_dataset_id uuid CONSTRAINT datasets_parent_dataset_id_fkey REFERENCES exp.datasets,
    -- X, y and extra without the split: tells whether a later dataset only has more rows
    ADD COLUMN rows_digest text CONSTRAINT datasets_rows_digest_check CHECK (rows_digest ~ '^[0-9a-f]{64}$'),
    -- of the unfitted pipeline; '' where there is none, null in rows of releases that did not keep it
    ADD COLUMN preprocessing_hash text
        CONSTRAINT datasets_preprocessing_hash_check CHECK (preprocessing_hash ~ '^([0-9a-f]{40})?$'),
    ADD COLUMN targets jsonb NOT NULL DEFAULT '[]'
        CONSTRAINT datasets_targets_check CHECK (jsonb_typeof(targets) = 'array'),
    ADD COLUMN code_version jsonb NOT NULL DEFAULT '{}'
        CONSTRAINT datasets_code_version_check CHECK (jsonb_typeof(code_version) = 'object'),
    ADD COLUMN notes jsonb NOT NULL DEFAULT '{}'
        CONSTRAINT datasets_notes_check CHECK (jsonb_typeof(notes) = 'object'),
    -- expectations that did not hold and were allowed not to
    ADD COLUMN violations jsonb NOT NULL DEFAULT '[]'
        CONSTRAINT datasets_violations_check CHECK (jsonb_typeof(violations) = 'array'),
    ADD COLUMN job_id uuid CONSTRAINT datasets_job_id_fkey REFERENCES exp.jobs,
    -- when its content was deleted: the row stays, so that its version is never used again and lineage still names it
    ADD COLUMN removed_at timestamptz,
    ADD COLUMN removed_by text,
    ADD COLUMN removal_reason text CONSTRAINT datasets_removal_reason_check CHECK (removal_reason ~ '[^[:space:]]'),
    ADD COLUMN files_deleted_at timestamptz,
    ADD CONSTRAINT datasets_removed_at_check CHECK (
        (removed_at IS NULL) = (removed_by IS NULL) AND (removed_at IS NULL) = (removal_reason IS NULL)
        AND (removed_at IS NOT NULL OR files_deleted_at IS NULL)
    ),
    DROP CONSTRAINT datasets_name_digest_key;
-- the same rows with another pipeline are another dataset; what was deleted may be logged again, as a new version
CREATE UNIQUE INDEX datasets_name_digest_preprocessing_hash_key ON exp.datasets (name, digest, preprocessing_hash)
WHERE removed_at IS NULL;
CREATE INDEX datasets_mlflow_run_id_idx ON exp.datasets (mlflow_run_id);
CREATE INDEX datasets_parent_dataset_id_idx ON exp.datasets (parent_dataset_id);
-- the newest one made with certain parameters, where none or few of many were
CREATE INDEX datasets_parameters_idx ON exp.datasets USING gin (parameters jsonb_path_ops);
GRANT INSERT (
    parent_dataset_id, rows_digest, preprocessing_hash, targets, code_version, notes, violations, job_id
) ON exp.datasets TO trainer;

-- Which runs have used a dataset, whatever became of them.
CREATE TABLE exp.dataset_uses (
    dataset_id uuid NOT NULL CONSTRAINT dataset_uses_dataset_id_fkey REFERENCES exp.datasets,
    mlflow_run_id text NOT NULL CONSTRAINT dataset_uses_mlflow_run_id_check CHECK (mlflow_run_id <> ''),
    run_type text NOT NULL CONSTRAINT dataset_uses_run_type_check
        CHECK (run_type IN ('dataset', 'training', 'evaluation', 'blend')),
    context text NOT NULL CONSTRAINT dataset_uses_context_check CHECK (context <> ''),
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT dataset_uses_pkey PRIMARY KEY (dataset_id, mlflow_run_id, context)
);
CREATE INDEX dataset_uses_mlflow_run_id_idx ON exp.dataset_uses (mlflow_run_id);
CREATE TRIGGER dataset_uses_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.dataset_uses
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();
GRANT SELECT ON exp.dataset_uses TO trainer, evaluator, modelyard_viewer;
GRANT INSERT (dataset_id, mlflow_run_id, run_type, context) ON exp.dataset_uses TO trainer, evaluator;
