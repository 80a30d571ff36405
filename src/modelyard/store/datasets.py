"""Datasets: recorded once by content, versioned by name, never changed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from modelyard.data.hashes import HashedFile
from modelyard.errors import RecordLost, RecordNotFound, VersionRefused
from modelyard.store.connections import Connection, find_row, hold_lock, list_rows, lock, refusals

REFUSALS = {
    "datasets_name_version_key": (VersionRefused, "another dataset has this version, and versions are never reused"),
    "datasets_version_check": (VersionRefused, "a version has 1 to 64 letters, digits and . _ + -, e.g. 2025-01-03"),
    "datasets_removed_check": (RecordLost, ""),
}
_JSON = (
    "raw_files", "schema", "profile", "split_counts", "targets", "parameters", "code_version", "notes", "violations",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDataset:
    """A dataset to be recorded.

    Attributes:
        version: what a person says, e.g. ``2025-01-03``; None for the rule.
        digest: sha256 of the content, 64 hex characters; ``raw_digest`` likewise, of the raw data (None: no raw files).
        raw_files: ``name``, ``sha256`` and ``size_bytes`` of each raw file.
        parent_dataset_id: the dataset that it was made from, if one.
        rows_digest: sha256 of X, y and extra without the split.
        extends: digest of as many of its first rows as the newest version has, without the split; None if fewer.
        preprocessing_hash: hash of the unfitted pipeline, 40 hex characters; empty where there is none.
        num_elements: cells of X, y, split and extra.
        split_counts: rows per split.
        parameters: those that processing takes.
        violations: expectations that did not hold and were allowed not to.
    """

    name: str
    version: str | None = None
    workload: str
    digest: str
    raw_digest: str | None
    raw_files: Sequence[Mapping[str, Any]]
    parent_dataset_id: UUID | None = None
    rows_digest: str
    extends: str | None = None
    preprocessing_hash: str = ""
    location: str
    mlflow_run_id: str
    num_rows: int
    num_elements: int
    schema: Any
    profile: Any
    split_counts: Mapping[str, int]
    targets: Sequence[str]
    parameters: Mapping[str, Any]
    code_version: Mapping[str, Any]
    notes: Mapping[str, Any]
    violations: Sequence[Any] = ()
    data_source: str
    job_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A row of ``exp.datasets``: as it was recorded, by whom and when; ``removed_at`` if its content was deleted.

    ``rows_digest`` and ``preprocessing_hash`` are None where an earlier release recorded it.
    """

    dataset_id: UUID
    name: str
    version: str
    workload: str
    digest: str
    raw_digest: str | None
    raw_files: list[dict[str, Any]]
    parent_dataset_id: UUID | None
    rows_digest: str | None
    preprocessing_hash: str | None
    location: str
    mlflow_run_id: str
    num_rows: int
    num_elements: int
    schema: Any
    profile: Any
    split_counts: dict[str, int]
    targets: list[str]
    parameters: dict[str, Any]
    code_version: dict[str, Any]
    notes: dict[str, Any]
    violations: list[Any]
    data_source: str
    job_id: UUID | None
    created_by: str
    created_at: datetime
    removed_at: datetime | None
    removed_by: str | None
    removal_reason: str | None


def record_dataset(connection: Connection, new: NewDataset, *, files: Sequence[HashedFile]) -> Dataset:
    """Record a dataset and its files, or return the one that is the same: its name, digest and pipeline.

    The first version is 1.0.0. Rows added after those of the newest version raise the patch number, other values or
    another pipeline the minor one, another schema the major one. No number is used twice.

    Args:
        connection: as the trainer.
        new: what to record.
        files: the stored files of the dataset, paths relative to its run.

    Raises:
        VersionRefused: the version that was asked for names something else, or this content has another version.
    """
    with connection.transaction():
        lock(connection, f"dataset {new.name}")
        same = find_dataset(connection, name=new.name, digest=new.digest, preprocessing_hash=new.preprocessing_hash)
        if same is not None:
            check_version(same, new.version)
            return same
        values = {name: getattr(new, name) for name in new.__dataclass_fields__ if name != "extends"}
        for name in _JSON:
            values[name] = Jsonb(_plain(values[name]))
        values["version"] = new.version or _next_version(connection, new)
        with refusals(REFUSALS):
            dataset = find_row(
                connection,
                """
                INSERT INTO exp.datasets (
                    name, version, workload, digest, raw_digest, raw_files, parent_dataset_id, rows_digest,
                    preprocessing_hash, location, mlflow_run_id, num_rows, num_elements, schema, profile, split_counts,
                    targets, parameters, code_version, notes, violations, data_source, job_id
                ) VALUES (
                    %(name)s, %(version)s, %(workload)s, %(digest)s, %(raw_digest)s, %(raw_files)s,
                    %(parent_dataset_id)s, %(rows_digest)s, %(preprocessing_hash)s, %(location)s, %(mlflow_run_id)s,
                    %(num_rows)s, %(num_elements)s, %(schema)s, %(profile)s, %(split_counts)s, %(targets)s,
                    %(parameters)s, %(code_version)s, %(notes)s, %(violations)s, %(data_source)s, %(job_id)s
                ) RETURNING {columns}
                """,
                values,
                row=Dataset,
            )
        assert dataset is not None  # noqa: S101  an insert either returns its row or raises
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO exp.dataset_files (dataset_id, path, sha256, size_bytes) VALUES (%s, %s, %s, %s)",
                [(dataset.dataset_id, file.path, file.sha256, file.size_bytes) for file in files],
            )
        return dataset


