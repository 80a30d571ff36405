"""MLflow's model registry: a run is registered once."""

from collections.abc import Mapping

import mlflow
from mlflow import MlflowClient


def find_registered(client: MlflowClient, *, model_name: str, run_id: str, model_id: str) -> str | None:
    """The version of ``model_name`` that is this logged model of a run, or None."""
    found = client.search_model_versions(f"name = '{model_name}' and run_id = '{run_id}'")
    mine = [v for v in found if model_id in (v.model_id, (v.source or "").removeprefix("models:/"))]
    return min((str(v.version) for v in mine), key=int, default=None)


def register(client: MlflowClient, *, model_name: str, run_id: str, model_id: str, tags: Mapping[str, str]) -> str:
    """Create a version of ``model_name`` for this run; return its number. The caller holds the run's lock."""
    try:
        client.create_registered_model(model_name)
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    created = client.create_model_version(
        model_name,
        source=f"models:/{model_id}",
        run_id=run_id,
        model_id=model_id,
        tags=dict(tags),
        await_creation_for=0,  # ours are ready at once
    )
    return str(created.version)
