"""Attempts: one try at a job by one worker. Every write of an attempt is fenced on its number."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from modelyard.errors import RecordNotFound
from modelyard.store.connections import Connection, find_row, find_value, list_rows, refusals
from modelyard.store.jobs import DEFAULT_QUEUE, REFUSALS, JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """A row of ``exp.attempts``."""

    attempt: int
    worker: str
    state: str
    progress_step: str
    progress_share: float
    progress_message: str
    error: str | None
    started_at: datetime
    ended_at: datetime | None


def begin_attempt(
    connection: Connection,
    *,
    job_id: UUID,
    worker: str,
    claim_s: float,
    inline: bool = False,
    queue: str = DEFAULT_QUEUE,
) -> int | None:
    """Take a job that waits. Returns the number of the attempt, from 1; None if another has it, it is not due, or it
    waits in another queue.

    Args:
        connection: as the role whose work the job is.
        job_id: which job.
        worker: who works on it, for people to read.
        claim_s: the claim is to be renewed within so many seconds (``renew_claim``).
        inline: in the process of whoever asked; an inline attempt that still runs is lost then, so hold the job.
        queue: which one the worker takes jobs of; inline, any is taken.

    Raises:
        RecordNotFound: there is no such job.
        AttemptLost: the job has ended.
    """
    values = {"job_id": job_id, "worker": worker, "claim_s": claim_s, "inline": inline, "queue": queue}
    query = "SELECT exp.begin_attempt(%(job_id)s, %(worker)s, %(claim_s)s::float, %(inline)s, %(queue)s)"
    with refusals(REFUSALS):
        attempt: int | None = find_value(connection, query, values)
    return attempt


def list_attempts(connection: Connection, *, job_id: UUID) -> list[AttemptRecord]:
    """The attempts of a job, first to last."""
    query = "SELECT {columns} FROM exp.attempts WHERE job_id = %(id)s ORDER BY attempt"
    return list_rows(connection, query, {"id": job_id}, row=AttemptRecord)


def get_attempt(connection: Connection, *, job_id: UUID, attempt: int) -> AttemptRecord:
    """This attempt of a job.

    Raises:
        RecordNotFound: there is none with this number.
    """
    query = "SELECT {columns} FROM exp.attempts WHERE job_id = %(job_id)s AND attempt = %(attempt)s"
    found = find_row(connection, query, _key(job_id, attempt), row=AttemptRecord)
    if found is None:
        raise RecordNotFound(f"job {job_id} has no attempt {attempt}")
    return found


@contextmanager
def fenced(connection: Connection, *, job_id: UUID, attempt: int) -> Iterator[None]:
    """A transaction in which an attempt records facts: all of them, or none if it was taken over or cancelled.

    Raises:
        AttemptLost: the attempt writes nothing more.
    """
    with refusals(REFUSALS), connection.transaction():
        find_value(connection, "SELECT exp.hold_attempt(%(job_id)s, %(attempt)s)", _key(job_id, attempt))
        yield


def check_attempt(connection: Connection, *, job_id: UUID, attempt: int) -> None:
    """Return if this attempt may still write.

    Raises:
        AttemptLost: another attempt has taken the job over, it has ended, or it was cancelled.
    """
    with fenced(connection, job_id=job_id, attempt=attempt):
        pass


def renew_claim(connection: Connection, *, job_id: UUID, attempt: int, claim_s: float) -> bool:
    """Keep the job for another ``claim_s`` seconds; True if somebody wants it cancelled.

    Use one connection for it and keep that open: where it ends, the worker counts as gone.

    Raises:
        AttemptLost: the job was taken away.
    """
    values = {**_key(job_id, attempt), "claim_s": claim_s}
    with refusals(REFUSALS):
        query = "SELECT exp.renew_claim(%(job_id)s, %(attempt)s, %(claim_s)s::float)"
        cancelled: bool = find_value(connection, query, values)
    return cancelled


def report_progress(
    connection: Connection, *, job_id: UUID, attempt: int, step: str, share: float, message: str
) -> None:
    """Say how far an attempt is; ``share`` of the step is 0 to 1.

    Raises:
        AttemptLost: as in ``fenced``.
    """
    values = {**_key(job_id, attempt), "step": step, "share": share, "message": message}
    query = "SELECT exp.report_progress(%(job_id)s, %(attempt)s, %(step)s, %(share)s::float, %(message)s)"
    with refusals(REFUSALS):
        find_value(connection, query, values)


def report_result(connection: Connection, *, job_id: UUID, attempt: int, name: str, value: Any) -> None:
    """Add what an attempt has achieved, a JSON value.

    Raises:
        AttemptLost: as in ``fenced``.
    """
    values = {**_key(job_id, attempt), "name": name, "value": Jsonb(value)}
    with refusals(REFUSALS):
        find_value(connection, "SELECT exp.report_result(%(job_id)s, %(attempt)s, %(name)s, %(value)s)", values)


def keep_result(connection: Connection, *, job_id: UUID, attempt: int, result: Any) -> None:
    """Fix the job's result before it ends; from then on it cannot be cancelled.

    Raises:
        AttemptLost: as in ``fenced``.
    """
    values = {**_key(job_id, attempt), "result": Jsonb(result)}
    with refusals(REFUSALS):
        find_value(connection, "SELECT exp.keep_result(%(job_id)s, %(attempt)s, %(result)s)", values)


def finish_attempt(
    connection: Connection,
    *,
    job_id: UUID,
    attempt: int,
    state: Literal["failed", "interrupted"],
    error: str | None = None,
    pause_s: float = 0,
    orphaned: bool = False,
) -> JobState:
    """End an attempt that did not succeed; its job is queued again, or has failed, or is cancelled. Returns which.

    Args:
        connection: as the role that began it.
        job_id: which job.
        attempt: which attempt.
        state: an interrupted attempt does not count as one of the three that a job has.
        error: in one line.
        pause_s: seconds until the next attempt after a first failure; four times that after a second one.
        orphaned: MLflow could not be told; somebody has to, if this was the last attempt.

    Raises:
        AttemptLost: another attempt has taken the job over, or it has ended; nothing was written.
    """
    values = {**_key(job_id, attempt), "state": state, "error": error, "pause_s": pause_s, "orphaned": orphaned}
    query = """
        SELECT exp.finish_attempt(
            %(job_id)s, %(attempt)s, %(state)s, %(error)s, %(pause_s)s::float, %(orphaned)s
        )
    """
    with refusals(REFUSALS):
        job_state: JobState = find_value(connection, query, values)
    return job_state


def finish_job(
    connection: Connection,
    *,
    job_id: UUID,
    attempt: int,
    state: Literal["succeeded", "failed"],
    result: Any = None,
    error: str | None = None,
) -> None:
    """End a job and its attempt: with a JSON result, or with an error that another attempt would only repeat.

    Raises:
        AttemptLost: as in ``fenced``; nothing was written.
    """
    values = {
        **_key(job_id, attempt),
        "state": state,
        "result": None if result is None else Jsonb(result),
        "error": error,
    }
    with refusals(REFUSALS):
        query = "SELECT exp.finish_job(%(job_id)s, %(attempt)s, %(state)s, %(result)s, %(error)s)"
        find_value(connection, query, values)


def end_earlier_sessions(connection: Connection, *, job_id: UUID, attempt: int) -> None:
    """End the database sessions of earlier attempts that are still there, and with them their locks.

    A session is known by its application name (``name_session``).
    """
    names = [name_session(job_id, earlier) for earlier in range(1, attempt)]
    query = """
        SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE usename = session_user AND application_name = ANY(%(names)s)
    """
    find_value(connection, query, {"names": names})


def name_session(job_id: UUID, attempt: int) -> str:
    """The application name of an attempt's session (at most 63 bytes are kept by PostgreSQL)."""
    return f"modelyard job {job_id} {attempt}"


def sweep_jobs(connection: Connection, *, unseen_s: float) -> int:
    """Take jobs from workers that are gone, and repair what the queue has forgotten. Returns how many were taken.

    Args:
        connection: as a worker's role.
        unseen_s: a worker without a connection counts as gone after so many seconds.
    """
    nb_taken: int = find_value(connection, "SELECT exp.sweep_jobs(%(unseen_s)s::float)", {"unseen_s": unseen_s})
    return nb_taken


def tidy_job(connection: Connection, *, job_id: UUID, attempt: int) -> None:
    """Note that MLflow has been told of all attempts of a job that has ended, up to this one."""
    find_value(connection, "SELECT exp.tidy_job(%(job_id)s, %(attempt)s)", _key(job_id, attempt))


def _key(job_id: UUID, attempt: int) -> dict[str, Any]:
    return {"job_id": job_id, "attempt": attempt}
