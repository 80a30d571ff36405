"""``mlflow run`` of the clone: the run that it makes is the training run, and there is no second one."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from modelyard.errors import BadInput
from modelyard.pipeline.given_run import check_given_run
from modelyard.workloads.registry import get_workload
from tests.integration.trainings import environment_of, run_command

ROOT = Path(__file__).parents[2]
EXPERIMENT = "pokewatch_baseline"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return get_workload("pokewatch").sample(tmp_path_factory.mktemp("raw"))[0]


@pytest.fixture(scope="module")
def client(stack):
    return MlflowClient(stack.tracking_uri)


@pytest.fixture(scope="module")
def environment(stack, stack_settings):
    """Settings of the stack, under which no engine is looked for."""
    return {"MODELYARD_STACK": "embedded", **environment_of(stack, stack_settings.mlflow_port)}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What of a clone ``mlflow run`` uses; its virtual environment is the one that the tests run in."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "infra", folder / "infra")
    for name in ("MLproject", "Makefile", "pyproject.toml", "requirements/runtime.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/modelyard").symlink_to(Path(sys.executable).with_name("modelyard"))
    (folder / ".venv/runtime.stamp").touch()
    return folder


@pytest.fixture(scope="module")
def project(clone, environment, tmp_path_factory):
    """Run ``mlflow run CLONE -e train`` with parameters and further options."""

    def run(*options, tracking_uri, **parameters):
        variables = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        told = {"MLFLOW_TRACKING_URI": tracking_uri} if tracking_uri else {}
        words = [word for name, value in parameters.items() for word in ("-P", f"{name}={value}")]
        command = [sys.executable, "-m", "mlflow", "run", str(clone), "-e", "train", "--env-manager", "local"]
        return subprocess.run(
            [*command, *options, *words],
            cwd=tmp_path_factory.mktemp("here"),
            env=variables | environment | told,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture(scope="module")
def command(environment, tmp_path_factory):
    """Run ``modelyard train pokewatch`` with further arguments."""

    def run(*arguments, **options):
        folder = tmp_path_factory.mktemp("train")
        return run_command(["train", "pokewatch", *arguments], environment=environment, folder=folder, **options)

    return run


def list_runs(client, experiment=EXPERIMENT, query=""):
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id], query)) if found else []


@pytest.fixture(scope="module")
def trained(project, client, stack, sample):
    """The run of one ``mlflow run``."""
    ended = project(
        "--experiment-name", EXPERIMENT, tracking_uri=stack.tracking_uri, data_path=sample, run_name="it's a project"
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (run,) = list_runs(client, query="tags.run_type = 'training'")
    assert f"Run (ID '{run.info.run_id}') succeeded" in ended.stderr
    return run


def test_the_run_of_mlflow_is_the_training_run_and_its_model_is_registered(trained, client):
    tags = trained.data.tags
    assert trained.info.status == "FINISHED" and trained.info.run_name == "it's a project"
    assert tags["mlflow.project.entryPoint"] == "train" and tags["workload"] == "pokewatch"
    (version,) = client.search_model_versions(f"run_id = '{trained.info.run_id}'")
    assert version.name == "pokewatch_model"
    assert client.get_logged_model(version.source.rpartition("/")[2]).name == "baseline_model"
    assert {"test_rmse", "baseline_last_value_rmse"} <= set(trained.data.metrics)


def test_a_run_is_given_once_and_must_be_there_and_go_on(trained, client, command, sample):
    ended = client.create_run(trained.info.experiment_id).info.run_id
    client.set_terminated(ended, "KILLED")
    gone = client.create_run(trained.info.experiment_id).info.run_id
    client.delete_run(gone)
    for run_id, said in (
        (trained.info.run_id, "is a training run already"),
        (ended, "is KILLED, and a training takes one that is RUNNING"),
        (gone, "is deleted"),
        ("0" * 32, "the MLflow of this stack has no run"),
    ):
        with pytest.raises(BadInput, match=said):
            check_given_run(client, run_id)
    refused = command("--data", str(sample), "--into-run", trained.info.run_id)
    assert refused.code == 2 and "is a training run already" in refused.printed


def test_where_mlflow_run_is_not_told_of_the_stack_it_is_trained_there_all_the_same(project, client, sample):
    ended = project(tracking_uri=None, data_path=sample, run_name="elsewhere")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "where no stack reads it" in ended.stderr and 'eval "$(make -s env)"' in ended.stderr
    (run,) = list_runs(client, query="tags.run_type = 'training' AND attributes.run_name = 'elsewhere'")
    assert run.info.status == "FINISHED"


def test_bad_data_fails_the_run_of_mlflow_and_makes_no_other(project, client, stack, tmp_path):
    before = {run.info.run_id for run in list_runs(client)}
    (tmp_path / "prices.csv").write_text("card_id,date,market_price\nA,soon,5\n")
    ended = project("--experiment-name", EXPERIMENT, tracking_uri=stack.tracking_uri, data_path=tmp_path / "prices.csv")
    assert ended.returncode != 0 and "not an ISO date" in ended.stdout + ended.stderr
    (run,) = [run for run in list_runs(client) if run.info.run_id not in before]
    assert run.info.status == "FAILED"


def test_a_further_attempt_goes_on_in_the_same_run_whose_experiment_stays(trained, client, command, sample):
    run_id = client.create_run("0").info.run_id
    ended = command(
        *("--data", str(sample), "--into-run", run_id, "--inline"),
        at="before modelyard.workloads.pokewatch:Trained",
    )
    assert ended.code == -9, ended.printed
    assert "MLflow experiment Default, not pokewatch_baseline" in " ".join(ended.printed.split())
    give_up_s = time.monotonic() + 90
    while client.get_run(run_id).info.status != "FINISHED" and time.monotonic() < give_up_s:
        time.sleep(0.5)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED" and run.data.tags["modelyard.attempt"] == "2"
    assert "modelyard.orphan" not in run.data.tags
    of_job = f"tags.`modelyard.job_id` = '{run.data.tags['modelyard.job_id']}'"
    trainings = list_runs(client, "Default", f"tags.run_type = 'training' AND {of_job}")
    assert [other.info.run_id for other in trainings] == [run_id]
