"""As a new user: a fresh clone, one command; a wheel in an empty environment."""

import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import free_port
from tests.stack.project import SURROUNDINGS

ROOT = Path(__file__).parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"  # every user may run it, which is not so for one in somebody's home
KEPT = (
    "PATH",
    "LANG",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_CERT",
    "SSL_CERT_FILE",
    "PIP_CONFIG_FILE",
)


def run(arguments, *, cwd, user=None, **environment):
    """Run a command as ``user`` with nothing of this environment but where packages come from."""
    settings = {name: os.environ[name] for name in KEPT if name in os.environ}
    home = str(cwd) if user is None else pwd.getpwnam(user).pw_dir
    identity = {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    return subprocess.run(
        arguments,
        cwd=cwd,
        env=settings | {"HOME": home} | environment,
        capture_output=True,
        text=True,
        timeout=400,
        **identity,
    )


def list_commands(folder):
    """What runs of this folder: processes that work in it, or whose program or arguments are in it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command = shlex.join(process.cmdline())
            if str(folder) in command or Path(process.cwd()).is_relative_to(folder):
                found.append(command)
    return found


@pytest.fixture
def clone():
    """A fresh clone of what is committed and of what is not, in a folder that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="modelyard-clone-") as name:
        folder = Path(name, "modelyard")
        Path(name).chmod(0o755)
        listed = subprocess.run(
            ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for path in filter(None, listed.split("\0")):
            if (ROOT / path).is_file():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / path, folder / path)
        yield folder


@pytest.fixture
def normal_user():
    """A user without rights: the one who runs the tests, or as root one that is made for them."""
    if os.geteuid() != 0:
        yield None
        return
    name = "modelyard-test"
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", name], check=False, capture_output=True)
    yield name
    subprocess.run(["userdel", "--remove", name], check=False, capture_output=True)


def test_make_train_works_for_a_normal_user_in_a_fresh_clone(clone, normal_user):
    if normal_user is not None:
        subprocess.run(["chown", "-R", normal_user, str(clone)], check=True)
    settings = {"MODELYARD_MLFLOW_PORT": str(free_port()), "https_proxy": "", "MODELYARD_STACK": "embedded"}
    try:
        trained = run(["make", "train", f"PYTHON={SYSTEM_PYTHON}"], cwd=clone, user=normal_user, **settings)
        assert trained.returncode == 0, trained.stdout + trained.stderr
        assert "PASSED on the test rows" in trained.stdout
        assert "california_housing_policy version 1, stage candidate" in trained.stdout
        asked = run(["make", "-s", "psql", "SQL=select stage from exp.stages"], cwd=clone, user=normal_user, **settings)
        assert asked.stdout == "candidate\n"
        assert (clone / ".modelyard").stat().st_mode & 0o777 == 0o700
        jobs = "SQL=select kind, state, attempt, inline from exp.job_states order by created_at"
        asked = run(["make", "-s", "psql", jobs], cwd=clone, user=normal_user, **settings)
        assert asked.stdout == "train|succeeded|1|f\nevaluate|succeeded|1|f\n", "by the stack's own workers"
        assert list_commands(clone) != []
    finally:
        down = run(["make", "down"], cwd=clone, user=normal_user, **settings)
    assert down.returncode == 0, down.stdout + down.stderr
    assert list_commands(clone) == []


