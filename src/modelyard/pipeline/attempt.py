"""A job's attempt: taken once, resumed after a kill, and fenced, so that nothing is done twice."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from modelyard.errors import ContentMismatch, UntrustedModel
from modelyard.pipeline.request import TrainingRequest
from modelyard.pipeline.session import DATASETS_EXPERIMENT, Session
from modelyard.store import jobs
from modelyard.tracking.runs import fail_orphan, list_job_runs
from modelyard.tracking.server import get_or_create_experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The right to work on a job, as long as no later attempt has begun."""

    job_id: UUID
    number: int

    @property
    def resumed(self) -> bool:
        return self.number > 1


@contextmanager
def begin_attempt(session: Session, request: TrainingRequest, *, raw_digest: str) -> Iterator[Attempt]:
    """Work on the request's job: the unfinished one of the same request if there is one, else a new one.

    A database lock marks the job as being worked on; it goes with this process, however that ends. An attempt that
    ends in an error or by Ctrl-C leaves its job to the next one.

    Raises:
        WorkHeld: another process is working on the same request.
    """
    arguments = request.arguments(raw_digest=raw_digest)
    fingerprint = jobs.fingerprint_job("train", arguments)
    with jobs.hold_job(session.person, fingerprint=fingerprint):
        job = jobs.find_unfinished(session.person, fingerprint=fingerprint)
        job_id = job.job_id if job else jobs.submit_job(session.person, kind="train", arguments=arguments)
        worker = f"{socket.gethostname()}:{os.getpid()}"
        number = jobs.begin_attempt(session.trainer, job_id=job_id, worker=worker)
        attempt = Attempt(job_id=job_id, number=number)
        try:
            for name in (DATASETS_EXPERIMENT, request.mlflow_experiment):
                get_or_create_experiment(session.mlflow, name)  # a deleted one hides its runs until it is restored
            if attempt.resumed:
                fail_orphans(session, attempt, experiment_names=(DATASETS_EXPERIMENT, request.mlflow_experiment))
            yield attempt
        except BaseException as error:
            _end(session, attempt, error)
            raise


def _end(session: Session, attempt: Attempt, error: BaseException) -> None:
    """Say how an attempt ended; its job goes to the next one, unless what it would go on with was refused."""
    job_id, number = attempt.job_id, attempt.number
    try:
        if isinstance(error.__cause__ or error, ContentMismatch | UntrustedModel):
            jobs.finish_job(session.trainer, job_id=job_id, attempt=number, state="failed", error=str(error))
        elif isinstance(error, Exception):
            jobs.finish_attempt(session.trainer, job_id=job_id, attempt=number, state="failed", error=str(error))
        else:
            jobs.finish_attempt(session.trainer, job_id=job_id, attempt=number, state="interrupted")
    except Exception as unreachable:  # the first error is the one to show; the next attempt takes the job over
        error.add_note(f"attempt {attempt.number} of job {attempt.job_id} could not be ended: {unreachable}")


def fail_orphans(session: Session, attempt: Attempt, *, experiment_names: tuple[str, ...]) -> None:
    """End the runs that killed attempts of this job left RUNNING; a step whose result is on record repairs its run."""
    for run in list_job_runs(session.mlflow, job_id=str(attempt.job_id), experiment_names=experiment_names):
        if run.info.status == "RUNNING":
            fail_orphan(session.mlflow, run.info.run_id, reason=f"taken over by attempt {attempt.number}")
