"""Keeps trainers and an evaluator running: starts them, starts again what ended, ends them all when it is told to.

A program of its own (``python -m modelyard.stack.supervisor <folder of logs>``) that works in the workers' folder. It
runs as long as the stack does, so it imports little. SIGTERM ends it, SIGHUP lets it look again how many trainers, and
which workers with further packages there are to be.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from modelyard.stack.logs import bound_log

NAME = "supervisor"
MARK = "MODELYARD_SERVICE"  # environment variable by which a process of ours is recognised
TRAINERS = "trainers"  # file in the workers' folder with their number
ENVIRONMENT = "environment"  # file in the folder of a queue, which names the virtual environment there of its workers
STOP_WAIT_S = 15.0
_PAUSES_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # before a worker that keeps ending is started again
_SETTLED_S = 60.0
_TURN_S = 10.0


def list_names(trainers: int, queues: Sequence[str] = ()) -> list[str]:
    """The workers that there are: ``trainer-1``, …, ``evaluator-1``, and ``trainer-vision``, ``evaluator-vision``, …"""
    own = [f"{role}-{queue}" for queue in queues for role in ("trainer", "evaluator")]
    return [*(f"trainer-{number}" for number in range(1, trainers + 1)), "evaluator-1", *own]


def list_queues(folder: Path) -> list[str]:
    """The queues that have workers with packages of their own: each has a folder in the workers' folder."""
    return sorted(path.parent.name for path in folder.glob(f"*/{ENVIRONMENT}"))


def load_trainers(folder: Path) -> int | None:
    """The number of trainers that the workers' folder names; None if its file is missing or damaged."""
    try:
        trainers = int((folder / TRAINERS).read_text())
    except (OSError, ValueError):
        return None
    return trainers if trainers >= 0 else None


class Worker:
    """One worker by its name.

    Attributes:
        process: what runs now, another one each time it is started again; None while nothing does.
        due_s: moment at which it may be started, or at which it is killed if it was told to end.
    """

    def __init__(self, name: str, logs: Path) -> None:
        self.name = name
        self.due_s = 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self._log = logs / f"{name}.log"
        self._started_s = 0.0
        self._told_to_end = False
        self._nb_ends = 0

    def step(self, now_s: float, *, wanted: bool) -> None:
        """Do what is due: notice an end, start it, tell it to end, kill what does not listen."""
        if self.process is not None and (code := self.process.poll()) is not None:
            self.process = None
            self._note_end(f"ended with exit code {code} after {now_s - self._started_s:.0f} s", now_s)
        if self.process is None:
            if wanted and now_s >= self.due_s:
                self._start(now_s)
        elif self._told_to_end and now_s >= self.due_s:
            _say(f"{self.name} does not end and is killed")
            os.killpg(self.process.pid, signal.SIGKILL)
            self.due_s = now_s + STOP_WAIT_S
        elif not wanted and not self._told_to_end:
            self.process.terminate()
            self._told_to_end = True
            self.due_s = now_s + STOP_WAIT_S

    def _start(self, now_s: float) -> None:
        self._started_s, self._told_to_end, self.due_s = now_s, False, float("inf")
        try:
            with self._log.open("ab") as log:
                self.process = subprocess.Popen(
                    _command(self.name),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=os.environ | {MARK: self.name},
                    start_new_session=True,  # a signal to one of them, or to its group, reaches no other
                )
        except OSError as error:
            self._note_end(f"cannot be started: {error}", now_s)
        else:
            _say(f"{self.name} is started, process {self.process.pid}")

    def _note_end(self, what: str, now_s: float) -> None:
        if now_s - self._started_s >= _SETTLED_S:
            self._nb_ends = 0
        self.due_s = now_s + _PAUSES_S[min(self._nb_ends, len(_PAUSES_S) - 1)]
        self._nb_ends += 1
        _say(f"{self.name} {what}")


def supervise(logs: Path) -> None:
    """Keep the workers of this folder running until SIGTERM, then end them and return."""
    wake, ended = _listen(), False
    workers: dict[str, Worker] = {}
    trainers = 1
    while workers or not ended:
        found = load_trainers(Path())
        trainers = trainers if found is None else found
        wanted = [] if ended else list_names(trainers, list_queues(Path()))
        for name in wanted:
            workers.setdefault(name, Worker(name, logs))
        for name, worker in list(workers.items()):
            worker.step(time.monotonic(), wanted=name in wanted)
            if name not in wanted and worker.process is None:
                del workers[name]
        if workers:
            pause_s = min(worker.due_s for worker in workers.values()) - time.monotonic()
            ended |= signal.SIGTERM in _wait(wake, min(max(pause_s, 0.0), _TURN_S))
        for log in logs.glob("*.log"):
            with suppress(OSError):
                bound_log(log)


def _command(name: str) -> list[str]:
    role, _, queue = name.partition("-")
    if queue.isdigit():
        return [sys.executable, "-m", "modelyard", "worker", role]
    environment = Path(queue, Path(queue, ENVIRONMENT).read_text().strip())
    return [str(environment.absolute() / "bin/python"), "-m", "modelyard", "worker", role, "--queue", queue]


def _listen() -> int:
    """Let signals do nothing but arrive as bytes in a pipe; return its end to read from."""
    wake, arrivals = os.pipe()
    os.set_blocking(arrivals, False)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(arrivals)
    return wake


def _wait(wake: int, timeout_s: float) -> bytes:
    """The signals that have arrived, after at most ``timeout_s`` seconds."""
    ready, _, _ = select.select([wake], [], [], timeout_s)
    return os.read(wake, 4096) if ready else b""


def _say(text: str) -> None:
    with suppress(OSError):  # a full disk must not end the workers
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC {text}", flush=True)


if __name__ == "__main__":
    supervise(Path(sys.argv[1]))
