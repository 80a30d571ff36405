"""A clone whose launcher meets an engine that answers as a test says.

A small program stands in for ``docker``, because no real engine can be absent, too old, closed to its caller or out of
memory on demand. What real engines do is tried in tests/stack.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import free_port

ROOT = Path(__file__).parents[2]
TOOLS = (
    *("sh", "env", "make", "cat", "sed", "awk", "grep", "tr", "head", "tail", "cut", "sort", "date", "id", "dirname"),
    *("basename", "find", "df", "mktemp", "rm", "sleep", "touch", "sha256sum", "readlink"),
)
# what a healthy engine says, by the words that it is asked with
HEALTHY = {
    "version --format*": "echo 26.1.5",
    "compose version --short": "echo 2.26.1",
    "buildx version": "echo buildx 0.13.1",
    "info --format {{.MemTotal}}": "echo 8589934592",
    "info --format {{.DockerRootDir}}": "echo /",
    "compose --profile cli config": (
        'printf "name: trial\\nservices:\\n  minio:\\n    PYTHON_IMAGE: python:3.13\\n"; '
        "for port in $MODELYARD_MLFLOW_PORT $MODELYARD_S3_PORT $MODELYARD_CONSOLE_PORT; do "
        'printf "        published: \\"%s\\"\\n" "$port"; done'
    ),
    "compose *run *": "",
}

BLANK = r"\ "  # in a pattern of the shell

Launch = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with what the launcher and make read, in a folder with a blank in its name."""
    folder = tmp_path / "my clone"
    (folder / "requirements").mkdir(parents=True)
    shutil.copytree(ROOT / "infra", folder / "infra")
    for name in ("Makefile", "docker-compose.yml", "pyproject.toml", "requirements/runtime.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def launch(clone: Path, tmp_path: Path) -> Launch:
    """Run a command in the clone, where ``docker`` answers as told; ``docker=None``: there is none."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(str(shutil.which(name)))

    def run(
        *command: str, docker: dict[str, str] | None = HEALTHY, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        if docker is not None:
            answers = docker | {words: answer for words, answer in HEALTHY.items() if words not in docker}
            rules = "".join(f"{words.replace(' ', BLANK)}) {answer};;\n" for words, answer in answers.items())
            asked_for = f'printf "%s\\n" "$*" >> "{tmp_path}/asked"\n'
            program = tools / "docker"
            program.write_text(f'#!/bin/sh\n{asked_for}case "$*" in\n{rules}esac\n')
            program.chmod(0o755)
        ports = {f"MODELYARD_{name}_PORT": str(free_port()) for name in ("MLFLOW", "S3", "CONSOLE")}
        return subprocess.run(
            command if command[0] in ("make", "sh") else ["sh", "infra/launch.sh", *command],
            cwd=clone,
            env={"PATH": str(tools), "HOME": str(tmp_path), "TMPDIR": str(tmp_path), **ports, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def asked(tmp_path: Path) -> Callable[[], list[str]]:
    """What the engine was asked for so far."""
    return lambda: (tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").exists() else []
