SET LOCAL ROLE modelyard_owner;

-- Workers with further packages take the jobs of a queue of their own, and of no other.
ALTER TABLE exp.jobs
ADD COLUMN queue text NOT NULL DEFAULT 'default' CONSTRAINT jobs_queue_check
CHECK (queue ~ '^[a-z][a-z0-9]*(-[a-z0-9]+)*$' AND length(queue) <= 30);

CREATE OR REPLACE VIEW exp.job_states AS
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
    j.finished_at,
    coalesce(a.progress_step, '') AS progress_step,
    coalesce(a.results, '[]') AS results,
    a.started_at,
    j.parent_job_id,
    j.inline,
    j.due_at,
    j.cancelled_by,
    j.orphaned,
    j.queue
FROM exp.jobs AS j
LEFT JOIN LATERAL (
    SELECT last.* FROM exp.attempts AS last WHERE last.job_id = j.job_id ORDER BY last.attempt DESC LIMIT 1
) AS a ON true;

-- What the queue library calls the queue: trainer, evaluator, trainer-vision, …
CREATE FUNCTION exp.name_queue(kind text, queue text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN exp.name_worker_role(kind) || CASE queue WHEN 'default' THEN '' ELSE '-' || queue END;

-- Tells the queue that a job waits. It is a hint, at most one waits per job: exp.jobs decides what is done.
CREATE OR REPLACE FUNCTION exp.dispatch_job(job_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, queue, pg_temp AS $$
BEGIN
    INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock, args, scheduled_at)
    SELECT
        exp.name_queue(j.kind, j.queue), 'run_job', j.job_id::text, jsonb_build_object('job_id', j.job_id),
        CASE WHEN j.due_at > clock_timestamp() THEN j.due_at END
    FROM exp.jobs AS j WHERE j.job_id = dispatch_job.job_id
    ON CONFLICT (queueing_lock) WHERE status = 'todo' DO UPDATE SET scheduled_at = excluded.scheduled_at;
END
$$;

DROP FUNCTION exp.submit_job(text, jsonb, text, uuid, boolean, uuid, double precision);
DROP FUNCTION exp.begin_attempt(uuid, text, double precision, boolean);

-- The job with this id, the unfinished one of the same request, or a new one. The same id with other arguments is
-- refused. A training whose evaluation has not ended is unfinished. Without a queue of its own a job goes where the one
-- went that it follows from, or that made the model version which it names: only there are the packages to open it.
CREATE FUNCTION exp.submit_job(
    kind text, arguments jsonb, fingerprint text, job_id uuid,
    inline boolean DEFAULT false, parent_job_id uuid DEFAULT NULL, delay_s double precision DEFAULT 0,
    queue text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    known exp.jobs;
    chosen text := coalesce(
        submit_job.queue,
        (SELECT j.queue FROM exp.jobs AS j WHERE j.job_id = submit_job.parent_job_id),
        (
            SELECT j.queue FROM exp.model_versions AS v INNER JOIN exp.jobs AS j ON v.job_id = j.job_id
            WHERE v.mlflow_model_name = submit_job.arguments ->> 'model_name'
                AND v.mlflow_model_version = submit_job.arguments ->> 'model_version'
        ),
        'default'
    );
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
    IF FOUND AND (
        known.kind <> submit_job.kind OR known.arguments <> submit_job.arguments OR known.queue <> chosen
    ) THEN
        RAISE unique_violation USING
            MESSAGE = format('job %s was asked for before, with other arguments', submit_job.job_id),
            CONSTRAINT = 'jobs_arguments_key';
    END IF;
    IF NOT FOUND THEN
        SELECT j.* INTO known FROM exp.jobs AS j
        WHERE j.fingerprint = submit_job.fingerprint AND j.kind = submit_job.kind
            AND j.arguments = submit_job.arguments AND j.queue = chosen AND j.state IN ('queued', 'running')
            AND j.cancelled_by IS NULL
        ORDER BY j.created_at, j.job_id LIMIT 1 FOR NO KEY UPDATE;
    END IF;
    IF NOT FOUND THEN
        SELECT p.* INTO known FROM exp.jobs AS j INNER JOIN exp.jobs AS p ON j.parent_job_id = p.job_id
        WHERE p.fingerprint = submit_job.fingerprint AND p.kind = submit_job.kind
            AND p.arguments = submit_job.arguments AND p.queue = chosen AND p.state = 'succeeded'
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
    INSERT INTO exp.jobs (job_id, kind, arguments, fingerprint, inline, parent_job_id, due_at, queue)
    VALUES (
        submit_job.job_id, submit_job.kind, submit_job.arguments, submit_job.fingerprint, submit_job.inline,
        submit_job.parent_job_id, clock_timestamp() + make_interval(secs => delay_s), chosen
    );
    IF NOT submit_job.inline THEN
        PERFORM exp.dispatch_job(submit_job.job_id);
    END IF;
    RETURN submit_job.job_id;
END
$$;

-- Takes a job that waits and returns the number of the new attempt; nothing if somebody else has it, it is not due, or
-- it waits in another queue.
-- Inline, what runs is taken over as well if it is inline too: the caller has seen that its process is dead.
CREATE FUNCTION exp.begin_attempt(
    job_id uuid, worker text, claim_s double precision, inline boolean DEFAULT false,
    queue text DEFAULT 'default'
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
    ELSIF job.state = 'running' OR job.inline OR job.due_at > clock_timestamp()
        OR job.queue <> begin_attempt.queue
    THEN
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
    -- its evaluation comes next, in the same queue: an evaluator may get ready
    IF job.kind = 'train' AND NOT begin_attempt.inline THEN
        PERFORM pg_notify('modelyard_soon', exp.name_queue('evaluate', job.queue));
    END IF;
    RETURN new_attempt;
END
$$;

GRANT EXECUTE ON FUNCTION exp.submit_job TO trainer, evaluator, modelyard_trainer;
GRANT EXECUTE ON FUNCTION exp.begin_attempt TO trainer, evaluator;
