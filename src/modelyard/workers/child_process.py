"""A job's process, seen from its worker: started ahead or on demand, told what to do, watched, stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from modelyard.workers.memory import count_kills, read_peak

GRACE_S = 5.0
_NB_LOOKS = 40  # two seconds of a worker's looks: a kill for want of memory before that ended another process
_PREFIX = "modelyard-job-"  # of temporary folders; the worker's process id follows


class ChildProcess:
    """A process that imports what jobs need, and then waits for an order on its standard input.

    It ends when that input ends, so it never outlives its worker.
    """

    def __init__(self, module: str = "modelyard.workers.child") -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self.output = self._folder / "output.txt"
        self._nb_kills = deque([count_kills()], maxlen=_NB_LOOKS)
        self._peak_bytes = 0
        temporary = self._folder / "tmp"
        temporary.mkdir()
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C for the worker is not one for the job
                env=os.environ | {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def order(self, order: dict[str, Any]) -> None:
        """Tell it what to do, once."""
        assert self._process.stdin is not None  # noqa: S101  it is a pipe
        with suppress(BrokenPipeError):  # it has died; its exit code says how
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code (negative: the signal that ended it), or None if it still runs after ``timeout_s``."""
        self._peak_bytes = max(self._peak_bytes, read_peak(self.pid) or 0)
        if self._process.returncode is None:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._nb_kills.append(count_kills())
                return None
            self._kill_group()  # at once: nobody else has its number yet
        return self._process.returncode

    def stop(self, *, grace_s: float = GRACE_S) -> None:
        """Ask it to end, and end it with all its own processes after ``grace_s`` seconds."""
        if self.running and grace_s > 0:
            self._process.terminate()
            self.wait(grace_s)
        if self.running:
            self._kill_group()
            self._process.wait()

    def _kill_group(self) -> None:
        """End what the process has started itself."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def describe_end(self) -> str:
        """How it ended, in one line, when it did so without a word."""
        code = self._process.returncode
        peak = f", after it had used {self._peak_bytes / 2**20:,.0f} MiB" if self._peak_bytes else ""
        before, now = self._nb_kills[0], count_kills()
        if code == -signal.SIGKILL and before is not None and now is not None and now > before:
            return f"memory ran out: the system ended the job's process{peak}; give the machine or container more"
        if code < 0:
            return f"the job's process was ended by signal {-code} ({signal.strsignal(-code)}){peak}"
        return f"the job's process ended with exit code {code}: {self._last_line()}"

    def _last_line(self) -> str:
        with self.output.open("rb") as file:
            file.seek(max(0, self.output.stat().st_size - 4096))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it printed nothing"

    def close(self) -> None:
        """Remove what it left; it has ended or ends now."""
        self.stop(grace_s=0)
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def remove_leftovers() -> None:
    """Remove what the processes of workers that were killed have left in the temporary folder."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        worker = folder.name.removeprefix(_PREFIX).partition("-")[0]
        with suppress(OSError, ValueError):
            if folder.stat().st_uid == os.geteuid() and not psutil.pid_exists(int(worker)):
                shutil.rmtree(folder, ignore_errors=True)
