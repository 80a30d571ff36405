"""One worker of the supervisor, with real processes and moments that the test names."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelyard.stack.supervisor import STOP_WAIT_S, TRAINERS, Worker, load_trainers


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setenv("MODELYARD_HOME", str(tmp_path / "home"))
    worker = Worker("trainer-1", tmp_path)
    yield worker
    if worker.process is not None:
        worker.process.kill()
        worker.process.wait()


def send(worker: Worker, number: signal.Signals) -> None:
    assert worker.process is not None
    os.kill(worker.process.pid, number)


def wait_until(holds: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < give_up_s, "it did not come to hold in time"
        time.sleep(0.005)


def has_ended(worker: Worker) -> bool:
    return worker.process is None or worker.process.poll() is not None


def end_after(worker: Worker, now_s: float, ran_s: float) -> float:
    """Start it at ``now_s``, kill it ``ran_s`` later; return how long it then waits to be started again."""
    worker.step(now_s, wanted=True)
    send(worker, signal.SIGKILL)
    wait_until(lambda: has_ended(worker))
    worker.step(now_s + ran_s, wanted=False)
    assert worker.process is None
    return worker.due_s - now_s - ran_s


def test_a_worker_that_keeps_ending_is_started_with_growing_pauses_until_it_has_run_a_minute(worker: Worker) -> None:
    now_s, pauses_s = 1000.0, []
    for _ in range(8):
        pauses_s.append(end_after(worker, now_s, 1.0))
        now_s = worker.due_s
    assert pauses_s == [0, 1, 2, 4, 8, 16, 30, 30]
    assert end_after(worker, now_s, 60.0) == 0


def test_a_worker_is_not_started_before_its_pause_is_over(worker: Worker) -> None:
    assert [end_after(worker, 1000.0, 0.0), end_after(worker, 1000.0, 0.0)] == [0, 1]
    worker.step(1000.9, wanted=True)
    assert worker.process is None
    worker.step(1001.0, wanted=True)
    assert worker.process is not None


def test_a_worker_that_is_told_to_end_and_does_not_is_killed(worker: Worker) -> None:
    worker.step(1000.0, wanted=True)
    send(worker, signal.SIGSTOP)
    worker.step(1001.0, wanted=False)
    worker.step(1000.9 + STOP_WAIT_S, wanted=False)
    assert not has_ended(worker)
    worker.step(1001.0 + STOP_WAIT_S, wanted=False)
    wait_until(lambda: has_ended(worker))
    assert worker.process is not None and worker.process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("text", "trainers"), [("2\n", 2), ("0\n", 0), ("-1\n", None), ("", None), ("two\n", None)])
def test_a_damaged_number_of_trainers_counts_as_none(tmp_path: Path, text: str, trainers: int | None) -> None:
    (tmp_path / TRAINERS).write_text(text)
    assert load_trainers(tmp_path) == trainers
