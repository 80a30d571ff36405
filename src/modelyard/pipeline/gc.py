"""Garbage collection: what nothing refers to any more is planned, shown, and then deleted. Never raw data."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from mlflow.entities import Run

from modelyard.errors import RecordNotFound, RemovalRefused
from modelyard.pipeline.erasure import erase, plan_deleted, restore_needed
from modelyard.pipeline.garbage import Collected, Garbage, MlflowStore
from modelyard.pipeline.removal import remove_dataset
from modelyard.pipeline.session import Session
from modelyard.store import removals
from modelyard.store.catalogue import find_by_run
from modelyard.store.datasets import get_dataset
from modelyard.store.jobs import get_job
from modelyard.tracking.deletion import ERRORS, delete_artifacts, list_unfinished_runs, measure_artifacts
from modelyard.tracking.runs import ATTEMPT_TAG, JOB_TAG, find_run

_ENDED = ("FAILED", "KILLED")
_DELETED = ("deleted run", "deleted model")  # what is left to mlflow gc


def plan_gc(
    session: Session, store: MlflowStore, *, unused_for: timedelta = timedelta(days=30), nb_kept: int = 1
) -> list[Garbage]:
    """What may go now; changes nothing.

    Args:
        session: open connections, the database's as a person.
        store: MLflow's own, of the same stack.
        unused_for: datasets that were recorded or used, and runs that were begun, within so long stay.
        nb_kept: so many of the newest datasets of each name stay in any case.

    Raises:
        ServiceFailed: where artifacts are stored does not answer, or refuses.
    """
    return [
        *_plan_interrupted(session),
        *_plan_datasets(session, unused_for=unused_for, nb_kept=nb_kept),
        *_plan_runs(session, unused_for=unused_for),
        *plan_deleted(session, store, unused_for=unused_for),
    ]


def collect_garbage(
    session: Session,
    store: MlflowStore,
    plan: Iterable[Garbage],
    *,
    emit: Callable[[Collected], None] = lambda _: None,
) -> list[Collected]:
    """Delete what a plan names, each if it still may go at its moment; ``emit`` is told each as it is done.

    What a record names of all that is deleted in MLflow is taken out of there before.

    Raises:
        RemovalRefused: who asks may not delete; nothing was deleted.
        WorkHeld: another process deletes the same files.
        ServiceFailed: MLflow, or where artifacts are stored, does not answer or refuses; the next collection goes on.
    """
    removals.check_right(session.records)
    restore_needed(session, store)
    done = []
    for collected in _collect_all(session, store, list(plan)):
        emit(collected)
        done.append(collected)
    return done


def _collect_all(session: Session, store: MlflowStore, plan: list[Garbage]) -> Iterator[Collected]:
    for garbage in plan:
        if garbage.kind not in _DELETED:
            yield Collected(garbage=garbage, kept=_collect(session, garbage))
    yield from erase(session, store, [garbage for garbage in plan if garbage.kind in _DELETED])


def _collect(session: Session, garbage: Garbage) -> str | None:
    if garbage.dataset_id is None:
        return _collect_run(session, garbage.mlflow_run_id)
    dataset = get_dataset(session.records, dataset_id=garbage.dataset_id)
    try:
        remove_dataset(session, dataset, reason=f"garbage collection: {garbage.why}")
    except RemovalRefused as refused:  # somebody has begun to use it
        return str(refused)
    return None


def _collect_run(session: Session, run_id: str) -> str | None:
    run = find_run(session.mlflow, run_id)
    if run is None:
        return "MLflow has forgotten this run"
    if not _is_dead(session, run):
        return "the run has ended well or is on record by now"
    delete_artifacts(run.info.artifact_uri, keep=(ERRORS,))
    return None


def _plan_interrupted(session: Session) -> Iterator[Garbage]:
    for row in removals.list_interrupted(session.records):
        assert row.removed_at is not None  # noqa: S101  that is what was asked for
        yield _describe(row, kind="files", since=row.removed_at, why="its deletion was interrupted")


def _plan_datasets(session: Session, *, unused_for: timedelta, nb_kept: int) -> Iterator[Garbage]:
    newest = f", and it is not among the newest {nb_kept} of its name" if nb_kept else ""
    for row in removals.list_unreferenced(session.records, unused_for=unused_for, nb_kept=nb_kept):
        yield _describe(row, kind="dataset", since=row.used_at, why=f"nothing refers to it{newest}")


def _describe(row: removals.StoredDataset, *, kind: Literal["dataset", "files"], since: datetime, why: str) -> Garbage:
    return Garbage(
        kind=kind,
        name=f"{row.name}@{row.version}",
        mlflow_run_id=row.mlflow_run_id,
        dataset_id=row.dataset_id,
        size_bytes=row.size_bytes,
        since=since,
        why=why,
    )


def _plan_runs(session: Session, *, unused_for: timedelta) -> Iterator[Garbage]:
    latest = datetime.now(UTC) - unused_for
    for run in list_unfinished_runs(session.mlflow, run_type="dataset"):
        since = datetime.fromtimestamp((run.info.end_time or run.info.start_time) / 1000, UTC)
        if since > latest or not _is_dead(session, run):
            continue
        size_bytes = measure_artifacts(run.info.artifact_uri, keep=(ERRORS,))
        if size_bytes is not None:
            how = "failed" if run.info.status in _ENDED else "died"
            yield Garbage(
                kind="run",
                name=run.info.run_name or run.info.run_id,
                mlflow_run_id=run.info.run_id,
                size_bytes=size_bytes,
                since=since,
                why=f"the processing run {how}, and what it logged is no dataset on record",
            )


def _is_dead(session: Session, run: Run) -> bool:
    """Whether a processing run will never be a dataset on record: it is none, and nobody who may record writes it."""
    connection = session.records
    if "workload" not in run.data.tags:  # not ours: a server that was adopted may have runs of this type
        return False
    if run.info.status == "FINISHED" or find_by_run(connection, mlflow_run_id=run.info.run_id) is not None:
        return False
    if run.info.status in _ENDED:
        return True
    try:
        job = get_job(connection, job_id=UUID(run.data.tags[JOB_TAG]))
        return job.ended or job.attempt > int(run.data.tags[ATTEMPT_TAG])
    except (KeyError, ValueError, RecordNotFound):  # not a run of a job: it may be somebody's at work in a notebook
        return False
