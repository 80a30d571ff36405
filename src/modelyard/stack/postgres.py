"""The embedded PostgreSQL: made, started, found again and stopped."""

import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from modelyard.errors import ServiceFailed
from modelyard.stack.accounts import Account, get_caller
from modelyard.stack.addresses import PORT
from modelyard.stack.home import Home, give_folder, refuse_errors
from modelyard.stack.logs import bound_log, read_log_tail
from modelyard.stack.postgres_config import write_config
from modelyard.stack.processes import (
    ProcessMark,
    find_mark,
    find_processes,
    run_program,
    start_detached,
    stop_processes,
)

SUPERUSER = "postgres"
_CREATE_WAIT_S = 300.0
_START_WAIT_S = 30.0
_RECOVERY_WAIT_S = 600.0
_ANSWER_WAIT_S = 5
_ORPHAN_WAIT_S = 5.0
# fast: sessions end, their transactions are undone; then immediate: the next start recovers from the log
_STOP = {signal.SIGINT: 20.0, signal.SIGQUIT: 10.0, signal.SIGKILL: 5.0}
_STOP_ORPHANS = {signal.SIGQUIT: 5.0, signal.SIGKILL: 5.0}


@dataclass(frozen=True, slots=True)
class Postgres:
    """One PostgreSQL server on ``home.data``, run by ``account`` with ``programs`` and a socket in ``socket``."""

    home: Home
    account: Account
    programs: Path
    socket: Path

    @property
    def log(self) -> Path:
        return self.home.logs / "postgres.log"

    def dsn(self, *, role: str = SUPERUSER, database: str = "postgres") -> str:
        return f"host={self.socket} port={PORT} dbname={database} user={role}"

    def create(self) -> None:
        """Make the data folder unless it is there; one that was left half made is made anew.

        Raises:
            HomeRefused: the folder cannot be written.
            ServiceFailed: initdb failed, with its message.
        """
        if self.home.data.exists():
            with refuse_errors(self.home):  # a copy or a chmod of the folder may have changed them
                give_folder(self.home.data, self.account)
                self.home.data.chmod(0o700)
            return
        unfinished = self.home.path / "postgres.unfinished"
        with refuse_errors(self.home):
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(mode=0o700)
            give_folder(unfinished, self.account)
        command: list[str | Path] = [
            self.programs / "initdb",
            "--pgdata",
            unfinished,
            "--username",
            SUPERUSER,
            "--auth",
            "peer",
        ]
        command += ["--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin"]
        command += ["--builtin-locale", "C.UTF-8", "--data-checksums", "--no-instructions"]
        done = run_program(
            command, folder=unfinished, environment=_environment(), account=self.account, timeout_s=_CREATE_WAIT_S
        )
        if done.returncode != 0:
            reason = " | ".join(done.stderr.strip().splitlines()[-5:])
            shutil.rmtree(unfinished, ignore_errors=True)
            raise ServiceFailed(f"PostgreSQL could not make its data folder {self.home.data}: {reason}")
        unfinished.rename(self.home.data)

    def start(self, report: Callable[[str], None]) -> ProcessMark:
        """Start the server and wait until it answers.

        Raises:
            ServiceFailed: it ended or did not answer, with the log's last lines.
        """
        self._clear_leftovers(report)
        bound_log(self.log)
        config = write_config(self.home.config, socket=self.socket, roles=self._roles())
        mark = start_detached(
            [self.programs / "postgres", "-D", self.home.data, "-c", f"config_file={config}"],
            folder=self.home.data,
            log=self.log,
            environment=_environment(),
            account=self.account,
        )
        try:
            self._wait_ready(mark, report)
        except BaseException:
            stop_server(self.home)
            raise
        return mark

    def _roles(self) -> dict[str, str]:
        # the server's own account is also the one that MLflow runs as: MLflow's role and no other
        roles = {get_caller().name: "all"}
        return roles if self.account.is_caller else roles | {self.account.name: "mlflow"}

    def _clear_leftovers(self, report: Callable[[str], None]) -> None:
        """After a kill -9: sessions without a server end by themselves, or are ended; then its lock files go."""
        give_up_s = time.monotonic() + _ORPHAN_WAIT_S
        while list_server_processes(self.home) and time.monotonic() < give_up_s:
            time.sleep(0.05)
        if list_server_processes(self.home):
            report("ending sessions that a killed PostgreSQL left behind")
            stop_processes(lambda: list_server_processes(self.home), signals=_STOP_ORPHANS)
        # nothing works on this folder any more, so whoever has the id in these files now is somebody else
        (self.home.data / "postmaster.pid").unlink(missing_ok=True)
        for name in (f".s.PGSQL.{PORT}.lock", f".s.PGSQL.{PORT}"):
            (self.socket / name).unlink(missing_ok=True)

    def _wait_ready(self, mark: ProcessMark, report: Callable[[str], None]) -> None:
        began_s = time.monotonic()
        give_up_s, pause_s, told = began_s + _START_WAIT_S, 0.02, False
        while True:
            try:
                with psycopg.connect(self.dsn(), connect_timeout=5):
                    return
            except psycopg.OperationalError as error:
                reason = " ".join(str(error).split())
            if not mark.running:
                raise ServiceFailed(f"PostgreSQL did not start; {self.log} ends with: {read_log_tail(self.log)}")
            if "starting up" in reason or "recover" in reason:
                give_up_s = began_s + _RECOVERY_WAIT_S
                if not told and time.monotonic() - began_s > 3:
                    report("PostgreSQL was not stopped in order and recovers from its log")
                    told = True
            if time.monotonic() > give_up_s:
                raise ServiceFailed(f"PostgreSQL does not answer: {reason}; its log is {self.log}")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.5)


def is_ready(socket: Path | str, *, role: str = SUPERUSER) -> bool:
    """Whether the server behind ``socket`` lets the caller in as ``role`` now."""
    try:
        with psycopg.connect(host=str(socket), port=PORT, dbname="postgres", user=role, connect_timeout=_ANSWER_WAIT_S):
            return True
    except psycopg.OperationalError:
        return False


def find_server(home: Home) -> ProcessMark | None:
    """The server that works on this folder, wherever the folder was when it started."""
    try:
        pid = int((home.data / "postmaster.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return find_mark(pid) if any(process.pid == pid for process in list_server_processes(home)) else None


def stop_server(home: Home) -> bool:
    """Stop what works on this folder, in order if it can; return whether anything did.

    Raises:
        ServiceFailed: it does not end.
    """
    mark = find_server(home)
    if mark is not None:
        server = psutil.Process(mark.pid)
        stop_processes(lambda: [server] if mark.running else [], signals=_STOP)
    orphans = list_server_processes(home)
    if orphans:
        stop_processes(lambda: list_server_processes(home), signals=_STOP_ORPHANS)
    if list_server_processes(home):
        raise ServiceFailed(f"PostgreSQL does not end; its log is {home.logs / 'postgres.log'}")
    return mark is not None or bool(orphans)


def list_server_processes(home: Home) -> list[psutil.Process]:
    """The server and its sessions, the server first."""
    return find_processes(home.data, lambda process: process.name() == "postgres")


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
