SET LOCAL ROLE modelyard_owner;

-- a run that other tools, or a job that died, have left in MLflow is registered by a job of the trainer's
ALTER TABLE exp.jobs DROP CONSTRAINT jobs_kind_check;
ALTER TABLE exp.jobs ADD CONSTRAINT jobs_kind_check
CHECK (kind IN ('process', 'train', 'register', 'evaluate', 'blend', 'drift', 'reproduce'));
