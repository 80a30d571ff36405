"""MLflow's model registry: a run is registered once, and the registry shows a projection of each stage."""

from collections.abc import Mapping

import mlflow
from mlflow import MlflowClient


def find_registered(client: MlflowClient, *, model_name: str, run_id: str) -> str | None:
    """The version of ``model_name`` that came from a run, or None."""
    found = client.search_model_versions(f"name = '{model_name}' and run_id = '{run_id}'")
    return min((str(v.version) for v in found), key=int, default=None)


def register(client: MlflowClient, *, model_name: str, run_id: str, model_id: str, tags: Mapping[str, str]) -> str:
    """The version of ``model_name`` for this run: found, else created. The caller holds the run's lock."""
    found = find_registered(client, model_name=model_name, run_id=run_id)
    if found is not None:
        return found
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


def project_stage(
    client: MlflowClient, *, model_name: str, version: str, stage: str, policy_version: int | None
) -> None:
    """Show a version's stage in MLflow: the tag ``stage`` and the policy version's number."""
    client.set_model_version_tag(model_name, version, "stage", stage)
    if policy_version is not None:
        client.set_model_version_tag(model_name, version, "policy_version", str(policy_version))


def project_alias(client: MlflowClient, *, model_name: str, alias: str, version: str | None) -> None:
    """Let an alias name this version, or nothing."""
    if version is None:
        client.delete_registered_model_alias(model_name, alias)
    else:
        client.set_registered_model_alias(model_name, alias, version)
