"""Model files and model versions: recorded once, never changed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from modelyard.data.hashes import HashedFile
from modelyard.errors import RecordConflict, RecordLost, RecordNotFound, UnknownName
from modelyard.store.connections import Connection, find_row, find_value, hold_lock, list_rows, lock, refusals

_REFUSALS = {
    "model_versions_removed_check": (RecordLost, ""),
    "model_versions_pkey": (RecordConflict, "this model version belongs to another run"),
    "model_versions_files_check": (RecordNotFound, ""),
    "model_versions_dataset_id_fkey": (RecordNotFound, "the dataset of this model version is not recorded"),
    "model_versions_job_id_fkey": (RecordNotFound, "the job of this model version is not recorded"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A row of ``exp.model_versions``; ``mlflow_model_id`` is the logged model (m-…) that holds its files.

    ``environment`` is what its training ran in, None where an earlier release recorded it.
    """

    mlflow_model_name: str
    mlflow_model_version: str
    mlflow_run_id: str
    mlflow_model_id: str
    workload: str
    task: str
    model_type: str
    dataset_id: UUID
    job_id: UUID | None
    parameters: dict[str, Any]
    code_version: dict[str, Any]
    metrics: dict[str, float]
    environment: dict[str, Any] | None
    created_by: str
    created_at: datetime

    @property
    def label(self) -> str:
        """As it is written: ``houses_model/3``."""
        return f"{self.mlflow_model_name}/{self.mlflow_model_version}"

    @property
    def workload_file(self) -> str | None:
        """sha256 of the file of its workload, where that is somebody's own; None where it ships."""
        return self.code_version.get("workload_file")


def record_model_files(connection: Connection, *, mlflow_model_id: str, files: Sequence[HashedFile]) -> None:
    """Record every file of a logged model; the same files again change nothing.

    Raises:
        RecordConflict: other files are recorded for this model.
    """
    with connection.transaction():
        lock(connection, f"model_files {mlflow_model_id}")
        known = list_model_files(connection, mlflow_model_id=mlflow_model_id)
        if known:
            differing = sorted({file.path for file in set(known) ^ set(files)})
            if differing:
                raise RecordConflict(
                    f"model {mlflow_model_id} was recorded with other files, they differ in {', '.join(differing)}; "
                    "log the model again"
                )
            return
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO exp.model_files (mlflow_model_id, path, sha256, size_bytes) VALUES (%s, %s, %s, %s)",
                [(mlflow_model_id, file.path, file.sha256, file.size_bytes) for file in files],
            )


def list_model_files(connection: Connection, *, mlflow_model_id: str) -> list[HashedFile]:
    """The files of a logged model, by path; empty if none is recorded."""
    query = "SELECT {columns} FROM exp.model_files WHERE mlflow_model_id = %(id)s ORDER BY path"
    return list_rows(connection, query, {"id": mlflow_model_id}, row=HashedFile)


def record_model_version(
    connection: Connection,
    *,
    mlflow_model_name: str,
    mlflow_model_version: str,
    mlflow_run_id: str,
    mlflow_model_id: str,
    workload: str,
    task: str,
    model_type: str,
    dataset_id: UUID,
    parameters: Mapping[str, Any],
    code_version: Mapping[str, Any],
    metrics: Mapping[str, float],
    environment: Mapping[str, Any] | None = None,
    job_id: UUID | None = None,
) -> ModelVersion:
    """Record a registered model version, or return the one that this run has already.

    Raises:
        RecordNotFound: no file of the model, no such dataset or job is recorded.
        RecordConflict: this run has another model version, or this version belongs to another run.
    """
    values: dict[str, Any] = {
        "mlflow_model_name": mlflow_model_name,
        "mlflow_model_version": mlflow_model_version,
        "mlflow_run_id": mlflow_run_id,
        "mlflow_model_id": mlflow_model_id,
        "workload": workload,
        "task": task,
        "model_type": model_type,
        "dataset_id": dataset_id,
        "job_id": job_id,
        "parameters": Jsonb(dict(parameters)),
        "code_version": Jsonb(dict(code_version)),
        "metrics": Jsonb(dict(metrics)),
        "environment": None if environment is None else Jsonb(dict(environment)),
    }
    with refusals(_REFUSALS):
        inserted = find_row(
            connection,
            """
            INSERT INTO exp.model_versions (
                mlflow_model_name, mlflow_model_version, mlflow_run_id, mlflow_model_id, workload, task, model_type,
                dataset_id, job_id, parameters, code_version, metrics, environment
            ) VALUES (
                %(mlflow_model_name)s, %(mlflow_model_version)s, %(mlflow_run_id)s, %(mlflow_model_id)s, %(workload)s,
                %(task)s, %(model_type)s, %(dataset_id)s, %(job_id)s, %(parameters)s, %(code_version)s, %(metrics)s,
                %(environment)s
            ) ON CONFLICT ON CONSTRAINT model_versions_mlflow_run_id_key DO NOTHING
            RETURNING {columns}
            """,
            values,
            row=ModelVersion,
        )
    recorded = inserted or find_model_version_by_run(connection, mlflow_run_id=mlflow_run_id)
    asked = (mlflow_model_name, mlflow_model_version)
    if recorded is None or (recorded.mlflow_model_name, recorded.mlflow_model_version) != asked:
        raise RecordConflict(f"run {mlflow_run_id} is registered already, and not as {' version '.join(asked)}")
    return recorded


