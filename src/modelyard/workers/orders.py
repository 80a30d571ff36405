"""What a worker orders its child process to do; everything heavy is imported here."""

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

# nearly every job needs these: imported ahead, they delay none
import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401
import pandera.pandas  # noqa: F401
import sklearn.ensemble  # noqa: F401

from modelyard.errors import AttemptLost
from modelyard.pipeline.attempt import Attempt, end_failed, fail_runs
from modelyard.pipeline.flow import run_job
from modelyard.pipeline.session import Session, open_session
from modelyard.store.attempts import get_attempt, name_session
from modelyard.store.connections import Reconnecting
from modelyard.store.jobs import Job, get_asker, get_job
from modelyard.workers.config import WorkerConfig


def run(config: WorkerConfig, *, job_id: UUID, attempt: int, output: Path | None) -> bool:
    """Run an attempt; True if its end is on record, False if somebody wants the job cancelled."""
    with _open(config, job_id, attempt) as (session, job):
        mine = Attempt(job=job, number=attempt)
        try:
            run_job(session, mine, emit=lambda _: None, report=_ProgressPrinter())
        except AttemptLost as error:
            print(error)
            return _has_ended(session, mine)
        except Exception as error:
            traceback.print_exc()
            try:
                end_failed(session, mine, error, output=output, pause_s=config.pause_s)
            except AttemptLost as lost:
                print(lost)
                return _has_ended(session, mine)
    return True


def _has_ended(session: Session, attempt: Attempt) -> bool:
    """Whether somebody has ended the attempt; else its job was cancelled, and the worker ends it."""
    return get_attempt(session.records, job_id=attempt.job_id, attempt=attempt.number).state != "running"


def show_failed(config: WorkerConfig, *, job_id: UUID, attempt: int, output: Path | None, reason: str) -> None:
    """Show in MLflow that an attempt died without a word."""
    with _open(config, job_id, attempt) as (session, job):
        fail_runs(session, job, attempt=attempt, reason=reason, output=output)


@contextmanager
def _open(config: WorkerConfig, job_id: UUID, attempt: int) -> Iterator[tuple[Session, Job]]:
    with Reconnecting(config.dsn, application_name="modelyard attempt") as database:
        job = get_job(database.get(), job_id=job_id)
        user = get_asker(database.get(), job)
    with open_session(config, dsn=config.dsn, application_name=name_session(job_id, attempt), user=user) as session:
        yield session, job


class _ProgressPrinter:
    """Prints once a second into the job's output, which becomes an artifact if the attempt fails."""

    def __init__(self) -> None:
        self._printed_at_s, self._step = 0.0, ""

    def __call__(self, step: str, share: float | None, message: str, /) -> None:
        if step == self._step and time.monotonic() - self._printed_at_s < 1:
            return
        self._printed_at_s, self._step = time.monotonic(), step
        percent = "" if share is None else f"{share:4.0%} "
        print(f"{datetime.now(UTC):%H:%M:%S} {step} {percent}{message}")
