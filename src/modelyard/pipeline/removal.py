"""Removal of a dataset: first its record says so, then its files go; its row, its lineage and its version stay."""

from modelyard.errors import BadInput, UnknownName
from modelyard.pipeline.session import Session
from modelyard.store import removals
from modelyard.store.catalogue import find_named
from modelyard.store.datasets import Dataset, get_dataset
from modelyard.store.usage import list_summaries
from modelyard.tracking.deletion import delete_artifacts, delete_run
from modelyard.tracking.runs import find_run

_REASON_LIMIT = 1000  # characters


def find_version(session: Session, text: str) -> Dataset:
    """The dataset that ``NAME@VERSION`` names, a deleted one too.

    Raises:
        BadInput: no version is named: the newest of a name is never deleted for want of one.
        UnknownName: there is none.
    """
    name, _, version = text.partition("@")
    if version and (found := find_named(session.records, name=name, version=version)):
        return found
    of_name = list_summaries(session.records, name=name, limit=20)
    if not version:
        known = ", ".join(f"{row.name}@{row.version}" for row in of_name)
        raise BadInput(f"{text!r} names no version; give NAME@VERSION" + (f", one of: {known}" if known else ""))
    rows = of_name or list_summaries(session.records, limit=20)
    hint = "modelyard datasets list has all of them."
    raise UnknownName("dataset", text, [f"{row.name}@{row.version}" for row in rows], hint=hint)


def check_removal(session: Session, dataset: Dataset, *, reason: str) -> None:
    """Refuse a removal before anybody is asked about it.

    Raises:
        BadInput: the reason says nothing, or is too long.
        RemovalRefused: who asks may not delete, or something refers to the dataset; the text lists all of it.
    """
    if not reason.strip() or len(reason) > _REASON_LIMIT:
        raise BadInput(f"say why in 1 to {_REASON_LIMIT} characters (--reason); it stays on record")
    removals.check_right(session.records)
    if dataset.removed_at is None:
        removals.check_unused(session.records, dataset)


def remove_dataset(session: Session, dataset: Dataset, *, reason: str) -> Dataset:
    """Delete a dataset's content; one whose deletion was interrupted is gone on with. Returns its row as it is then.

    Nothing loads or uses it from the first moment on; who deleted it, when and why stays on record, and its version is
    never used again. Its raw data stays.

    Args:
        session: open connections, the database's as a person.
        dataset: which one.
        reason: why, in words for people; that of an earlier removal stays.

    Raises:
        BadInput: the reason says nothing.
        RemovalRefused: who asks may not delete, or something refers to it; nothing was changed.
        WorkHeld: another process deletes its files now.
        ServiceFailed: it is removed, and its files could not be deleted; the same call, or gc, goes on.
    """
    check_removal(session, dataset, reason=reason)
    if dataset.removed_at is None:
        removals.remove_dataset(session.records, dataset, reason=reason.strip())
    _delete_files(session, dataset)
    return get_dataset(session.records, dataset_id=dataset.dataset_id)


def _delete_files(session: Session, dataset: Dataset) -> None:
    """Every step may be done twice: a crash between two of them is gone on with by the next call."""
    with removals.lock_files(session.records, dataset_id=dataset.dataset_id):
        run = find_run(session.mlflow, dataset.mlflow_run_id)
        if run is not None:
            delete_artifacts(run.info.artifact_uri)
            delete_run(session.mlflow, dataset.mlflow_run_id)
        removals.note_files_deleted(session.records, dataset_id=dataset.dataset_id)