def get_model_version(connection: Connection, *, mlflow_model_name: str, mlflow_model_version: str) -> ModelVersion:
    """The recorded model version.

    Raises:
        RecordNotFound: there is none.
    """
    found = find_model_version(
        connection, mlflow_model_name=mlflow_model_name, mlflow_model_version=mlflow_model_version
    )
    if found is None:
        raise RecordNotFound(f"{mlflow_model_name} version {mlflow_model_version} was not registered by modelyard")
    return found


def resolve_model_version(connection: Connection, text: str) -> ModelVersion:
    """The model version that ``MODEL/VERSION`` names, e.g. ``houses_model/3``.

    Raises:
        UnknownName: there is none; some that there are, are named.
    """
    name, _, version = text.rpartition("/")
    found = find_model_version(connection, mlflow_model_name=name, mlflow_model_version=version)
    if found is None:
        query = "SELECT {columns} FROM exp.model_versions ORDER BY mlflow_model_name = %(name)s DESC, created_at DESC"
        known = list_rows(connection, query + " LIMIT 20", {"name": name or version}, row=ModelVersion)
        names = [f"{row.mlflow_model_name}/{row.mlflow_model_version}" for row in known]
        raise UnknownName("model version", text, names, hint="Write MODEL/VERSION.")
    return found


def find_model_version(
    connection: Connection, *, mlflow_model_name: str, mlflow_model_version: str
) -> ModelVersion | None:
    """The recorded model version of this number."""
    query = """
        SELECT {columns} FROM exp.model_versions
        WHERE mlflow_model_name = %(name)s AND mlflow_model_version = %(version)s
    """
    values = {"name": mlflow_model_name, "version": mlflow_model_version}
    return find_row(connection, query, values, row=ModelVersion)


def find_highest_version(connection: Connection, *, mlflow_model_name: str) -> int:
    """The highest number that a version of a registered model has on record; 0 if there is none."""
    query = """
        SELECT coalesce(max(mlflow_model_version::integer), 0)
        FROM exp.model_versions WHERE mlflow_model_name = %(name)s
    """
    highest: int = find_value(connection, query, {"name": mlflow_model_name})
    return highest


def find_newest_version(connection: Connection, *, mlflow_model_name: str, model_type: str) -> ModelVersion | None:
    """The version of a registered model that was recorded last, of a model type."""
    query = """
        SELECT {columns} FROM exp.model_versions
        WHERE mlflow_model_name = %(name)s AND model_type = %(model_type)s ORDER BY created_at DESC LIMIT 1
    """
    return find_row(connection, query, {"name": mlflow_model_name, "model_type": model_type}, row=ModelVersion)


def find_rules(connection: Connection, *, mlflow_model_name: str) -> str | None:
    """The workload, or the task, of the versions of a registered model on record; None if there are none."""
    query = """
        SELECT workload FROM exp.model_versions WHERE mlflow_model_name = %(name)s ORDER BY created_at DESC LIMIT 1
    """
    found: str | None = find_value(connection, query, {"name": mlflow_model_name})
    return found


def find_model_version_by_run(connection: Connection, *, mlflow_run_id: str) -> ModelVersion | None:
    """The model version that was registered from this training run."""
    query = "SELECT {columns} FROM exp.model_versions WHERE mlflow_run_id = %(run_id)s"
    return find_row(connection, query, {"run_id": mlflow_run_id}, row=ModelVersion)


@contextmanager
def lock_registration(connection: Connection, *, mlflow_run_id: str, wait_s: float = 60) -> Iterator[None]:
    """One registration of a run at a time; no transaction is open while MLflow answers.

    Raises:
        WorkHeld: another process still registers this run after ``wait_s`` seconds.
    """
    what = f"the registration of run {mlflow_run_id}"
    with hold_lock(connection, f"registration {mlflow_run_id}", what=what, wait_s=wait_s):
        yield
