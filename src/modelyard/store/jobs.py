"""Jobs: work that was asked for, and what has become of it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from modelyard.errors import AttemptLost, BadInput, JobRefused, RecordConflict, RecordNotFound
from modelyard.store.canonical import hash_json
from modelyard.store.connections import Connection, find_row, find_value, hold_lock, list_rows, refusals

JobKind = Literal["process", "train", "register", "evaluate", "blend", "drift", "reproduce"]
JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]

DEFAULT_QUEUE = "default"
MAX_QUEUE_LENGTH = 30
_QUEUE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")  # as jobs_queue_check has it

REFUSALS = {
    "attempts_newest_check": (AttemptLost, ""),
    "attempts_job_id_fkey": (RecordNotFound, ""),
    "jobs_arguments_key": (RecordConflict, ""),
    "jobs_cancel_check": (JobRefused, ""),
    "jobs_retry_check": (JobRefused, ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row of ``exp.job_states``: a job with the newest of its attempts (``attempt`` 0: none yet).

    Attributes:
        results: what that attempt has achieved so far, in order: ``{"name": …, "value": …}``.
        inline: it runs in the process of whoever asked, and no worker takes it.
        due_at: the next attempt begins no earlier.
        orphaned: it has ended, and MLflow has not been told of all its attempts.
        queue: whose workers take it: those of the stack (``default``), or workers with further packages.
    """

    job_id: UUID
    kind: JobKind
    arguments: dict[str, Any]
    fingerprint: str
    state: JobState
    result: Any
    error: str | None
    attempt: int
    worker: str | None
    progress_step: str
    progress_share: float
    progress_message: str
    results: list[dict[str, Any]]
    parent_job_id: UUID | None
    inline: bool
    due_at: datetime
    cancelled_by: str | None
    orphaned: bool
    queue: str
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def ended(self) -> bool:
        return self.finished_at is not None


def name_worker_role(kind: JobKind) -> Literal["trainer", "evaluator"]:
    """Whose work a kind of job is, as ``exp.name_worker_role`` has it."""
    return "evaluator" if kind in ("evaluate", "drift") else "trainer"


def check_queue(queue: str) -> None:
    """Refuse what cannot be the name of a queue.

    Raises:
        BadInput: it says what a name is.
    """
    if not _QUEUE.fullmatch(queue) or len(queue) > MAX_QUEUE_LENGTH:
        raise BadInput(
            f"{queue!r} is no name of a queue; take one like vision or vision-2: small letters, digits and single "
            f"hyphens, a letter first, at most {MAX_QUEUE_LENGTH} of them"
        )


def name_queue(role: str, queue: str) -> str:
    """What workers of a role and a queue are called, as ``exp.name_queue`` has it: ``trainer``, ``trainer-vision``."""
    return role if queue == DEFAULT_QUEUE else f"{role}-{queue}"


def fingerprint_job(kind: JobKind, arguments: Mapping[str, Any], *, queue: str | None = None) -> str:
    """sha256 of what is asked for: the same for any order of keys; a queue that was named is part of it."""
    named = {} if queue in (None, DEFAULT_QUEUE) else {"queue": queue}
    return hash_json({"kind": kind, "arguments": dict(arguments), **named})


def submit_job(
    connection: Connection,
    *,
    kind: JobKind,
    arguments: Mapping[str, Any],
    job_id: UUID | None = None,
    inline: bool = False,
    parent_job_id: UUID | None = None,
    delay_s: float = 0,
    queue: str | None = None,
) -> UUID:
    """Record a job and queue it, in one transaction; return its id.

    The same request again is the same job as long as that is unfinished; so is the same ``job_id`` at any time.

    Args:
        connection: as whoever asks.
        kind: what is to be done.
        arguments: JSON values, references only.
        job_id: an id of the caller's choice.
        inline: the caller runs it itself; workers leave it alone.
        parent_job_id: the job that this one follows from.
        delay_s: workers take it no earlier than in so many seconds.
        queue: whose workers take it. None: those of the job that it follows from, or that made the model version which
            it names, else the stack's own.

    Raises:
        BadInput: that is no name of a queue.
        RecordConflict: that id was used with other arguments or another queue.
    """
    if queue is not None:
        check_queue(queue)
    values = {
        "kind": kind,
        "arguments": Jsonb(dict(arguments)),
        "fingerprint": fingerprint_job(kind, arguments, queue=queue),
        "job_id": job_id or uuid4(),
        "inline": inline,
        "parent_job_id": parent_job_id,
        "delay_s": delay_s,
        "queue": queue,
    }
    query = """
        SELECT exp.submit_job(
            %(kind)s, %(arguments)s, %(fingerprint)s, %(job_id)s, %(inline)s, %(parent_job_id)s, %(delay_s)s::float,
            %(queue)s
        )
    """
    with refusals(REFUSALS):
        submitted: UUID = find_value(connection, query, values)
    return submitted


