-- exp and exp.schema_migrations are there: the migration runner makes them, as whoever runs it.
ALTER SCHEMA exp OWNER TO modelyard_owner;
ALTER TABLE exp.schema_migrations OWNER TO modelyard_owner;

CREATE SCHEMA IF NOT EXISTS mlflow AUTHORIZATION mlflow_owner;
CREATE SCHEMA queue AUTHORIZATION modelyard_owner;

-- PUBLIC may execute every new function by default; for ours nobody may until a grant says so.
ALTER DEFAULT PRIVILEGES FOR ROLE modelyard_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
