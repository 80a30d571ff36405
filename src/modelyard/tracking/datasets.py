"""Datasets in MLflow: logged with our digest, loaded again only if every byte is the recorded one."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.data.dataset import Dataset
from mlflow.data.dataset_source import DatasetSource
from mlflow.entities import DatasetInput, InputTag
from mlflow.types import ColSpec, DataType, Schema

from modelyard.data.hashes import HashedFile, sha256_file
from modelyard.errors import ContentMismatch
from modelyard.tracking.runs import ActiveRun

MLFLOW_DIGEST_LENGTH = 32  # MLflow's column holds 36 characters
MLFLOW_SCHEMA_LIMIT = 1_048_575  # characters; a longer schema is refused by MLflow
PREPROCESSING_PATH = "preprocessing_pipeline/pipeline.joblib"
_MLFLOW_TYPES = {
    "bool": DataType.boolean,
    "int64": DataType.long,
    "uint64": DataType.long,
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16", "uint32"), DataType.integer),
    "float64": DataType.double,
    **dict.fromkeys(("float16", "float32"), DataType.float),
    "date": DataType.datetime,
    "binary": DataType.binary,
}


class ContentSource(DatasetSource):
    """A dataset source that names content, by which ``modelyard`` finds the dataset.

    MLflow keeps one source for all runs of an MLflow experiment that show this name and digest, so it names no run.
    """

    def __init__(self, name: str, digest: str) -> None:
        self.name, self.digest = name, digest

    @staticmethod
    def _get_source_type() -> str:
        return "modelyard"

    def load(self, **kwargs: Any) -> Any:
        raise NotImplementedError("load it by name or digest with modelyard, which verifies it")

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:  # noqa: ARG004
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> "ContentSource":
        raise NotImplementedError

    def to_dict(self) -> dict[str, str]:
        return {"name": self.name, "digest": self.digest}

    @classmethod
    def from_dict(cls, source_dict: Mapping[str, str]) -> "ContentSource":
        return cls(source_dict["name"], source_dict["digest"])


class LoggedDataset(Dataset):
    """What ``log_input`` shows of a dataset: our digest, its schema and its profile, with no pass over the rows."""

    def __init__(
        self, *, source: DatasetSource, name: str, digest: str, schema: Schema | None, profile: Mapping[str, Any]
    ) -> None:
        self._schema, self._profile = schema, profile
        super().__init__(source=source, name=name, digest=digest[:MLFLOW_DIGEST_LENGTH])

    def _compute_digest(self) -> str:
        raise NotImplementedError("the digest is always given")

    @property
    def profile(self) -> Mapping[str, Any]:
        return self._profile

    @property
    def schema(self) -> Schema | None:
        return self._schema

    def to_dict(self) -> dict[str, str]:
        text = json.dumps({"mlflow_colspec": self._schema.to_dict()}) if self._schema else ""
        schema = {"schema": text} if 0 < len(text) <= MLFLOW_SCHEMA_LIMIT else {}
        return {**super().to_dict(), **schema, "profile": json.dumps(self._profile)}


def show_schema(schema: Sequence[Mapping[str, Any]]) -> Schema:
    """The MLflow schema of recorded columns (``name``, ``type``); a type unknown to MLflow is shown as string."""
    return Schema([ColSpec(_mlflow_type(column["type"]), column["name"], required=False) for column in schema])


def _mlflow_type(text: str) -> DataType:
    """From the canonical text of an Arrow type."""
    if text in _MLFLOW_TYPES:
        return _MLFLOW_TYPES[text]
    return DataType.datetime if text.startswith("timestamp[") else DataType.string


def log_input(run: ActiveRun, dataset: Dataset, *, context: str) -> None:
    """Log ``dataset`` as an input of the run, in the given context."""
    tags = [InputTag("mlflow.data.context", context)]
    run.client.log_inputs(run.run_id, datasets=[DatasetInput(dataset._to_mlflow_entity(), tags)])


def download_files(
    client: MlflowClient,
    *,
    run_id: str,
    files: Sequence[HashedFile],
    folder: Path,
    told: Callable[[HashedFile], None] | None = None,
) -> None:
    """Download files of a processing run into ``folder``, under their paths, and verify each; ``told`` hears of each.

    Raises:
        ContentMismatch: a file is not there, or not what was recorded; it was not opened.
    """
    for file in files:
        try:
            local = Path(client.download_artifacts(run_id, file.path, str(folder)))
            target = folder / file.path  # some of MLflow's stores leave out the folders of a path
            target.parent.mkdir(parents=True, exist_ok=True)
            local.replace(target)
            found = sha256_file(target)
        except Exception:  # each kind of store has an error of its own for a file that is not there
            if _is_there(client, run_id, file.path):
                raise
            found = "nothing"
        if found != file.sha256:
            raise ContentMismatch(f"{file.path} of run {run_id}", expected=file.sha256, found=found)
        if told is not None:
            told(file)


def _is_there(client: MlflowClient, run_id: str, path: str) -> bool:
    folder = path.rpartition("/")[0]
    return any(found.path == path for found in client.list_artifacts(run_id, folder or None))
