"""Workers of a test's own: real processes with short claims, in which faults strike, started again when they end."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from uuid import UUID, uuid4

import psutil

from modelyard.pipeline.raw import RawData, store_raw
from modelyard.pipeline.request import build_request, check_data
from modelyard.settings import Settings
from modelyard.stack import embedded, mlflow_server, postgres, workers
from modelyard.stack.accounts import ensure_service_account
from modelyard.stack.addresses import Addresses
from modelyard.stack.binaries import provide_programs
from modelyard.stack.home import Home
from modelyard.stack.processes import is_alive
from modelyard.stack.sockets import provide_socket_folder
from modelyard.store import jobs
from modelyard.store.connections import connect
from tests.conftest import free_port, open_folder, write_lazily

FAULTS = Path(__file__).parents[1] / "faults"
WORKLOAD = "california_housing"
CLAIM_S = 10.0  # short, and no busy disk lets a worker miss it
_STOP_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens at which point (``before module:name``) of which attempt; tests/faults has the choice."""

    do: str
    at: str
    kind: jobs.JobKind = "train"
    attempt: int = 1


@dataclass(frozen=True)
class Struck:
    """The processes in which a fault has struck."""

    child: int
    worker: int


@dataclass
class _Slot:
    role: str
    log: Path
    process: subprocess.Popen[bytes]


@dataclass
class Crew:
    """A stack without supervised workers, and workers of the test's own.

    Attributes:
        environment: variables of the workers started from now on.
        ended: process id → exit code of workers that have ended.
    """

    settings: Settings
    stack: Addresses
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._slots: list[_Slot] = []
        self._lock, self._over = threading.Lock(), threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self.faults = self.folder / "faults"
        self.faults.mkdir()

    @property
    def home(self) -> Home:
        return Home(self.stack.home)

    @property
    def dsn(self) -> str:
        return self.stack.dsn(self.stack.person)

    # workers

    def start(self, *, trainers: int = 0, evaluators: int = 0) -> None:
        """Start so many more; each is started again when it ends."""
        for role in ["trainer"] * trainers + ["evaluator"] * evaluators:
            log = self.folder / f"{role}-{len(self._slots)}.log"
            with self._lock:
                self._slots.append(_Slot(role, log, self._launch(role, log)))
        if not self._keeper.is_alive():
            self._keeper.start()

    def list_pids(self) -> list[int]:
        """The workers that run now."""
        with self._lock:
            return [slot.process.pid for slot in self._slots if slot.process.poll() is None]

    def replace_workers(self) -> None:
        """End all workers in order; each is started again, with the environment as it is now."""
        before = self.list_pids()
        for pid in before:
            signal_if_there(pid, signal.SIGTERM)
        wait_until(lambda: not set(before) & set(self.list_pids()), what="new workers", crew=self)

    def stop(self) -> None:
        """End all workers, and start none again."""
        self._over.set()
        with self._lock:
            for slot in self._slots:
                slot.process.send_signal(signal.SIGCONT)
                slot.process.terminate()
            for slot in self._slots:
                try:
                    slot.process.wait(_STOP_S)
                except subprocess.TimeoutExpired:
                    slot.process.kill()
                    slot.process.wait()

    def read_logs(self) -> str:
        return "\n".join(f"== {slot.log.name}\n{slot.log.read_text()}" for slot in self._slots)

    def _launch(self, role: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "modelyard", "worker", role],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=self.make_environment()
                | {"PYTHONPATH": str(FAULTS), "FAULTS": str(self.faults), "TMPDIR": str(self.folder)}
                | self.environment,
                start_new_session=True,
            )

    def make_environment(self) -> dict[str, str]:
        """Variables under which a command uses this stack."""
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("MODELYARD_", "MLFLOW_", "PG"))}
        settings = self.settings.model_dump(exclude_defaults=True)
        return kept | {f"MODELYARD_{name.upper()}": str(value) for name, value in settings.items()}

    def _keep(self) -> None:
        while not self._over.wait(0.05):
            with self._lock:
                for slot in self._slots:
                    code = slot.process.poll()
                    if code is not None and not self._over.is_set():
                        self.ended[slot.process.pid] = code
                        slot.process = self._launch(slot.role, slot.log)

    # jobs

    @cached_property
    def sample(self) -> Path:
        """The workload's built-in sample, as a file."""
        [path] = build_request(WORKLOAD).workload.sample(self.folder)
        return path

    @cached_property
    def raw(self) -> RawData:
        """The sample, in the raw store."""
        request = build_request(WORKLOAD)
        hashed = check_data(request, data=self.sample, data_dir=self.folder, folder=self.folder, report=lambda _: None)
        return store_raw(hashed, raw_uri=self.stack.raw_uri)

    def submit(self, seed: int, *faults: Fault, delay_s: float = 0) -> UUID:
        """Queue a training of the sample; another seed is another request."""
        job_id = uuid4()
        self.place(str(job_id), *faults)
        arguments = build_request(WORKLOAD, values={"seed": seed}).arguments(self.raw)
        with connect(self.dsn) as connection:
            return jobs.submit_job(connection, kind="train", arguments=arguments, job_id=job_id, delay_s=delay_s)

    def place(self, training: str, *faults: Fault) -> None:
        """Let faults await a training by its id, or by the text ``seed <its seed>``, and its evaluation."""
        for fault in faults:
            with self._path(training, fault.kind, fault.attempt).open("a") as file:
                file.write(f"{fault.do} {fault.at}\n")

    def wait_struck(self, training: UUID | str, *, kind: jobs.JobKind = "train", attempt: int = 1) -> Struck:
        """Wait until the fault of this attempt has struck."""
        path = Path(f"{self._path(training, kind, attempt)}.struck")
        wait_until(path.exists, what=f"attempt {attempt} of {training} ({kind}) at its fault", crew=self)
        return Struck(*map(int, path.read_text().split()))

    def release(self, training: UUID | str, *, kind: jobs.JobKind = "train", attempt: int = 1) -> None:
        """Let an attempt that is held go on."""
        Path(f"{self._path(training, kind, attempt)}.released").touch()

    def wait_for(
        self, job_id: UUID, holds: Callable[[jobs.Job], bool], *, what: str, timeout_s: float = 600
    ) -> jobs.Job:
        """Wait until this holds of a job; return it."""
        with connect(self.dsn) as connection:
            wait_until(
                lambda: holds(jobs.get_job(connection, job_id=job_id)), what=what, crew=self, timeout_s=timeout_s
            )
            return jobs.get_job(connection, job_id=job_id)

    def wait_settled(self, job_id: UUID) -> None:
        """Wait until a training has ended, its evaluation too, and MLflow has been told of everything."""
        with connect(self.dsn) as connection:

            def settled() -> bool:
                family = [jobs.get_job(connection, job_id=job_id), jobs.find_child(connection, job_id=job_id)]
                return all(job is None or (job.ended and not job.orphaned) for job in family)

            wait_until(settled, what=f"job {job_id} settled", crew=self)

    def _path(self, training: UUID | str, kind: str, attempt: int) -> Path:
        return self.faults / f"{training}.{kind}.{attempt}"

    # the stack's services

    def signal_postgres(self, number: signal.Signals) -> None:
        """Send a signal to the server and to each of its sessions."""
        for process in postgres.list_server_processes(self.home):
            signal_if_there(process.pid, number)

    def start_postgres(self) -> None:
        account = ensure_service_account()
        postgres.Postgres(
            home=self.home,
            account=account,
            programs=provide_programs(self.home.path, account),
            socket=provide_socket_folder(self.home, account),
        ).start(print)

    def kill_mlflow(self) -> None:
        for process in mlflow_server.list_server_processes(self.home):
            signal_if_there(process.pid, signal.SIGKILL)

    def start_mlflow(self) -> None:
        account = ensure_service_account()
        mlflow_server.MlflowServer(
            home=self.home,
            account=mlflow_server.choose_account(account),
            socket=provide_socket_folder(self.home, account),
        ).start(port=self.settings.mlflow_port, workers=self.settings.mlflow_workers)


