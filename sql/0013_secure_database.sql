-- What belongs to the database itself. CREATE DATABASE … TEMPLATE and a restore do not carry it over: this file may
-- be run again by hand, any number of times.
REVOKE ALL ON SCHEMA public FROM PUBLIC;

DO $$
DECLARE
    setting record;
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format(
        'GRANT CONNECT ON DATABASE %I TO mlflow, trainer, evaluator, reader, backup, application, modelyard_viewer',
        current_database()
    );
    FOR setting IN
        SELECT *
        FROM (VALUES
            -- a schema upgrade of MLflow may take as long as it needs
            ('mlflow', 'search_path', 'mlflow'),
            ('mlflow', 'statement_timeout', '0'),
            ('mlflow', 'idle_in_transaction_session_timeout', '10min'),
            ('trainer', 'statement_timeout', '60s'),
            ('trainer', 'idle_in_transaction_session_timeout', '60s'),
            ('evaluator', 'statement_timeout', '60s'),
            ('evaluator', 'idle_in_transaction_session_timeout', '60s'),
            ('reader', 'statement_timeout', '30s'),
            ('reader', 'idle_in_transaction_session_timeout', '60s'),
            ('application', 'statement_timeout', '5s'),
            ('application', 'idle_in_transaction_session_timeout', '10s'),
            -- a dump of a large database takes hours, and its leader waits for its workers in a transaction
            ('backup', 'statement_timeout', '0'),
            ('backup', 'idle_in_transaction_session_timeout', '24h')
        ) AS settings (role, name, value)
    LOOP
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET %s = %L',
                       setting.role, current_database(), setting.name, setting.value);
    END LOOP;
END
$$;
