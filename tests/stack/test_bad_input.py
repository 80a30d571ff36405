"""What keeps the stack from starting is one message that names it and the way out; exit code 2, and nothing started."""

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests.conftest import open_folder
from tests.stack.project import Ended, Project, docker, run

STRANGER = """
services:
  half:
    image: modelyard/cli:${MODELYARD_TAG:-local}
    pull_policy: never
    network_mode: none
    entrypoint: [sleep, "600"]
    stop_grace_period: 0s
"""


@pytest.fixture(scope="module")
def refused(open_another: Callable[..., AbstractContextManager[Project]]) -> Iterator[Project]:
    """A project that no test brings up."""
    with open_another(overlays=()) as project:
        yield project


def check_refused(project: Project, ended: Ended, *parts: str) -> None:
    """One message, with all these parts in this order, and nothing started."""
    messages = [line for line in ended.stderr.splitlines() if line.startswith("modelyard: ")]
    assert (ended.code, len(messages)) == (2, 1), f"{ended.code}\n{ended.stdout}\n{ended.stderr}"
    assert re.search(".*".join(map(re.escape, parts)), messages[0]), messages[0]
    assert ended.stdout == ""
    assert project.list_containers() == []


@pytest.mark.parametrize("command", [["up"], ["train", "california_housing"]], ids=["up", "train"])
def test_a_port_in_use_is_named_with_a_free_one(refused: Project, command: list[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = refused.launch(*command, MODELYARD_S3_PORT=str(port))
    check_refused(refused, ended, f"port {port} is in use by another program; stop that", "MODELYARD_S3_PORT=")
    [free] = re.findall(r"MODELYARD_S3_PORT=(\d+)", ended.stderr)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", int(free)))


def test_a_port_of_another_stack_is_named_with_its_container(refused: Project, project: Project) -> None:
    port = project.environment["MODELYARD_MLFLOW_PORT"]
    ended = refused.launch("up", MODELYARD_MLFLOW_PORT=port)
    check_refused(
        refused, ended, f"port {port} is in use by the container {project.name}-mlflow-1", "MODELYARD_MLFLOW_PORT="
    )


def test_a_stack_of_that_name_in_another_folder_is_left_alone(
    open_another: Callable[..., AbstractContextManager[Project]],
) -> None:
    with open_another(overlays=()) as project, open_folder() as folder:
        (folder / "docker-compose.yml").write_text(STRANGER)
        other = {**project.environment, "COMPOSE_FILE": "docker-compose.yml"}
        run(["docker", "compose", "up", "--detach"], other, cwd=folder).checked()
        [container] = project.list_containers()
        for command in ("up", "down", "doctor"):
            ended = project.launch(command)
            assert ended.code == 2
            told = ended.stdout if command == "doctor" else ended.stderr
            assert f"a stack named {project.name} is there already, and belongs to {folder.resolve()}" in told
            assert f"COMPOSE_PROJECT_NAME={project.name}-2" in told
        assert project.list_containers() == [container]
        assert docker("inspect", "--format", "{{.State.Status}}", container).strip() == "running"
        # the way out that the message names
        run(["docker", "compose", "-p", project.name, "down"], other, cwd=folder).checked()
        assert project.launch("down").checked().stderr.endswith("was not running\n")


def test_too_little_disk_is_named_with_the_setting(refused: Project) -> None:
    ended = refused.launch("up", MODELYARD_MIN_FREE_MB="1000000000")
    check_refused(refused, ended, "MiB free, and 1000000000 MiB are needed; ", "MODELYARD_MIN_FREE_MB")


def test_an_image_that_no_registry_has_is_named_with_the_way_without_one(refused: Project) -> None:
    image = "registry.invalid/python:1"
    ended = refused.launch("up", PYTHON_IMAGE=image)
    check_refused(refused, ended, f"the image {image} could not be had: ", "PYTHON_IMAGE=", "make images AIRGAP=1")


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("MODELYARD_MLFLOW_PORT", "70000", ["MODELYARD_MLFLOW_PORT='70000' is no port; name one from 1 to 65535"]),
        ("MODELYARD_MIN_FREE_MB", "much", ["MODELYARD_MIN_FREE_MB='much' is no number; name a number"]),
        ("STACK", "swarm", ["MODELYARD_STACK='swarm' is no stack; choose auto, compose or embedded"]),
        ("DOCKER_HOST", "unix:///nowhere.sock", ["no Docker engine answers", "; start it", "STACK=embedded"]),
        (
            "COMPOSE_FILE",
            "nowhere.yml",
            ["docker-compose.yml cannot be used", "nowhere.yml", "see .env and COMPOSE_FILE"],
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(refused: Project, name: str, value: str, parts: list[str]) -> None:
    check_refused(refused, refused.launch("up", **{name: value}), *parts)


def test_an_engine_that_lets_this_user_not_in_says_whom_to_ask(refused: Project) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a command as somebody whom the engine does not know")
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "infra/launch.sh", "up"]
    ended = run(words, refused.environment, cwd=refused.folder)
    check_refused(refused, ended, "the Docker engine does not let nobody in; ask for it", "STACK=embedded")


def test_doctor_names_what_up_would_refuse_before_it_tries(refused: Project) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        ended = refused.launch("doctor", MODELYARD_CONSOLE_PORT=port, MODELYARD_MIN_FREE_MB="1000000000")
    assert ended.code == 2
    states = {line.split()[0]: line.split()[1] for line in ended.stdout.splitlines() if not line.startswith(" ")}
    assert {check for check, state in states.items() if state == "fail"} == {"ports", "disk"}
    assert f"port {port} is in use by another program" in ended.stdout
    assert refused.list_containers() == []
