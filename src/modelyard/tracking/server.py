"""The MLflow server: a client with bounded waiting, and the addresses of its pages."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import mlflow
from mlflow import MlflowClient
from mlflow.environment_variables import (
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
    MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
)


def connect(tracking_uri: str) -> MlflowClient:
    """A client of the server at ``tracking_uri`` that gives up after seconds, where MLflow's default is minutes."""
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(3)
    MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR.set(1)
    MLFLOW_HTTP_REQUEST_TIMEOUT.set(60)
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)  # we print links of our own
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)  # which depends on whether tqdm is installed
    # skops' loader and MLflow's artifact functions read the process-wide address, not the client's
    mlflow.set_tracking_uri(tracking_uri)
    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


@dataclass(frozen=True, slots=True)
class Pages:
    """Addresses of MLflow's pages for people, in its view for model training."""

    ui_url: str

    def run(self, experiment_id: str, run_id: str) -> str:
        return self._at(f"/experiments/{experiment_id}/runs/{run_id}")

    def experiment(self, experiment_id: str) -> str:
        return self._at(f"/experiments/{experiment_id}/runs")

    def model_version(self, name: str, version: str) -> str:
        return self._at(f"/models/{name}/versions/{version}")

    def compare(self, experiment_id: str, run_ids: Sequence[str]) -> str:
        """Runs of one MLflow experiment side by side; the page finds them only where ``runs`` comes first."""
        runs, experiments = (quote(json.dumps(ids, separators=(",", ":"))) for ids in ([*run_ids], [experiment_id]))
        return f"{self.ui_url}/#/compare-runs?runs={runs}&experiments={experiments}&workflowType=machine_learning"

    def _at(self, path: str) -> str:
        return f"{self.ui_url}/#{path}?workflowType=machine_learning"


def get_or_create_experiment(client: MlflowClient, name: str) -> str:
    """The id of the MLflow experiment ``name``; two callers at once get the same one."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except mlflow.MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)
