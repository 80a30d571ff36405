"""The workers of the embedded stack, for real: one stack for the module, made by two `up` at once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from modelyard.settings import Settings
from modelyard.stack import embedded, postgres, workers
from modelyard.stack.doctor import run_checks
from modelyard.stack.home import Home
from modelyard.stack.processes import is_alive
from modelyard.stack.status import Service
from tests.conftest import free_port, open_folder

ONE_OF_EACH = ["evaluator-1", "supervisor", "trainer-1"]
DATA = Path("some") / "folder"  # relative, as a person may set it


@dataclass
class Stack:
    """The stack under test; ``settings`` change when a test moves its folder."""

    settings: Settings
    said: list[str] = field(default_factory=list)

    @property
    def home(self) -> Home:
        return Home(self.settings.home_dir())

    def up(self, trainers: int | None = None) -> list[str]:
        """Start what is missing; return what was said."""
        said: list[str] = []
        embedded.up(self.settings, said.append, trainers=trainers)
        return said

    def pids(self) -> dict[str, int]:
        return {name: found[0].pid for name, found in workers.list_workers(self.home).items()}

    def status(self) -> dict[str, Service]:
        return {service.name: service for service in embedded.status(self.settings).services}

    def wait_for(self, names: list[str]) -> dict[str, int]:
        """Wait until these workers and no others are there."""
        wait_until(lambda: sorted(self.pids()) == names)
        return self.pids()


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A stack that two commands start at once, from an environment with variables that mislead."""
    with open_folder() as folder, pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", "http://somewhere.else")
        environment.setenv("PGHOST", "somewhere.else")
        environment.setenv("MODELYARD_MIN_FREE_MB", "7")
        environment.setenv("A_KEY_OF_THE_WORKLOAD", "kept")
        where = {"home": folder / "home", "mlflow_port": free_port(), "mlflow_workers": 1, "data_dir": DATA}
        settings = Settings(_env_file=None, min_free_mb=8, **where)
        stack = Stack(settings)
        try:
            with ThreadPoolExecutor(2) as both:
                for said in both.map(lambda _: stack.up(), range(2)):
                    stack.said += said
            yield stack
        finally:
            embedded.down(stack.settings, print)


@pytest.fixture(autouse=True)
def one_of_each(stack: Stack) -> None:
    """Each test begins with all that is needed and no more."""
    stack.up(trainers=1)
    stack.wait_for(ONE_OF_EACH)


