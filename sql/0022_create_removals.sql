SET LOCAL ROLE modelyard_owner;

-- A dataset's row is never changed, but for the note that its content was deleted; that is written by functions only.
DROP TRIGGER datasets_immutable_check ON exp.datasets;
CREATE TRIGGER datasets_immutable_check
BEFORE UPDATE OF
dataset_id, name, version, workload, digest, raw_digest, raw_files, location, mlflow_run_id, num_rows, num_elements,
schema, profile, split_counts, parameters, data_source, created_by, created_at, created_xact, parent_dataset_id,
rows_digest, preprocessing_hash, targets, code_version, notes, violations, job_id
OR DELETE OR TRUNCATE ON exp.datasets
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();

CREATE INDEX evaluations_dataset_id_idx ON exp.evaluations (dataset_id);

-- What stands in the way of deleting a dataset: a kind and a name each.
CREATE FUNCTION exp.list_dataset_dependents(dataset_id uuid) RETURNS TABLE (kind text, name text)
LANGUAGE sql STABLE SET search_path = pg_catalog, exp, pg_temp AS $$
    SELECT 'model version', format('%s/%s', v.mlflow_model_name, v.mlflow_model_version)
    FROM exp.model_versions AS v WHERE v.dataset_id = list_dataset_dependents.dataset_id
    UNION ALL
    SELECT 'policy version', format('%s version %s', pv.policy_id, pv.version)
    FROM exp.policy_versions AS pv
    INNER JOIN exp.model_versions AS v
        ON pv.mlflow_model_name = v.mlflow_model_name AND pv.mlflow_model_version = v.mlflow_model_version
    WHERE v.dataset_id = list_dataset_dependents.dataset_id
    UNION ALL
    SELECT 'evaluation', format('%s/%s', e.mlflow_model_name, e.mlflow_model_version)
    FROM exp.evaluations AS e WHERE e.dataset_id = list_dataset_dependents.dataset_id
    UNION ALL
    SELECT 'dataset', format('%s %s', d.name, d.version)
    FROM exp.datasets AS d
    WHERE d.parent_dataset_id = list_dataset_dependents.dataset_id AND d.removed_at IS NULL
    UNION ALL
    SELECT 'job', j.job_id::text
    FROM exp.jobs AS j
    WHERE j.state IN ('queued', 'running')
        AND (
            j.arguments ->> 'dataset_id' = list_dataset_dependents.dataset_id::text
            OR j.arguments ->> 'current_dataset_id' = list_dataset_dependents.dataset_id::text
            -- what it has logged or chosen itself
            OR EXISTS (
                SELECT FROM exp.attempts AS a
                WHERE a.job_id = j.job_id AND a.state = 'running' AND a.results @> jsonb_build_array(
                    jsonb_build_object('value', jsonb_build_object('dataset_id', list_dataset_dependents.dataset_id))
                )
            )
        )
$$;

-- Nothing loads a dataset from here on; its files are deleted after this. Refused while anything refers to it.
CREATE FUNCTION exp.remove_dataset(dataset_id uuid, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    dependents text;
BEGIN
    -- whoever refers to the row from now on waits for this transaction, and is refused by the trigger below
    PERFORM FROM exp.datasets AS d WHERE d.dataset_id = remove_dataset.dataset_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING
            MESSAGE = format('there is no dataset with id %s', remove_dataset.dataset_id),
            CONSTRAINT = 'datasets_pkey';
    END IF;
    SELECT string_agg(format('%s %s', o.kind, o.name), ', ' ORDER BY o.kind, o.name) INTO dependents
    FROM exp.list_dataset_dependents(remove_dataset.dataset_id) AS o;
    IF dependents IS NOT NULL THEN
        RAISE restrict_violation USING
            MESSAGE = format('it is used by: %s', dependents),
            CONSTRAINT = 'datasets_removal_check';
    END IF;
    UPDATE exp.datasets AS d
    SET removed_at = clock_timestamp(), removed_by = session_user, removal_reason = remove_dataset.reason
    WHERE d.dataset_id = remove_dataset.dataset_id AND d.removed_at IS NULL;
END
$$;

CREATE FUNCTION exp.note_files_deleted(dataset_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
    UPDATE exp.datasets AS d SET files_deleted_at = clock_timestamp()
    WHERE d.dataset_id = note_files_deleted.dataset_id AND d.removed_at IS NOT NULL AND d.files_deleted_at IS NULL
$$;

-- Runs as the owner: a lock on a row is more than its readers may take.
CREATE FUNCTION exp.refuse_removed_dataset() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    used exp.datasets;
BEGIN
    -- the same lock as a foreign key's, taken before the look
    SELECT d.* INTO used FROM exp.datasets AS d
    WHERE d.dataset_id = (to_jsonb(NEW) ->> TG_ARGV[0])::uuid FOR KEY SHARE;
    IF used.removed_at IS NOT NULL THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('dataset %s %s was deleted by %s and cannot be used any more',
                             used.name, used.version, used.removed_by),
            CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER model_versions_removed_check BEFORE INSERT ON exp.model_versions
FOR EACH ROW EXECUTE FUNCTION exp.refuse_removed_dataset('dataset_id');
CREATE TRIGGER evaluations_removed_check BEFORE INSERT ON exp.evaluations
FOR EACH ROW EXECUTE FUNCTION exp.refuse_removed_dataset('dataset_id');
CREATE TRIGGER datasets_removed_check BEFORE INSERT ON exp.datasets
FOR EACH ROW EXECUTE FUNCTION exp.refuse_removed_dataset('parent_dataset_id');

GRANT EXECUTE ON FUNCTION exp.list_dataset_dependents TO modelyard_viewer;
GRANT EXECUTE ON FUNCTION exp.remove_dataset, exp.note_files_deleted TO modelyard_trainer;
