"""Model versions, loaded verified, that refuse input which their dataset would not know."""

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.data.compatibility import compare_frame, list_features
from modelyard.data.features import fill_features
from modelyard.errors import ModelFailed, SchemaMismatch
from modelyard.pipeline.session import Session
from modelyard.store import datasets, models
from modelyard.tracking.model_formats import OpenedModel
from modelyard.tracking.models import load_model

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedModel:
    """A model whose files are those on record, and the dataset that it was trained on."""

    version: models.ModelVersion
    dataset: datasets.Dataset
    estimator: OpenedModel

    def predict(self, frame: "pd.DataFrame") -> Any:
        """One prediction a row, of shape (n,), or (n, k) where ``estimator.answers`` names k columns.

        Args:
            frame: n rows with the features of the dataset, in its order; those that are optional may be missing.

        Raises:
            SchemaMismatch: the columns are not those of the dataset; nothing was predicted.
            ModelFailed: the model's code failed, or it has not answered each row once.
        """
        features, optional = list_features(self.dataset.schema), self.estimator.optional
        differences = compare_frame(frame, features, optional=optional)
        if differences:
            raise SchemaMismatch("the input", self._expected, differences)
        rows = fill_features(frame, features, optional=optional)
        return ask(self.estimator, rows, name=self.version.label, answers=self.estimator.answers)

    @property
    def _expected(self) -> str:
        return f"{self.dataset.name} {self.dataset.version}, which {self.version.label} was trained on"


def ask(estimator: Any, frame: "pd.DataFrame", *, name: str, answers: Sequence[str] = ()) -> Any:
    """What a model answers to n rows, as an array of shape (n,) or (n, k).

    Args:
        estimator: has ``predict``.
        frame: n rows, as it takes them.
        name: its name, which is told in errors.
        answers: names of the k columns that it must answer with; the array is of objects where their types differ.

    Raises:
        ModelFailed: the model's code failed, it has not answered each row once, or not with these columns.
    """
    try:
        found = estimator.predict(frame)
        values = _as_array(found)
    except MemoryError:
        raise
    except Exception as error:  # of a model from code it can be any
        raise ModelFailed(f"{name} could not predict: {type(error).__name__}: {error}") from error
    if values.ndim == 0 or len(values) != len(frame):
        raise ModelFailed(f"{name} was asked about {len(frame):,} rows and gave answers of shape {values.shape}")
    columns = [str(column) for column in getattr(found, "columns", ())]
    if answers and (columns not in ([], list(answers)) or values.shape[1:] != (len(answers),)):
        told = ", ".join(columns) or f"an array of shape {values.shape}"
        raise ModelFailed(f"{name} answered with {told}, and it must answer with the columns {', '.join(answers)}")
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _as_array(answers: Any) -> Any:
    """An array of one type; of objects where the columns of a frame are of several."""
    import numpy as np

    types = {str(data_type) for data_type in answers.dtypes} if hasattr(answers, "columns") else set()
    return answers.to_numpy(dtype=object) if len(types) > 1 else np.asarray(answers)


def load_model_version(session: Session, text: str) -> VerifiedModel:
    """The model version ``NAME/VERSION``, every file verified before it is opened.

    Raises:
        UnknownName: there is no such version on record.
        ContentMismatch: a file is missing or not what was recorded.
        UntrustedModel: it is a pickle, or holds types outside our allow-list.
        ModelFailed: it is a model from code, and that failed.
    """
    return load_verified(session, models.resolve_model_version(session.records, text))


def load_verified(session: Session, version: models.ModelVersion) -> VerifiedModel:
    """The model of a recorded version; raises what ``load_model_version`` does of its files."""
    dataset = datasets.get_dataset(session.records, dataset_id=version.dataset_id)
    files = models.list_model_files(session.records, mlflow_model_id=version.mlflow_model_id)
    folder = tempfile.mkdtemp(prefix="modelyard-")
    try:
        estimator = load_model(
            session.mlflow, model_id=version.mlflow_model_id, files=files, folder=Path(folder, "model")
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(estimator, shutil.rmtree, folder, ignore_errors=True)  # a model from code may read its files later
    return VerifiedModel(version=version, dataset=dataset, estimator=estimator)