@contextmanager
def open_crew(*, claim_s: float = CLAIM_S) -> Iterator[Crew]:
    """A stack of its own, with no workers yet."""
    with open_folder() as folder:
        settings = Settings(
            _env_file=None,
            home=folder / "home",
            mlflow_port=free_port(),
            mlflow_workers=1,
            data_dir=folder / "data",
            claim_s=claim_s,
            retry_pause_s=0.2,
        )
        try:
            stack = embedded.up(settings, print, trainers=0)
            workers.stop_workers(Home(stack.home))
            write_lazily(Home(stack.home))
            crew = Crew(settings, stack, folder)
            try:
                yield crew
            finally:
                crew.stop()
        finally:
            embedded.down(settings, print)


def wait_until(holds: Callable[[], bool], *, what: str, crew: Crew | None = None, timeout_s: float = 600) -> None:
    """Wait until it holds; if it does not, what the crew's workers said is in the error."""
    give_up_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > give_up_s:
            raise TimeoutError(f"not within {timeout_s:.0f} s: {what}\n{crew.read_logs() if crew else ''}")
        time.sleep(0.05)


def signal_if_there(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def is_running(pid: int) -> bool:
    """Whether a process is there and does more than wait to be noticed as ended."""
    try:
        return is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def list_children(worker: int) -> list[int]:
    """The process of a worker's job, and the server that it is a copy of."""
    try:
        return [child.pid for child in psutil.Process(worker).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
