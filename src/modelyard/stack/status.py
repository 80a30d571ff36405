"""What runs, where, since when and with how much memory."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from modelyard.settings import Settings
from modelyard.stack import mlflow_server, postgres, supervisor, workers
from modelyard.stack.home import Home, find_home
from modelyard.stack.processes import measure_memory, read_start
from modelyard.stack.state import State, load_state

_ANSWER_WAIT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service or worker.

    Attributes:
        running: a service answers now, a worker's process is there.
        account: operating system user that it runs as.
        memory_bytes: of all its processes, shared pages counted once.
        since: when it was started, in UTC.
    """

    name: str
    running: bool
    log: Path | None = None
    pid: int | None = None
    port: int | None = None
    address: str | None = None
    account: str | None = None
    memory_bytes: int | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The stack as it is now.

    Attributes:
        home: the embedded stack's folder.
        reason: why ``home`` is not the usual folder or why this stack was chosen, or empty.
        versions: service → version that ran last.
        disk_used_bytes: of everything in ``home``.
    """

    stack: str = "embedded"
    home: Path | None = None
    reason: str
    services: tuple[Service, ...]
    versions: dict[str, str]
    disk_used_bytes: int | None = None
    disk_free_bytes: int | None = None


def read_status(settings: Settings) -> Status:
    """Look at the stack; changes nothing.

    Raises:
        HomeRefused: a folder was named that cannot be entered.
    """
    home = find_home(settings)
    state = load_state(home.state) or State(home=str(home.path))
    nearest = next(part for part in (home.path, *home.path.parents) if part.exists())
    return Status(
        home=home.path,
        reason=home.reason,
        services=(_read_postgres(home, state), _read_mlflow(home, state), *read_workers(home)),
        versions={name: text for name, text in state.versions.items() if name in ("postgresql", "mlflow")},
        disk_used_bytes=_measure_disk(home.path),
        disk_free_bytes=shutil.disk_usage(nearest).free,
    )


def _read_postgres(home: Home, state: State) -> Service:
    processes = postgres.list_server_processes(home)
    answers = bool(processes) and bool(state.database_host) and postgres.is_ready(state.database_host)
    log = home.logs / "postgres.log"
    return _describe("postgres", processes, answers, log, address=state.database_host or None, port=None)


def _read_mlflow(home: Home, state: State) -> Service:
    processes = mlflow_server.list_server_processes(home)
    port = state.mlflow_port or None
    answers = bool(processes) and port is not None and mlflow_server.is_ready(port, timeout_s=_ANSWER_WAIT_S)
    address = f"http://localhost:{port}" if port else None
    return _describe("mlflow", processes, answers, home.logs / "mlflow.log", address=address, port=port)


def read_workers(home: Home) -> list[Service]:
    """The supervisor and the workers that are to be there, and any other that still runs."""
    found = workers.list_workers(home)
    queues = supervisor.list_queues(home.workers)
    names = [supervisor.NAME, *supervisor.list_names(workers.count_trainers(home), queues)]
    # one that is no longer wanted runs until its work is given back
    names += [name for name in found if name not in names]
    return [
        _describe(name, found.get(name, []), True, home.logs / f"{name}.log", address=None, port=None) for name in names
    ]


def _describe(
    name: str, processes: Sequence[psutil.Process], answers: bool, log: Path, *, address: str | None, port: int | None
) -> Service:
    if not processes:
        return Service(name=name, running=False, log=log)
    try:
        return Service(
            name=name,
            running=answers,
            log=log,
            pid=processes[0].pid,
            port=port,
            address=address,
            account=processes[0].username(),
            memory_bytes=measure_memory(processes),
            since=read_start(processes[0]),
        )
    except psutil.NoSuchProcess:
        return Service(name=name, running=False, log=log)


def _measure_disk(folder: Path) -> int:
    total = 0
    for at, _, files in os.walk(folder):
        for name in files:
            try:
                total += Path(at, name).lstat().st_blocks * 512
            except OSError:
                continue  # services make and remove files meanwhile
    return total
