"""A job's process that was started ahead of its order, so that the job need not wait for its imports."""

import threading

from modelyard.workers.child_process import ChildProcess

_KEEP_S = 120.0


class Spare:
    """At most one process without an order; one that nobody needed is ended after two minutes."""

    def __init__(self) -> None:
        self._child: ChildProcess | None = None
        self._lock = threading.Lock()
        self._closed = False

    def get_ready(self) -> None:
        """Start a process, unless one waits already.

        Raises:
            OSError: none can be started.
        """
        with self._lock:
            if self._closed or (self._child is not None and self._child.running):
                return
            dead, self._child = self._child, ChildProcess()
            timer = threading.Timer(_KEEP_S, self._drop, args=[self._child])
            timer.daemon = True
            timer.start()
        if dead is not None:
            dead.close()

    def take(self) -> ChildProcess:
        """The process that waits, else a new one.

        Raises:
            OSError: none can be started.
        """
        with self._lock:
            child, self._child = self._child, None
        if child is not None and child.running:
            return child
        if child is not None:
            child.close()
        return ChildProcess()

    def close(self) -> None:
        """End the process that waits, and start no other."""
        with self._lock:
            self._closed = True
            child, self._child = self._child, None
        if child is not None:
            child.close()

    def _drop(self, child: ChildProcess) -> None:
        with self._lock:
            if self._child is not child:
                return
            self._child = None
        child.close()
