import os
import signal
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from modelyard.errors import ServiceFailed
from modelyard.stack.accounts import get_caller
from modelyard.stack.home import Home
from modelyard.stack.logs import bound_log, read_log_tail
from modelyard.stack.ports import find_free_port, is_taken
from modelyard.stack.processes import (
    ProcessMark,
    find_mark,
    find_processes,
    start_detached,
    stop_processes,
)
from modelyard.stack.sockets import provide_socket_folder
from modelyard.stack.state import State, load_state


def start(folder: Path, code: str) -> ProcessMark:
    return start_detached(
        [sys.executable, "-c", code],
        folder=folder,
        log=folder / "log",
        environment={"NAME": "sleeper"},
        account=get_caller(),
    )


def test_a_service_is_found_in_its_folder_after_a_move_and_stopped_with_its_children(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    # the child ignores the first signal
    child = "import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    mark = start(
        here, f"import subprocess,sys,time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    )
    assert os.getsid(mark.pid) == mark.pid, "a service must not get the caller's Ctrl-C"
    here.rename(there)

    def list_running() -> list[psutil.Process]:
        return find_processes(there, lambda process: process.environ().get("NAME") == "sleeper")

    give_up_s = time.monotonic() + 10
    while len(list_running()) < 2 and time.monotonic() < give_up_s:
        time.sleep(0.02)
    assert list_running()[0].pid == mark.pid
    stop_processes(list_running, signals={signal.SIGTERM: 1.0, signal.SIGKILL: 5.0})
    assert list_running() == []
    assert not mark.running


def test_a_later_process_with_the_same_id_is_not_taken_for_ours() -> None:
    mark = find_mark(os.getpid())
    assert mark is not None and mark.running
    assert not ProcessMark(os.getpid(), mark.started + "0").running


def test_a_program_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ServiceFailed, match=r"/no/such/program cannot be started.*No such file"):
        start_detached(
            ["/no/such/program"], folder=tmp_path, log=tmp_path / "log", environment={}, account=get_caller()
        )


def test_a_log_stays_bounded_and_its_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"old line\n" * 2_000_000 + b"last line\n")
    bound_log(log)
    assert log.stat().st_size == 0
    kept = tmp_path / "x.log.1"
    assert kept.stat().st_size == 10 * 2**20
    assert read_log_tail(kept, nb_lines=2) == "old line | last line"


def test_a_taken_port_gives_the_next_free_one() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert is_taken(port)
        assert find_free_port([port]) > port


def test_a_deep_or_unusual_path_gets_a_short_private_socket_folder(tmp_path: Path) -> None:
    for name in ("d" * 100, "with, comma"):
        folder = provide_socket_folder(Home(tmp_path / name), get_caller())
        try:
            assert len(f"{folder}/.s.PGSQL.5432") <= 103
            assert folder.stat().st_mode & 0o777 == 0o700
            assert folder.stat().st_uid == os.geteuid()
            assert provide_socket_folder(Home(tmp_path / name), get_caller()) == folder
        finally:
            folder.rmdir()


def test_a_socket_folder_that_others_may_enter_is_not_used(tmp_path: Path) -> None:
    home = Home(tmp_path / ("d" * 100))
    first = provide_socket_folder(home, get_caller())
    first.chmod(0o777)
    second = provide_socket_folder(home, get_caller())
    first.rmdir()
    second.rmdir()
    assert second != first


@pytest.mark.parametrize("text", ["", "{", "[]", '{"home": "/x", "new": 1}'])
def test_a_damaged_state_file_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert load_state(tmp_path / "state.json") is None


def test_a_state_file_from_before_there_were_workers_is_read(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"home": "/x", "mlflow_port": 5001, "postgres": null, "mlflow": null}')
    assert load_state(tmp_path / "state.json") == State(home="/x", mlflow_port=5001)


def test_state_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    state = State(home="/x", mlflow_port=5000, postgres=ProcessMark(1, "a"), versions={"mlflow": "3"})
    state.save(tmp_path / "state.json")
    assert load_state(tmp_path / "state.json") == state
