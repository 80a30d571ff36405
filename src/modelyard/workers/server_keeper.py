"""The fork server of a worker, started ahead of orders, so that a job need not wait for its imports."""

import sys
import threading
from contextlib import suppress
from pathlib import Path

import modelyard
from modelyard.workers.child_process import ChildProcess, ForkServer

_KEEP_S = 120.0


class ServerKeeper:
    """At most one server; it is ended after two minutes without an order, or when the code it has is not today's."""

    def __init__(self) -> None:
        self._server: ForkServer | None = None
        self._code: frozenset[tuple[Path, int]] = frozenset()
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._closed = False

    def get_ready(self) -> None:
        """Start a server, unless one is there.

        Raises:
            OSError: none can be started.
        """
        with self._lock:
            if not self._closed and not (self._server is not None and self._server.busy):
                self._provide()

    def start_child(self) -> ChildProcess:
        """A process for an order; the one before has ended.

        Raises:
            OSError: none can be started.
        """
        with self._lock:
            return ChildProcess(self._provide())

    def close(self) -> None:
        """End the server, and start no other."""
        with self._lock:
            self._closed = True
            self._drop()

    def _provide(self) -> ForkServer:
        code = _stamp_code()
        if self._server is None or not self._server.running or self._code != code:
            self._drop()
            self._server, self._code = ForkServer(), code
        self._set_timer()
        return self._server

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(_KEEP_S, self._drop_idle)
        self._timer.daemon = True
        self._timer.start()

    def _drop_idle(self) -> None:
        with self._lock:
            if self._server is not None and self._server.busy:
                self._set_timer()
            else:
                self._drop()

    def _drop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()


def _stamp_code() -> frozenset[tuple[Path, int]]:
    """When each file of ours was changed, and when a package was last installed or removed."""
    installed = (Path(path) for path in sys.path if path.endswith("-packages"))  # site-packages, Debian's dist-packages
    paths = [*installed, *Path(modelyard.__file__).parent.rglob("*.py")]
    stamps = set()
    for path in paths:
        with suppress(FileNotFoundError):  # removed in this moment
            stamps.add((path, path.stat().st_mtime_ns))
    return frozenset(stamps)
