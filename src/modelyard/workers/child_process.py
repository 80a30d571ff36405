"""A job's process, seen from its worker: told what to do, watched, stopped; and the server that it is a copy of."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from modelyard.workers.memory import count_kills, read_peak

GRACE_S = 5.0
_TOLD_S = 1.0  # for the server to tell the end of a process that was killed
_NB_LOOKS = 40  # two seconds of a worker's looks: a kill for want of memory before that ended another process
_PREFIX = "modelyard-job-"  # of temporary folders; the worker's process id follows


class ForkServer:
    """A process that imports what jobs need, and starts one process after another as copies of itself.

    It ends when its input ends, so it never outlives its worker.

    Attributes:
        output: the file of what it prints itself.
        busy: whether a process of its is at work, or is about to be.
    """

    def __init__(self, module: str = "modelyard.workers.fork_server") -> None:
        self._folder = make_folder()
        self.output = self._folder / "output.txt"
        self.busy = False
        self._unread = b""
        self._status, told = os.pipe()
        try:
            with self.output.open("wb") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", module, str(told)],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a Ctrl-C for the worker is not one for the job
                    env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"},
                    pass_fds=[told],
                )
        except OSError:
            os.close(self._status)
            raise
        finally:
            os.close(told)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def send(self, told: dict[str, Any]) -> None:
        """Let it start a process."""
        assert self._process.stdin is not None  # noqa: S101  it is a pipe
        with suppress(BrokenPipeError):  # it has died; its exit code says how
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            self._process.stdin.flush()

    def read(self, timeout_s: float) -> int | None:
        """The next number that it tells of its process, or None if there is none after ``timeout_s``.

        Raises:
            EOFError: there is none to come, since it has ended.
        """
        while b"\n" not in self._unread:
            if not select.select([self._status], [], [], timeout_s)[0]:
                return None
            found = os.read(self._status, 64)
            if not found:
                raise EOFError
            self._unread += found
        number, _, self._unread = self._unread.partition(b"\n")
        return int(number)

    def kill(self) -> int:
        """End it at once, unless it has ended; its exit code."""
        self._process.kill()
        return self._process.wait()

    def wait(self) -> int:
        """Its exit code, when it has ended by itself."""
        return self._process.wait()

    def close(self) -> None:
        """End it, and remove what it left; its process has ended."""
        self.kill()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        os.close(self._status)
        shutil.rmtree(self._folder, ignore_errors=True)


class ChildProcess:
    """A process that carries out one order, with a temporary folder and an output file of its own."""

    def __init__(self, server: ForkServer) -> None:
        self._server = server
        self._folder = make_folder()
        self.output = self._folder / "output.txt"
        self.output.touch()
        self._temporary = self._folder / "tmp"
        self._temporary.mkdir()
        self._nb_kills = deque([count_kills()], maxlen=_NB_LOOKS)
        self._peak_bytes = 0
        self._ordered = False
        self._pid: int | None = None  # none while its server imports
        self._code: int | None = None
        server.busy = True

    def order(self, order: dict[str, Any]) -> None:
        """Tell it what to do, once."""
        self._ordered = True
        self._server.send({"order": order, "output": str(self.output), "temporary": str(self._temporary)})

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code (negative: the signal that ended it), or None if it still runs after ``timeout_s``."""
        give_up_s = time.monotonic() + timeout_s
        while self._code is None:
            if self._pid is not None:
                self._peak_bytes = max(self._peak_bytes, read_peak(self._pid) or 0)
            try:
                number = self._server.read(max(0.0, give_up_s - time.monotonic()))
            except EOFError:
                self._end(self._server.wait())
                break
            if number is None:
                self._nb_kills.append(count_kills())
                return None
            if self._pid is None:
                self._pid = number
            else:
                self._end(number)
        return self._code

    def stop(self, *, grace_s: float = GRACE_S) -> None:
        """Ask it to end, and end it with all its own processes after ``grace_s`` seconds."""
        if not self._ordered:
            self._server.busy = False
            return
        if self.wait(0) is not None:
            return
        if self._pid is not None:
            if grace_s > 0:
                with suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGTERM)
                self.wait(grace_s)
            if self._code is None:
                with suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)
                self.wait(_TOLD_S)
        if self._code is None:  # the server is not done with its imports, or was made to hold still
            self._end(self._server.kill())

    def _end(self, code: int) -> None:
        if self._pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)  # what it has started itself
        self._code, self._server.busy = code, False

    def describe_end(self) -> str:
        """How it ended, in one line, when it did so without a word."""
        code = self._code
        assert code is not None  # noqa: S101  whoever asks has waited for it
        peak = f", after it had used {self._peak_bytes / 2**20:,.0f} MiB" if self._peak_bytes else ""
        before, now = self._nb_kills[0], count_kills()
        if code == -signal.SIGKILL and before is not None and now is not None and now > before:
            return f"memory ran out: the system ended the job's process{peak}; give the machine or container more"
        if code < 0:
            return f"the job's process was ended by signal {-code} ({signal.strsignal(-code)}){peak}"
        said = _read_last_line(self.output) or _read_last_line(self._server.output) or "it printed nothing"
        return f"the job's process ended with exit code {code}: {said}"

    def close(self) -> None:
        """Remove what it left; it has ended or ends now."""
        self.stop(grace_s=0)
        shutil.rmtree(self._folder, ignore_errors=True)


def make_folder() -> Path:
    """A temporary folder that says whose it is."""
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))


def remove_leftovers() -> None:
    """Remove what the processes of workers that were killed have left in the temporary folder."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        worker = folder.name.removeprefix(_PREFIX).partition("-")[0]
        with suppress(OSError, ValueError):
            if folder.stat().st_uid == os.geteuid() and not psutil.pid_exists(int(worker)):
                shutil.rmtree(folder, ignore_errors=True)


def _read_last_line(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
