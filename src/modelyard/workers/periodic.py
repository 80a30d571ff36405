"""Periodic work, done by every worker of its roles; what must not be done by two at once takes a lock."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from modelyard.errors import ServiceFailed
from modelyard.store.attempts import sweep_jobs
from modelyard.store.connections import Connection, connect
from modelyard.workers.config import Role, WorkerConfig

SWEEP_S = 5.0
_LISTEN_S = 0.5
_ASK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicWork:
    """Something to be done again and again by the workers of some roles.

    Attributes:
        run: is given a connection as the worker's role, and returns in seconds; what takes long, or imports much,
            belongs into a job.
    """

    name: str
    every_s: float
    roles: tuple[Role, ...]
    run: Callable[[Connection], None]


def _sweep(connection: Connection) -> None:
    sweep_jobs(connection, unseen_s=SWEEP_S)


WORK: tuple[PeriodicWork, ...] = (
    PeriodicWork(name="sweep", every_s=SWEEP_S, roles=("trainer", "evaluator"), run=_sweep),
)


class PeriodicThread:
    """Does periodic work until it is stopped, and listens for word that a job of this role comes soon."""

    def __init__(
        self,
        config: WorkerConfig,
        *,
        work: Sequence[PeriodicWork] = WORK,
        stopping: threading.Event,
        get_ready: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._config, self._stopping, self._get_ready, self._say = config, stopping, get_ready, say
        self.answered_at_s = 0.0  # of the monotonic clock: when the database answered last
        self._due_at_s = {item: 0.0 for item in work if config.role in item.roles}
        threading.Thread(target=self._run, name="periodic", daemon=True).start()

    def _run(self) -> None:
        away = False
        while not self._stopping.is_set():
            try:
                with connect(self._config.dsn, application_name=f"modelyard worker {self._config.name}") as connection:
                    if away:
                        self._say("PostgreSQL is back")
                    away = False
                    connection.execute("LISTEN modelyard_soon")
                    while not self._stopping.is_set():
                        self._do_due(connection)
                        self.answered_at_s = self._ask(connection)
                        told = list(connection.notifies(timeout=_LISTEN_S, stop_after=1))
                        if any(notice.payload == self._config.name for notice in told):
                            self._get_ready()
            except (psycopg.OperationalError, ServiceFailed) as error:
                if not away:
                    self._say(f"PostgreSQL is away ({' '.join(str(error).split())}); waiting for it")
                away = True
                self._stopping.wait(1)
            except psycopg.Error as error:
                self._say(f"periodic work failed and is tried again: {' '.join(str(error).split())}")
                self._stopping.wait(1)

    def _ask(self, connection: Connection) -> float:
        """When the database answered last; asked at most once a second."""
        now_s = time.monotonic()
        if now_s - self.answered_at_s >= _ASK_S:
            connection.execute("SELECT 1")
            return time.monotonic()
        return self.answered_at_s

    def _do_due(self, connection: Connection) -> None:
        for item, due_at_s in self._due_at_s.items():
            if time.monotonic() >= due_at_s:
                self._due_at_s[item] = time.monotonic() + item.every_s
                item.run(connection)