def get_job(connection: Connection, *, job_id: UUID) -> Job:
    """The job with this id.

    Raises:
        RecordNotFound: there is none.
    """
    job = find_row(connection, "SELECT {columns} FROM exp.job_states WHERE job_id = %(id)s", {"id": job_id}, row=Job)
    if job is None:
        raise RecordNotFound(f"there is no job {job_id}; modelyard jobs list shows those there are")
    return job


def find_child(connection: Connection, *, job_id: UUID) -> Job | None:
    """The job that followed from this one: the evaluation of a training."""
    query = "SELECT {columns} FROM exp.job_states WHERE parent_job_id = %(id)s"
    return find_row(connection, query, {"id": job_id}, row=Job)


def is_workload_file(connection: Connection, *, name: str, sha256: str) -> bool:
    """Whether somebody who may ask for trainings has asked for one, or for a dataset, with this file of a workload."""
    query = """
        SELECT EXISTS (SELECT FROM exp.jobs WHERE kind IN ('train', 'process') AND arguments @> %(asked)s)
    """
    asked = Jsonb({"workload": name, "workload_file": sha256})
    return bool(find_value(connection, query, {"asked": asked}))


def get_asker(connection: Connection, job: Job) -> str:
    """Who asked for a job; for one that followed from another, who asked for that."""
    if job.parent_job_id is None:
        return job.created_by
    return get_job(connection, job_id=job.parent_job_id).created_by


def list_jobs(connection: Connection, *, states: list[JobState] | None = None, nb_jobs: int = 20) -> list[Job]:
    """The newest jobs, newest first; with ``states`` only those."""
    query = """
        SELECT {columns} FROM exp.job_states
        WHERE %(states)s::text[] IS NULL OR state = ANY(%(states)s)
        ORDER BY created_at DESC, job_id LIMIT %(nb)s
    """
    return list_rows(connection, query, {"states": states, "nb": nb_jobs}, row=Job)


def list_jobs_by_prefix(connection: Connection, *, prefix: str) -> list[Job]:
    """The jobs whose id begins so, at most ten."""
    query = "SELECT {columns} FROM exp.job_states WHERE starts_with(job_id::text, %(prefix)s) ORDER BY job_id LIMIT 10"
    return list_rows(connection, query, {"prefix": prefix}, row=Job)


def cancel_job(connection: Connection, *, job_id: UUID) -> JobState:
    """Cancel a job: at once where it waits; one that runs is stopped by its worker. Returns its state.

    Raises:
        RecordNotFound: there is no such job.
        JobRefused: it has ended, or its result is certain already.
    """
    with refusals(REFUSALS):
        state: JobState = find_value(connection, "SELECT exp.cancel_job(%(id)s)", {"id": job_id})
    return state


def retry_job(connection: Connection, *, job_id: UUID) -> None:
    """Queue a job that failed or was cancelled once more, with three more attempts.

    Raises:
        RecordNotFound: there is no such job.
        JobRefused: it waits, runs or has succeeded, or another job does the same work.
    """
    with refusals(REFUSALS):
        find_value(connection, "SELECT exp.retry_job(%(id)s)", {"id": job_id})


@contextmanager
def hold_job(connection: Connection, *, job_id: UUID, wait_s: float = 0) -> Iterator[None]:
    """Keep every other inline process from working on the same job; a holder that dies frees it by itself.

    The lock belongs to the connection's session: keep the connection open, and do not share it.

    Args:
        connection: as whoever asks.
        job_id: which job.
        wait_s: how long to wait for another holder, in seconds.

    Raises:
        WorkHeld: somebody else still works on it.
    """
    with hold_lock(connection, f"job {job_id}", what=f"job {job_id}", wait_s=wait_s):
        yield
