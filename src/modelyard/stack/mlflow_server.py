"""The MLflow server of the embedded stack. MLflow is a program here: this process never imports it."""

import json
import os
import shutil
import signal
import site
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil

from modelyard.errors import ServiceFailed
from modelyard.stack.accounts import Account, get_caller
from modelyard.stack.addresses import DATABASE, PORT
from modelyard.stack.home import Home, give_folder
from modelyard.stack.logs import bound_log, read_log_tail
from modelyard.stack.mlflow_store import GC_WAIT_S, check_gc, name_gc
from modelyard.stack.processes import (
    ProcessMark,
    find_processes,
    run_program,
    start_detached,
    stop_processes,
)

ROLE = "mlflow"
_START_WAIT_S = 120.0
UPGRADE_WAIT_S = 1800.0
_TRIAL_WAIT_S = 60.0
_STOP = {signal.SIGTERM: 10.0, signal.SIGKILL: 5.0}
# Neither is public: a child finds its parent's packages and libraries, and nothing else of the caller's environment.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
_MARK = "MODELYARD_SERVICE"
_NEEDED = ("mlflow", "uvicorn", "uvloop", "httptools", "psycopg2")
_TRIAL = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))"


@dataclass(frozen=True, slots=True)
class MlflowServer:
    """The MLflow server on ``home``, run by ``account``, with its tables behind the socket in ``socket``."""

    home: Home
    account: Account
    socket: Path

    @property
    def log(self) -> Path:
        return self.home.logs / "mlflow.log"

    @property
    def backend(self) -> str:
        # plain postgresql:// would select psycopg 3, on which MLflow fails
        return f"postgresql+psycopg2://{ROLE}@/{DATABASE}?host={quote(str(self.socket), safe='/')}&port={PORT}"

    def upgrade_tables(self) -> None:
        """Make MLflow's tables, or bring them up to the installed version; takes a few seconds.

        Raises:
            ServiceFailed: with the end of MLflow's message.
        """
        self._prepare_folders()
        done = run_program(
            name_upgrade(self.backend),
            folder=self.home.mlflow,
            environment=self._environment(port=None),
            account=self.account,
            timeout_s=UPGRADE_WAIT_S,
        )
        check_upgrade(done)

    def start(self, *, port: int, workers: int) -> ProcessMark:
        """Start the server on 127.0.0.1 and wait until it answers from the database.

        Raises:
            ServiceFailed: it ended or did not answer, with the log's last lines.
        """
        self._prepare_folders()
        bound_log(self.log)
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", str(workers), "--backend-store-uri", self.backend]
        command += ["--serve-artifacts", "--artifacts-destination", self.home.artifacts.as_uri()]
        command += ["--default-artifact-root", "mlflow-artifacts:/"]
        # with several workers uvicorn's own loop answers each call 44 ms late
        command += ["--uvicorn-opts", "--loop uvloop --http httptools --log-level warning"]
        mark = start_detached(
            command,
            folder=self.home.mlflow,
            log=self.log,
            environment=self._environment(port=port),
            account=self.account,
        )
        try:
            self._wait_ready(mark, port)
        except BaseException:
            stop_server(self.home)
            raise
        return mark

    def run_gc(self, words: Sequence[str], *, port: int) -> None:
        """Run ``mlflow gc`` with these words, beside the server that answers on ``port``.

        Raises:
            ServiceFailed: with the end of MLflow's message.
        """
        done = run_program(
            name_gc(self.backend, words),
            folder=self.home.mlflow,
            environment={**self._environment(port=port), "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"},
            account=self.account,
            timeout_s=GC_WAIT_S,
        )
        check_gc(done)

    def _wait_ready(self, mark: ProcessMark, port: int) -> None:
        give_up_s = time.monotonic() + _START_WAIT_S
        while not is_ready(port, timeout_s=5):
            if not mark.running:
                raise ServiceFailed(f"MLflow did not start; {self.log} ends with: {read_log_tail(self.log)}")
            if time.monotonic() > give_up_s:
                tail = read_log_tail(self.log)
                raise ServiceFailed(f"MLflow does not answer on port {port}; {self.log} ends with: {tail}")
            time.sleep(0.1)

    def _prepare_folders(self) -> None:
        temporary = self.home.mlflow / "tmp"
        if not list_server_processes(self.home):
            shutil.rmtree(temporary, ignore_errors=True)  # what a killed server left of half moved artifacts
        temporary.mkdir(mode=0o700, exist_ok=True)
        for folder in (self.home.mlflow, self.home.artifacts):
            give_folder(folder, self.account)

    def _environment(self, *, port: int | None) -> dict[str, str]:
        temporary = self.home.mlflow / "tmp"
        hosts = [f"localhost:{port}", f"127.0.0.1:{port}"]
        return {
            **_python_environment(),
            _MARK: ROLE,
            "HOME": str(self.home.mlflow),
            "TMPDIR": str(temporary),
            "LC_ALL": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONSAFEPATH": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
            "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{host}" for host in hosts),
        }


def name_upgrade(backend: str) -> list[str]:
    """The command that makes MLflow's tables, or brings them up to the installed version."""
    return [sys.executable, "-m", "mlflow", "db", "upgrade", backend]


def check_upgrade(done: "subprocess.CompletedProcess[str]") -> None:
    """Refuse an upgrade that failed.

    Raises:
        ServiceFailed: with the end of MLflow's message.
    """
    if done.returncode != 0:
        reason = " | ".join(done.stderr.strip().splitlines()[-3:])
        raise ServiceFailed(f"MLflow's tables could not be upgraded: {reason}")


def choose_account(service: Account) -> Account:
    """Whom MLflow runs as: the service account where that one reaches this Python and its packages, else the caller."""
    if service.is_caller:
        return service
    try:
        done = run_program(
            [sys.executable, "-c", _TRIAL, *_NEEDED],
            folder=Path("/"),
            environment=_python_environment(),
            account=service,
            timeout_s=_TRIAL_WAIT_S,
        )
    except OSError:
        return get_caller()
    return service if done.returncode == 0 else get_caller()


def is_ready(port: int, *, timeout_s: float) -> bool:
    """Whether the server on 127.0.0.1 answers a call that asks the database."""
    return answers(f"http://127.0.0.1:{port}", timeout_s=timeout_s)


def answers(tracking_uri: str, *, timeout_s: float) -> bool:
    """Whether MLflow answers a call that asks the database; its ``/health`` says yes without one."""
    request = urllib.request.Request(  # noqa: S310  of ours
        f"{tracking_uri}/api/2.0/mlflow/experiments/search",
        data=json.dumps({"max_results": 1}).encode(),
        headers={"Content-Type": "application/json"},
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=timeout_s) as response:
            return bool(response.status == 200)
    except (OSError, ValueError):
        return False


def stop_server(home: Home) -> bool:
    """Stop the server with all its workers; return whether anything ran.

    Raises:
        ServiceFailed: it does not end.
    """
    if not list_server_processes(home):
        return False
    stop_processes(lambda: list_server_processes(home), signals=_STOP)
    if list_server_processes(home):
        raise ServiceFailed(f"MLflow does not end; its log is {home.logs / 'mlflow.log'}")
    return True


def list_server_processes(home: Home) -> list[psutil.Process]:
    """The server and its workers, the server first."""
    return find_processes(home.mlflow, lambda process: process.environ().get(_MARK) == ROLE)


def _python_environment() -> Mapping[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # HOME changes for the server, and packages of `pip install --user` lie under the caller's
    return {**passed, "PYTHONUSERBASE": site.getuserbase()}
