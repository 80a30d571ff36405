"""The unfitted preprocessing of processing runs: opened only after its bytes were verified."""

import io
import tempfile
import warnings
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import joblib
import mlflow.sklearn
from mlflow import MlflowClient, MlflowException

from modelyard.data.hashes import HashedFile
from modelyard.errors import ContentMismatch, DatasetRefused
from modelyard.tracking.datasets import PREPROCESSING_PATH

OLD_MODEL = "pipeline"  # earlier releases logged it as a model of this name


def load_pipeline(client: MlflowClient, *, run_id: str, files: Sequence[HashedFile]) -> Any:
    """The unfitted preprocessing of a processing run; None if it has none.

    Args:
        client: of the MLflow server.
        run_id: the processing run.
        files: the files on record for its dataset.

    Raises:
        ContentMismatch: the file is gone or not what was recorded; nothing of it was opened.
    """
    recorded = next((file for file in files if file.path == PREPROCESSING_PATH), None)
    if recorded is None:
        return None
    content = _download(client, run_id)
    found = "nothing" if content is None else sha256(content).hexdigest()
    if content is None or found != recorded.sha256:
        raise ContentMismatch(f"{PREPROCESSING_PATH} of run {run_id}", expected=recorded.sha256, found=found)
    return joblib.load(io.BytesIO(content))  # the very bytes that were verified, not the file again


def _download(client: MlflowClient, run_id: str) -> bytes | None:
    parent = PREPROCESSING_PATH.rpartition("/")[0]
    if PREPROCESSING_PATH not in {entry.path for entry in client.list_artifacts(run_id, parent)}:
        return None
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        return Path(client.download_artifacts(run_id, PREPROCESSING_PATH, folder)).read_bytes()


def load_old_pipeline(client: MlflowClient, *, run_id: str) -> Any:
    """The preprocessing that an earlier release has logged as a model ``pipeline`` of a run, with a warning.

    Nobody has recorded its hash, so it is opened unverified.

    Raises:
        DatasetRefused: there is no such run, or it has no such model.
    """
    try:
        uri = _find_old_model(client, run_id)
    except MlflowException as error:
        raise DatasetRefused(f"there is no run {run_id} ({error.message})") from None
    if uri is None:
        raise DatasetRefused(f"run {run_id} has no preprocessing pipeline, and its dataset is not on record")
    warnings.warn(
        f"the pipeline of run {run_id} was logged as a model, with no sha256 on record: it is opened unverified; "
        "log the dataset anew (modelyard process, or log_dataset from Python) and its pipeline is verified",
        UserWarning,
        stacklevel=3,
    )
    return mlflow.sklearn.load_model(uri)


def _find_old_model(client: MlflowClient, run_id: str) -> str | None:
    run = client.get_run(run_id)
    outputs = run.outputs.model_outputs if run.outputs else []
    for output in outputs:  # MLflow 3 keeps a model beside its run
        if client.get_logged_model(output.model_id).name == OLD_MODEL:
            return f"models:/{output.model_id}"
    stored = {entry.path for entry in client.list_artifacts(run_id, OLD_MODEL)}
    return f"runs:/{run_id}/{OLD_MODEL}" if f"{OLD_MODEL}/MLmodel" in stored else None
