"""Datasets: recorded once by content, versioned by name, never changed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from modelyard.data.hashes import HashedFile
from modelyard.errors import RecordNotFound
from modelyard.store.connections import Connection, find_row, find_value, hold_lock, list_rows, lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A row of ``exp.datasets``; ``num_elements`` counts cells, ``split_counts`` rows per split."""

    dataset_id: UUID
    name: str
    version: str
    workload: str
    digest: str
    raw_digest: str
    raw_files: list[dict[str, Any]]
    location: str
    mlflow_run_id: str
    num_rows: int
    num_elements: int
    schema: Any
    profile: Any
    split_counts: dict[str, int]
    parameters: dict[str, Any]
    data_source: str
    created_by: str
    created_at: datetime


def record_dataset(
    connection: Connection,
    *,
    name: str,
    workload: str,
    digest: str,
    raw_digest: str,
    raw_files: Sequence[Mapping[str, Any]],
    location: str,
    mlflow_run_id: str,
    num_rows: int,
    num_elements: int,
    schema: Any,
    profile: Any,
    split_counts: Mapping[str, int],
    parameters: Mapping[str, Any],
    data_source: str,
    files: Sequence[HashedFile],
) -> Dataset:
    """Record a dataset and its files, or return the one of this name that has the same digest.

    The first version is 1.0.0; a changed schema raises the major number, changed content alone the minor one.

    Args:
        digest: sha256 of the content, 64 hex characters; ``raw_digest`` likewise, of the raw data.
        raw_files: ``name``, ``sha256`` and ``size_bytes`` of each raw file.
        files: the stored files of the dataset, paths relative to ``location``.
    """
    with connection.transaction():
        lock(connection, f"dataset {name}")
        if (same := find_dataset(connection, name=name, digest=digest)) is not None:
            return same
        values: dict[str, Any] = {
            "name": name,
            "version": _next_version(connection, name, schema),
            "workload": workload,
            "digest": digest,
            "raw_digest": raw_digest,
            "raw_files": Jsonb([dict(file) for file in raw_files]),
            "location": location,
            "mlflow_run_id": mlflow_run_id,
            "num_rows": num_rows,
            "num_elements": num_elements,
            "schema": Jsonb(schema),
            "profile": Jsonb(profile),
            "split_counts": Jsonb(dict(split_counts)),
            "parameters": Jsonb(dict(parameters)),
            "data_source": data_source,
        }
        dataset = find_row(
            connection,
            """
            INSERT INTO exp.datasets (
                name, version, workload, digest, raw_digest, raw_files, location, mlflow_run_id, num_rows,
                num_elements, schema, profile, split_counts, parameters, data_source
            ) VALUES (
                %(name)s, %(version)s, %(workload)s, %(digest)s, %(raw_digest)s, %(raw_files)s, %(location)s,
                %(mlflow_run_id)s, %(num_rows)s, %(num_elements)s, %(schema)s, %(profile)s, %(split_counts)s,
                %(parameters)s, %(data_source)s
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


@contextmanager
def lock_dataset(connection: Connection, *, name: str, digest: str, wait_s: float = 3600) -> Iterator[None]:
    """One logging of the same content at a time; no transaction is open while it is uploaded.

    Raises:
        WorkHeld: another process still logs this dataset after ``wait_s`` seconds.
    """
    what = f"the logging of dataset {name} with digest {digest}"
    with hold_lock(connection, f"dataset {name} {digest}", what=what, wait_s=wait_s):
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


def find_dataset(connection: Connection, *, name: str, digest: str) -> Dataset | None:
    """The dataset of this name with this digest."""
    query = "SELECT {columns} FROM exp.datasets WHERE name = %(name)s AND digest = %(digest)s"
    return find_row(connection, query, {"name": name, "digest": digest}, row=Dataset)


def find_newest(connection: Connection, *, workload: str) -> Dataset | None:
    """The dataset of a workload that was recorded last."""
    query = "SELECT {columns} FROM exp.datasets WHERE workload = %(workload)s ORDER BY created_at DESC LIMIT 1"
    return find_row(connection, query, {"workload": workload}, row=Dataset)


def list_dataset_files(connection: Connection, *, dataset_id: UUID) -> list[HashedFile]:
    """The files of a dataset, by path."""
    query = "SELECT {columns} FROM exp.dataset_files WHERE dataset_id = %(dataset_id)s ORDER BY path"
    return list_rows(connection, query, {"dataset_id": dataset_id}, row=HashedFile)


def _next_version(connection: Connection, name: str, schema: Any) -> str:
    version = find_value(
        connection,
        """
        SELECT CASE
            -- whether a column has nulls is no part of what it is
            WHEN (SELECT jsonb_agg(c - 'nullable') FROM jsonb_array_elements(schema) AS c)
                = (SELECT jsonb_agg(c - 'nullable') FROM jsonb_array_elements(%(schema)s) AS c)
            THEN format('%%s.%%s.0', number[1], number[2] + 1)
            ELSE format('%%s.0.0', number[1] + 1)
        END
        FROM exp.datasets, LATERAL (
            SELECT CASE WHEN version ~ '^[0-9]{1,6}([.][0-9]{1,6}){2}$'
                        THEN string_to_array(version, '.')::integer[] END AS number
        ) AS numbers
        WHERE name = %(name)s AND number IS NOT NULL ORDER BY number DESC LIMIT 1
        """,
        {"name": name, "schema": Jsonb(schema)},
    )
    return version or "1.0.0"
