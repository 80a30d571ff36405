"""A job in the process of whoever asks for it: the same code without the queue."""

import _thread
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from modelyard.errors import AttemptLost, JobFailed, WorkHeld
from modelyard.pipeline.attempt import Attempt, end_failed
from modelyard.pipeline.flow import run_job
from modelyard.pipeline.session import Emit, Report, open_session
from modelyard.store.attempts import begin_attempt, finish_attempt, name_session
from modelyard.store.connections import Connection, Reconnecting
from modelyard.store.jobs import get_asker, get_job, hold_job
from modelyard.workers.claim import ClaimKeeper
from modelyard.workers.config import WorkerConfig, name_worker

_WATCH_S = 0.2


def run_inline(
    config: WorkerConfig,
    connection: Connection,
    *,
    job_id: UUID,
    started: Callable[[int], None],
    emit: Emit,
    report: Report,
) -> None:
    """Run one attempt of a job here, to its end.

    An attempt that ends in an error or by Ctrl-C leaves its job to the next call. If this process dies, workers take
    the job up, where there are any.

    Args:
        config: as the role whose work the job is.
        connection: as whoever asks; it holds the job for this process.
        job_id: which job.
        started: told the number of the attempt.
        emit: told each result when it is there.
        report: told how far each step is.

    Raises:
        WorkHeld: a worker or another process works on it now.
        StepFailed: the work failed.
        JobFailed: somebody has cancelled the job, or a worker has taken it over.
    """
    with hold_job(connection, job_id=job_id):
        job = get_job(connection, job_id=job_id)
        user = get_asker(connection, job)
        with Reconnecting(config.dsn, application_name="modelyard attempt", wait_s=5) as writer:
            worker = f"inline {name_worker(config.role)}"
            number = begin_attempt(writer.get(), job_id=job_id, worker=worker, claim_s=config.claim_s, inline=True)
            if number is None:
                raise WorkHeld(f"job {job_id} runs at {job.worker}; follow it: modelyard jobs follow {job_id}")
            try:
                started(number)
                _run(config, Attempt(job=job, number=number), user=user, emit=emit, report=report)
            except BaseException as error:
                _give_back(writer, job_id, number, error)  # what was ended in order stays as it is
                raise


def _run(config: WorkerConfig, attempt: Attempt, *, user: str, emit: Emit, report: Report) -> None:
    job_id = attempt.job_id
    with (
        _claimed(config, job_id, attempt.number) as keeper,
        open_session(
            config, dsn=config.dsn, application_name=name_session(job_id, attempt.number), user=user
        ) as session,
    ):
        try:
            run_job(session, attempt, emit=emit, report=report, reserve_s=config.claim_s)
        except AttemptLost as error:
            raise JobFailed(f"job {job_id} was stopped: {error}") from None
        except Exception as error:
            try:
                end_failed(session, attempt, error, output=None, pause_s=0)
            except Exception as unreachable:  # the first error is the one to show; the sweep takes the job over
                error.add_note(f"attempt {attempt.number} of job {job_id} could not be ended: {unreachable}")
            raise
        except KeyboardInterrupt:
            if keeper.cancelled:
                raise JobFailed(f"job {job_id} was cancelled") from None
            if keeper.lost or keeper.expired:
                why = keeper.lost or f"its claim could not be renewed for {config.claim_s:.0f} s"
                raise JobFailed(f"job {job_id} was stopped here: {why}") from None
            raise


@contextmanager
def _claimed(config: WorkerConfig, job_id: UUID, number: int) -> Iterator[ClaimKeeper]:
    """Keep the claim during the block; a block that has lost it is interrupted."""
    keeper = ClaimKeeper(config.dsn, job_id=job_id, attempt=number, claim_s=config.claim_s)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_WATCH_S):
            if keeper.lost or keeper.cancelled or keeper.expired:
                _thread.interrupt_main()
                return

    threading.Thread(target=watch, name="watch", daemon=True).start()
    try:
        yield keeper
    finally:
        over.set()
        keeper.stop()


def _give_back(writer: Reconnecting, job_id: UUID, number: int, error: BaseException) -> None:
    try:
        finish_attempt(writer.get(), job_id=job_id, attempt=number, state="interrupted", error="interrupted")
    except AttemptLost:
        return
    except Exception as unreachable:
        error.add_note(f"attempt {number} of job {job_id} could not be ended: {unreachable}")
