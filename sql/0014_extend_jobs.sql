SET LOCAL ROLE modelyard_owner;

-- Jobs from before there was a queue name their data in another way: nobody can take them up.
UPDATE exp.attempts SET state = 'lost', ended_at = clock_timestamp() WHERE state = 'running';
UPDATE exp.jobs
SET state = 'cancelled', error = 'asked for before jobs were queued; ask again', finished_at = clock_timestamp()
WHERE state IN ('queued', 'running');

ALTER TABLE exp.jobs
ADD COLUMN parent_job_id uuid CONSTRAINT jobs_parent_job_id_fkey REFERENCES exp.jobs,
-- asked for in the process of whoever asked: no worker takes it, unless that process dies
ADD COLUMN inline boolean NOT NULL DEFAULT false,
ADD COLUMN attempts_allowed integer NOT NULL DEFAULT 3 CONSTRAINT jobs_attempts_allowed_check
CHECK (attempts_allowed >= 1),
-- the next attempt begins no earlier
ADD COLUMN due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
ADD COLUMN cancelled_by text,
-- it has ended, and MLflow has not been told of all its attempts
ADD COLUMN orphaned boolean NOT NULL DEFAULT false;

-- a training is evaluated by one job
CREATE UNIQUE INDEX jobs_parent_job_id_kind_key ON exp.jobs (parent_job_id, kind);
CREATE INDEX jobs_created_at_idx ON exp.jobs (created_at DESC);
CREATE INDEX jobs_unfinished_idx ON exp.jobs (job_id) WHERE state IN ('queued', 'running') OR orphaned;

ALTER TABLE exp.attempts
ADD COLUMN begun_by text NOT NULL DEFAULT session_user,
-- in the process of whoever asked
ADD COLUMN inline boolean NOT NULL DEFAULT false,
-- by this server's clock; a worker that does not renew its claim until then has lost the job
ADD COLUMN claimed_until timestamptz NOT NULL DEFAULT clock_timestamp(),
-- the server's process that the worker renews its claim by, and since when there is none with this number
ADD COLUMN session_pid integer,
ADD COLUMN unseen_since timestamptz,
ADD COLUMN progress_step text NOT NULL DEFAULT '',
-- what this attempt has achieved so far, in order: [{"name": "dataset", "value": {…}}, …]
ADD COLUMN results jsonb NOT NULL DEFAULT '[]' CONSTRAINT attempts_results_check
CHECK (jsonb_typeof(results) = 'array');

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
    j.orphaned
FROM exp.jobs AS j
LEFT JOIN LATERAL (
    SELECT last.* FROM exp.attempts AS last WHERE last.job_id = j.job_id ORDER BY last.attempt DESC LIMIT 1
) AS a ON true;

-- The queue's own tables come from the queue library (see exp.queue_migrations); the workers' roles use them.
CREATE TABLE exp.queue_migrations (
    name text NOT NULL CONSTRAINT queue_migrations_pkey PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
