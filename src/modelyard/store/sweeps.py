"""Sweeps: trainings that were asked for together, to be compared."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg import sql
from psycopg.types.json import Jsonb

from modelyard.errors import BadInput, RecordNotFound
from modelyard.store.canonical import hash_json
from modelyard.store.connections import Connection, find_value, list_rows, lock
from modelyard.store.following import follow
from modelyard.store.jobs import Job, fingerprint_job, submit_job

_SETTLE_S = 0.2  # what changes within it is told as one


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A row of ``exp.sweeps``; ``arguments`` say what was varied: ``{"model_types": […], "values": {name: […]}}``."""

    sweep_id: UUID
    workload: str
    arguments: dict[str, Any]
    created_by: str
    created_at: datetime


def submit_sweep(
    connection: Connection,
    *,
    workload: str,
    arguments: Mapping[str, Any],
    trainings: Sequence[Mapping[str, Any]],
    queue: str | None = None,
) -> tuple[UUID, bool]:
    """Record a sweep and queue its trainings, in one transaction; return its id, and whether it is a new one.

    The same trainings again are the same sweep as long as one of them has not ended. A training that another sweep
    has asked for, and that has not ended, is done once.

    Args:
        connection: as whoever asks.
        workload: its name.
        arguments: what was varied, JSON values.
        trainings: arguments of each training, no two alike.
        queue: whose workers take them, as of ``submit_job``.
    """
    fingerprints = sorted(fingerprint_job("train", training, queue=queue) for training in trainings)
    fingerprint = hash_json(fingerprints)
    find_unfinished = """
        SELECT s.sweep_id FROM exp.sweeps AS s
        WHERE s.fingerprint = %(fingerprint)s AND EXISTS (
            SELECT FROM exp.sweep_jobs AS w INNER JOIN exp.jobs AS j ON w.job_id = j.job_id
            WHERE w.sweep_id = s.sweep_id AND j.state IN ('queued', 'running') AND j.cancelled_by IS NULL
        )
        ORDER BY s.created_at LIMIT 1
    """
    with connection.transaction():
        lock(connection, f"sweep {fingerprint}")
        known: UUID | None = find_value(connection, find_unfinished, {"fingerprint": fingerprint})
        if known is not None:
            return known, False
        sweep_id = uuid4()
        connection.execute(
            "INSERT INTO exp.sweeps (sweep_id, workload, arguments, fingerprint) VALUES (%s, %s, %s, %s)",
            [sweep_id, workload, Jsonb(dict(arguments)), fingerprint],
        )
        for each in fingerprints:  # in one order, whatever the sweep: two may share trainings
            lock(connection, f"submit {each}")
        for place, training in enumerate(trainings, start=1):
            job_id = submit_job(connection, kind="train", arguments=training, queue=queue)
            connection.execute(
                "INSERT INTO exp.sweep_jobs (sweep_id, place, job_id) VALUES (%s, %s, %s)", [sweep_id, place, job_id]
            )
    return sweep_id, True


def get_sweep(connection: Connection, text: str) -> Sweep:
    """The sweep with this id, or whose id alone begins so.

    Raises:
        RecordNotFound: there is none.
        BadInput: there are several.
    """
    query = "SELECT {columns} FROM exp.sweeps WHERE starts_with(sweep_id::text, %(text)s) ORDER BY created_at LIMIT 2"
    found = list_rows(connection, query, {"text": text.lower()}, row=Sweep)
    if not found or not text:
        raise RecordNotFound(f"there is no sweep {text!r}; a sweep prints its id when it begins")
    if len(found) > 1:
        raise BadInput(f"several sweeps have an id that begins with {text!r}; give more of it")
    return found[0]


def list_sweep_jobs(connection: Connection, *, sweep_id: UUID) -> list[Job]:
    """The trainings of a sweep, in the order in which they were asked for."""
    query = """
        SELECT {columns} FROM exp.job_states INNER JOIN exp.sweep_jobs USING (job_id)
        WHERE sweep_id = %(sweep_id)s ORDER BY place
    """
    return list_rows(connection, query, {"sweep_id": sweep_id}, row=Job)


def follow_sweep(
    dsn: str, *, sweep_id: UUID, tell: Callable[[str], None] = lambda _: None, quiet_s: float | None = None
) -> Iterator[list[Job] | None]:
    """The trainings of a sweep now, and each time one changes, until all have ended.

    A connection that is lost is made anew, for up to five minutes.

    Args:
        dsn: the database, as whoever may read ``exp``.
        sweep_id: which sweep.
        tell: told in a line what a user would wonder about.
        quiet_s: after so many seconds without a change None comes, once for each change.

    Raises:
        ServiceFailed: the database does not come back.
    """

    def watch(connection: Connection) -> Iterator[list[Job] | None]:
        for job in list_sweep_jobs(connection, sweep_id=sweep_id):
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(f"modelyard_job_{job.job_id}")))
        while True:
            jobs = list_sweep_jobs(connection, sweep_id=sweep_id)
            yield jobs
            if all(job.ended for job in jobs):
                return
            told_quiet = False
            while not list(connection.notifies(timeout=None if told_quiet else quiet_s, stop_after=1)):
                told_quiet = True
                yield None
            list(connection.notifies(timeout=_SETTLE_S))

    yield from follow(dsn, watch, tell=tell)
