"""Model versions, loaded verified, that refuse input which their dataset would not know."""

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.data.compatibility import compare_frame, list_features
from modelyard.errors import ModelFailed, SchemaMismatch
from modelyard.pipeline.session import Session
from modelyard.store import datasets, models
from modelyard.tracking.models import load_model

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedModel:
    """A model whose files are those on record, and the dataset that it was trained on."""

    version: models.ModelVersion
    dataset: datasets.Dataset
    estimator: Any

    def predict(self, frame: "pd.DataFrame") -> Any:
        """One prediction a row.

        Args:
            frame: n rows with the features of the dataset, in its order.

        Raises:
            SchemaMismatch: the columns are not those of the dataset; nothing was predicted.
            ModelFailed: the model's code failed, or it has not answered each row once.
        """
        differences = compare_frame(frame, list_features(self.dataset.schema))
        if differences:
            raise SchemaMismatch("the input", self._expected, differences)
        return ask(self.estimator, frame, name=self.version.label)

    @property
    def _expected(self) -> str:
        return f"{self.dataset.name} {self.dataset.version}, which {self.version.label} was trained on"


def ask(estimator: Any, frame: "pd.DataFrame", *, name: str) -> Any:
    """The answers of an opened model, as an array of shape (n,) or (n, k) for n rows; ``name`` is told in errors.

    Raises:
        ModelFailed: the model's code failed, or it has not answered each row once.
    """
    import numpy as np

    try:
        answers = np.asarray(estimator.predict(frame))
    except MemoryError:
        raise
    except Exception as error:  # of a model from code it can be any
        raise ModelFailed(f"{name} could not predict: {type(error).__name__}: {error}") from error
    if answers.ndim == 2 and answers.shape[1] == 1:
        answers = answers[:, 0]
    if answers.ndim == 0 or len(answers) != len(frame):
        raise ModelFailed(f"{name} was asked about {len(frame):,} rows and gave answers of shape {answers.shape}")
    return answers


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
