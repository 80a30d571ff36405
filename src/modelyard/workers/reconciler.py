"""Reconciliations, seen from their worker: one a minute, each in a process of its own, never two at once."""

import time
from collections.abc import Callable

from modelyard.store.connections import Connection
from modelyard.store.projections import list_model_names
from modelyard.workers.child_process import ChildProcess, ForkServer
from modelyard.workers.config import WorkerConfig
from modelyard.workers.reconciling import MARK

RECONCILE_S = 60.0
_LIMIT_S = 300.0
_OUTPUT_LIMIT = 100_000  # characters


class Reconciler:
    """Starts reconciliations and says what they found; the first one when the worker has been there for a while."""

    def __init__(self, config: WorkerConfig, *, say: Callable[[str], None], every_s: float = RECONCILE_S) -> None:
        self._config, self._say, self._every_s = config, say, every_s
        self._server: ForkServer | None = None
        self._child: ChildProcess | None = None
        self._nb_started = 0
        self._started_s = time.monotonic()

    def step(self, connection: Connection) -> None:
        """Do what is due; returns at once. Where no model is on record, nothing is."""
        passed_s = time.monotonic() - self._started_s
        if self._child is None:
            if passed_s >= self._every_s and list_model_names(connection):
                self._start()
        elif self._child.wait(0) is not None:
            self._tell(self._child)
            self.close()
        elif passed_s > _LIMIT_S:
            self._say(f"a reconciliation has not ended after {_LIMIT_S:.0f} s and is stopped")
            self.close()

    def close(self) -> None:
        """End what runs."""
        child, self._child = self._child, None
        if child is not None:
            child.close()
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _start(self) -> None:
        self._started_s = time.monotonic()
        try:
            self._server = ForkServer("modelyard.workers.reconciling")
            self._child = ChildProcess(self._server)
        except OSError as error:
            self._say(f"no process can be started to reconcile: {error}")
            return
        self._child.order({"config": self._config.as_json(), "part": self._nb_started})
        self._nb_started += 1

    def _tell(self, child: ChildProcess) -> None:
        text = child.output.read_text(errors="replace")[:_OUTPUT_LIMIT]
        for line in text.splitlines():
            if line.startswith(MARK):
                self._say(line)
        if child.wait(0) != 0:
            self._say(f"{MARK}{child.describe_end()}")
