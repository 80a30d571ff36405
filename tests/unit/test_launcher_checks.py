"""What the launcher refuses before anything is started, and what it says when a start fails."""

import socket
import subprocess
from collections.abc import Callable

import pytest

Launch = Callable[..., subprocess.CompletedProcess[str]]

DENIED = "echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1"
AWAY = "echo 'Cannot connect to the Docker daemon at unix:///run/none.sock.' >&2; exit 1"
# as Buildx ends: the step between dashes, each line with its seconds
FAILED_BUILD = "------ ' > [mlflow 2/4] RUN pip:' '0.5 Collecting x' '1.2 ERROR: there is no package x' ------ 'exit 1'"
OTHER_WAY = "STACK=embedded"
REFUSALS = {
    "absent": (None, {}, "Docker is not installed", OTHER_WAY),
    "engine away": ({"version --format*": AWAY}, {}, "no Docker engine answers (Cannot connect", OTHER_WAY),
    "not permitted": ({"version --format*": DENIED}, {}, "the Docker engine does not let", "usermod -aG docker"),
    "engine too old": ({"version --format*": "echo 23.0.6"}, {}, "Docker Engine 23.0.6; 25 or newer", OTHER_WAY),
    "compose absent": ({"compose version --short": "exit 1"}, {}, "no Compose plugin", "docker-compose-plugin"),
    "compose too old": ({"compose version --short": "echo v2.23.3"}, {}, "Compose v2.23.3; 2.24 or newer", OTHER_WAY),
    "buildx absent": ({"buildx version": "exit 1"}, {}, "no Buildx plugin", "docker-buildx-plugin"),
    "not enough memory": (
        {"info --format {{.MemTotal}}": "echo 2147483648"},
        {},
        "2048 MiB of memory, and the stack needs 3072",
        OTHER_WAY,
    ),
    "not enough disk": (
        {},
        {"MODELYARD_MIN_FREE_MB": "999999999"},
        "999999999 MiB are needed",
        "docker system df",
    ),
    "no port": ({}, {"MODELYARD_S3_PORT": "70000"}, "MODELYARD_S3_PORT='70000' is no port", "1 to 65535"),
    "no number": ({}, {"MODELYARD_MIN_FREE_MB": "1 GB"}, "MODELYARD_MIN_FREE_MB='1 GB' is no number", "MiB"),
    "another clone's stack": (
        {"ps --all --filter *working_dir*": "echo /another/clone"},
        {},
        "a stack named trial is there already, and belongs to /another/clone",
        "COMPOSE_PROJECT_NAME=",
    ),
    "a container's port": (
        {"ps --filter publish=45678 *": "echo other other-web-1"},
        {"MODELYARD_MLFLOW_PORT": "45678"},
        "port 45678 is in use by the container other-web-1",
        "MODELYARD_MLFLOW_PORT=",
    ),
    "no registry": (
        {"image inspect *": "exit 1", "pull python:3.13": "echo 'lookup registry: no such host' >&2; exit 1"},
        {},
        "the image python:3.13 could not be had: lookup registry: no such host",
        "make images AIRGAP=1",
    ),
    "no registry for an image of a build step": (
        {
            "image inspect *": "exit 1",
            "compose build": "echo 'ERROR: failed to resolve source metadata for example/tool:1: no such host'; exit 1",
        },
        {},
        "the image example/tool:1 could not be had",
        "make images AIRGAP=1",
    ),
    "a build that fails": (
        {"compose build": f"printf '%s\\n' {FAILED_BUILD}; exit 17"},
        {},
        "the images could not be built: step [mlflow 2/4], ERROR: there is no package x.",
        "PIP_INDEX_URL",
    ),
    "a full disk while building": (
        {"image inspect *": "exit 1", "compose build": "echo 'write /x: no space left on device'; exit 1"},
        {},
        "the disk is full where Docker keeps its data",
        "docker builder prune",
    ),
    "a service that fails": (
        {
            "compose up *": "echo 'dependency failed to start'; exit 1",
            "ps --all *Status*": "echo 'init f00d Exited (2) 3 seconds ago'",
            "logs --tail 40 f00d": "echo starting; echo 'modelyard: /secrets/x is damaged; remove it'; echo done",
        },
        {},
        "init did not start (Exited (2)): /secrets/x is damaged; remove it",
        "make logs SERVICE=init",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_keeps_the_stack_from_starting_is_one_message_with_a_way_out(
    launch: Launch, asked: Callable[[], list[str]], case: str
) -> None:
    docker, settings, said, way_out = REFUSALS[case]
    refused = launch("train", "california_housing", "--json", docker=docker, STACK="compose", **settings)
    assert refused.returncode == 2, refused.stderr
    (message,) = [line for line in refused.stderr.splitlines() if line.startswith("modelyard: ")]
    assert said in message
    assert way_out in message
    assert refused.stdout == ""
    assert not any(" run " in words for words in asked())
    if case != "a service that fails":
        assert not any(words.startswith("compose up") for words in asked()), "nothing was started"


def test_a_port_that_another_program_has_is_named_with_a_free_one(launch: Launch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = launch("up", MODELYARD_CONSOLE_PORT=str(port))
    assert refused.returncode == 2
    assert f"port {port} is in use by another program; stop that, or name another port" in refused.stderr
    assert "MODELYARD_CONSOLE_PORT=" in refused.stderr


def test_doctor_shows_every_check_and_not_only_the_first_that_fails(launch: Launch) -> None:
    docker = {"info --format {{.MemTotal}}": "echo 1073741824", "buildx version": "exit 1"}
    found = launch("doctor", docker=docker)
    assert found.returncode == 2
    rows = {line.split()[0]: line.split()[1] for line in found.stdout.splitlines() if not line.startswith(" ")}
    failed = {name for name, state in rows.items() if state == "fail"}
    assert failed == {"buildx", "memory"}
    assert set(rows) == {"engine", "compose", "settings", "buildx", "project", "ports", "disk", "memory", "images"}
    assert found.stdout.count("-> ") == 2
