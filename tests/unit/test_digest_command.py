"""``modelyard digest`` prints what people, sha256sum's readers and programs each need."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from modelyard.cli import digest as command
from modelyard.data.digest import digest_table
from modelyard.errors import RawDataNotFound

TABLE = pa.table({"a": [1, 2, 3]})
APP = typer.Typer()
APP.command()(command.digest)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pq.write_table(TABLE, tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def test_a_pipe_gets_one_line_a_file(path: Path) -> None:
    result = CliRunner().invoke(APP, [str(path), str(path)])
    assert result.stdout.splitlines() == [f"{digest_table(TABLE)}  {path}"] * 2


def test_json_gives_the_figures(path: Path) -> None:
    found = json.loads(CliRunner().invoke(APP, ["--json", str(path)]).stdout)
    assert (found["digest"], found["rows"], found["columns"]) == (digest_table(TABLE), 3, 1)
    assert found["num_bytes"] >= TABLE.nbytes
    assert found["seconds"] > 0


def test_a_terminal_gets_digest_size_and_speed(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(command, "SHOW_PROGRESS_AFTER_S", 0.0)
    command.digest([path])
    shown = capsys.readouterr().out
    assert digest_table(TABLE) in shown
    assert "3 rows × 1 columns" in shown
    assert "GB/s" in shown


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(APP, [str(tmp_path / "gone.csv")])
    assert isinstance(result.exception, RawDataNotFound)
