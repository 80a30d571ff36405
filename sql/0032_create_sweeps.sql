SET LOCAL ROLE modelyard_owner;

-- Trainings that were asked for together, to be compared; each is a job like any other.
CREATE TABLE exp.sweeps (
    sweep_id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT sweeps_pkey PRIMARY KEY,
    workload text NOT NULL CONSTRAINT sweeps_workload_check CHECK (workload <> ''),
    -- what was varied: {"model_types": […], "values": {name: […]}}
    arguments jsonb NOT NULL CONSTRAINT sweeps_arguments_check CHECK (jsonb_typeof(arguments) = 'object'),
    -- of its jobs, in any order
    fingerprint text NOT NULL CONSTRAINT sweeps_fingerprint_check CHECK (fingerprint ~ '^[0-9a-f]{64}$'),
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX sweeps_fingerprint_idx ON exp.sweeps (fingerprint, created_at);
CREATE TRIGGER sweeps_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.sweeps
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();

CREATE TABLE exp.sweep_jobs (
    sweep_id uuid NOT NULL CONSTRAINT sweep_jobs_sweep_id_fkey REFERENCES exp.sweeps,
    place integer NOT NULL CONSTRAINT sweep_jobs_place_check CHECK (place >= 1),
    job_id uuid NOT NULL CONSTRAINT sweep_jobs_job_id_fkey REFERENCES exp.jobs,
    CONSTRAINT sweep_jobs_pkey PRIMARY KEY (sweep_id, place),
    CONSTRAINT sweep_jobs_sweep_id_job_id_key UNIQUE (sweep_id, job_id)
);
CREATE INDEX sweep_jobs_job_id_idx ON exp.sweep_jobs (job_id);
CREATE TRIGGER sweep_jobs_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.sweep_jobs
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();

GRANT SELECT ON exp.sweeps, exp.sweep_jobs TO trainer, evaluator, modelyard_viewer;
GRANT INSERT (sweep_id, workload, arguments, fingerprint) ON exp.sweeps TO modelyard_trainer;
GRANT INSERT (sweep_id, place, job_id) ON exp.sweep_jobs TO modelyard_trainer;
