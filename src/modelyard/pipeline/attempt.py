"""A job's attempt: taken once, resumed after a kill, and fenced, so that nothing is done twice."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from modelyard.pipeline.request import TrainingRequest
from modelyard.pipeline.session import DATASETS_EXPERIMENT, Session
from modelyard.store import jobs
from modelyard.tracking.runs import fail_orphan, list_job_runs


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
            if attempt.resumed:
                fail_orphans(session, attempt, experiment_names=(DATASETS_EXPERIMENT, request.mlflow_experiment))
            yield attempt
        except Exception as error:
            jobs.finish_attempt(session.trainer, job_id=job_id, attempt=number, state="failed", error=str(error))
            raise
        except BaseException:
            jobs.finish_attempt(session.trainer, job_id=job_id, attempt=number, state="interrupted")
            raise


def fail_orphans(session: Session, attempt: Attempt, *, experiment_names: tuple[str, ...]) -> None:
    """End the runs that killed attempts of this job left RUNNING; a step whose result is on record repairs its run."""
    for run in list_job_runs(session.mlflow, job_id=str(attempt.job_id), experiment_names=experiment_names):
        if run.info.status == "RUNNING":
            fail_orphan(session.mlflow, run.info.run_id, reason=f"taken over by attempt {attempt.number}")
