"""Datasets in MLflow: logged with our digest, loaded again only if every byte is the recorded one."""

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow import MlflowClient
from mlflow.data.dataset import Dataset
from mlflow.data.dataset_source import DatasetSource
from mlflow.entities import DatasetInput, InputTag
from mlflow.types import ColSpec, DataType, Schema

from modelyard.data.digest import digest_table
from modelyard.data.files import write_parquet
from modelyard.data.hashes import HashedFile, hash_folder, sha256_file
from modelyard.data.splits import dataset_table
from modelyard.errors import ContentMismatch
from modelyard.tracking.runs import ActiveRun

MLFLOW_DIGEST_LENGTH = 32  # MLflow's column holds 36 characters
MLFLOW_SCHEMA_LIMIT = 1_048_575  # characters; a longer schema is refused by MLflow
PREPROCESSING_PATH = "preprocessing_pipeline/pipeline.joblib"
_TABLES = {name: f"metadata/{name}.parquet" for name in ("X", "y", "split", "extra")}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetTables:
    """The content of a dataset: n rows each."""

    X: pa.Table
    y: pa.Table
    split: "pa.Array[Any]"
    extra: pa.Table | None

    def digest(self) -> str:
        """sha256 of the content, every row and every column, in order (64 hex digits)."""
        return digest_table(dataset_table(self.X, self.y, self.split, self.extra))


class RunSource(DatasetSource):
    """A dataset source that names a processing run's folder and the raw data it came from."""

    def __init__(self, uri: str, raw_digest: str) -> None:
        self.uri, self.raw_digest = uri, raw_digest

    @staticmethod
    def _get_source_type() -> str:
        return "modelyard"

    def load(self, **kwargs: Any) -> Any:
        raise NotImplementedError("load it by name or digest with modelyard, which verifies it")

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:  # noqa: ARG004
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> "RunSource":
        raise NotImplementedError

    def to_dict(self) -> dict[str, str]:
        return {"uri": self.uri, "raw_digest": self.raw_digest}

    @classmethod
    def from_dict(cls, source_dict: Mapping[str, str]) -> "RunSource":
        return cls(source_dict["uri"], source_dict["raw_digest"])


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


def mlflow_schema(table: pa.Table) -> Schema:
    """The MLflow schema of a table's columns; a type that MLflow does not know is shown as string."""
    return Schema([ColSpec(_mlflow_type(field.type), field.name, required=False) for field in table.schema])


def _mlflow_type(arrow_type: pa.DataType) -> DataType:
    t = pa.types
    if t.is_boolean(arrow_type):
        return DataType.boolean
    if t.is_integer(arrow_type):
        return DataType.integer if arrow_type.bit_width < 64 else DataType.long
    if t.is_floating(arrow_type):
        return DataType.double if arrow_type == pa.float64() else DataType.float
    if t.is_timestamp(arrow_type) or t.is_date(arrow_type):
        return DataType.datetime
    if t.is_binary(arrow_type) or t.is_large_binary(arrow_type):
        return DataType.binary
    return DataType.string


def log_input(run: ActiveRun, dataset: Dataset, *, context: str) -> None:
    """Log ``dataset`` as an input of the run, in the given context."""
    tags = [InputTag("mlflow.data.context", context)]
    run.client.log_inputs(run.run_id, datasets=[DatasetInput(dataset._to_mlflow_entity(), tags)])


def log_dataset_files(
    run: ActiveRun, tables: DatasetTables, *, preprocessing: Any, metadata: Mapping[str, Any]
) -> tuple[HashedFile, ...]:
    """Upload a dataset to its processing run: Parquet, ``metadata/metadata.json`` and the unfitted preprocessing."""
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        root = Path(folder)
        (root / "metadata").mkdir()
        for name, table in _as_tables(tables).items():
            write_parquet(table, root / _TABLES[name])
        (root / "metadata/metadata.json").write_text(json.dumps(metadata, indent=2, sort_keys=True), encoding="utf-8")
        if preprocessing is not None:
            buffer = io.BytesIO()
            joblib.dump(preprocessing, buffer)
            (root / PREPROCESSING_PATH).parent.mkdir()
            (root / PREPROCESSING_PATH).write_bytes(buffer.getvalue())
        files = hash_folder(root)
        run.client.log_artifacts(run.run_id, folder)
    return files


def _as_tables(tables: DatasetTables) -> dict[str, pa.Table]:
    named = {"X": tables.X, "y": tables.y, "split": pa.table({"split": tables.split})}
    return named if tables.extra is None else {**named, "extra": tables.extra}


def load_dataset(
    client: MlflowClient, *, run_id: str, files: Sequence[HashedFile], digest: str, folder: Path
) -> DatasetTables:
    """Download the tables of a processing run into ``folder`` and verify each file and the content's digest.

    Raises:
        ContentMismatch: a file or the content is not what was recorded.
    """
    loaded: dict[str, pa.Table] = {}
    recorded = {file.path: file for file in files}
    for name, path in _TABLES.items():
        if path not in recorded:
            continue
        local = Path(client.download_artifacts(run_id, path, str(folder)))
        found = sha256_file(local)
        if found != recorded[path].sha256:
            raise ContentMismatch(f"{path} of run {run_id}", expected=recorded[path].sha256, found=found)
        loaded[name] = pq.read_table(local)
    split = loaded["split"].column("split").combine_chunks()
    tables = DatasetTables(X=loaded["X"], y=loaded["y"], split=split, extra=loaded.get("extra"))
    if tables.digest() != digest:
        raise ContentMismatch(f"the dataset of run {run_id}", expected=digest, found=tables.digest())
    return tables
