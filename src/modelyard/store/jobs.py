"""Jobs and their attempts: every write of an attempt is fenced on its number."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from modelyard.errors import AttemptLost, RecordConflict, RecordNotFound
from modelyard.store.canonical import hash_json
from modelyard.store.connections import Connection, find_row, find_value, hold_lock, refusals

JobKind = Literal["process", "train", "evaluate", "blend"]

_REFUSALS = {
    "attempts_newest_check": (AttemptLost, ""),
    "attempts_job_id_fkey": (RecordNotFound, ""),
    "jobs_arguments_key": (RecordConflict, ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row of ``exp.job_states``: a job with the newest of its attempts (``attempt`` 0: none yet)."""

    job_id: UUID
    kind: str
    arguments: dict[str, Any]
    fingerprint: str
    state: str
    result: Any
    error: str | None
    attempt: int
    worker: str | None
    progress_share: float
    progress_message: str
    created_by: str
    created_at: datetime
    finished_at: datetime | None


def fingerprint_job(kind: JobKind, arguments: Mapping[str, Any]) -> str:
    """sha256 of what is asked for: the same for any order of keys."""
    return hash_json({"kind": kind, "arguments": dict(arguments)})


def submit_job(
    connection: Connection, *, kind: JobKind, arguments: Mapping[str, Any], job_id: UUID | None = None
) -> UUID:
    """Record a job and return its id; with the id of an earlier call it is the same job.

    Raises:
        RecordConflict: that id was used with other arguments.
    """
    values = {
        "kind": kind,
        "arguments": Jsonb(dict(arguments)),
        "fingerprint": fingerprint_job(kind, arguments),
        "job_id": job_id or uuid4(),
    }
    with refusals(_REFUSALS):
        query = "SELECT exp.submit_job(%(kind)s, %(arguments)s, %(fingerprint)s, %(job_id)s)"
        submitted: UUID = find_value(connection, query, values)
    return submitted


def get_job(connection: Connection, *, job_id: UUID) -> Job:
    """The job with this id.

    Raises:
        RecordNotFound: there is none.
    """
    job = find_row(connection, "SELECT {columns} FROM exp.job_states WHERE job_id = %(id)s", {"id": job_id}, row=Job)
    if job is None:
        raise RecordNotFound(f"there is no job {job_id}")
    return job


def find_unfinished(connection: Connection, *, fingerprint: str) -> Job | None:
    """The oldest job with this fingerprint that is queued or running."""
    query = """
        SELECT {columns} FROM exp.job_states
        WHERE fingerprint = %(fingerprint)s AND state IN ('queued', 'running')
        ORDER BY created_at, job_id LIMIT 1
    """
    return find_row(connection, query, {"fingerprint": fingerprint}, row=Job)


@contextmanager
def hold_job(connection: Connection, *, fingerprint: str, wait_s: float = 0) -> Iterator[None]:
    """Keep everybody else from working on the same job; a holder that dies frees it by itself.

    The lock belongs to the connection's session: keep the connection open, and do not share it.

    Args:
        wait_s: how long to wait for another holder, in seconds.

    Raises:
        WorkHeld: somebody else still works on it.
    """
    with hold_lock(connection, f"job {fingerprint}", what="the same job", wait_s=wait_s):
        yield


def begin_attempt(connection: Connection, *, job_id: UUID, worker: str) -> int:
    """Take a job over; attempts of it that still run are lost. Returns the number of the attempt, from 1.

    Raises:
        RecordNotFound: there is no such job.
        AttemptLost: the job has ended.
    """
    with refusals(_REFUSALS):
        values = {"job_id": job_id, "worker": worker}
        attempt: int = find_value(connection, "SELECT exp.begin_attempt(%(job_id)s, %(worker)s)", values)
    return attempt


def check_attempt(connection: Connection, *, job_id: UUID, attempt: int) -> None:
    """Return if this attempt is still the one that runs.

    Raises:
        AttemptLost: another attempt has taken the job over, or it has ended.
    """
    running = find_value(
        connection,
        "SELECT attempt FROM exp.attempts WHERE job_id = %(job_id)s AND state = 'running'",
        {"job_id": job_id},
    )
    if running != attempt:
        now = f"attempt {running} runs" if running else "no attempt runs"
        raise AttemptLost(f"attempt {attempt} of job {job_id} writes nothing more: {now}")


def report_progress(connection: Connection, *, job_id: UUID, attempt: int, share: float, message: str) -> None:
    """Say how far an attempt is; ``share`` is 0 to 1.

    Raises:
        AttemptLost: as in ``check_attempt``.
    """
    values = {"job_id": job_id, "attempt": attempt, "share": share, "message": message}
    with refusals(_REFUSALS):
        query = "SELECT exp.report_progress(%(job_id)s, %(attempt)s::integer, %(share)s::float, %(message)s)"
        connection.execute(query, values)


def finish_attempt(
    connection: Connection,
    *,
    job_id: UUID,
    attempt: int,
    state: Literal["failed", "interrupted"],
    error: str | None = None,
) -> None:
    """End an attempt; its job is queued again.

    Raises:
        AttemptLost: as in ``check_attempt``; nothing was written.
    """
    values = {"job_id": job_id, "attempt": attempt, "state": state, "error": error}
    with refusals(_REFUSALS):
        query = "SELECT exp.finish_attempt(%(job_id)s, %(attempt)s::integer, %(state)s, %(error)s)"
        connection.execute(query, values)


def finish_job(
    connection: Connection,
    *,
    job_id: UUID,
    attempt: int,
    state: Literal["succeeded", "failed", "cancelled"],
    result: Any = None,
    error: str | None = None,
) -> None:
    """End a job and its attempt, with a JSON result or an error in one line.

    Raises:
        AttemptLost: as in ``check_attempt``; nothing was written.
    """
    values = {
        "job_id": job_id,
        "attempt": attempt,
        "state": state,
        "result": None if result is None else Jsonb(result),
        "error": error,
    }
    with refusals(_REFUSALS):
        query = "SELECT exp.finish_job(%(job_id)s, %(attempt)s::integer, %(state)s, %(result)s, %(error)s)"
        connection.execute(query, values)