def record_use(connection: Connection, *, dataset_id: UUID, mlflow_run_id: str, run_type: str, context: str) -> None:
    """Record that a run uses a dataset; twice is once."""
    connection.execute(
        """
        INSERT INTO exp.dataset_uses (dataset_id, mlflow_run_id, run_type, context) VALUES (%s, %s, %s, %s)
        ON CONFLICT DO NOTHING
        """,
        [dataset_id, mlflow_run_id, run_type, context],
    )


def check_version(dataset: Dataset, version: str | None) -> None:
    """Refuse another version for content that is on record.

    Raises:
        VersionRefused: it has another one.
    """
    if version is not None and version != dataset.version:
        raise VersionRefused(
            f"this very content is {dataset.name} {dataset.version} already, and a version never shifts; "
            f"leave --version {version} out"
        )


def check_version_free(connection: Connection, *, name: str, version: str | None) -> None:
    """Refuse a version that cannot be given to content that is not on record, before anything of it is stored.

    Raises:
        VersionRefused: another dataset has it, or had it.
    """
    query = "SELECT {columns} FROM exp.datasets WHERE name = %(name)s AND version = %(version)s"
    taken = find_row(connection, query, {"name": name, "version": version}, row=Dataset)
    if taken is not None:
        raise VersionRefused(
            f"{name} {version} is another dataset, with digest {taken.digest}, and versions are never reused; "
            "say another version, or leave it out"
        )


@contextmanager
def lock_dataset(
    connection: Connection, *, name: str, digest: str, wait_s: float = 3600, tell: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """One logging of the same content at a time; no transaction is open while it is uploaded.

    ``tell`` is called once where another process has to be waited for.

    Raises:
        WorkHeld: another process still logs this dataset after ``wait_s`` seconds.
    """
    what = f"the logging of dataset {name} with digest {digest}"
    with hold_lock(connection, f"dataset {name} {digest}", what=what, wait_s=wait_s, tell=tell):
        yield


def get_dataset(connection: Connection, *, dataset_id: UUID) -> Dataset:
    """The dataset with this id.

    Raises:
        RecordNotFound: there is none.
    """
    query = "SELECT {columns} FROM exp.datasets WHERE dataset_id = %(dataset_id)s"
    dataset = find_row(connection, query, {"dataset_id": dataset_id}, row=Dataset)
    if dataset is None:
        raise RecordNotFound(f"there is no dataset with id {dataset_id}")
    return dataset


def find_dataset(
    connection: Connection, *, name: str, digest: str, preprocessing_hash: str | None = None
) -> Dataset | None:
    """The dataset of this name with this digest; without a pipeline's hash the newest of them."""
    query = """
        SELECT {columns} FROM exp.datasets
        WHERE name = %(name)s AND digest = %(digest)s AND removed_at IS NULL
            -- an earlier release did not keep the hash
            AND (%(hash)s::text IS NULL OR coalesce(preprocessing_hash, %(hash)s) = %(hash)s)
        ORDER BY created_at DESC LIMIT 1
    """
    return find_row(connection, query, {"name": name, "digest": digest, "hash": preprocessing_hash}, row=Dataset)


def find_newest_version(connection: Connection, *, name: str) -> Dataset | None:
    """The dataset of this name with the highest number, deleted ones too; others, e.g. ``2025.01.03``, do not count."""
    query = """
        SELECT {columns} FROM exp.datasets
        WHERE name = %(name)s AND version ~ '^(0|[1-9][0-9]*)([.](0|[1-9][0-9]*)){{2}}$'
        ORDER BY string_to_array(version, '.')::numeric[] DESC LIMIT 1
    """
    return find_row(connection, query, {"name": name}, row=Dataset)


def list_dataset_files(connection: Connection, *, dataset_id: UUID) -> list[HashedFile]:
    """The files of a dataset, by path."""
    query = "SELECT {columns} FROM exp.dataset_files WHERE dataset_id = %(dataset_id)s ORDER BY path"
    return list_rows(connection, query, {"dataset_id": dataset_id}, row=HashedFile)


def _next_version(connection: Connection, new: NewDataset) -> str:
    last = find_newest_version(connection, name=new.name)
    if last is None:
        return "1.0.0"
    major, minor, patch = map(int, last.version.split("."))
    if _columns(last.schema) != _columns(new.schema):
        return f"{major + 1}.0.0"
    if (
        new.preprocessing_hash == last.preprocessing_hash
        and new.extends is not None
        and new.extends == last.rows_digest
    ):
        return f"{major}.{minor}.{patch + 1}"
    return f"{major}.{minor + 1}.0"


def _columns(schema: Any) -> Any:
    """A schema without whether a column has nulls, which is no part of what it is."""
    return [{key: value for key, value in column.items() if key != "nullable"} for column in schema]


def _plain(value: Any) -> Any:
    """Mappings as dict, sequences as list: what JSON knows."""
    if isinstance(value, Mapping):
        return dict(value)
    return [_plain(part) for part in value] if isinstance(value, Sequence) and not isinstance(value, str) else value
