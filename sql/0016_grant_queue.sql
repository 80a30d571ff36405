SET LOCAL ROLE modelyard_owner;

GRANT EXECUTE ON FUNCTION exp.submit_job TO trainer, evaluator, modelyard_trainer;
GRANT EXECUTE ON FUNCTION exp.cancel_job, exp.retry_job TO modelyard_trainer;
GRANT EXECUTE ON FUNCTION
exp.begin_attempt, exp.hold_attempt, exp.renew_claim, exp.report_progress, exp.report_result, exp.keep_result,
exp.finish_attempt, exp.finish_job, exp.sweep_jobs, exp.tidy_job
TO trainer, evaluator;
GRANT SELECT ON exp.queue_migrations TO trainer, evaluator, modelyard_viewer;

-- The queue library makes its tables and functions after these files, and may add some in a later release.
GRANT USAGE ON SCHEMA queue TO trainer, evaluator;
ALTER DEFAULT PRIVILEGES IN SCHEMA queue GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO trainer, evaluator;
ALTER DEFAULT PRIVILEGES IN SCHEMA queue GRANT USAGE ON SEQUENCES TO trainer, evaluator;
ALTER DEFAULT PRIVILEGES IN SCHEMA queue GRANT EXECUTE ON FUNCTIONS TO trainer, evaluator;

RESET ROLE;
-- A worker has up to eight connections; whoever has set another limit knows why.
DO $$
DECLARE
    worker text;
BEGIN
    FOR worker IN
        SELECT r.rolname FROM pg_roles AS r WHERE r.rolname IN ('trainer', 'evaluator') AND r.rolconnlimit = 20
    LOOP
        BEGIN
            EXECUTE format('ALTER ROLE %I CONNECTION LIMIT 80', worker);
        EXCEPTION WHEN internal_error THEN
            NULL;  -- a migration of another database does it in this moment
        END;
    END LOOP;
END
$$;