def wait_until(holds: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
    give_up_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < give_up_s, "it did not come to hold in time"
        time.sleep(0.02)


def test_two_ups_at_once_give_one_supervisor_one_trainer_and_one_evaluator(stack: Stack) -> None:
    assert stack.said.count("starting a trainer and an evaluator") == 1
    found = workers.list_workers(stack.home)
    assert sorted(found) == ONE_OF_EACH
    [supervisor] = found["supervisor"]
    assert {child.pid for child in supervisor.children()} == {found["trainer-1"][0].pid, found["evaluator-1"][0].pid}


def test_status_shows_each_worker_with_its_memory_and_the_supervisor_is_small(stack: Stack) -> None:
    shown = stack.status()
    assert list(shown) == ["postgres", "mlflow", "supervisor", "trainer-1", "evaluator-1"]
    assert all(service.running and service.pid and service.since for service in shown.values())
    assert 0 < (shown["supervisor"].memory_bytes or 0) < 20 * 2**20
    assert 0 < (shown["trainer-1"].memory_bytes or 0) < 512 * 2**20
    assert {shown[name].pid for name in ONE_OF_EACH} == set(stack.pids().values())


def test_workers_get_the_settings_that_count_and_no_variable_that_misleads(stack: Stack) -> None:
    environment = workers.list_workers(stack.home)["trainer-1"][0].environ()
    assert environment["A_KEY_OF_THE_WORKLOAD"] == "kept"
    assert environment["MODELYARD_HOME"] == str(stack.home.path)
    assert environment["MODELYARD_MIN_FREE_MB"] == "8"
    assert environment["MODELYARD_DATA_DIR"] == str(Path.cwd() / DATA)
    assert not {"MLFLOW_TRACKING_URI", "PGHOST"} & environment.keys()


def test_a_ctrl_c_in_the_terminal_of_up_reaches_no_worker(stack: Stack) -> None:
    for name, pid in stack.pids().items():
        assert os.getsid(pid) == os.getpgid(pid) == pid, f"{name} is no session of its own"


def test_up_of_a_running_stack_touches_no_worker(stack: Stack) -> None:
    before = stack.pids()
    assert stack.up() == []
    assert stack.pids() == before


def test_a_killed_worker_is_started_again_and_the_others_stay(stack: Stack) -> None:
    before = stack.pids()
    os.kill(before["trainer-1"], signal.SIGKILL)
    wait_until(lambda: stack.pids().get("trainer-1", before["trainer-1"]) != before["trainer-1"])
    assert stack.pids() | {"trainer-1": before["trainer-1"]} == before


def test_a_missing_worker_is_shown_by_status_and_doctor(stack: Stack) -> None:
    os.kill(stack.pids()["supervisor"], signal.SIGKILL)
    os.kill(stack.pids()["trainer-1"], signal.SIGKILL)
    wait_until(lambda: "trainer-1" not in stack.pids())
    shown = stack.status()
    assert {name for name, service in shown.items() if not service.running} == {"supervisor", "trainer-1"}
    checks = {check.name: check for check in run_checks(stack.settings)}
    assert (checks["services"].state, checks["services"].found) == ("warn", "not running: supervisor, trainer-1")
    environment = os.environ | {"MODELYARD_HOME": str(stack.home.path)}
    command = [sys.executable, "-m", "modelyard", "status", "--json"]
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 1


def test_a_killed_supervisor_is_repaired_by_the_next_up_and_nothing_runs_twice(stack: Stack) -> None:
    before = stack.pids()
    services = [stack.status()[name].pid for name in ("postgres", "mlflow")]
    os.kill(before["supervisor"], signal.SIGKILL)
    assert stack.up() == ["starting a trainer and an evaluator"]
    after = stack.wait_for(ONE_OF_EACH)
    assert not set(before.values()) & set(after.values())
    assert not [pid for pid in before.values() if psutil.pid_exists(pid) and is_alive(psutil.Process(pid))]
    assert [stack.status()[name].pid for name in ("postgres", "mlflow")] == services


def test_the_number_of_trainers_changes_while_all_runs_and_the_first_ones_stay(stack: Stack) -> None:
    before = stack.pids()
    assert stack.up(trainers=3) == ["changing to 3 trainers and an evaluator"]
    more = stack.wait_for(["evaluator-1", "supervisor", "trainer-1", "trainer-2", "trainer-3"])
    assert before.items() <= more.items()
    assert stack.up() == []
    assert stack.up(trainers=1) == ["changing to a trainer and an evaluator"]
    assert stack.wait_for(ONE_OF_EACH) == before
    stack.up(trainers=0)
    assert stack.wait_for(["evaluator-1", "supervisor"])["evaluator-1"] == before["evaluator-1"]
    assert all(service.running for service in stack.status().values())


def test_when_postgresql_has_to_be_started_again_so_are_the_workers(stack: Stack) -> None:
    before = stack.pids()
    for process in postgres.list_server_processes(stack.home):
        with suppress(psutil.NoSuchProcess):  # sessions end by themselves when their server is gone
            process.kill()
    said = stack.up()
    assert said.index("starting PostgreSQL") < said.index("starting a trainer and an evaluator")
    assert not set(before.values()) & set(stack.wait_for(ONE_OF_EACH).values())


def test_a_moved_folder_gets_new_workers_and_keeps_their_number(stack: Stack) -> None:
    stack.up(trainers=2)
    before = stack.wait_for([*ONE_OF_EACH, "trainer-2"])
    new = stack.home.path.with_name("moved")
    stack.home.path.rename(new)
    stack.settings = stack.settings.model_copy(update={"home": new})
    assert embedded.find_addresses(stack.settings) is None, "what is on record is the old place"
    assert "starting 2 trainers and an evaluator" in stack.up()
    after = stack.wait_for([*ONE_OF_EACH, "trainer-2"])
    assert not [pid for pid in before.values() if psutil.pid_exists(pid) and is_alive(psutil.Process(pid))]
    assert psutil.Process(after["trainer-2"]).environ()["MODELYARD_HOME"] == str(new)


def test_down_ends_all_in_order_and_the_next_up_has_as_many_trainers(stack: Stack) -> None:
    stack.up(trainers=2)
    stack.wait_for([*ONE_OF_EACH, "trainer-2"])
    where = embedded.find_running(stack.settings)
    log = stack.home.logs / "supervisor.log"
    before = len(log.read_text())
    assert embedded.down(stack.settings, print) is True
    assert list_processes_in(stack.home.path) == []
    said = log.read_text()[before:]
    assert all(f"{name} ended with exit code" in said for name in ("trainer-1", "trainer-2", "evaluator-1"))
    assert "is killed" not in said
    assert embedded.find_addresses(stack.settings) == where, "where it was last, though nothing answers"
    assert "starting 2 trainers and an evaluator" in stack.up()


def test_down_ends_a_worker_that_does_not_listen(stack: Stack) -> None:
    os.kill(stack.pids()["trainer-1"], signal.SIGSTOP)
    assert embedded.down(stack.settings, print) is True
    assert list_processes_in(stack.home.path) == []
    assert "trainer-1 does not end and is killed" in (stack.home.logs / "supervisor.log").read_text()


def test_down_finds_what_a_killed_supervisor_left(stack: Stack) -> None:
    os.kill(stack.pids()["supervisor"], signal.SIGKILL)
    assert embedded.down(stack.settings, print) is True
    assert list_processes_in(stack.home.path) == []


def list_processes_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder) and is_alive(process):
                found.append(process)
    return found
