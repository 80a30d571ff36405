"""Removals: datasets whose content is deleted, while their rows and versions stay."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.errors import RestrictViolation

from modelyard.errors import RecordNotFound, RemovalRefused
from modelyard.store.connections import Connection, find_value, hold_lock, list_rows, refusals
from modelyard.store.datasets import Dataset

_REFUSALS = {"datasets_pkey": (RecordNotFound, "")}
_IN_USE = "datasets_removal_check"


@dataclass(frozen=True, slots=True)
class Dependent:
    """What refers to a dataset: ``kind`` is model version, policy version, evaluation, dataset or job."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDataset:
    """A dataset as far as its deletion is concerned.

    Attributes:
        size_bytes: of all its recorded files.
        used_at: when it was recorded, or a run has used it last.
        removed_at: when its deletion began; None where it did not.
    """

    dataset_id: UUID
    name: str
    version: str
    mlflow_run_id: str
    size_bytes: int
    used_at: datetime
    removed_at: datetime | None


def check_right(connection: Connection) -> None:
    """Refuse whoever may not delete datasets.

    Raises:
        RemovalRefused: only a person in modelyard_trainer may.
    """
    query = """
        SELECT CASE WHEN NOT has_function_privilege('exp.remove_dataset(uuid, text)', 'EXECUTE') THEN session_user END
    """
    who = find_value(connection, query)
    if who is not None:
        raise RemovalRefused(
            f"{who} may not delete anything; a person in the group modelyard_trainer may, and an administrator of the "
            "database puts somebody there"
        )


def list_dependents(connection: Connection, *, dataset_id: UUID) -> list[Dependent]:
    """Everything that stands in the way of deleting a dataset, by kind and name."""
    query = "SELECT {columns} FROM exp.list_dataset_dependents(%(dataset_id)s) ORDER BY kind, name"
    return list_rows(connection, query, {"dataset_id": dataset_id}, row=Dependent)


def check_unused(connection: Connection, dataset: Dataset) -> None:
    """Refuse to delete a dataset that anything refers to.

    Raises:
        RemovalRefused: with the list of all that does.
    """
    dependents = list_dependents(connection, dataset_id=dataset.dataset_id)
    if dependents:
        raise _in_use(dataset, dependents)


def remove_dataset(connection: Connection, dataset: Dataset, *, reason: str) -> None:
    """Record that a dataset is deleted, in one transaction: nothing refers to it or loads it from here on.

    Twice is once: the first removal's reason stays.

    Raises:
        RemovalRefused: something refers to it; nothing was changed.
        RecordNotFound: there is no such dataset.
    """
    values = {"dataset_id": dataset.dataset_id, "reason": reason}
    try:
        with refusals(_REFUSALS):
            find_value(connection, "SELECT exp.remove_dataset(%(dataset_id)s, %(reason)s)", values)
    except RestrictViolation as error:
        if error.diag.constraint_name != _IN_USE:
            raise
        raise _in_use(dataset, list_dependents(connection, dataset_id=dataset.dataset_id)) from None


@contextmanager
def lock_files(connection: Connection, *, dataset_id: UUID, wait_s: float = 60) -> Iterator[None]:
    """One process at a time deletes a dataset's files.

    Raises:
        WorkHeld: another one still does after ``wait_s`` seconds.
    """
    what = f"the deletion of dataset {dataset_id}"
    with hold_lock(connection, f"files of dataset {dataset_id}", what=what, wait_s=wait_s):
        yield


def note_files_deleted(connection: Connection, *, dataset_id: UUID) -> None:
    """Record that the files of a removed dataset are gone; twice is once."""
    find_value(connection, "SELECT exp.note_files_deleted(%(dataset_id)s)", {"dataset_id": dataset_id})


def list_interrupted(connection: Connection) -> list[StoredDataset]:
    """Datasets that were removed and whose files may be there still, the oldest removal first."""
    return [row for row in _list_stored(connection) if row.removed_at is not None]


def list_unreferenced(connection: Connection, *, unused_for: timedelta, nb_kept: int) -> list[StoredDataset]:
    """Datasets that nothing refers to, the one that was unused for longest first.

    Args:
        connection: as a person.
        unused_for: no run has used it, and it was not recorded, within so long.
        nb_kept: the newest of each name that stay in any case.
    """
    return [row for row in _list_stored(connection, unused_for=unused_for, nb_kept=nb_kept) if row.removed_at is None]


def _list_stored(
    connection: Connection, *, unused_for: timedelta = timedelta.max, nb_kept: int = 0
) -> list[StoredDataset]:
    """Datasets whose files are not known to be gone: those being removed, and what nothing has used for so long."""
    query = """
        WITH stored AS (
            SELECT
                d.dataset_id, d.name, d.version, d.mlflow_run_id, d.removed_at,
                (SELECT coalesce(sum(f.size_bytes), 0)::bigint FROM exp.dataset_files AS f
                 WHERE f.dataset_id = d.dataset_id) AS size_bytes,
                greatest(d.created_at, (SELECT max(u.created_at) FROM exp.dataset_uses AS u
                                        WHERE u.dataset_id = d.dataset_id)) AS used_at,
                row_number() OVER (
                    PARTITION BY d.name, d.removed_at IS NULL ORDER BY d.created_at DESC, d.dataset_id
                ) AS place
            FROM exp.datasets AS d
            WHERE d.files_deleted_at IS NULL
        )

        SELECT {columns} FROM stored
        WHERE removed_at IS NOT NULL
            OR (
                place > %(nb_kept)s AND extract(epoch FROM now() - used_at) >= %(unused_s)s
                AND NOT EXISTS (SELECT FROM exp.list_dataset_dependents(dataset_id))
            )
        ORDER BY coalesce(removed_at, used_at), dataset_id
    """
    values = {"nb_kept": nb_kept, "unused_s": unused_for.total_seconds()}
    return list_rows(connection, query, values, row=StoredDataset)


def _in_use(dataset: Dataset, dependents: list[Dependent]) -> RemovalRefused:
    listed = ", ".join(map(str, dependents)) or "what has ended meanwhile; try again"
    return RemovalRefused(
        f"dataset {dataset.name}@{dataset.version} cannot be deleted, it is used by: {listed}", dependents=dependents
    )
