"""The stack as it comes out of a fresh clone, with and without a file .env."""

import json
import shutil
import subprocess
from pathlib import Path

import mlflow
import pytest
import requests

from tests.stack.project import ROOT, Compose, docker, open_project, run

ONE_SHOTS = {"secrets", "init"}
SERVICES = {"postgres", "minio", "mlflow", "trainer", "evaluator"}
CONFIGURED = ("docker-compose.yml", ".env.example", "infra")  # all that Compose reads where the images are there


@pytest.fixture(scope="module", params=["without .env", "with .env.example as .env"])
def clone(request, tmp_path_factory):
    """What Compose needs of a fresh clone, in a folder of its own."""
    folder = tmp_path_factory.mktemp("clone")
    for name in CONFIGURED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    if request.param != "without .env":
        shutil.copy(folder / ".env.example", folder / ".env")
    return folder


def list_published(config):
    """Address and port of whatever a configuration publishes, by service."""
    return {
        name: [(port.get("host_ip"), port["published"]) for port in service["ports"]]
        for name, service in config["services"].items()
        if service.get("ports")
    }


def test_every_service_is_healthy_and_what_runs_once_has_ended_well(project):
    containers = project.inspect()
    assert set(containers) == {f"{name}-1" for name in SERVICES | ONE_SHOTS | {"door"}}
    for name in SERVICES:
        state = containers[f"{name}-1"]["State"]
        assert (state["Status"], state["Health"]["Status"]) == ("running", "healthy"), name
        assert containers[f"{name}-1"]["RestartCount"] == 0, name
    for name in ONE_SHOTS:
        state = containers[f"{name}-1"]["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 0), name


def test_compose_accepts_the_file_as_it_is_in_a_clone(clone):
    with open_project(folder=clone, overlays=()) as fresh:
        unset = {name: "" for name in fresh.environment if name.startswith("MODELYARD_")}
        config = json.loads(fresh.compose("config", "--format", "json", **unset).checked().stdout)
        assert list_published(config) == {
            "mlflow": [("127.0.0.1", "5000")],
            "minio": [("127.0.0.1", "9000"), ("127.0.0.1", "9001")],
        }
        assert set(config["services"]) == SERVICES | ONE_SHOTS


def test_mlflow_alone_brings_up_what_it_needs_and_no_more(project, clone):
    with open_project(folder=clone, overlays=()) as fresh:
        services = Compose(clone, services=["mlflow"], environment=fresh.environment)
        services.start()
        found = {container.Service: container.Health for container in services.get_containers()}
        assert found == {"postgres": "healthy", "minio": "healthy", "mlflow": "healthy"}
        fresh.mlflow().search_experiments()


def test_nothing_is_left_of_a_project_that_was_removed(project):
    with open_project() as fresh:
        fresh.compose("create", "secrets").checked()
        assert fresh.list_containers()
        name = fresh.name
    for kind in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
        assert docker(*kind, "--quiet", f"--filter=label=com.docker.compose.project={name}") == ""


def test_the_command_line_tells_which_stack_and_why(project):
    told = project.launch("which").checked().stdout
    assert told == "compose: named by MODELYARD_STACK\n"
    status = project.launch("status").checked().stdout
    assert all(name in status for name in SERVICES)


def test_a_second_up_changes_nothing_and_is_quick(project):
    before = {name: container["Id"] for name, container in project.inspect().items()}
    project.launch("up", timeout_s=60).checked()
    assert {name: container["Id"] for name, container in project.inspect().items()} == before


def test_a_notebook_on_the_host_logs_to_the_stack_artifacts_included(project, notebook, tmp_path):
    mlflow.set_tracking_uri(project.notebook_environment["MLFLOW_TRACKING_URI"])
    experiment_id = project.mlflow().create_experiment("a notebook's")
    note = tmp_path / "note.txt"
    note.write_text("seen from the host")
    with mlflow.start_run(experiment_id=experiment_id) as run:
        mlflow.log_metric("loss", 0.5)
        mlflow.log_artifact(str(note))
    client = project.mlflow()
    assert client.get_run(run.info.run_id).data.metrics == {"loss": 0.5}
    fetched = client.download_artifacts(run.info.run_id, "note.txt", str(tmp_path / "fetched"))
    assert Path(fetched).read_text() == "seen from the host"


def test_urls_name_each_address_and_a_command_that_shows_each_password(project):
    told = project.launch("urls").checked().stdout
    for name in ("MLFLOW", "S3", "CONSOLE"):
        assert f"http://localhost:{project.environment[f'MODELYARD_{name}_PORT']}" in told
    commands = [line for line in told.splitlines() if " docker compose " in line]
    shell = {name: value for name, value in project.environment.items() if name != "COMPOSE_PROJECT_NAME"}
    shown = [run(["sh", "-c", command], shell, cwd=ROOT).checked().stdout for command in commands]
    assert project.keys("notebook")[1] in shown[0]
    assert shown[1].split() == list(project.keys("root"))
    assert not any(secret in told for secret in project.secrets.values())


def test_the_page_and_the_store_answer_on_this_machine(project):
    for url in (project.addresses.ui_url, project.console_url, f"{project.s3_url}/minio/health/ready"):
        answer = requests.get(url, timeout=10)
        assert answer.status_code == 200, url


def test_a_run_names_the_commit_and_whether_it_had_changes(project, outcome):
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode != 0:
        pytest.skip("this is no clone")
    tags = project.mlflow().get_run(outcome["training"]["run_id"]).data.tags
    assert tags["mlflow.source.git.commit"] == head.stdout.strip()
    assert tags["code_dirty"] in ("true", "false")
