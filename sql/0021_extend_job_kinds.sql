SET LOCAL ROLE modelyard_owner;

ALTER TABLE exp.jobs DROP CONSTRAINT jobs_kind_check;
ALTER TABLE exp.jobs ADD CONSTRAINT jobs_kind_check
CHECK (kind IN ('process', 'train', 'evaluate', 'blend', 'drift', 'reproduce'));

-- Whose work a kind of job is: a role and a queue of this name.
CREATE OR REPLACE FUNCTION exp.name_worker_role(kind text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN kind IN ('evaluate', 'drift') THEN 'evaluator' ELSE 'trainer' END;
