SET LOCAL ROLE modelyard_owner;

CREATE TABLE exp.jobs (
    job_id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT jobs_pkey PRIMARY KEY,
    kind text NOT NULL CONSTRAINT jobs_kind_check CHECK (kind IN ('process', 'train', 'evaluate', 'blend')),
    arguments jsonb NOT NULL CONSTRAINT jobs_arguments_check CHECK (jsonb_typeof(arguments) = 'object'),
    fingerprint text NOT NULL CONSTRAINT jobs_fingerprint_check CHECK (fingerprint ~ '^[0-9a-f]{64}$'),
    state text NOT NULL DEFAULT 'queued' CONSTRAINT jobs_state_check
        CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    result jsonb,
    error text,
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CONSTRAINT jobs_finished_at_check CHECK ((finished_at IS NULL) = (state IN ('queued', 'running')))
);
CREATE INDEX jobs_fingerprint_idx ON exp.jobs (fingerprint, created_at) WHERE state IN ('queued', 'running');

CREATE TABLE exp.attempts (
    job_id uuid NOT NULL CONSTRAINT attempts_job_id_fkey REFERENCES exp.jobs,
    attempt integer NOT NULL CONSTRAINT attempts_attempt_check CHECK (attempt >= 1),
    worker text NOT NULL,
    state text NOT NULL DEFAULT 'running' CONSTRAINT attempts_state_check
        CHECK (state IN ('running', 'succeeded', 'failed', 'interrupted', 'lost')),
    progress_share double precision NOT NULL DEFAULT 0 CONSTRAINT attempts_progress_share_check
        CHECK (progress_share BETWEEN 0 AND 1),
    progress_message text NOT NULL DEFAULT '',
    error text,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    progressed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    CONSTRAINT attempts_pkey PRIMARY KEY (job_id, attempt),
    CONSTRAINT attempts_ended_at_check CHECK ((ended_at IS NULL) = (state = 'running'))
);

-- One attempt of a job runs at a time: the fence that the functions stand on.
CREATE UNIQUE INDEX attempts_job_id_running_key ON exp.attempts (job_id) WHERE state = 'running';
