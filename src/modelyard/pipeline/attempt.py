"""A job's attempt, as the pipeline sees it: its right to write, its MLflow runs, and how it ends badly."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from mlflow.entities import LoggedModelStatus, Run

from modelyard.errors import (
    AttemptLost,
    BadInput,
    ContentMismatch,
    ContractNotMet,
    RecordLost,
    RecordNotFound,
    StepFailed,
    UntrustedModel,
    find_remedy,
)
from modelyard.pipeline.session import DATASETS_EXPERIMENT, Session
from modelyard.store import attempts
from modelyard.store.connections import Connection
from modelyard.store.jobs import Job
from modelyard.tracking import runs
from modelyard.tracking.server import get_or_create_experiment

OUTPUT_PATH = "error/output.txt"
OUTPUT_LIMIT_BYTES = 2**20
_RUN_TYPES: Mapping[str, runs.RunType] = {
    "process": "dataset",
    "train": "training",
    "evaluate": "evaluation",
    "drift": "evaluation",
    "reproduce": "evaluation",
    "blend": "blend",
}
_REPEATED = (BadInput, ContentMismatch, UntrustedModel, ContractNotMet, RecordLost, RecordNotFound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The right to work on a job, as long as nobody takes it over or cancels it."""

    job: Job
    number: int

    @property
    def job_id(self) -> UUID:
        return self.job.job_id

    @property
    def resumed(self) -> bool:
        return self.number > 1

    def fenced(self, connection: Connection) -> AbstractContextManager[None]:
        """A transaction on ``connection`` that records facts, or nothing if the right is gone (``AttemptLost``)."""
        return attempts.fenced(connection, job_id=self.job_id, attempt=self.number)


@contextmanager
def recording(connection: Connection, attempt: Attempt | None) -> Iterator[None]:
    """A transaction that records facts, of an attempt or of somebody who works without a job.

    Raises:
        AttemptLost: the attempt was taken over or cancelled; nothing was recorded.
    """
    with attempt.fenced(connection) if attempt else connection.transaction():
        yield


def list_experiments(job: Job) -> tuple[str, ...]:
    """Names of the MLflow experiments that the runs of a job are in."""
    return tuple(dict.fromkeys((DATASETS_EXPERIMENT, str(job.arguments.get("mlflow_experiment", DATASETS_EXPERIMENT)))))


def prepare(session: Session, attempt: Attempt) -> None:
    """Make sure that earlier attempts have stopped, and that MLflow shows none of their runs as running."""
    names = list_experiments(attempt.job)
    for name in names:
        get_or_create_experiment(session.mlflow, name)  # a deleted one hides its runs until it is restored
    if not attempt.resumed:
        return
    attempts.end_earlier_sessions(session.records, job_id=attempt.job_id, attempt=attempt.number)
    for run in runs.list_job_runs(session.mlflow, job_id=str(attempt.job_id), experiment_names=names):
        if _is_open(session, run):
            runs.fail_orphan(session.mlflow, run.info.run_id, reason=f"taken over by attempt {attempt.number}")


@contextmanager
def run_step(
    session: Session,
    attempt: Attempt | None,
    *,
    step: str,
    run_type: runs.RunType,
    experiment_id: str,
    name: str | None,
    tags: Mapping[str, str],
    run_id: str | None = None,
) -> Iterator[runs.ActiveRun]:
    """An MLflow run that a step works in: a new one, or the one that ``run_id`` names.

    Raises:
        StepFailed: for any error in the block; the run is FAILED with the traceback as an artifact.
        AttemptLost, BadInput: as they are; the run is FAILED too.
    """
    active: runs.ActiveRun | None = None
    try:
        with runs.start_run(
            session.mlflow,
            experiment_id=experiment_id,
            run_type=run_type,
            job_id=str(attempt.job_id) if attempt else None,
            attempt=attempt.number if attempt else None,
            name=name,
            tags=tags,
            run_id=run_id,
        ) as active:
            yield active
    except (AttemptLost, BadInput):
        raise
    except Exception as error:
        url = session.pages.run(experiment_id, active.run_id) if active else None
        raise StepFailed(step, describe_error(error), run_url=url) from error


def describe_error(error: BaseException) -> str:
    """An error in one line, with what helps where that is known; running out of memory is named as such."""
    first_line = (str(error).splitlines() or [""])[0]
    named = "; ".join(filter(None, (f"{type(error).__name__}: {first_line}", find_remedy(error))))
    return f"memory ran out ({named})" if isinstance(error, MemoryError) else named


