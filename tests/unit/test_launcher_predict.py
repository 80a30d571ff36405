"""Predictions and model files that a command in a container makes: the launcher puts them where the caller said."""

import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

Launch = Callable[..., subprocess.CompletedProcess[str]]
RUNNING = {"ps --all *State*": "echo running"}
ROWS = 'printf "\\000rows"; echo "rows 3 predicted" >&2'


@pytest.fixture
def run(launch: Launch, tmp_path: Path) -> Launch:
    """A command whose container says and ends as told."""
    for tool in ("mv", "tar", "mkdir", "rmdir", "ls"):
        (tmp_path / "tools" / tool).symlink_to(str(shutil.which(tool)))
    return lambda *words, container=ROWS: launch(*words, docker=RUNNING | {"compose *run *": container})


@pytest.fixture
def archive(tmp_path: Path) -> str:
    """What a container says that hands out a model."""
    path = tmp_path / "model.tar"
    with tarfile.open(path, "w") as file:
        for name in ("MLmodel", "code/predict.py"):
            member = tarfile.TarInfo(name)
            member.size = len(name)
            file.addfile(member, io.BytesIO(name.encode()))
    return f'cat "{path}"'


def list_left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("out"))


@pytest.mark.parametrize(
    "words", [("--in", "rows.csv", "--out", "out.feather"), ("--in=rows.csv", "--out=out.feather")]
)
def test_rows_go_in_and_predictions_become_the_callers_file(
    run: Launch, clone: Path, asked: Callable[[], list[str]], words: tuple[str, ...]
) -> None:
    (clone / "rows.csv").write_text("a\n1\n")
    done = run("predict", "houses_policy@2", *words)
    assert done.returncode == 0, done.stderr
    assert (clone / "out.feather").read_bytes() == b"\0rows"
    assert "rows 3 predicted" in done.stderr
    called = asked()[-1]
    assert f"--volume {clone}/rows.csv:{clone}/rows.csv:ro" in called
    assert called.replace("--in=", "--in ").endswith(
        f" cli predict houses_policy@2 --in {clone}/rows.csv --format feather"
    )
    assert list_left(clone) == ["out.feather"]


def test_predictions_replace_a_file_only_when_asked_for(run: Launch, clone: Path) -> None:
    (clone / "out.csv").write_text("old")
    refused = run("predict", "houses_policy", "--in", "rows.csv", "--out", "out.csv")
    assert refused.returncode == 2
    assert "out.csv is there already; name another file with --out, or replace it with --overwrite" in refused.stderr
    failed = run("predict", "p", "--in", "rows.csv", "--out", "out.csv", "--overwrite", container=f"{ROWS}; exit 2")
    assert (failed.returncode, (clone / "out.csv").read_text()) == (2, "old")
    assert run("predict", "p", "--in", "rows.csv", "--out", "out.csv", "--overwrite").returncode == 0
    assert (clone / "out.csv").read_bytes() == b"\0rows"
    assert list_left(clone) == ["out.csv"]


def test_predictions_whose_format_nobody_can_tell_are_refused_before_anything_runs(
    run: Launch, clone: Path, asked: Callable[[], list[str]]
) -> None:
    for name in ("out", "v1.2/out"):
        (clone / name).parent.mkdir(exist_ok=True)
        refused = run("predict", "houses_policy", "--in", "rows.csv", "--out", name)
        assert refused.returncode == 2
        assert f"{name} says no format; end it in .csv, .jsonl or .parquet, or give --format" in refused.stderr
    assert not any(" run " in words for words in asked())
    done = run("predict", "houses_policy", "--in", "rows.csv", "--out", "out", "--format", "csv")
    assert (done.returncode, (clone / "out").read_bytes()) == (0, b"\0rows"), done.stderr
    assert list_left(clone) == ["out"]


@pytest.mark.parametrize("there", [True, False])
def test_model_files_become_the_callers_folder(
    run: Launch, clone: Path, asked: Callable[[], list[str]], archive: str, there: bool
) -> None:
    if there:
        (clone / "out model").mkdir()
    done = run("download", "houses_model/3", "out model/", "--json", container=f"{archive}; echo '{{}}' >&2")
    assert (done.returncode, done.stdout) == (0, "{}\n"), done.stderr
    assert asked()[-1].endswith(" cli download houses_model/3 - --json")
    assert (clone / "out model/MLmodel").read_text() == "MLmodel"
    assert (clone / "out model/code/predict.py").read_text() == "code/predict.py"
    assert list_left(clone) == ["out model"]


def test_model_files_are_put_into_the_folder_that_the_caller_is_in(
    run: Launch, clone: Path, archive: str, tmp_path: Path
) -> None:
    empty = clone / "out"
    empty.mkdir()
    done = run("sh", "-c", f'cd out && sh "{clone}/infra/launch.sh" download houses_model/3 .', container=archive)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in empty.iterdir()) == ["MLmodel", "code"]
    assert list_left(clone) == ["out"]


@pytest.mark.parametrize("container", ["exit 1", "printf nonsense"])
def test_of_a_download_that_fails_nothing_is_left(run: Launch, clone: Path, archive: str, container: str) -> None:
    failed = run(
        "download", "houses_model/3", "out", container=f"{archive if 'exit' in container else ':'}; {container}"
    )
    assert failed.returncode == 1
    assert list_left(clone) == []


def test_a_folder_that_holds_something_is_not_downloaded_into(
    run: Launch, clone: Path, asked: Callable[[], list[str]]
) -> None:
    (clone / "out").mkdir()
    (clone / "out/mine").touch()
    refused = run("download", "houses_model/3", "out")
    assert refused.returncode == 2
    assert "out is there already and not empty; name another folder" in refused.stderr
    assert not any(" run " in words for words in asked())


def test_without_a_folder_the_archive_goes_to_stdout(run: Launch) -> None:
    assert run("download", "houses_model/3", "-").stdout == "\0rows"
