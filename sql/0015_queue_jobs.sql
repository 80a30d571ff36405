SET LOCAL ROLE modelyard_owner;

-- Each runs as the owner and checks for itself; session_user stays the caller, so attribution is true.

DROP FUNCTION exp.submit_job(text, jsonb, text, uuid);
DROP FUNCTION exp.begin_attempt(uuid, text);
DROP FUNCTION exp.report_progress(uuid, integer, double precision, text);
DROP FUNCTION exp.finish_attempt(uuid, integer, text, text);
DROP FUNCTION exp.finish_job(uuid, integer, text, jsonb, text);

-- Whose work a kind of job is: a role and a queue of this name.
CREATE FUNCTION exp.name_worker_role(kind text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE kind WHEN 'evaluate' THEN 'evaluator' ELSE 'trainer' END;

-- Tells the queue that a job waits. It is a hint, at most one waits per job: exp.jobs decides what is done.
CREATE FUNCTION exp.dispatch_job(job_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, queue, pg_temp AS $$
BEGIN
    INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock, args, scheduled_at)
    SELECT
        exp.name_worker_role(j.kind), 'run_job', j.job_id::text, jsonb_build_object('job_id', j.job_id),
        CASE WHEN j.due_at > clock_timestamp() THEN j.due_at END
    FROM exp.jobs AS j WHERE j.job_id = dispatch_job.job_id
    ON CONFLICT (queueing_lock) WHERE status = 'todo' DO UPDATE SET scheduled_at = excluded.scheduled_at;
END
$$;

-- Ends a job in failure or by a person's wish; its attempts have ended.
CREATE FUNCTION exp.end_job(job_id uuid, state text, error text, orphaned boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    UPDATE exp.jobs AS j
    SET state = end_job.state, error = end_job.error, orphaned = end_job.orphaned, finished_at = clock_timestamp()
    WHERE j.job_id = end_job.job_id;
    IF end_job.orphaned THEN
        UPDATE exp.jobs AS j SET due_at = clock_timestamp() WHERE j.job_id = end_job.job_id;
        PERFORM exp.dispatch_job(end_job.job_id);
    END IF;
END
$$;

-- Where a job goes after an attempt that did not succeed: cancelled, failed, or to the next attempt.
CREATE FUNCTION exp.pass_on_job(job_id uuid, error text, pause_s double precision, orphaned boolean) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    job exp.jobs;
    nb_counted integer;
BEGIN
    SELECT j.* INTO job FROM exp.jobs AS j WHERE j.job_id = pass_on_job.job_id;
    SELECT count(*) INTO nb_counted FROM exp.attempts AS a
    WHERE a.job_id = job.job_id AND a.state IN ('failed', 'lost');
    IF job.cancelled_by IS NOT NULL THEN
        PERFORM exp.end_job(job.job_id, 'cancelled', format('cancelled by %s', job.cancelled_by), orphaned);
        RETURN 'cancelled';
    END IF;
    IF nb_counted >= job.attempts_allowed THEN
        PERFORM exp.end_job(job.job_id, 'failed', error, orphaned);
        RETURN 'failed';
    END IF;
    -- each pause four times the one before, at most ten minutes
    UPDATE exp.jobs AS j
    SET state = 'queued',
        due_at = clock_timestamp() + make_interval(
            secs => least(pause_s * 4.0 ^ greatest(nb_counted - job.attempts_allowed + 2, 0), 600)
        )
    WHERE j.job_id = job.job_id;
    IF NOT job.inline THEN
        PERFORM exp.dispatch_job(job.job_id);
    END IF;
    RETURN 'queued';
END
$$;

-- The job with this id, the unfinished one of the same request, or a new one. The same id with other arguments is
-- refused. A training whose evaluation has not ended is unfinished.
CREATE FUNCTION exp.submit_job(
    kind text, arguments jsonb, fingerprint text, job_id uuid,
    inline boolean DEFAULT false, parent_job_id uuid DEFAULT NULL, delay_s double precision DEFAULT 0
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    known exp.jobs;
BEGIN
    IF submit_job.parent_job_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM exp.attempts AS a
        WHERE a.job_id = submit_job.parent_job_id AND a.state = 'running' AND a.begun_by = session_user
    ) THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('permission denied: job %s is not yours to go on from', submit_job.parent_job_id);
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('submit ' || fingerprint, 0));
    SELECT j.* INTO known FROM exp.jobs AS j WHERE j.job_id = submit_job.job_id;
    IF FOUND AND (known.kind <> submit_job.kind OR known.arguments <> submit_job.arguments) THEN
        RAISE unique_violation USING
            MESSAGE = format('job %s was asked for before, with other arguments', submit_job.job_id),
            CONSTRAINT = 'jobs_arguments_key';
    END IF;
    IF NOT FOUND THEN
        SELECT j.* INTO known FROM exp.jobs AS j
        WHERE j.fingerprint = submit_job.fingerprint AND j.kind = submit_job.kind
            AND j.arguments = submit_job.arguments AND j.state IN ('queued', 'running') AND j.cancelled_by IS NULL
        ORDER BY j.created_at, j.job_id LIMIT 1 FOR NO KEY UPDATE;
    END IF;
    IF NOT FOUND THEN
        SELECT p.* INTO known FROM exp.jobs AS j INNER JOIN exp.jobs AS p ON j.parent_job_id = p.job_id
        WHERE p.fingerprint = submit_job.fingerprint AND p.kind = submit_job.kind
            AND p.arguments = submit_job.arguments AND p.state = 'succeeded'
            AND j.state IN ('queued', 'running') AND j.cancelled_by IS NULL
        ORDER BY p.created_at, p.job_id LIMIT 1;
    END IF;
    IF FOUND THEN
        IF known.inline AND known.state = 'queued' AND NOT submit_job.inline THEN
            UPDATE exp.jobs AS j SET inline = false, due_at = clock_timestamp() WHERE j.job_id = known.job_id;
            PERFORM exp.dispatch_job(known.job_id);
        END IF;
        RETURN known.job_id;
    END IF;
    INSERT INTO exp.jobs (job_id, kind, arguments, fingerprint, inline, parent_job_id, due_at)
    VALUES (
        submit_job.job_id, submit_job.kind, submit_job.arguments, submit_job.fingerprint, submit_job.inline,
        submit_job.parent_job_id, clock_timestamp() + make_interval(secs => delay_s)
    );
    IF NOT submit_job.inline THEN
        PERFORM exp.dispatch_job(submit_job.job_id);
    END IF;
    RETURN submit_job.job_id;
END
$$;

-- Takes a job that waits and returns the number of the new attempt; nothing if somebody else has it, or it is not due.
-- Inline, what runs is taken over as well if it is inline too: the caller has seen that its process is dead.
CREATE FUNCTION exp.begin_attempt(
    job_id uuid, worker text, claim_s double precision, inline boolean DEFAULT false
) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    job exp.jobs;
    new_attempt integer;
BEGIN
    SELECT j.* INTO job FROM exp.jobs AS j WHERE j.job_id = begin_attempt.job_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING
            MESSAGE = format('there is no job %s', begin_attempt.job_id),
            CONSTRAINT = 'attempts_job_id_fkey';
    END IF;
    IF session_user <> exp.name_worker_role(job.kind) THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('permission denied: %s jobs are the work of %s',
                             job.kind, exp.name_worker_role(job.kind));
    END IF;
    IF job.state NOT IN ('queued', 'running') THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('job %s has ended (%s); ask for a new one', begin_attempt.job_id, job.state),
            CONSTRAINT = 'attempts_newest_check';
    END IF;
    IF begin_attempt.inline THEN
        IF EXISTS (
            SELECT FROM exp.attempts AS a WHERE a.job_id = job.job_id AND a.state = 'running' AND NOT a.inline
        ) THEN
            RETURN NULL;
        END IF;
    ELSIF job.state = 'running' OR job.inline OR job.due_at > clock_timestamp() THEN
        RETURN NULL;
    END IF;
    UPDATE exp.attempts AS a
    SET state = 'lost', error = 'its process ended without a word', ended_at = clock_timestamp()
    WHERE a.job_id = begin_attempt.job_id AND a.state = 'running';
    INSERT INTO exp.attempts (job_id, attempt, worker, inline, session_pid, claimed_until)
    SELECT
        begin_attempt.job_id, coalesce(max(a.attempt), 0) + 1, begin_attempt.worker, begin_attempt.inline,
        pg_backend_pid(),
        clock_timestamp() + make_interval(secs => claim_s)
    FROM exp.attempts AS a WHERE a.job_id = begin_attempt.job_id
    RETURNING attempts.attempt INTO new_attempt;
    UPDATE exp.jobs AS j SET state = 'running' WHERE j.job_id = begin_attempt.job_id;
    -- its evaluation comes next: an evaluator may get ready
    IF job.kind = 'train' AND NOT begin_attempt.inline THEN
        PERFORM pg_notify('modelyard_soon', 'evaluator');
    END IF;
    RETURN new_attempt;
END
$$;

-- Locks the job and refuses unless this attempt is the running one of this login.
CREATE FUNCTION exp.hold_running_attempt(job_id uuid, attempt integer) RETURNS exp.jobs
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    job exp.jobs;
    newest record;
BEGIN
    SELECT j.* INTO job FROM exp.jobs AS j WHERE j.job_id = hold_running_attempt.job_id FOR NO KEY UPDATE;
    SELECT a.attempt, a.state, a.begun_by INTO newest FROM exp.attempts AS a
    WHERE a.job_id = hold_running_attempt.job_id ORDER BY a.attempt DESC LIMIT 1;
    IF newest.attempt IS DISTINCT FROM hold_running_attempt.attempt OR newest.state <> 'running'
        OR newest.begun_by <> session_user
    THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('attempt %s of job %s writes nothing more: attempt %s is the newest, and has state %s',
                             hold_running_attempt.attempt, hold_running_attempt.job_id,
                             coalesce(newest.attempt, 0), coalesce(newest.state, 'none')),
            CONSTRAINT = 'attempts_newest_check';
    END IF;
    RETURN job;
END
$$;

-- Opens every transaction in which an attempt records a fact: locks the job, and refuses what was taken over or
-- cancelled.
CREATE OR REPLACE FUNCTION exp.hold_attempt(job_id uuid, attempt integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    job exp.jobs;
BEGIN
    job := exp.hold_running_attempt(hold_attempt.job_id, hold_attempt.attempt);
    IF job.cancelled_by IS NOT NULL THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('attempt %s of job %s writes nothing more: %s has cancelled the job',
                             hold_attempt.attempt, hold_attempt.job_id, job.cancelled_by),
            CONSTRAINT = 'attempts_newest_check';
    END IF;
END
$$;

-- Keeps the claim for another while; says whether somebody wants the job cancelled.
CREATE FUNCTION exp.renew_claim(job_id uuid, attempt integer, claim_s double precision) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    UPDATE exp.attempts AS a
    SET claimed_until = clock_timestamp() + make_interval(secs => claim_s),
        session_pid = pg_backend_pid(),
        unseen_since = NULL
    WHERE a.job_id = renew_claim.job_id AND a.attempt = renew_claim.attempt
        AND a.state = 'running' AND a.begun_by = session_user;
    IF NOT FOUND THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('attempt %s of job %s has lost its claim', renew_claim.attempt, renew_claim.job_id),
            CONSTRAINT = 'attempts_newest_check';
    END IF;
    RETURN (SELECT j.cancelled_by IS NOT NULL FROM exp.jobs AS j WHERE j.job_id = renew_claim.job_id);
END
$$;

CREATE FUNCTION exp.report_progress(
    job_id uuid, attempt integer, step text, share double precision, message text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    PERFORM exp.hold_attempt(report_progress.job_id, report_progress.attempt);
    UPDATE exp.attempts AS a
    SET progress_step = step, progress_share = share, progress_message = message, progressed_at = clock_timestamp()
    WHERE a.job_id = report_progress.job_id AND a.attempt = report_progress.attempt;
END
$$;

-- Adds to what the attempt has achieved, for those who follow it.
CREATE FUNCTION exp.report_result(job_id uuid, attempt integer, name text, value jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    PERFORM exp.hold_attempt(report_result.job_id, report_result.attempt);
    UPDATE exp.attempts AS a
    SET results = results || jsonb_build_array(jsonb_build_object('name', report_result.name, 'value', value))
    WHERE a.job_id = report_result.job_id AND a.attempt = report_result.attempt;
END
$$;

-- The job's result is certain, only MLflow has yet to show it: from now on the job cannot be cancelled.
CREATE FUNCTION exp.keep_result(job_id uuid, attempt integer, result jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    PERFORM exp.hold_attempt(keep_result.job_id, keep_result.attempt);
    UPDATE exp.jobs AS j SET result = keep_result.result WHERE j.job_id = keep_result.job_id;
END
$$;

-- Ends an attempt that did not succeed, and returns the job's state then. 'interrupted' does not count as one of the
-- attempts that a job has.
CREATE FUNCTION exp.finish_attempt(
    job_id uuid, attempt integer, state text, error text, pause_s double precision DEFAULT 0,
    orphaned boolean DEFAULT false
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    job exp.jobs;
BEGIN
    IF finish_attempt.state = 'interrupted' THEN
        -- a worker that was cut off and stopped its work: a sweep came before its word, and the attempt need not count
        UPDATE exp.attempts AS a SET state = 'interrupted', error = finish_attempt.error
        FROM exp.jobs AS j
        WHERE a.job_id = finish_attempt.job_id AND a.attempt = finish_attempt.attempt
            AND a.state = 'lost' AND a.begun_by = session_user AND a.job_id = j.job_id AND j.state = 'queued'
            AND NOT EXISTS (SELECT FROM exp.attempts AS b WHERE b.job_id = a.job_id AND b.attempt > a.attempt);
        IF FOUND THEN
            RETURN 'queued';
        END IF;
    END IF;
    job := exp.hold_running_attempt(finish_attempt.job_id, finish_attempt.attempt);
    UPDATE exp.attempts AS a
    SET state = CASE WHEN job.cancelled_by IS NULL THEN finish_attempt.state ELSE 'interrupted' END,
        error = finish_attempt.error,
        ended_at = clock_timestamp()
    WHERE a.job_id = finish_attempt.job_id AND a.attempt = finish_attempt.attempt;
    RETURN exp.pass_on_job(finish_attempt.job_id, finish_attempt.error, pause_s, finish_attempt.orphaned);
END
$$;

-- Ends a job, and with it its attempt: succeeded with a result, or failed in a way that another attempt would repeat.
CREATE FUNCTION exp.finish_job(job_id uuid, attempt integer, state text, result jsonb, error text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    PERFORM exp.hold_attempt(finish_job.job_id, finish_job.attempt);
    UPDATE exp.attempts AS a
    SET state = finish_job.state, error = finish_job.error, ended_at = clock_timestamp()
    WHERE a.job_id = finish_job.job_id AND a.attempt = finish_job.attempt;
    UPDATE exp.jobs AS j
    SET state = finish_job.state,
        result = finish_job.result,
        error = finish_job.error,
        finished_at = clock_timestamp()
    WHERE j.job_id = finish_job.job_id;
END
$$;

-- Cancels a job that waits; asks for it where one runs. Returns the job's state.
CREATE FUNCTION exp.cancel_job(job_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    job exp.jobs;
BEGIN
    SELECT j.* INTO job FROM exp.jobs AS j WHERE j.job_id = cancel_job.job_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING
            MESSAGE = format('there is no job %s', cancel_job.job_id),
            CONSTRAINT = 'attempts_job_id_fkey';
    END IF;
    IF job.state NOT IN ('queued', 'running') OR job.result IS NOT NULL THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = CASE WHEN job.finished_at IS NULL
                THEN format('job %s has its result already and is about to end', job.job_id)
                ELSE format('job %s has ended already (%s)', job.job_id, job.state)
            END,
            CONSTRAINT = 'jobs_cancel_check';
    END IF;
    UPDATE exp.jobs AS j SET cancelled_by = coalesce(j.cancelled_by, session_user) WHERE j.job_id = job.job_id;
    IF job.state = 'running' THEN
        RETURN 'running';
    END IF;
    PERFORM exp.end_job(
        job.job_id, 'cancelled', format('cancelled by %s', session_user),
        EXISTS (SELECT FROM exp.attempts AS a WHERE a.job_id = job.job_id)
    );
    RETURN 'cancelled';
END
$$;

-- Gives a job that failed or was cancelled three more attempts.
CREATE FUNCTION exp.retry_job(job_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    job exp.jobs;
    other uuid;
BEGIN
    -- in the order of submit_job: first this lock, then the row
    PERFORM pg_advisory_xact_lock(hashtextextended('submit ' || j.fingerprint, 0))
    FROM exp.jobs AS j WHERE j.job_id = retry_job.job_id;
    SELECT j.* INTO job FROM exp.jobs AS j WHERE j.job_id = retry_job.job_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING
            MESSAGE = format('there is no job %s', retry_job.job_id),
            CONSTRAINT = 'attempts_job_id_fkey';
    END IF;
    SELECT j.job_id INTO other FROM exp.jobs AS j
    WHERE j.fingerprint = job.fingerprint AND j.state IN ('queued', 'running') AND j.job_id <> job.job_id;
    IF job.state NOT IN ('failed', 'cancelled') OR other IS NOT NULL THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = CASE WHEN other IS NULL
                THEN format('job %s cannot be tried again: it is %s', job.job_id, job.state)
                ELSE format('job %s need not be tried again: job %s does the same work', job.job_id, other)
            END,
            CONSTRAINT = 'jobs_retry_check';
    END IF;
    UPDATE exp.jobs AS j
    SET state = 'queued',
        attempts_allowed = 3 + (
            SELECT count(*) FROM exp.attempts AS a WHERE a.job_id = job.job_id AND a.state IN ('failed', 'lost')
        ),
        inline = false,
        cancelled_by = NULL,
        orphaned = false,
        result = NULL,
        error = NULL,
        finished_at = NULL,
        due_at = clock_timestamp()
    WHERE j.job_id = job.job_id;
    PERFORM exp.dispatch_job(job.job_id);
END
$$;

-- MLflow has been told of all attempts of a job that has ended, up to this one.
CREATE FUNCTION exp.tidy_job(job_id uuid, attempt integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    UPDATE exp.jobs AS j SET orphaned = false
    WHERE j.job_id = tidy_job.job_id
        AND NOT EXISTS (SELECT FROM exp.attempts AS a WHERE a.job_id = j.job_id AND a.attempt > tidy_job.attempt);
END
$$;

-- Periodic: takes jobs from workers that are gone, and repairs what the queue has forgotten. Returns how many jobs were
-- taken. A worker is gone when its claim has run out, or when its connection has ended and it made no other for a while.
CREATE FUNCTION exp.sweep_jobs(unseen_s double precision) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, queue, pg_temp AS $$
DECLARE
    gone record;
    forgotten uuid;
    nb_taken integer := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('modelyard sweep', 0)) THEN
        RETURN 0;
    END IF;
    UPDATE exp.attempts AS a SET unseen_since = clock_timestamp()
    WHERE a.state = 'running' AND a.unseen_since IS NULL AND a.session_pid IS NOT NULL
        AND NOT EXISTS (SELECT FROM pg_stat_activity AS s WHERE s.pid = a.session_pid);
    FOR gone IN
        SELECT a.job_id, a.attempt, a.worker
        FROM exp.jobs AS j INNER JOIN exp.attempts AS a USING (job_id)
        WHERE a.state = 'running' AND (
            -- the owner, too, was cut off while the server was: it comes first
            greatest(a.claimed_until, pg_postmaster_start_time()) < clock_timestamp() - make_interval(secs => unseen_s)
            OR a.unseen_since < clock_timestamp() - make_interval(secs => unseen_s)
        )
        FOR NO KEY UPDATE OF j, a SKIP LOCKED
    LOOP
        UPDATE exp.attempts AS a
        SET state = 'lost', error = format('worker %s was not heard from', gone.worker), ended_at = clock_timestamp()
        WHERE a.job_id = gone.job_id AND a.attempt = gone.attempt;
        UPDATE exp.jobs AS j SET inline = false WHERE j.job_id = gone.job_id;
        PERFORM exp.pass_on_job(
            gone.job_id, format('worker %s was not heard from (attempt %s)', gone.worker, gone.attempt), 0, true
        );
        nb_taken := nb_taken + 1;
    END LOOP;
    -- the library's triggers find its tables by the search_path
    DELETE FROM procrastinate_jobs AS q
    WHERE q.status = 'doing' AND NOT EXISTS (
        SELECT FROM procrastinate_workers AS w
        WHERE w.id = q.worker_id AND w.last_heartbeat > clock_timestamp() - interval '1 minute'
    );
    FOR forgotten IN
        SELECT j.job_id FROM exp.jobs AS j
        WHERE (
            j.state = 'queued' AND NOT j.inline
            OR j.orphaned AND j.finished_at > clock_timestamp() - interval '1 day'
        )
            AND NOT EXISTS (
                SELECT FROM procrastinate_jobs AS q
                WHERE q.queueing_lock = j.job_id::text
                    AND (q.status = 'todo' OR q.status = 'doing' AND j.finished_at IS NOT NULL)
            )
    LOOP
        -- what could not be told to MLflow is tried again, not at once
        UPDATE exp.jobs AS j SET due_at = clock_timestamp() + interval '30 seconds'
        WHERE j.job_id = forgotten AND j.orphaned;
        PERFORM exp.dispatch_job(forgotten);
    END LOOP;
    RETURN nb_taken;
END
$$;

-- Whoever follows a job listens to modelyard_job_<id>.
CREATE FUNCTION exp.tell_job() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    PERFORM pg_notify('modelyard_job_' || NEW.job_id, TG_TABLE_NAME);
    RETURN NULL;
END
$$;
CREATE TRIGGER jobs_changed_tell AFTER INSERT OR UPDATE OF state, result, cancelled_by ON exp.jobs
FOR EACH ROW EXECUTE FUNCTION exp.tell_job();
CREATE TRIGGER attempts_changed_tell
AFTER INSERT OR UPDATE OF state, progress_step, progress_share, progress_message, results ON exp.attempts
FOR EACH ROW EXECUTE FUNCTION exp.tell_job();
