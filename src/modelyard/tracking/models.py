"""Models in MLflow: scikit-learn estimators as skops files, hashed before the upload, verified before each load."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import mlflow.sklearn
import pandas as pd
import skops.io
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.models import Model, infer_signature
from skops.io.exceptions import UntrustedTypesFoundException

from modelyard.data.hashes import HashedFile, hash_folder, sha256_file
from modelyard.errors import ContentMismatch, UntrustedModel
from modelyard.tracking.runs import ActiveRun

# The only types beyond skops' own defaults that a model file of ours may hold. What the file itself declares as
# trusted is never asked.
TRUSTED_TYPES = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
MODEL_FILE = "model.skops"
_REQUIREMENTS = ("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "skops")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedModel:
    """A model that a run has logged: MLflow's id (``m-…``) and every file as it was before the upload."""

    model_id: str
    files: tuple[HashedFile, ...]


def log_model(
    run: ActiveRun,
    estimator: Any,
    *,
    name: str,
    input_example: pd.DataFrame,
    predictions: Any,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
) -> LoggedModel:
    """Log a fitted estimator with signature, input example and pinned requirements; return the hashes of its files.

    Args:
        run: the training run.
        estimator: fitted, of types that skops and our allow-list know.
        name: name of the logged model, e.g. ``model``.
        input_example: a few rows of X.
        predictions: what the estimator answers for them.
        params: logged on the model as well, so that its page shows them.
        tags: tags of the logged model.

    Raises:
        UntrustedModel: the estimator holds types outside the allow-list.
    """
    client = run.client
    logged = client.create_logged_model(
        run.experiment_id,
        name=name,
        source_run_id=run.run_id,
        params={key: str(value) for key, value in params.items()},
        tags=dict(tags),
        model_type="sklearn",
    )
    try:
        client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, 0)])
        with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
            root = Path(folder, "model")
            mlflow.sklearn.save_model(
                estimator,
                str(root),
                mlflow_model=Model(
                    artifact_path=logged.artifact_location,
                    model_uuid=logged.model_id,
                    run_id=run.run_id,
                    model_id=logged.model_id,
                ),
                serialization_format="skops",
                skops_trusted_types=list(TRUSTED_TYPES),
                signature=infer_signature(input_example, predictions),
                input_example=input_example,
                pip_requirements=[f"{name}=={package_version(name)}" for name in _REQUIREMENTS],
            )
            files = hash_folder(root)
            client.log_model_artifacts(logged.model_id, str(root))
    except BaseException as error:
        with suppress(Exception):  # the first error is the one to show
            client.finalize_logged_model(logged.model_id, LoggedModelStatus.FAILED)
        if isinstance(error.__cause__, UntrustedTypesFoundException) or "skops_trusted_types" in str(error):
            raise UntrustedModel(f"the model cannot be stored: {error}") from error
        raise
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    return LoggedModel(model_id=logged.model_id, files=files)


def load_model(client: MlflowClient, *, model_id: str, files: Sequence[HashedFile], folder: Path) -> Any:
    """Download a logged model into ``folder``, verify every recorded file, and load the estimator.

    Raises:
        ContentMismatch: a file is missing or not what was recorded; nothing of it was opened.
        UntrustedModel: the file holds types outside our allow-list, or is no skops file.
    """
    root = Path(
        download_artifacts(artifact_uri=f"models:/{model_id}", dst_path=str(folder), tracking_uri=client.tracking_uri)
    )
    for file in files:
        local = root / file.path
        found = sha256_file(local) if local.is_file() else "nothing"
        if found != file.sha256:
            raise ContentMismatch(f"{file.path} of model {model_id}", expected=file.sha256, found=found)
    if MODEL_FILE not in {file.path for file in files}:
        raise UntrustedModel(f"model {model_id} has no recorded {MODEL_FILE}; only skops models are loaded")
    return load_estimator(root / MODEL_FILE)


def load_estimator(path: Path) -> Any:
    """Load a skops file under our own allow-list.

    Raises:
        UntrustedModel: types outside the list, or no skops file at all.
    """
    try:
        return skops.io.load(path, trusted=list(TRUSTED_TYPES))
    except (UntrustedTypesFoundException, TypeError) as error:
        raise UntrustedModel(f"{path.name} was refused: {error}") from None
    except (BadZipFile, KeyError, ValueError) as error:
        raise UntrustedModel(f"{path.name} is no skops file and was refused: {error}") from None
