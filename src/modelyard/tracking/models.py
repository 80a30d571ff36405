"""Models in MLflow: scikit-learn estimators as skops files, hashed before the upload, verified before each load."""

import sys
import tempfile
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import mlflow.sklearn
import pandas as pd
from mlflow import MlflowClient, MlflowException
from mlflow.artifacts import download_artifacts
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME
from mlflow.types import ColSpec, Schema
from skops.io.exceptions import UntrustedTypesFoundException

from modelyard.data.hashes import HashedFile, hash_folder, sha256_file
from modelyard.errors import ContentMismatch, RecordLost, UntrustedModel
from modelyard.tracking import model_formats
from modelyard.tracking.runs import ActiveRun
from modelyard.tracking.skops_file import TRUSTED_TYPES

_REQUIREMENTS = ("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "skops")
_SOMETIMES = ("lightgbm",)


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
    optional: Collection[str] = (),
    params: Mapping[str, Any],
    tags: Mapping[str, str],
) -> LoggedModel:
    """Log a fitted estimator with signature, input example and pinned requirements; return the hashes of its files.

    Args:
        run: the training run.
        estimator: fitted, of types that skops and our allow-list know.
        name: name of the logged model, e.g. ``model``.
        input_example: a few rows of X.
        predictions: what the estimator answers for them; the columns of a frame give their names to the signature.
        optional: columns of X that rows to predict may lack.
        params: logged on the model as well, so that its page shows them.
        tags: tags of the logged model.

    Raises:
        UntrustedModel: the estimator holds types outside the allow-list.
    """

    def save(root: Path, model: Model) -> None:
        mlflow.sklearn.save_model(
            estimator,
            str(root),
            mlflow_model=model,
            serialization_format="skops",
            skops_trusted_types=list(TRUSTED_TYPES),
            signature=_build_signature(input_example, predictions, optional=optional),
            input_example=input_example,
            pip_requirements=[f"{name}=={package_version(name)}" for name in _list_packages()],
        )

    try:
        return store_model(run, save, name=name, model_type="sklearn", params=params, tags=tags)
    except Exception as error:
        if isinstance(error.__cause__, UntrustedTypesFoundException) or "skops_trusted_types" in str(error):
            raise UntrustedModel(f"the model cannot be stored: {error}") from error
        raise


def _build_signature(rows: pd.DataFrame, predictions: Any, *, optional: Collection[str]) -> ModelSignature:
    """What the columns are; nulls in these rows do not say that a column may be missing, ``optional`` does."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Hint: Inferred schema contains integer", UserWarning)  # we fill in nulls
        signature = infer_signature(rows, predictions)
    columns = [ColSpec(one.type, one.name, required=one.name not in optional) for one in signature.inputs.inputs]
    return ModelSignature(inputs=Schema([*columns]), outputs=signature.outputs)


def _list_packages() -> list[str]:
    """What a model needs: of the packages that not all models need those that this process has loaded."""
    return sorted([*_REQUIREMENTS, *(name for name in _SOMETIMES if name in sys.modules)])


def store_model(
    run: ActiveRun,
    save: Callable[[Path, Model], None],
    *,
    name: str,
    model_type: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
) -> LoggedModel:
    """Log what ``save`` writes into a folder as a model of the run; return the hashes of its files.

    ``save`` is given a folder that is not there yet, and the model as MLflow is to describe it.
    """
    client = run.client
    logged = client.create_logged_model(
        run.experiment_id,
        name=name,
        source_run_id=run.run_id,
        params={key: str(value) for key, value in params.items()},
        tags=dict(tags),
        model_type=model_type,
    )
    try:
        client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, 0)])
        with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
            root = Path(folder, "model")
            described = Model(
                artifact_path=logged.artifact_location,
                model_uuid=logged.model_id,
                run_id=run.run_id,
                model_id=logged.model_id,
            )
            save(root, described)
            files = hash_folder(root)
            client.log_model_artifacts(logged.model_id, str(root))
    except BaseException:
        with suppress(Exception):  # the first error is the one to show
            client.finalize_logged_model(logged.model_id, LoggedModelStatus.FAILED)
        raise
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    return LoggedModel(model_id=logged.model_id, files=files)


def load_model(
    client: MlflowClient, *, model_id: str, files: Sequence[HashedFile], folder: Path
) -> model_formats.OpenedModel:
    """Download a logged model into ``folder``, verify every recorded file, and load the estimator.

    Raises:
        ContentMismatch: a file is missing or not what was recorded; nothing of it was opened.
        UntrustedModel, ModelFailed: as ``open_model`` does.
    """
    return open_model(download_model(client, model_id=model_id, files=files, folder=folder), files, model_id=model_id)


def download_model(client: MlflowClient, *, model_id: str, files: Sequence[HashedFile], folder: Path) -> Path:
    """Download a logged model into ``folder``: the recorded files, each verified, and no other; return where they are.

    Raises:
        ContentMismatch: a file is missing or not what was recorded.
        RecordLost: MLflow no longer has the model.
    """
    uri = f"models:/{model_id}"
    try:
        root = Path(download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=client.tracking_uri))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise RecordLost(f"MLflow no longer has model {model_id}; restore it from a backup") from None
    for path in root.rglob("*"):  # nobody vouches for what was added later
        if path.is_file() and str(path.relative_to(root)) not in {file.path for file in files}:
            path.unlink()
    for file in files:
        local = root / file.path
        found = sha256_file(local) if local.is_file() else "nothing"
        if found != file.sha256:
            raise ContentMismatch(f"{file.path} of model {model_id}", expected=file.sha256, found=found)
    return root


def hash_model(client: MlflowClient, *, model_id: str, folder: Path) -> tuple[Path, tuple[HashedFile, ...]]:
    """Download a logged model that is not on record into ``folder``; return where it is and its files by content."""
    root = Path(
        download_artifacts(artifact_uri=f"models:/{model_id}", dst_path=str(folder), tracking_uri=client.tracking_uri)
    )
    (root / REGISTERED_MODEL_META_FILE_NAME).unlink(missing_ok=True)  # MLflow's client writes it at each download
    return root, hash_folder(root)


def open_model(root: Path, files: Sequence[HashedFile], *, model_id: str) -> model_formats.OpenedModel:
    """Open the model of a folder whose files were verified; a model from code runs its code, in this process.

    The folder of a model from code must stay as long as the model is used.

    Raises:
        UntrustedModel: a pickle, types outside our allow-list, or a kind of model that we do not open.
        ModelFailed: the model's own code failed, or a package that it needs is not here.
    """
    if "MLmodel" not in {file.path for file in files}:
        raise UntrustedModel(f"model {model_id} has no recorded file MLmodel, which says what it is; log it again")
    return model_formats.open_model(root)