def is_repeated(error: BaseException) -> bool:
    """Whether another attempt would only fail in the same way."""
    return isinstance(error.__cause__ if isinstance(error, StepFailed) else error, _REPEATED)


def fail_runs(session: Session, job: Job, *, attempt: int, reason: str, output: Path | None, trace: str = "") -> None:
    """Show in MLflow that an attempt has failed: its runs FAILED, with the job's output as an artifact.

    An attempt that died before it had a run gets one, so that nobody searches for it in vain.

    Args:
        session: open connections.
        job: whose attempt it was.
        attempt: its number.
        reason: in one line.
        output: what the job printed, of which the end is kept; None if there is none.
        trace: the traceback, where the error had one.
    """
    if job.kind not in _RUN_TYPES:  # it makes no run
        return
    known = runs.list_job_runs(session.mlflow, job_id=str(job.job_id), experiment_names=list_experiments(job))
    # a later attempt may be at work by now
    found = [run for run in known if int(run.data.tags[runs.ATTEMPT_TAG]) <= attempt]
    for run in found:
        if _is_open(session, run):
            runs.fail_orphan(session.mlflow, run.info.run_id, reason=reason)
    mine = [run for run in found if run.data.tags.get(runs.ATTEMPT_TAG) == str(attempt)]
    failed = [runs.ActiveRun(session.mlflow, r.info.run_id, r.info.experiment_id) for r in mine if not _finished(r)]
    has_run = any(run.data.tags.get("run_type") == _RUN_TYPES[job.kind] for run in mine)
    if not failed and not has_run and job.cancelled_by is None:
        failed = [_create_failed_run(session, job, attempt=attempt, reason=reason, trace=trace)]
    text = read_end(output)
    for active in failed:
        if text:
            active.log_files({OUTPUT_PATH: text})


def _is_open(session: Session, run: Run) -> bool:
    """Whether a run, or a model that it was logging, has not been ended: MLflow may have been away then."""
    outputs = run.outputs.model_outputs if run.outputs else []
    models = (session.mlflow.get_logged_model(output.model_id) for output in outputs)
    return run.info.status == "RUNNING" or any(model.status == LoggedModelStatus.PENDING for model in models)


def _finished(run: Run) -> bool:
    return bool(run.info.status == "FINISHED")


def _create_failed_run(session: Session, job: Job, *, attempt: int, reason: str, trace: str) -> runs.ActiveRun:
    experiment_id = get_or_create_experiment(session.mlflow, list_experiments(job)[-1])
    tags = {
        "run_type": _RUN_TYPES[job.kind],
        runs.JOB_TAG: str(job.job_id),
        runs.ATTEMPT_TAG: str(attempt),
        "workload": str(job.arguments.get("workload", "")),
        "mlflow.user": session.user,
        runs.ORPHAN_TAG: reason,
    }
    created = session.mlflow.create_run(experiment_id, run_name=job.arguments.get("run_name"), tags=tags)
    active = runs.ActiveRun(session.mlflow, created.info.run_id, experiment_id)
    if trace:
        active.log_files({runs.TRACEBACK_PATH: trace})
    session.mlflow.set_terminated(active.run_id, "FAILED")
    return active


def read_end(output: Path | None) -> str:
    """The last MiB of what a job printed."""
    if output is None or not output.is_file():
        return ""
    with output.open("rb") as file:
        file.seek(max(0, output.stat().st_size - OUTPUT_LIMIT_BYTES))
        return file.read().decode(errors="replace")


def end_failed(session: Session, attempt: Attempt, error: Exception, *, output: Path | None, pause_s: float) -> None:
    """Record that an attempt failed, in MLflow and then in the store; the next one begins after ``pause_s`` seconds.

    Raises:
        AttemptLost: it was taken over in the meantime; the store was left as it is.
    """
    reason = str(error) if isinstance(error, StepFailed) else describe_error(error)
    trace = "".join(traceback.format_exception(error))
    orphaned = False
    try:
        fail_runs(session, attempt.job, attempt=attempt.number, reason=reason, output=output, trace=trace)
    except Exception as unreachable:  # the first error is the one to show
        error.add_note(f"MLflow could not be told: {unreachable}")
        orphaned = True
    job_id, number = attempt.job_id, attempt.number
    if is_repeated(error) and not orphaned:
        attempts.finish_job(session.records, job_id=job_id, attempt=number, state="failed", error=reason)
    else:
        attempts.finish_attempt(
            session.records,
            job_id=job_id,
            attempt=number,
            state="failed",
            error=reason,
            pause_s=pause_s,
            orphaned=orphaned,
        )
