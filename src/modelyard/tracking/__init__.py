"""All that speaks MLflow: runs, logged datasets, models, the registry and the projection."""