@pytest.fixture
def without_python(tmp_path):
    """A PATH with every program of the machine but Python."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for program in Path(folder).iterdir():
            if not program.name.startswith(("python", "pip")) and not (programs / program.name).is_symlink():
                (programs / program.name).symlink_to(program)
    return str(programs)


def test_make_train_needs_docker_and_make_and_no_python_and_trains_an_edited_workload(
    engine, clone, without_python, tmp_path
):
    data = tmp_path / "made up houses.csv"  # a blank in its name, and the caller's alone
    sample = [sys.executable, "-c", "import sys; from pathlib import Path; from modelyard.workloads import "]
    sample[-1] += "california_housing as w; w.sample(Path(sys.argv[1]))[0].rename(sys.argv[2])"
    subprocess.run([*sample, str(tmp_path), str(data)], check=True)
    settings = SURROUNDINGS | {
        "PATH": without_python,
        "COMPOSE_PROJECT_NAME": f"modelyard-clone-{os.getpid()}",
        "MODELYARD_TAG": f"clone-{os.getpid()}",
        "MODELYARD_MLFLOW_PORT": str(free_port()),
        "MODELYARD_S3_PORT": str(free_port()),
        "MODELYARD_CONSOLE_PORT": str(free_port()),
    }
    workload = clone / "src/modelyard/workloads/california_housing.py"
    try:
        trained = run(["make", "train", f"DATA={data}"], cwd=clone, **settings)
        assert trained.returncode == 0, trained.stdout + trained.stderr
        assert "stack    compose: a Docker engine answers" in trained.stdout
        assert "PASSED on the test rows" in trained.stdout
        assert not (clone / ".venv").exists()
        workload.write_text(workload.read_text() + "\n# edited\n")
        again = run(["make", "train", f"DATA={data}"], cwd=clone, **settings)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "california_housing_policy version 2, stage candidate" in again.stdout
        sources = "SQL=select count(distinct code_version ->> 'workload_sha256') from exp.model_versions"
        assert run(["make", "-s", "psql", sources], cwd=clone, **settings).stdout == "2\n"
    finally:
        down = run(["sh", "-c", "docker compose --profile cli down --volumes --remove-orphans"], cwd=clone, **settings)
        name = "{{.Repository}}:{{.Tag}}"
        images = f"docker images --format '{name}' 'modelyard/*:{settings['MODELYARD_TAG']}' | xargs docker rmi"
        run(["sh", "-c", images], cwd=clone, **settings)
    assert down.returncode == 0, down.stdout + down.stderr


def test_a_wheel_in_an_empty_environment_trains_on_the_sample(tmp_path):
    built = run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)], cwd=tmp_path
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with tempfile.TemporaryDirectory(prefix="modelyard-wheel-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        python, command = folder / "venv/bin/python", folder / "venv/bin/modelyard"
        constraints = ROOT / "requirements/runtime.txt"
        pins = tmp_path / "pins.txt"  # the locked versions, without hashes, as pip takes them for a wheel of ours
        pins.write_text("\n".join(re.findall(r"^([^\s#]+==[^\\]+?)\s*\\?$", constraints.read_text(), re.M)) + "\n")
        installed = run(
            [str(python), "-m", "pip", "install", "-q", "--no-compile", "-c", str(pins), str(wheel)], cwd=folder
        )
        assert installed.returncode == 0, installed.stderr
        settings = {
            "MODELYARD_HOME": str(folder / "home"),
            "MODELYARD_MLFLOW_PORT": str(free_port()),
            "https_proxy": "http://127.0.0.1:9",  # no network: the sample it is
        }
        try:
            trained = run([str(command), "train", "california_housing"], cwd=folder, **settings)
            assert trained.returncode == 0, trained.stdout + trained.stderr
            assert "SAMPLE" in trained.stdout
            assert "PASSED on the test rows" in trained.stdout
        finally:
            down = run([str(command), "down"], cwd=folder, **settings)
        assert down.returncode == 0, down.stdout + down.stderr
        assert list_commands(folder) == []


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("exit 1", "Python 3.11, 3.12 or 3.13 is needed"),
        (
            'case "$2" in *ensurepip*) exit 1;; *version_info*) exit 0;; esac; echo "Python 3.11.0"',
            "apt install python3-venv",
        ),
    ],
    ids=["too old a Python", "no venv module"],
)
def test_a_python_that_cannot_do_it_is_named_before_anything_is_made(clone, tmp_path, answers, said):
    python = tmp_path / "python3"
    python.write_text(f"#!/bin/sh\n{answers}\n")
    python.chmod(0o755)
    refused = run(["make", "train", f"PYTHON={python}"], cwd=clone, MODELYARD_STACK="embedded")
    assert refused.returncode == 2
    assert said in refused.stderr
    assert not (clone / ".venv").exists()
    assert not (clone / ".modelyard").exists()
