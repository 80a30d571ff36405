SET LOCAL ROLE modelyard_owner;

-- A verdict comes from an evaluation that was asked for: a job that the evaluator works on now, of this very version.
CREATE FUNCTION exp.check_evaluation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
BEGIN
    IF session_user = 'evaluator' AND NOT EXISTS (
        SELECT FROM exp.jobs AS j INNER JOIN exp.attempts AS a ON j.job_id = a.job_id
        WHERE j.job_id = NEW.job_id AND j.kind = 'evaluate'
            AND j.arguments ->> 'model_name' = NEW.mlflow_model_name
            AND j.arguments ->> 'model_version' = NEW.mlflow_model_version
            AND a.state = 'running' AND a.begun_by = session_user
    ) THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('permission denied: no evaluation of %s/%s runs under job %s',
                             NEW.mlflow_model_name, NEW.mlflow_model_version, coalesce(NEW.job_id::text, 'none')),
            CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER evaluations_job_check BEFORE INSERT ON exp.evaluations
FOR EACH ROW EXECUTE FUNCTION exp.check_evaluation();
