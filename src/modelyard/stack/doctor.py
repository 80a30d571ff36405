"""Checks of the surroundings: what would keep the stack from starting, and what to do about it."""

import ctypes
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import psutil

from modelyard.errors import ModelyardError
from modelyard.settings import Settings
from modelyard.stack import embedded, mlflow_server, postgres, workers
from modelyard.stack.accounts import SERVICE_NAME, find_service_account, get_caller
from modelyard.stack.addresses import DATABASE
from modelyard.stack.binaries import find_programs, read_version
from modelyard.stack.bootstrap import ADMINISTRATOR
from modelyard.stack.checks import Check
from modelyard.stack.home import check_home, find_home
from modelyard.stack.losses import check_losses
from modelyard.stack.ports import is_taken
from modelyard.stack.status import read_workers
from modelyard.store.migrations import check_migrations

_PYTHON = ((3, 11), (3, 14))
_MEMORY_BYTES = 2 * 2**30
_PROGRAMS = ("mlflow", "uvicorn", "uvloop", "httptools", "psycopg2", "sklearn", "skops")
# October 2025, before this release was made: an earlier clock is wrong
_EARLIEST_S = 1_760_000_000.0


def run_checks(settings: Settings) -> list[Check]:
    """Check everything the embedded stack needs; changes nothing, and no check keeps another from running."""
    checks: list[Check] = []
    for name, check in _CHECKS:
        try:
            checks.extend(check(name, settings))
        except (ModelyardError, OSError) as error:
            # our messages say what is wrong, then the way out
            found, _, remedy = " ".join(str(error).split()).partition("; ")
            checks.append(Check(name, "fail", found, remedy or "modelyard status shows the stack"))
    return checks


def _check_python(name: str, _: Settings) -> Iterator[Check]:
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    low, high = _PYTHON
    if low <= sys.version_info[:2] < high:
        yield Check(name, "ok", found)
    else:
        yield Check(name, "fail", found, "use Python 3.11, 3.12 or 3.13")


def _check_packages(name: str, _: Settings) -> Iterator[Check]:
    missing = [package for package in _PROGRAMS if find_spec(package) is None]
    if missing:
        yield Check(name, "fail", f"missing: {', '.join(missing)}", "install modelyard again (make setup)")
    else:
        yield Check(name, "ok", "all that MLflow and training need are installed")


def _check_openmp(name: str, _: Settings) -> Iterator[Check]:
    if platform.system() != "Linux":
        yield Check(name, "ok", f"not looked at on {platform.system()}")
        return
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        remedy = "install it (Debian, Ubuntu: apt install libgomp1; Fedora: dnf install libgomp)"
        yield Check(name, "warn", "libgomp.so.1 is not here, and LightGBM's models need it", remedy)
    else:
        yield Check(name, "ok", "libgomp.so.1 is here, which LightGBM's models need")


def _check_postgres(name: str, _: Settings) -> Iterator[Check]:
    programs = find_programs()
    yield Check(name, "ok", f"PostgreSQL {read_version(programs)} runs from {programs}")


def _check_account(name: str, _: Settings) -> Iterator[Check]:
    caller, service = get_caller(), find_service_account()
    if service is not None:
        yield Check(name, "ok", f"{caller.name}; PostgreSQL runs as {service.name}")
    elif shutil.which("useradd"):
        yield Check(name, "ok", f"{caller.name}; PostgreSQL will run as {SERVICE_NAME}, which the first start makes")
    else:
        remedy = f"make a system account {SERVICE_NAME}, or run as a normal user"
        yield Check(name, "fail", f"{caller.name}; there is no account {SERVICE_NAME} and no useradd", remedy)


def _check_folder(name: str, settings: Settings) -> Iterator[Check]:
    home = find_home(settings)
    check_home(home, min_free_mb=settings.min_free_mb)
    nearest = next(part for part in (home.path, *home.path.parents) if part.exists())
    free_mb = shutil.disk_usage(nearest).free / 2**20
    yield Check(name, "ok", f"{home.path}, {free_mb:,.0f} MiB free{'; ' + home.reason if home.reason else ''}")


