"""The embedded stack: PostgreSQL and MLflow from wheels, in one folder."""
