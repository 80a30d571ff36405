"""Workloads of one's own with the stack in containers: the files are handed in, and a new one is written here."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Launch = Callable[..., subprocess.CompletedProcess[str]]
DOCKER = {"compose *run *": "printf 'spec = 1\\n'", "image inspect*": "echo found"}


@pytest.fixture
def rents(clone: Path) -> Path:
    path = clone / "my files" / "rents.py"
    path.parent.mkdir()
    path.write_text("spec = 1\n")
    path.chmod(0o644)
    return path


@pytest.fixture
def with_mv(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "tools/mv").symlink_to(str(shutil.which("mv")))


@pytest.mark.parametrize("command", ["train", "process", "drift", "sweep", "blend"])
def test_the_file_of_a_workload_is_handed_in_read_only(
    launch: Launch, rents: Path, asked: Callable[[], list[str]], command: str
) -> None:
    launch(command, "my files/rents.py", "--data", str(rents))
    [ran] = [words for words in asked() if " run " in words]
    assert f"--volume {rents}:{rents}:ro" in ran
    assert f" cli {command} {rents} --data {rents}" in ran


def test_places_of_workloads_are_handed_in_and_named_as_they_are_inside(
    launch: Launch, rents: Path, asked: Callable[[], list[str]]
) -> None:
    launch("train", "rents", MODELYARD_WORKLOADS=f"my files , {rents} ,")
    [ran] = [words for words in asked() if " run " in words]
    assert f"--volume {rents.parent}:{rents.parent}:ro" in ran
    assert f"--env MODELYARD_WORKLOADS={rents.parent},{rents}" in ran


def test_a_new_workload_is_written_into_the_callers_folder_once(
    launch: Launch, clone: Path, asked: Callable[[], list[str]], with_mv: None
) -> None:
    done = launch("workloads", "new", "flat_rents", docker=DOCKER)
    assert done.returncode == 0, done.stderr
    assert (clone / "flat_rents.py").read_text() == "spec = 1\n"
    assert asked()[-1].endswith(" cli workloads new flat_rents --output -")
    (clone / "flat_rents.py").write_text("mine")
    refused = launch("workloads", "new", "flat_rents", docker=DOCKER)
    assert refused.returncode == 2
    assert refused.stderr.rstrip().endswith("is there already; name another file with --output")
    assert (clone / "flat_rents.py").read_text() == "mine"


def test_a_new_workload_goes_where_it_is_told(launch: Launch, clone: Path, with_mv: None) -> None:
    assert launch("workloads", "new", "--output=Other.py", "flat_rents", docker=DOCKER).returncode == 0
    assert (clone / "Other.py").read_text() == "spec = 1\n"
    printed = launch("workloads", "new", "flat_rents", "--output", "-", docker=DOCKER)
    assert printed.stdout == "spec = 1\n"