def _check_port(name: str, settings: Settings) -> Iterator[Check]:
    running = embedded.find_running(settings)
    if running is not None:
        yield Check(name, "ok", f"MLflow answers at {running.ui_url}")
    elif is_taken(settings.mlflow_port):
        remedy = "nothing to do: MLflow takes the next free one; MODELYARD_MLFLOW_PORT names another"
        yield Check(name, "warn", f"{settings.mlflow_port} is taken by another program", remedy)
    else:
        yield Check(name, "ok", f"{settings.mlflow_port} is free")


def _check_memory(name: str, _: Settings) -> Iterator[Check]:
    memory = psutil.virtual_memory()
    found = f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} GiB available"
    if memory.total < _MEMORY_BYTES:
        yield Check(name, "warn", found, "the stack takes 0.8 GiB and training more: 2 GiB or more are advised")
    else:
        yield Check(name, "ok", found)


def _check_clock(name: str, settings: Settings) -> Iterator[Check]:
    now_s, found = time.time(), time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    home = find_home(settings)
    # what was written last cannot lie in the future
    written = [path.stat().st_mtime for path in (home.state, home.version) if path.exists()]
    if now_s < _EARLIEST_S:
        yield Check(name, "fail", found, "set the clock of this machine")
    elif any(moment_s > now_s + 60 for moment_s in written):
        yield Check(name, "warn", f"{found}; files of the stack are newer than that", "check this machine's clock")
    else:
        yield Check(name, "ok", found)


def _check_services(name: str, settings: Settings) -> Iterator[Check]:
    home = find_home(settings)
    if embedded.find_running(settings) is not None:
        missing = [worker.name for worker in read_workers(home) if not worker.running]
        if missing:
            yield Check(name, "warn", f"not running: {', '.join(missing)}", f"make up; {home.logs} says why one ended")
        else:
            yield Check(name, "ok", "PostgreSQL and MLflow answer, the workers are there")
        return
    left = [*postgres.list_server_processes(home), *mlflow_server.list_server_processes(home)]
    left += [process for worker in workers.list_workers(home).values() for process in worker]
    if left:
        pids = ", ".join(str(process.pid) for process in left[:5])
        yield Check(name, "warn", f"processes are left that do not answer ({pids})", "make up, or make down")
    else:
        yield Check(name, "ok", "not running; make up starts them")


def _check_database(name: str, settings: Settings) -> Iterator[Check]:
    running = embedded.find_running(settings)
    if running is None:
        yield Check(name, "ok", "not running, so not looked at")
        return
    status = check_migrations(running.dsn(ADMINISTRATOR))
    if status.current:
        yield Check(name, "ok", f"{DATABASE}: {len(status.applied)} migrations applied, none pending")
    elif status.edited or status.newer:
        names = ", ".join((*status.edited, *status.newer))
        yield Check(name, "fail", f"edited or unknown here: {names}", "install the release that applied them")
    else:
        yield Check(name, "warn", f"pending: {', '.join(status.pending)}", "make down, then make up")


def _check_losses(name: str, settings: Settings) -> Iterator[Check]:
    running = embedded.find_running(settings)
    if running is None:
        yield Check(name, "ok", "not running, so not looked at")
    else:
        yield check_losses(running, name=name)


def _check_data(name: str, settings: Settings) -> Iterator[Check]:
    folder = settings.data_dir.expanduser().absolute()
    if not folder.exists():
        remedy = "nothing to do: without data a workload downloads it, or uses its sample"
        yield Check(name, "warn", f"{folder} is not there", remedy)
    elif not os.access(folder, os.R_OK | os.X_OK):
        yield Check(name, "fail", f"{folder} cannot be read", "change its permissions, or set MODELYARD_DATA_DIR")
    else:
        nb_files = sum(1 for part in folder.rglob("*") if part.is_file())
        yield Check(name, "ok", f"{folder}, {nb_files} files")


_CHECKS: tuple[tuple[str, Callable[[str, Settings], Iterator[Check]]], ...] = (
    ("python", _check_python),
    ("packages", _check_packages),
    ("openmp", _check_openmp),
    ("postgresql", _check_postgres),
    ("account", _check_account),
    ("folder", _check_folder),
    ("port", _check_port),
    ("memory", _check_memory),
    ("clock", _check_clock),
    ("data", _check_data),
    ("services", _check_services),
    ("database", _check_database),
    ("losses", _check_losses),
)
