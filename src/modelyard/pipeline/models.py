"""Model versions, loaded verified, that refuse input which their dataset would not know."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.data.compatibility import compare_columns, compare_frame, list_features
from modelyard.errors import SchemaMismatch
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
        """
        differences = compare_frame(frame, list_features(self.dataset.schema))
        if differences:
            raise SchemaMismatch("the input", self._expected, differences)
        return self.estimator.predict(frame)

    def check_dataset(self, other: datasets.Dataset) -> None:
        """Refuse a dataset with other features, by what is on record: nothing is loaded.

        Raises:
            SchemaMismatch: with every difference.
        """
        differences = compare_columns(list_features(other.schema), list_features(self.dataset.schema))
        if differences:
            raise SchemaMismatch(f"dataset {other.name} {other.version}", self._expected, differences)

    @property
    def _expected(self) -> str:
        name, version = self.version.mlflow_model_name, self.version.mlflow_model_version
        return f"{self.dataset.name} {self.dataset.version}, which {name}/{version} was trained on"


def load_model_version(session: Session, text: str) -> VerifiedModel:
    """The model version ``NAME/VERSION``, every file verified before it is opened.

    Raises:
        UnknownName: there is no such version on record.
        ContentMismatch: a file is missing or not what was recorded.
        UntrustedModel: the file holds types outside our allow-list.
    """
    return load_verified(session, models.resolve_model_version(session.records, text))


def load_verified(session: Session, version: models.ModelVersion) -> VerifiedModel:
    """The model of a recorded version; raises what ``load_model_version`` does of its files."""
    dataset = datasets.get_dataset(session.records, dataset_id=version.dataset_id)
    files = models.list_model_files(session.records, mlflow_model_id=version.mlflow_model_id)
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        estimator = load_model(
            session.mlflow, model_id=version.mlflow_model_id, files=files, folder=Path(folder, "model")
        )
    return VerifiedModel(version=version, dataset=dataset, estimator=estimator)
