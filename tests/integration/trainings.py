"""Trainings in processes of their own, some of which meet a fault at an exact point."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import psutil
import psycopg

from modelyard.stack.addresses import Addresses
from modelyard.stack.home import Home
from modelyard.stack.workers import list_workers
from tests.faults.points import arm

Fault = Literal["kill", "interrupt", "terminate", "fail", "cut off"]
PRELOADED = [
    "modelyard.cli.app",
    "modelyard.workers.inline",
    "modelyard.stack.embedded",
    "sklearn.ensemble",
    "skops.io",
]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: the signal that killed it) and what it printed."""

    code: int
    printed: str

    def checked(self) -> "Ended":
        """This, where the command has ended well; what it printed otherwise."""
        assert self.code == 0, self.printed
        return self

    @property
    def outcome(self) -> dict[str, Any]:
        """What ``--json`` printed, after the lines for people."""
        found: dict[str, Any] = json.loads(self.printed[self.printed.index("\n{") :])
        return found


def run_command(
    arguments: list[str], *, environment: dict[str, str], folder: Path, at: str = "", fault: Fault = "kill"
) -> Ended:
    """Run ``modelyard`` with these arguments in a child process.

    Args:
        at: ``before module:name`` or ``after module:name``: where the fault strikes, around that call.
        fault: what happens to the process there.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    output = folder / "output.txt"
    process = context.Process(target=_main, args=(arguments, environment, str(output), at, fault))
    process.start()
    process.join(120)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"{arguments} did not end; it printed:\n{output.read_text()}")
    assert process.exitcode is not None
    return Ended(process.exitcode, output.read_text())


def environment_of(stack: Addresses, port: int) -> dict[str, str]:
    """Settings under which a command uses this stack."""
    return {"MODELYARD_HOME": str(stack.home), "MODELYARD_MLFLOW_PORT": str(port)}


@contextmanager
def workers_asleep(stack: Addresses) -> Iterator[None]:
    """The stack's workers hold still during the block, so that no job is theirs to go on with."""
    with psycopg.connect(stack.dsn(stack.person), autocommit=True) as connection:
        # one that slept in the middle of its work would keep its locks
        busy, give_up_s = "SELECT FROM exp.attempts WHERE state = 'running' AND NOT inline", time.monotonic() + 60
        while connection.execute(busy).fetchone() is not None and time.monotonic() < give_up_s:
            time.sleep(0.1)
    processes = [process for found in list_workers(Home(stack.home)).values() for process in found]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def _main(arguments: list[str], environment: dict[str, str], output: str, at: str, fault: Fault) -> None:
    # what a killed process leaves behind goes with the test
    os.environ.update(environment, TMPDIR=str(Path(output).parent))
    if at:
        when, _, place = at.partition(" ")
        arm(place, when=when, strike=partial(_strike, fault))
    from modelyard.cli.main import main

    sys.argv = ["modelyard", *arguments]
    with Path(output).open("w", buffering=1) as stream, redirect_stdout(stream), redirect_stderr(stream):
        main()


def _strike(fault: Fault) -> None:
    if fault == "fail":
        raise RuntimeError("made to fail")
    if fault == "cut off":  # as when the network or the server goes away
        raise psycopg.OperationalError("server closed the connection unexpectedly")
    os.kill(os.getpid(), {"kill": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM}[fault])
