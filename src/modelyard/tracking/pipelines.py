"""The unfitted preprocessing of processing runs: opened only after its bytes were verified."""

import hashlib
import io
import pickle
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
from mlflow import MlflowClient, MlflowException
from mlflow.artifacts import download_artifacts

from modelyard.data.hashes import HashedFile
from modelyard.errors import ContentMismatch, DatasetRefused, UntrustedModel
from modelyard.tracking.datasets import PREPROCESSING_PATH
from modelyard.tracking.skops_file import MODEL_FILE, load_estimator

OLD_MODEL, OLD_PICKLE = "pipeline", "model.pkl"  # earlier releases logged it as a model of this name


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
    found = "nothing" if content is None else hashlib.sha256(content).hexdigest()
    if content is None or found != recorded.sha256:
        raise ContentMismatch(f"{PREPROCESSING_PATH} of run {run_id}", expected=recorded.sha256, found=found)
    return joblib.load(io.BytesIO(content))  # the very bytes that were verified, not the file again


def _download(client: MlflowClient, run_id: str) -> bytes | None:
    parent = PREPROCESSING_PATH.rpartition("/")[0]
    if PREPROCESSING_PATH not in {entry.path for entry in client.list_artifacts(run_id, parent)}:
        return None
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        return Path(client.download_artifacts(run_id, PREPROCESSING_PATH, folder)).read_bytes()


def load_old_pipeline(client: MlflowClient, *, run_id: str, sha256: str | None = None) -> Any:
    """The preprocessing that an earlier release has logged as a model ``pipeline`` of a run, with a warning.

    Nobody has recorded its hash. A skops file runs no code and is read under our own list of types; a pickle runs code
    when it is opened, so that is only done for the bytes that the caller names.

    Args:
        client: of the MLflow server.
        run_id: the run.
        sha256: of the pickle, as the caller knows it to be good.

    Raises:
        DatasetRefused: there is no such run, or it has no such model.
        ContentMismatch: the file is not the one that ``sha256`` names.
        UntrustedModel: a pickle and no ``sha256``, or a skops file with types outside our list; nothing was opened.
    """
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        try:
            path = _download_old(client, run_id, folder)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise DatasetRefused(f"there is no run {run_id} ({error.message})") from None
        if path is None:
            raise DatasetRefused(f"run {run_id} has no preprocessing pipeline, and its dataset is not on record")
        content = path.read_bytes()
        what, found = f"{OLD_MODEL}/{path.name} of run {run_id}", hashlib.sha256(content).hexdigest()
        if sha256 is not None and found != sha256:
            raise ContentMismatch(what, expected=sha256, found=found)
        if path.name == OLD_PICKLE and sha256 is None:
            raise UntrustedModel(
                f"{what} is a pickle, which runs code when it is opened, and no sha256 of it is on record; "
                f"if you know that these bytes are good, give sha256='{found}'"
            )
        warnings.warn(
            f"{what} was logged as a model, with no sha256 on record: nobody vouches for it but "
            f"{'whoever gave its sha256' if sha256 else 'our list of types, and values may have been changed'}; "
            "log the dataset anew (modelyard process, or log_dataset from Python) and its pipeline is verified",
            UserWarning,
            stacklevel=3,
        )
        if path.name == OLD_PICKLE:
            return pickle.loads(content)  # noqa: S301  the very bytes that the caller has named
        return load_estimator(path)


def _download_old(client: MlflowClient, run_id: str, folder: str) -> Path | None:
    """The file that holds the old pipeline, in ``folder``; None if the run has none."""
    run = client.get_run(run_id)
    outputs = run.outputs.model_outputs if run.outputs else []
    for output in outputs:  # MLflow 3 keeps a model beside its run
        if client.get_logged_model(output.model_id).name == OLD_MODEL:
            uri = f"models:/{output.model_id}"
            break
    else:
        if f"{OLD_MODEL}/MLmodel" not in {entry.path for entry in client.list_artifacts(run_id, OLD_MODEL)}:
            return None
        uri = f"runs:/{run_id}/{OLD_MODEL}"
    root = Path(download_artifacts(artifact_uri=uri, dst_path=folder, tracking_uri=client.tracking_uri))
    return next((root / name for name in (MODEL_FILE, OLD_PICKLE) if (root / name).is_file()), None)
