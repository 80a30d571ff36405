import ctypes
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.settings import Settings
from modelyard.stack.doctor import Check, run_checks


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="modelyard-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def check(settings: Settings) -> dict[str, Check]:
    return {check.name: check for check in run_checks(settings)}


def test_nothing_fails_where_the_tests_run_and_nothing_is_written(folder: Path) -> None:
    checks = check(Settings(_env_file=None, home=folder / "home", data_dir=folder))
    assert [found for found in checks.values() if found.state == "fail"] == []
    assert "PostgreSQL 18" in checks["postgresql"].found
    assert list(folder.iterdir()) == []


def test_everything_wrong_is_found_at_once_with_a_remedy(folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        settings = Settings(
            _env_file=None, home=folder / "home", min_free_mb=10**9, mlflow_port=port, data_dir=folder / "none"
        )
        checks = check(settings)
    assert checks["folder"].state == "fail"
    assert "MiB are needed" in checks["folder"].found
    assert "MODELYARD_HOME" in checks["folder"].remedy
    assert (checks["port"].state, checks["data"].state) == ("warn", "warn")
    assert str(port) in checks["port"].found
    assert all(found.remedy for found in checks.values() if found.state != "ok")


def test_a_clock_behind_the_stacks_own_files_is_reported(folder: Path) -> None:
    home = folder / "home"
    home.mkdir()
    (home / "VERSION").write_text("1\n")
    os.utime(home / "VERSION", (time.time() + 900, time.time() + 900))
    assert check(Settings(_env_file=None, home=home))["clock"].state == "warn"


def test_a_host_without_openmp_is_told_the_packages_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = ctypes.CDLL

    def lack(name: str, *words: Any) -> ctypes.CDLL:  # the machine of the tests may have it
        if "gomp" in name:
            raise OSError(f"{name}: cannot open shared object file")
        return load(name, *words)

    monkeypatch.setattr(ctypes, "CDLL", lack)
    found = check(Settings(_env_file=None, home=folder / "home", data_dir=folder))["openmp"]
    assert found.state == "warn"
    assert "apt install libgomp1" in found.remedy
