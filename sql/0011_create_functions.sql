SET LOCAL ROLE modelyard_owner;

-- Each runs as the owner and checks for itself; session_user stays the caller, so attribution is true.

-- The job with this id, or a new one. The same id with other arguments is refused.
CREATE FUNCTION exp.submit_job(kind text, arguments jsonb, fingerprint text, job_id uuid) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    INSERT INTO exp.jobs (job_id, kind, arguments, fingerprint)
    VALUES (submit_job.job_id, submit_job.kind, submit_job.arguments, submit_job.fingerprint)
    ON CONFLICT ON CONSTRAINT jobs_pkey DO NOTHING;
    IF NOT EXISTS (
        SELECT FROM exp.jobs AS j
        WHERE j.job_id = submit_job.job_id AND j.kind = submit_job.kind AND j.arguments = submit_job.arguments
    ) THEN
        RAISE unique_violation USING
            MESSAGE = format('job %s was asked for before, with other arguments', submit_job.job_id),
            CONSTRAINT = 'jobs_arguments_key';
    END IF;
    RETURN submit_job.job_id;
END
$$;

-- Takes a job over: attempts that still run are lost from now on. Returns the number of the new attempt.
CREATE FUNCTION exp.begin_attempt(job_id uuid, worker text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    job_state text;
    new_attempt integer;
BEGIN
    SELECT j.state INTO job_state FROM exp.jobs AS j WHERE j.job_id = begin_attempt.job_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING
            MESSAGE = format('there is no job %s', begin_attempt.job_id),
            CONSTRAINT = 'attempts_job_id_fkey';
    END IF;
    IF job_state NOT IN ('queued', 'running') THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('job %s has %s already; submit a new one', begin_attempt.job_id, job_state),
            CONSTRAINT = 'attempts_newest_check';
    END IF;
    UPDATE exp.attempts AS a SET state = 'lost', ended_at = clock_timestamp()
    WHERE a.job_id = begin_attempt.job_id AND a.state = 'running';
    INSERT INTO exp.attempts (job_id, attempt, worker)
    SELECT begin_attempt.job_id, coalesce(max(a.attempt), 0) + 1, begin_attempt.worker
    FROM exp.attempts AS a WHERE a.job_id = begin_attempt.job_id
    RETURNING attempts.attempt INTO new_attempt;
    UPDATE exp.jobs AS j SET state = 'running' WHERE j.job_id = begin_attempt.job_id;
    RETURN new_attempt;
END
$$;

-- Locks the job and refuses unless this attempt is the running one. Nobody but the functions below may call it.
CREATE FUNCTION exp.hold_attempt(job_id uuid, attempt integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    newest record;
BEGIN
    PERFORM FROM exp.jobs AS j WHERE j.job_id = hold_attempt.job_id FOR NO KEY UPDATE;
    SELECT a.attempt, a.state INTO newest FROM exp.attempts AS a
    WHERE a.job_id = hold_attempt.job_id ORDER BY a.attempt DESC LIMIT 1;
    IF newest.attempt IS DISTINCT FROM hold_attempt.attempt OR newest.state <> 'running' THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('attempt %s of job %s writes nothing more: attempt %s is the newest, and has state %s',
                             hold_attempt.attempt, hold_attempt.job_id,
                             coalesce(newest.attempt, 0), coalesce(newest.state, 'none')),
            CONSTRAINT = 'attempts_newest_check';
    END IF;
END
$$;

CREATE FUNCTION exp.report_progress(job_id uuid, attempt integer, share double precision, message text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    PERFORM exp.hold_attempt(report_progress.job_id, report_progress.attempt);
    UPDATE exp.attempts AS a
    SET progress_share = share, progress_message = message, progressed_at = clock_timestamp()
    WHERE a.job_id = report_progress.job_id AND a.attempt = report_progress.attempt;
END
$$;

-- Ends an attempt and leaves its job to the next one.
CREATE FUNCTION exp.finish_attempt(job_id uuid, attempt integer, state text, error text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    PERFORM exp.hold_attempt(finish_attempt.job_id, finish_attempt.attempt);
    UPDATE exp.attempts AS a
    SET state = finish_attempt.state, error = finish_attempt.error, ended_at = clock_timestamp()
    WHERE a.job_id = finish_attempt.job_id AND a.attempt = finish_attempt.attempt;
    UPDATE exp.jobs AS j SET state = 'queued' WHERE j.job_id = finish_attempt.job_id;
END
$$;

-- Ends a job, and with it its attempt.
CREATE FUNCTION exp.finish_job(job_id uuid, attempt integer, state text, result jsonb, error text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    PERFORM exp.hold_attempt(finish_job.job_id, finish_job.attempt);
    UPDATE exp.attempts AS a
    SET state = CASE finish_job.state WHEN 'cancelled' THEN 'interrupted' ELSE finish_job.state END,
        error = finish_job.error,
        ended_at = clock_timestamp()
    WHERE a.job_id = finish_job.job_id AND a.attempt = finish_job.attempt;
    UPDATE exp.jobs AS j
    SET state = finish_job.state,
        result = finish_job.result,
        error = finish_job.error,
        finished_at = clock_timestamp()
    WHERE j.job_id = finish_job.job_id;
END
$$;

-- The policy's version of this model version and config: the one that is there, else the next one, as a candidate.
CREATE FUNCTION exp.add_policy_version(
    policy_id text, model_name text, model_version text, config_defaults jsonb DEFAULT '{}'
) RETURNS exp.policy_versions
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    found_version exp.policy_versions;
    old_stage text;
BEGIN
    INSERT INTO exp.policies (policy_id, mlflow_model_name)
    VALUES (add_policy_version.policy_id, add_policy_version.model_name)
    ON CONFLICT ON CONSTRAINT policies_pkey DO NOTHING;
    PERFORM FROM exp.policies AS p WHERE p.policy_id = add_policy_version.policy_id FOR NO KEY UPDATE;

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

-- What an application is to load for a policy, now.
CREATE FUNCTION exp.resolve_policy(
    policy_id text,
    OUT policy_version_id uuid, OUT version integer, OUT mlflow_model_name text, OUT mlflow_model_version text,
    OUT mlflow_model_id text, OUT config_defaults jsonb
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    live exp.live_policies;
BEGIN
    SELECT l.* INTO live FROM exp.live_policies AS l WHERE l.policy_id = resolve_policy.policy_id;
    IF live.policy_version_id IS NULL THEN
        RAISE no_data_found USING
            MESSAGE = CASE WHEN live.policy_id IS NULL
                THEN format('there is no policy %s', resolve_policy.policy_id)
                ELSE format('policy %s has no live version; promote one first', resolve_policy.policy_id)
            END,
            CONSTRAINT = 'policies_live_check';
    END IF;
    policy_version_id := live.policy_version_id;
    version := live.version;
    mlflow_model_name := live.mlflow_model_name;
    mlflow_model_version := live.mlflow_model_version;
    mlflow_model_id := live.mlflow_model_id;
    config_defaults := live.config_defaults;
END
$$;
