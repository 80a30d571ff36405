"""Trainers and an evaluator of the embedded stack, which a supervisor keeps running as the caller."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from modelyard.errors import ServiceFailed
from modelyard.settings import Settings
from modelyard.stack.accounts import get_caller
from modelyard.stack.home import Home
from modelyard.stack.logs import read_log_tail
from modelyard.stack.processes import ProcessMark, find_processes, start_detached, stop_processes
from modelyard.stack.supervisor import MARK, NAME, STOP_WAIT_S, TRAINERS, load_trainers

_DEFAULT_TRAINERS = 1
_START_WAIT_S = 60.0
_STOP_ROOTS = {signal.SIGTERM: STOP_WAIT_S + 5.0}
_STOP_LEFTOVERS = {signal.SIGTERM: 5.0, signal.SIGKILL: 5.0}


def count_trainers(home: Home) -> int:
    """How many trainers this stack is to have: as asked for last, else one."""
    trainers = load_trainers(home.workers)
    return _DEFAULT_TRAINERS if trainers is None else trainers


def start_workers(home: Home, settings: Settings, *, trainers: int) -> ProcessMark:
    """Start the supervisor, which starts ``trainers`` trainers and an evaluator; return its mark.

    Raises:
        ServiceFailed: it ended, with its log's last lines.
    """
    _save_trainers(home, trainers)
    log = home.logs / f"{NAME}.log"
    mark = start_detached(
        # relative, so that a folder that is moved takes its logs along
        [sys.executable, "-m", "modelyard.stack.supervisor", os.path.relpath(home.logs, home.workers)],
        folder=home.workers,
        log=log,
        environment=_environment(home, settings),
        account=get_caller(),
    )
    try:
        _wait_started(home, mark, log)
    except BaseException:
        stop_workers(home)
        raise
    return mark


def change_trainers(home: Home, supervisor: ProcessMark, *, trainers: int) -> None:
    """Let a running supervisor have another number of trainers; surplus ones finish in order."""
    _save_trainers(home, trainers)
    wake_supervisor(supervisor)


def wake_supervisor(supervisor: ProcessMark) -> None:
    """Let a running supervisor look again which workers there are to be."""
    with suppress(ProcessLookupError):  # the next one that is started looks too
        os.kill(supervisor.pid, signal.SIGHUP)


def stop_workers(home: Home) -> bool:
    """Stop the supervisor and all workers, in order if they can; return whether anything ran.

    Raises:
        ServiceFailed: something does not end.
    """
    if not _list_processes(home):
        return False
    stop_processes(lambda: _list_roots(home), signals=_STOP_ROOTS)
    stop_processes(lambda: _list_processes(home), signals=_STOP_LEFTOVERS)
    if _list_processes(home):
        raise ServiceFailed(f"the workers do not end; their logs are in {home.logs}")
    return True


def list_workers(home: Home) -> dict[str, list[psutil.Process]]:
    """What runs: ``supervisor``, ``trainer-1``, …, each with the processes of its jobs, its own first."""
    found: dict[str, list[psutil.Process]] = {}
    for process in _list_processes(home):
        with suppress(psutil.Error, KeyError):  # one that ends at this moment has no environment any more
            found.setdefault(process.environ()[MARK], []).append(process)
    return found


def _list_processes(home: Home) -> list[psutil.Process]:
    return find_processes(home.workers, lambda process: MARK in process.environ())


def _list_roots(home: Home) -> list[psutil.Process]:
    """Those without a parent among them: the supervisor, or what one that was killed has left behind."""
    found = {process.pid: process for process in _list_processes(home)}
    roots = []
    for process in found.values():
        with suppress(psutil.Error):
            if process.ppid() not in found:
                roots.append(process)
    return roots


def _wait_started(home: Home, mark: ProcessMark, log: Path) -> None:
    give_up_s = time.monotonic() + _START_WAIT_S
    while len(list_workers(home)) < 2:  # the supervisor listens for signals before it starts the first worker
        if not mark.running or time.monotonic() > give_up_s:
            raise ServiceFailed(f"the workers did not start; {log} ends with: {read_log_tail(log)}")
        time.sleep(0.01)


def _save_trainers(home: Home, trainers: int) -> None:
    """Write the file; a reader sees all of it or the one before."""
    path = home.workers / TRAINERS
    unfinished = path.with_name(f"{TRAINERS}.{os.getpid()}")
    unfinished.write_text(f"{trainers}\n")
    unfinished.chmod(0o600)
    unfinished.replace(path)


def _environment(home: Home, settings: Settings) -> dict[str, str]:
    """The caller's, since workers run the caller's code, with the settings that count now instead of others."""
    ours = {f"MODELYARD_{field.upper()}" for field in Settings.model_fields}
    kept = {
        name: value for name, value in os.environ.items() if name not in ours and not name.startswith(("MLFLOW_", "PG"))
    }
    # workers work in another folder, where a relative path and a file .env mean something else
    values = settings.model_dump(exclude_defaults=True) | {
        "home": home.path,
        "data_dir": settings.data_dir.expanduser().absolute(),
    }
    set_here = {f"MODELYARD_{field.upper()}": str(value) for field, value in values.items()}
    return {**kept, **set_here, "PYTHONSAFEPATH": "1", MARK: NAME}
