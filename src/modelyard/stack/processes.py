"""Services as processes of their own: started detached, recognised again, stopped."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from modelyard.errors import ServiceFailed
from modelyard.stack.accounts import Account

# A process between us and the service: the service then belongs to nobody's terminal and leaves no zombie behind.
_LAUNCHER = """
import json, os, subprocess, sys
spec = json.load(sys.stdin)
log = os.open(spec.pop("log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
service = subprocess.Popen(stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **spec)
print(service.pid, flush=True)
os._exit(0)
"""


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """A process that is told from a later one with the same id by the moment of its start."""

    pid: int
    started: str

    @property
    def running(self) -> bool:
        return find_mark(self.pid) == self


def find_mark(pid: int) -> ProcessMark | None:
    """The mark of a process that runs now."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists():
            return ProcessMark(pid, f"{process.create_time():.0f}")
        # ticks since boot: a clock that is set meanwhile does not move them
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return ProcessMark(pid, f"{boot_id} {stat.read_text().rpartition(')')[2].split()[19]}")
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None


def find_processes(folder: Path, is_service: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """Processes of a service that work in ``folder``, oldest first, those without a parent too.

    A folder that is moved takes them along, a copy of it does not; ``folder`` has no symbolic links in it.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and is_service(process) and is_alive(process):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # gone, or somebody else's: not ours
    return sorted(found, key=lambda process: process.create_time())


def run_program(
    command: Sequence[str | Path],
    *,
    folder: Path,
    environment: Mapping[str, str],
    account: Account,
    timeout_s: float,
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` as ``account`` to its end, its files closed to others, and return what it said.

    Raises:
        OSError: the program cannot be started.
        ServiceFailed: it takes longer than ``timeout_s`` seconds.
    """
    other = not account.is_caller
    try:
        return subprocess.run(
            [str(word) for word in command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            umask=0o077,
            user=account.uid if other else None,
            group=account.gid if other else None,
            extra_groups=[] if other else None,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceFailed(f"{command[0]} did not end within {timeout_s:.0f} s and was stopped") from error


def start_detached(
    command: Sequence[str | Path],
    *,
    folder: Path,
    log: Path,
    environment: Mapping[str, str],
    account: Account,
) -> ProcessMark:
    """Start ``command`` in ``folder`` as a session of its own, so that it outlives the caller and its Ctrl-C.

    Raises:
        ServiceFailed: the program cannot be started.
    """
    spec: dict[str, object] = {
        "args": [str(word) for word in command],
        "cwd": str(folder),
        "env": dict(environment),
        "log": str(log),
        "umask": 0o077,
    }
    if not account.is_caller:
        spec |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER]
    done = subprocess.run(launcher, input=json.dumps(spec), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServiceFailed(f"{command[0]} cannot be started: {done.stderr.strip().splitlines()[-1]}")
    pid = int(done.stdout)
    return find_mark(pid) or ProcessMark(pid, "gone")


def stop_processes(
    list_running: Callable[[], Iterable[psutil.Process]], *, signals: Mapping[signal.Signals, float]
) -> None:
    """Send each signal to what is running and wait that many seconds, until nothing is."""
    for number, grace_s in signals.items():
        running = list(list_running())
        for process in running:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue
        give_up_s = time.monotonic() + grace_s
        while running and time.monotonic() < give_up_s:
            time.sleep(0.02)
            running = [process for process in running if is_alive(process)]
        if not running and not list(list_running()):
            return


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def measure_memory(processes: Iterable[psutil.Process]) -> int:
    """Bytes of memory of several processes; shared pages count once where the system tells (PSS)."""
    total = 0
    for process in processes:
        try:
            memory = process.memory_full_info()
            total += getattr(memory, "pss", None) or memory.rss
        except psutil.Error:
            continue
    return total


def read_start(process: psutil.Process) -> datetime:
    """When a process was started, in UTC."""
    return datetime.fromtimestamp(process.create_time(), tz=UTC)
