"""Following a job: told by PostgreSQL when something changes, without asking again and again."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar
from uuid import UUID

import psycopg
from psycopg import sql

from modelyard.errors import ServiceFailed
from modelyard.store.connections import Connection, connect, find_value
from modelyard.store.jobs import DEFAULT_QUEUE, Job, get_job, name_queue

News = TypeVar("News")
_AWAY_WAIT_S = 300.0


def follow_job(
    dsn: str, *, job_id: UUID, tell: Callable[[str], None] = lambda _: None, quiet_s: float | None = None
) -> Iterator[Job | None]:
    """The job now, and each time it changes, until it has ended; what changes quickly may come as one.

    A connection that is lost is made anew, for up to five minutes.

    Args:
        dsn: the database, as whoever may read ``exp``.
        job_id: which job.
        tell: told in a line what a user would wonder about.
        quiet_s: after so many seconds without a change None comes, once for each change.

    Raises:
        RecordNotFound: there is no such job.
        ServiceFailed: the database does not come back.
    """
    return follow(dsn, lambda connection: _watch(connection, job_id, quiet_s), tell=tell)


def follow(dsn: str, watch: Callable[[Connection], Iterator[News]], *, tell: Callable[[str], None]) -> Iterator[News]:
    """What ``watch`` yields on a connection; one that is lost is made anew, for up to five minutes.

    Raises:
        ServiceFailed: the database does not come back.
    """
    away_since_s: float | None = None
    while True:
        try:
            with connect(dsn, application_name="modelyard follow") as connection:
                if away_since_s is not None:
                    tell("PostgreSQL is back")
                away_since_s = None
                yield from watch(connection)
                return
        except (psycopg.OperationalError, ServiceFailed) as error:
            now_s = time.monotonic()
            if away_since_s is None:
                away_since_s = now_s
                tell("PostgreSQL is away; the job goes on or is taken up again, waiting for news of it")
            if now_s - away_since_s > _AWAY_WAIT_S:
                raise ServiceFailed(f"PostgreSQL did not come back within {_AWAY_WAIT_S:.0f} s: {error}") from None
            time.sleep(0.5)


def _watch(connection: Connection, job_id: UUID, quiet_s: float | None) -> Iterator[Job | None]:
    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(f"modelyard_job_{job_id}")))
    while True:
        job = get_job(connection, job_id=job_id)
        yield job
        if job.ended:
            return
        told_quiet = False
        while not list(connection.notifies(timeout=None if told_quiet else quiet_s, stop_after=1)):
            told_quiet = True
            yield None


def count_workers(connection: Connection, *, role: str, queue: str = DEFAULT_QUEUE) -> int:
    """How many workers of a role (``trainer`` or ``evaluator``) and of a queue are connected now."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %(name)s"
    nb_workers: int = find_value(connection, query, {"name": f"modelyard worker {name_queue(role, queue)}"})
    return nb_workers
