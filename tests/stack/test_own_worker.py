"""Workers with further packages on Compose: an image, a queue, two services with the secrets of one role each."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stack.project import Project, docker, name_image

NAME = "trial-of-own"  # images are the engine's, and not a project's
PACKAGE = "humanize"  # small, without others, and no package of ours
SERVICES = [f"{role}-{NAME}" for role in ("trainer", "evaluator")]


@pytest.fixture(scope="module")
def shared(project: Project) -> Iterator[Project]:
    """The stack of the other tests, which has its own workers only again at the end."""
    try:
        yield project
    finally:
        project.launch("workers", "remove", NAME)
        shutil.rmtree(project.folder / ".workers" / project.name, ignore_errors=True)


def test_own_workers_are_made_take_their_queue_are_kept_and_go(
    shared: Project, write_houses: Callable[..., Path], tmp_path: Path
) -> None:
    asked = tmp_path / "requirements.txt"
    asked.write_text("numpy<1\n")
    refused = shared.launch("workers", "add", NAME, "--requirements", str(asked))
    assert refused.code == 2
    [said] = [line for line in refused.stderr.splitlines() if line.startswith("modelyard: ")]
    assert "numpy" in said
    assert "Modelyard's own packages stay as they are: ask for versions that go with them" in said
    assert not [service for service in SERVICES if shared.list_containers(service)]

    asked.write_text(f"{PACKAGE}\n")
    shared.launch("workers", "add", NAME, "--requirements", str(asked)).checked()
    for service, role in zip(SERVICES, ("trainer", "evaluator"), strict=True):
        shared.execute(service, "python", "-c", f"import {PACKAGE}, modelyard").checked()
        [container] = shared.inspect(service).values()
        volumes = {mount["Name"] for mount in container["Mounts"] if mount["Destination"] == "/secrets"}
        assert volumes == {f"{shared.name}_{role}-secrets"}, "the secrets of its role, and no other's"
        assert container["Config"]["User"] == "10001:10001"
    assert shared.execute("trainer", "python", "-c", f"import {PACKAGE}").code == 1

    data = write_houses(tmp_path / "own.csv", 0, 600)
    ended = shared.launch("train", "california_housing", "--data", str(data), "--queue", NAME, "--json")
    assert ended.code in (0, 3), ended.stderr  # whatever the gate says of so few rows
    for job in ("job", "evaluation_job"):
        shown = shared.launch("jobs", "show", ended.outcome[job]["job_id"], "--json").checked().outcome
        assert shown["queue"] == NAME
        assert shown["worker"].startswith(f"{'trainer' if job == 'job' else 'evaluator'}-{NAME} ")

    docker("rm", "--force", *(shared.list_containers(service)[0] for service in SERVICES))
    assert f"{NAME} down " in " ".join(shared.launch("workers", "list").checked().stdout.split())
    shared.launch("up").checked()
    listed = shared.launch("workers", "list").checked().stdout
    assert f"{NAME} running .workers/{shared.name}/{NAME}/requirements.txt" in " ".join(listed.split())

    shared.launch("workers", "remove", NAME).checked()
    assert not [service for service in SERVICES if shared.list_containers(service)]
    assert docker("images", "--quiet", name_image(f"worker-{NAME}")) == ""
    assert NAME not in shared.launch("workers", "list").checked().stdout
