import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.errors import DiskTooSmall, HomeRefused, InvalidParameter
from modelyard.settings import Settings
from modelyard.stack import embedded
from modelyard.stack.accounts import get_caller
from modelyard.stack.home import LAYOUT, Home, check_home, create_home, find_home, hold_home

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other accounts may enter, as root's service account must."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="modelyard-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def list_content(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("VERSION", f"{LAYOUT + 1}\n", "newer one"),
        ("postgres/PG_VERSION", "99\n", "PostgreSQL 99"),
        ("thesis.docx", "text", "thesis.docx"),
    ],
)
def test_a_folder_of_another_release_or_purpose_is_refused_and_unchanged(
    folder: Path, file: str, text: str, words: str
) -> None:
    home = folder / "home"
    (home / file).parent.mkdir(parents=True, exist_ok=True)
    if file.startswith("postgres"):
        (home / "VERSION").write_text(f"{LAYOUT}\n")
    (home / file).write_text(text)
    before = list_content(folder)
    with pytest.raises(HomeRefused, match=words):
        embedded.up(Settings(_env_file=None, home=home), print)
    after = list_content(folder)
    assert after == before


def test_a_negative_number_of_trainers_is_refused_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(InvalidParameter, match=r"trainers=-1: the number must be 0 to 10"):
        embedded.up(Settings(_env_file=None, home=folder / "home"), print, trainers=-1)
    assert list_content(folder) == []


def test_too_little_disk_is_refused_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(DiskTooSmall, match=r"MiB free and 1,000,000,000 MiB are needed.*MODELYARD_HOME"):
        embedded.up(Settings(_env_file=None, home=folder / "home", min_free_mb=10**9), print)
    assert list_content(folder) == []


def test_a_file_in_the_place_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "home").write_text("")
    with pytest.raises(HomeRefused, match="is not a folder"):
        check_home(Home(folder / "home"), min_free_mb=0)


@root_only
def test_a_read_only_file_system_is_refused(folder: Path) -> None:
    if subprocess.run(["mount", "--bind", folder, folder], check=False, capture_output=True).returncode:
        pytest.skip("mount is not allowed here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        with pytest.raises(HomeRefused, match=r"Read-only file system.*MODELYARD_HOME"):
            embedded.up(Settings(_env_file=None, home=folder / "home"), print)
    finally:
        subprocess.run(["umount", folder], check=True)


@root_only
def test_somebody_elses_folder_is_refused(folder: Path) -> None:
    (folder / "home").mkdir()
    os.chown(folder / "home", 12345, 12345)
    settings = Settings(_env_file=None, home=folder / "home")
    for act in (embedded.up, embedded.down):
        with pytest.raises(HomeRefused, match="belongs to user id 12345"):
            act(settings, print)


@root_only
def test_root_gets_another_folder_where_the_service_account_cannot_enter_and_no_permission_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = folder / "closed"
    (closed / "clone" / "sql").mkdir(parents=True)
    (closed / "clone" / "src" / "modelyard").mkdir(parents=True)
    closed.chmod(0o700)
    monkeypatch.chdir(closed / "clone")
    home = find_home(Settings(_env_file=None))
    assert home.path.parent == Path("/var/lib/modelyard")
    assert home.path.name.startswith("clone-")
    assert str(closed) in home.reason
    with pytest.raises(HomeRefused, match="may not enter"):
        find_home(Settings(_env_file=None, home=closed / "home"))
    assert closed.stat().st_mode & 0o777 == 0o700


def test_the_folder_is_closed_to_others_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        create_home(Home(folder / "home"), get_caller())
    finally:
        os.umask(before)
    assert (folder / "home").stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in (folder / "home").iterdir() if path.is_dir())


def test_down_where_nothing_ever_ran_says_nothing_and_writes_nothing(folder: Path) -> None:
    told: list[str] = []
    assert embedded.down(Settings(_env_file=None, home=folder / "home"), told.append) is False
    assert (told, list_content(folder)) == ([], [])


def test_one_command_at_a_time_holds_the_folder(folder: Path) -> None:
    home = Home(folder / "home")
    create_home(home, get_caller())
    code = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(1, flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", code, home.lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdin is not None and other.stdout is not None
    with other.stdin, other.stdout:
        other.stdout.readline()
        told: list[str] = []

        def release(text: str) -> None:
            told.append(text)
            assert other.stdin is not None
            other.stdin.close()

        with hold_home(home, release):
            assert told == ["another command starts or stops this stack; waiting for it"]
    other.wait()
