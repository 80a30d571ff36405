"""The embedded stack of a normal user: the one who runs the tests, or as root somebody else."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import modelyard

ROOT = os.geteuid() == 0
USER = "nobody" if ROOT else pwd.getpwuid(os.geteuid()).pw_name
IDENTITY: dict[str, Any] = {"user": USER, "extra_groups": []} if ROOT else {}
ROUND = """
import json, sys
from pathlib import Path
from typing import Any
from modelyard.settings import Settings
from modelyard.stack import embedded
settings = Settings(_env_file=None, home=Path(sys.argv[1]), mlflow_port=50500)
addresses = embedded.up(settings, lambda text: None)
status = embedded.status(settings)
embedded.down(settings, lambda text: None)
print(json.dumps({
    "person": addresses.person,
    "running": [service.running for service in status.services],
    "accounts": [service.account for service in status.services],
}))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="modelyard-test-") as name:
        os.chown(name, pwd.getpwnam(USER).pw_uid, -1)
        yield Path(name)


@pytest.fixture
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Python that a normal user reaches, with the packages of this one: root's own often lies under /root."""
    if not ROOT:
        yield Path(sys.executable)
        return
    name = f"python3.{sys.version_info.minor}"
    found = shutil.which(name, path="/usr/bin:/usr/local/bin")
    if found is None:
        pytest.skip(f"{name} is neither in /usr/bin nor in /usr/local/bin")
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="modelyard-test-") as folder:
        environment = Path(folder)
        environment.chmod(0o755)
        packages = environment / "lib" / name / "site-packages"
        packages.mkdir(parents=True)
        source = Path(modelyard.__file__).parents[1]
        (packages / "all.pth").write_text(f"{sysconfig.get_path('purelib')}\n{source}\n")
        (environment / "pyvenv.cfg").write_text(f"home = {Path(found).parent}\n")
        (environment / "bin").mkdir()
        (environment / "bin" / "python").symlink_to(found)
        program = environment / "bin" / "python"
        trial = [program, "-c", "import modelyard.stack.embedded"]
        if subprocess.run(trial, **IDENTITY, cwd="/", check=False, capture_output=True).returncode:
            pytest.skip(f"the packages in {packages} cannot be read by {USER}")
        yield program


def test_a_normal_user_starts_and_stops_a_stack_that_is_all_theirs(folder: Path, python: Path) -> None:
    done = subprocess.run(
        [python, "-c", ROUND, folder / "home"],
        **IDENTITY,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"person": USER, "running": [True] * 5, "accounts": [USER] * 5}
    assert (folder / "home").stat().st_mode & 0o777 == 0o700
    uid = pwd.getpwnam(USER).pw_uid
    assert {path.stat().st_uid for path in (folder / "home").rglob("*")} == {uid}
    assert not [p for p in psutil.process_iter(["cwd"]) if str(p.info["cwd"] or "").startswith(str(folder))]


def test_a_folder_that_a_normal_user_cannot_write_is_refused_in_one_line(folder: Path, python: Path) -> None:
    folder.chmod(0o500)
    for home in (folder / "home", Path("/root/home")):
        done = subprocess.run(
            [python, "-c", ROUND, home],
            **IDENTITY,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        last = done.stderr.splitlines()[-1]
        assert last.startswith("modelyard.errors.surroundings.HomeRefused") and "Permission denied" in last
        assert "MODELYARD_HOME" in last
