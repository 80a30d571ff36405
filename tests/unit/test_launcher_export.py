"""A file that a command in a container writes: the launcher makes it, whole or not at all."""

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Launch = Callable[..., subprocess.CompletedProcess[str]]
SAYS = 'printf "\\000data"; echo "exported houses" >&2'
RUNNING = {"ps --all *State*": "echo running"}


@pytest.fixture
def export(launch: Launch, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Export as a container does that says and ends as told; it notes how it was called."""

    def run(*words: str, container: str = SAYS) -> subprocess.CompletedProcess[str]:
        if not (tmp_path / "tools/mv").exists():
            (tmp_path / "tools/mv").symlink_to(str(shutil.which("mv")))
        return launch("datasets", "export", *words, docker=RUNNING | {"compose *run *": container})

    return run


def list_left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if "out" in path.name)


@pytest.mark.parametrize("words", [("--output", "my out.csv"), ("--output=my out.csv",)])
def test_what_the_container_says_becomes_the_callers_file(
    export: Launch, clone: Path, words: tuple[str, ...], asked: Callable[[], list[str]]
) -> None:
    done = export("houses@1.0.0", "--format", "csv", *words)
    assert done.returncode == 0, done.stderr
    assert (clone / "my out.csv").read_bytes() == b"\0data"
    assert done.stdout == ""
    assert "exported houses" in done.stderr
    assert asked()[-1].endswith(" cli datasets export houses@1.0.0 --format csv")
    assert "--no-TTY" in asked()[-1]
    assert list_left(clone) == ["my out.csv"]


@pytest.mark.parametrize("code", [1, 2, 137])
def test_a_container_that_fails_leaves_no_file_and_an_old_one_as_it_was(export: Launch, clone: Path, code: int) -> None:
    failed = export("houses", "--output", "out.csv", container=f"{SAYS}; exit {code}")
    assert failed.returncode == code
    assert list_left(clone) == []
    (clone / "out.csv").write_text("old")
    failed = export("houses", "--output", "out.csv", "--force", container=f"{SAYS}; exit {code}")
    assert failed.returncode == code
    assert (clone / "out.csv").read_text() == "old"
    assert list_left(clone) == ["out.csv"]


def test_a_file_that_is_there_is_replaced_only_when_asked_for(
    export: Launch, clone: Path, asked: Callable[[], list[str]]
) -> None:
    (clone / "out.csv").write_text("old")
    refused = export("houses", "--output", "out.csv")
    assert refused.returncode == 2
    assert "out.csv is there already; name another file with --output, or replace it with --force" in refused.stderr
    assert not any(" run " in words for words in asked())
    assert export("houses", "--force", "--output", "out.csv").returncode == 0
    assert (clone / "out.csv").read_bytes() == b"\0data"
    assert asked()[-1].endswith(" cli datasets export houses")


@pytest.mark.parametrize(("name", "says"), [(".", "is a folder"), ("none/out.csv", "cannot be written")])
def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(
    export: Launch, clone: Path, asked: Callable[[], list[str]], name: str, says: str
) -> None:
    refused = export("houses", "--output", name)
    assert refused.returncode == 2
    assert says in refused.stderr
    assert not any(" run " in words for words in asked())


def test_json_is_on_stdout_beside_the_file(export: Launch, clone: Path) -> None:
    container = 'printf data; echo "{}" >&2'
    done = export("houses", "--json", "--output", "out.csv", container=container)
    assert json.loads(done.stdout) == {}
    assert (clone / "out.csv").read_text() == "data"
    failed = export("houses", "--json", "--output", "out2.csv", container="echo 'modelyard: no' >&2; exit 2")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert "modelyard: no" in failed.stderr
    assert list_left(clone) == ["out.csv"]


def test_without_a_file_the_data_goes_to_stdout(export: Launch) -> None:
    done = export("houses", "--format", "csv")
    assert done.stdout == "\0data"


def test_an_address_in_a_bucket_is_not_taken_for_a_file(launch: Launch, asked: Callable[[], list[str]]) -> None:
    done = launch("process", "w", "--data", "s3://bucket/incoming/houses", docker=RUNNING)
    assert done.returncode == 0, done.stderr
    assert asked()[-1].endswith(" cli process w --data s3://bucket/incoming/houses")
    assert "--volume" not in asked()[-1]


def test_an_interrupted_export_leaves_no_file(export: Launch, clone: Path) -> None:
    interrupted = export("houses", "--output", "out.csv", container=f"{SAYS}; kill -{signal.SIGTERM:d} $PPID; exit 130")
    assert interrupted.returncode == 130
    assert list_left(clone) == []
