"""Jobs' processes as copies of one: alike in what is imported, apart in everything else, gone when they have to be."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

import modelyard
from modelyard.workers import server_keeper
from modelyard.workers.child_process import ChildProcess, ForkServer
from modelyard.workers.server_keeper import ServerKeeper
from tests.integration.crew import is_running, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only")
ROOT = Path(__file__).parents[2]
LONG = {"wait_s": 600}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    server = ForkServer("tests.integration.small_server")
    yield server
    server.close()


@pytest.fixture
def start(server):
    children = []

    def give(**order):
        child = ChildProcess(server)
        children.append(child)
        child.order(order)
        return child

    yield give
    for child in children:
        child.close()


def read(child, line=0):
    """What a process has printed in a line, when it is there."""
    wait_until(lambda: child.output.read_text().count("\n") > line, what="output")
    return child.output.read_text().splitlines()[line].split()


def test_processes_of_a_server_share_nothing_but_what_it_has_imported(start):
    said = []
    for code in (0, 7, 0):
        child = start(code=code)
        assert child.wait(60) == code
        said.append(read(child))
    pids, servers, folders, *numbers = (set(of) for of in zip(*said, strict=True))
    assert len(servers) == 1
    assert [len(values) for values in (pids, folders, *numbers)] == [3, 3, 3, 3]


def test_a_process_that_dies_says_by_what_and_leaves_no_other(start):
    child = start(starts=True, **LONG)
    own = int(read(child, 1)[0])
    os.kill(int(read(child)[0]), signal.SIGKILL)
    assert child.wait(60) == -signal.SIGKILL
    assert "the job's process was ended by signal 9 (Killed)" in child.describe_end()
    wait_until(lambda: not is_running(own), what="the end of what it had started")
    assert start(code=3).wait(60) == 3


def test_a_process_ends_with_its_server(start, server):
    child = start(**LONG)
    pid, parent, *_ = map(int, read(child)[:2])
    os.kill(parent, signal.SIGKILL)
    assert child.wait(60) == -signal.SIGKILL
    wait_until(lambda: not is_running(pid), what="its end")
    assert not server.running and not server.busy


def test_a_process_and_a_server_that_hold_still_are_ended_all_the_same(start, server):
    child = start(**LONG)
    both = [int(text) for text in read(child)[:2]]
    for pid in both:
        os.kill(pid, signal.SIGSTOP)
    child.stop(grace_s=0.1)
    assert child.wait(0) == -signal.SIGKILL
    assert not server.running
    wait_until(lambda: not any(map(is_running, both)), what="their end")


def test_a_process_that_is_not_wanted_any_more_is_not_waited_for(start, server):
    child = start(**LONG)  # its server still imports
    child.stop()
    assert child.wait(0) == -signal.SIGKILL
    assert child.output.read_text() == ""


def test_a_server_that_cannot_start_says_why(monkeypatch):
    server = ForkServer("modelyard.workers.nowhere")
    child = ChildProcess(server)
    child.order({})
    assert child.wait(60) == 1
    assert "exit code 1" in child.describe_end() and "nowhere" in child.describe_end()
    child.close()
    server.close()


def list_servers():
    return {child.pid for child in psutil.Process().children() if "modelyard.workers.fork_server" in child.cmdline()}


def test_a_server_is_kept_until_the_code_changes(monkeypatch, tmp_path):
    code = tmp_path / "code.py"
    code.write_text("answer = 41\n")
    monkeypatch.setattr(modelyard, "__file__", str(tmp_path / "__init__.py"))
    keeper = ServerKeeper()
    try:
        keeper.get_ready()
        first = list_servers()
        keeper.start_child().close()
        assert list_servers() == first and len(first) == 1
        code.write_text("answer = 42\n")
        keeper.get_ready()
        assert len(list_servers()) == 1 and not list_servers() & first
    finally:
        keeper.close()
    assert list_servers() == set()
    keeper.get_ready()
    assert list_servers() == set(), "a worker that stops starts none"


def test_a_server_that_nobody_needs_is_ended(monkeypatch):
    monkeypatch.setattr(server_keeper, "_KEEP_S", 0.2)
    keeper = ServerKeeper()
    keeper.get_ready()
    assert len(list_servers()) == 1
    wait_until(lambda: not list_servers(), what="its end")
