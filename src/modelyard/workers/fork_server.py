"""The process that those of a worker's jobs are copies of: it has imported what they need, and does no job itself.

Started by a worker as ``python -m modelyard.workers.fork_server STATUS``; ``child_process`` is the worker's side of it.
"""

import gc
import json
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from typing import Any

from modelyard.workers.child import ENDED, carry_out

_FORKS = sys.platform == "linux"  # elsewhere a system's libraries may not be used in a copy


def main() -> int:
    """Import, then carry out orders until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    from modelyard.workers import orders  # noqa: F401  takes seconds

    gc.freeze()  # what was imported stays to the end, and looking through it takes a second of its own
    gc.enable()
    return follow_orders(carry_out, forks=_FORKS)


def follow_orders(run: Callable[[dict[str, Any]], int], *, forks: bool) -> int:
    """Carry out each order of the standard input: a line of JSON with the order, its output file and its TMPDIR.

    Two lines go to the file descriptor STATUS for each: the process's id, and its exit code. Without ``forks`` this
    process itself carries out the first order and ends; then its own exit code is the second.
    """
    status = int(sys.argv[1])
    while line := sys.stdin.readline():
        told = json.loads(line)
        pid = _fork() if forks else os.getpid()
        if pid:
            os.write(status, f"{pid}\n".encode())
        if forks and pid:
            os.write(status, f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())
            continue
        if forks:
            os.close(status)  # its end says that this process's parent is gone
            os.setsid()
        _settle(told)
        return run(told["order"])
    return ENDED


def _fork() -> int:
    with warnings.catch_warnings():
        # the threads that Python warns of are OpenBLAS's, which ends them before a fork and starts them in the copy
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _settle(told: dict[str, Any]) -> None:
    """Give this process its own output, temporary folder and random numbers, and let it end with its worker."""
    output = os.open(told["output"], os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ["TMPDIR"] = tempfile.tempdir = told["temporary"]
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # Python's own generator does so by itself
    threading.Thread(target=_end_with_worker, daemon=True).start()


def _end_with_worker() -> None:
    """The worker holds the other end of our input: when that ends, the worker is gone."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
