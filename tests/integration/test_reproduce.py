"""A model version, trained once more: equal to the last bit, or what differs; and what cannot be trained anew."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from mlflow import MlflowClient
from psycopg.errors import InsufficientPrivilege

from modelyard.errors import RecordNotFound
from modelyard.store.reproductions import record_reproduction
from modelyard.workloads.registry import get_workload
from tests.integration.trainings import environment_of

MODEL_TYPES = ["hist_gradient_boosting", "ridge", "random_forest"]
# computes with other instructions than any processor of the last ten years would choose
OLD_KERNELS = {"x86_64": "Sandybridge", "aarch64": "ARMV8", "arm64": "ARMV8"}.get(platform.machine(), "GENERIC")


@pytest.fixture(scope="module")
def train(command, tmp_path_factory):
    """Train on the sample with this model type; the name of the version that it made."""
    sample = get_workload("california_housing").sample(tmp_path_factory.mktemp("raw"))[0]

    def run(model_type, *, seed):
        request = ["--data", str(sample), "--model-type", model_type, "--set", f"seed={seed}"]
        ended = command("train", "california_housing", *request, "--inline", "--json")
        assert ended.code in (0, 3), ended.printed  # whether the gate takes it does not matter here
        made = ended.outcome["registration"]
        return f"{made['model_name']}/{made['version']}"

    return run


@pytest.fixture(scope="module")
def ridge(train):
    return train("ridge", seed=6101)


@pytest.fixture
def rewrite(stack):
    """Make the row of a model version another one during the test, as no user can."""
    undo = []

    def run(model, column, value):
        name, version = model.split("/")
        where = "WHERE mlflow_model_name = %s AND mlflow_model_version = %s"
        with psycopg.connect(stack.dsn("postgres")) as connection:
            connection.execute("SET session_replication_role = replica")  # no trigger
            [before] = connection.execute(f"SELECT {column} FROM exp.model_versions {where}", [name, version])
            changed = None if value is None else json.dumps(before[0] | value)
            connection.execute(f"UPDATE exp.model_versions SET {column} = %s {where}", [changed, name, version])
        undo.append((column, json.dumps(before[0]), name, version))

    yield run
    for column, before, name, version in reversed(undo):
        with psycopg.connect(stack.dsn("postgres")) as connection:
            connection.execute("SET session_replication_role = replica")
            where = "WHERE mlflow_model_name = %s AND mlflow_model_version = %s"
            connection.execute(f"UPDATE exp.model_versions SET {column} = %s {where}", [before, name, version])


COUNTS = """
    SELECT (SELECT count(*) FROM exp.model_versions) AS versions, (SELECT count(*) FROM exp.jobs) AS jobs,
        (SELECT count(*) FROM exp.reproductions) AS reproductions
"""


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_model_of_each_type_comes_out_equal_from_another_process(command, train, model_type):
    model = train(model_type, seed=6100)
    ended = command("reproduce", model, "--json")
    assert ended.code == 0, ended.printed
    found = ended.outcome["reproduction"]
    assert found["model"] == model
    assert (found["equal"], found["rows"], found["differing_rows"]) == (True, 400, 0)
    assert found["digest_now"] == found["digest_then"], "equal to what was predicted when it was trained"
    assert {change["difference"] for change in found["metrics"].values()} == {0.0}
    assert {"train_rmse", "validation_rmse", "test_rmse"} <= set(found["metrics"])
    assert found["differences"] == []
    assert "EQUAL: all 400 test rows" in ended.printed


def test_a_stack_that_was_stopped_reproduces_what_it_had_made(command, ridge):
    assert command("down").code == 0
    ended = command("reproduce", ridge, "--json")
    assert ended.code == 0, ended.printed
    assert ended.outcome["reproduction"]["equal"]


def test_what_came_of_it_is_on_record_and_nothing_is_registered(stack, command, ridge, rows):
    [before] = rows(COUNTS)
    ended = command("reproduce", ridge, "--inline", "--json")
    assert ended.code == 0, ended.printed
    [after] = rows(COUNTS)
    assert after["versions"] == before["versions"]
    found = ended.outcome["reproduction"]
    [recorded] = rows("SELECT * FROM exp.reproductions WHERE mlflow_run_id = %s", found["run_id"])
    assert "/".join([recorded["mlflow_model_name"], recorded["mlflow_model_version"]]) == ridge
    assert recorded["equal_predictions"]
    assert recorded["metrics"] == found["metrics"]
    assert str(recorded["job_id"]) == ended.outcome["job"]["job_id"]
    [version] = rows(
        "SELECT * FROM exp.model_versions WHERE concat_ws('/', mlflow_model_name, mlflow_model_version) = %s", ridge
    )
    assert recorded["environment"]["packages"] == version["environment"]["packages"]
    client = MlflowClient(stack.tracking_uri)
    run = client.get_run(found["run_id"])
    assert run.info.status == "FINISHED"
    said = {"run_type": "evaluation", "evaluation": "reproduction", "reproduces": ridge, "equal_predictions": "true"}
    assert said.items() <= run.data.tags.items()
    assert run.data.metrics["difference_test_rmse"] == 0
    [shown] = run.inputs.dataset_inputs
    assert [tag.value for tag in shown.tags] == ["training"]
    [use] = rows("SELECT dataset_id, context FROM exp.dataset_uses WHERE mlflow_run_id = %s", found["run_id"])
    assert use == {"dataset_id": version["dataset_id"], "context": "training"}
    assert "reproduction.json" in {file.path for file in client.list_artifacts(found["run_id"])}
    assert run.outputs is None or not run.outputs.model_outputs, "a reproduction logs no model"


def test_the_training_run_shows_its_environment(stack, ridge, rows):
    [version] = rows(
        "SELECT * FROM exp.model_versions WHERE concat_ws('/', mlflow_model_name, mlflow_model_version) = %s", ridge
    )
    client = MlflowClient(stack.tracking_uri)
    assert "environment.json" in {file.path for file in client.list_artifacts(version["mlflow_run_id"])}
    for part in ("python", "platform", "cpu", "threads", "packages", "test_predictions_digest"):
        assert version["environment"][part], part


def test_other_instructions_of_the_processor_are_found_out_and_named(stack, stack_settings, ridge, rows):
    environment = os.environ | environment_of(stack, stack_settings.mlflow_port) | {"OPENBLAS_CORETYPE": OLD_KERNELS}
    words = [sys.executable, "-m", "modelyard", "reproduce", ridge, "--inline", "--json"]
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 3, ended.stderr
    found = json.loads(ended.stdout)["reproduction"]
    assert not found["equal"]
    assert 0 < found["differing_rows"] <= found["rows"]
    assert 0 < found["largest_difference"] < 1e-6
    assert found["digest_now"] != found["digest_then"]
    named = {change["what"] for change in found["differences"]}
    assert "threads.variables.OPENBLAS_CORETYPE" in named
    assert any(what.startswith("threads.pools.") and what.endswith(".architecture") for what in named)
    assert "NOT EQUAL" in ended.stderr
    [recorded] = rows("SELECT equal_predictions FROM exp.reproductions WHERE mlflow_run_id = %s", found["run_id"])
    assert recorded == {"equal_predictions": False}


def test_whatever_is_not_as_it_was_is_named_then_and_now(command, ridge, rewrite):
    rewrite(ridge, "code_version", {"workload_sha256": "0" * 64, "commit": "c" * 40})
    rewrite(ridge, "environment", {"python": "CPython 3.9.1"})
    ended = command("reproduce", ridge, "--inline", "--json")
    assert ended.code == 0, "another workload, and the same predictions"
    differences = {change["what"]: change for change in ended.outcome["reproduction"]["differences"]}
    assert {"code.workload_sha256", "code.commit", "python"} == set(differences)
    assert differences["code.workload_sha256"]["then"] == "0" * 64
    assert differences["python"]["then"] == "CPython 3.9.1"
    assert differences["python"]["now"].endswith(platform.python_version())
    assert "python: then CPython 3.9.1, now" in ended.printed


def test_a_version_of_a_release_that_kept_no_environment_says_so(command, ridge, rewrite):
    rewrite(ridge, "environment", None)
    ended = command("reproduce", ridge, "--inline", "--json")
    assert ended.code == 0, ended.printed
    found = ended.outcome["reproduction"]
    assert (found["environment_recorded"], found["digest_then"], found["differences"]) == (False, None, [])
    assert "were not recorded by the release that trained it" in ended.printed


def test_agreeing_with_the_stored_model_is_not_enough(command, ridge, rewrite):
    rewrite(ridge, "environment", {"test_predictions_digest": "0" * 64})
    ended = command("reproduce", ridge, "--inline")
    assert ended.code == 3, ended.printed
    assert "both differ from what was predicted at its training" in ended.printed


def test_an_attempt_that_died_after_recording_is_not_done_twice(stack, command, ridge, rows):
    [before] = rows(COUNTS)
    died = command("reproduce", ridge, "--inline", at="after modelyard.pipeline.reproduce:_record", fault="kill")
    assert died.code < 0
    again = command("reproduce", ridge, "--inline", "--json")
    assert again.code == 0, again.printed
    [after] = rows(COUNTS)
    assert after["reproductions"] == before["reproductions"] + 1
    found = again.outcome["reproduction"]
    assert rows("SELECT 1 FROM exp.reproductions WHERE mlflow_run_id = %s", found["run_id"])
    assert MlflowClient(stack.tracking_uri).get_run(found["run_id"]).info.status == "FINISHED"


def test_no_run_of_an_attempt_that_died_goes_on_for_ever(stack, command, ridge, rows):
    died = command("reproduce", ridge, "--inline", at="before modelyard.pipeline.reproduce:_compare", fault="kill")
    assert died.code < 0
    again = command("reproduce", ridge, "--inline", "--json")
    assert again.code == 0, again.printed
    client, job_id = MlflowClient(stack.tracking_uri), again.outcome["job"]["job_id"]
    places = {e.experiment_id: e.name for e in client.search_experiments()}
    runs = client.search_runs(list(places), f"tags.`modelyard.job_id` = '{job_id}'")
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]
    assert {places[run.info.experiment_id] for run in runs} == {"california_housing_price"}


@pytest.mark.parametrize("path", ["model.skops", "X.parquet"])
def test_a_damaged_file_is_refused_and_nothing_is_said_of_the_model(stack, command, ridge, rows, path):
    [owners] = rows(
        """
        SELECT v.mlflow_model_id, d.mlflow_run_id FROM exp.model_versions AS v JOIN exp.datasets AS d USING (dataset_id)
        WHERE concat_ws('/', mlflow_model_name, mlflow_model_version) = %s
        """,
        ridge,
    )
    [stored] = [
        file for owner in owners.values() for file in Path(stack.home, "artifacts").rglob(f"*{owner}*/**/{path}")
    ]
    original = stored.read_bytes()
    [before] = rows(COUNTS)
    middle = len(original) // 2
    stored.write_bytes(original[:middle] + bytes([original[middle] ^ 1]) + original[middle + 1 :])
    try:
        ended = command("reproduce", ridge, "--inline")
    finally:
        stored.write_bytes(original)
    assert ended.code == 1
    assert "is not what was recorded: expected sha256" in ended.printed
    assert path in ended.printed
    [after] = rows(COUNTS)
    assert after["reproductions"] == before["reproductions"]


def test_what_cannot_be_trained_anew_is_refused_before_a_job_is_queued(command, ridge, rows, rewrite):
    [before] = rows(COUNTS)
    name, version = ridge.split("/")
    for model, said in (
        (f"{name}/999", f"there is no model version '{name}/999'"),
        (f"{name[:-1]}/{version}", f"did you mean '{ridge}'?"),
        (name, "Write MODEL/VERSION."),
    ):
        ended = command("reproduce", model)
        assert (ended.code, said in ended.printed) == (2, True), ended.printed
    rewrite(ridge, "parameters", {"shrinkage": 0.5})
    ended = command("reproduce", ridge)
    assert ended.code == 2
    assert "cannot be trained anew by this release: there is no parameter of ridge 'shrinkage'" in ended.printed
    assert "use the one that trained it: release" in ended.printed
    assert command("reproduce", ridge, "--inline", "--no-wait").code == 2
    assert rows(COUNTS) == [before]


FACTS = {
    "mlflow_model_name": "houses_model",
    "equal_predictions": True,
    "metrics": {"test_rmse": {"then": 0.5, "now": 0.5, "difference": 0.0}},
    "differences": [{"what": "packages.numpy", "then": "1", "now": "2"}],
    "code_version": {"commit": "c" * 40},
    "environment": {"python": "3"},
}


def test_every_reproduction_of_a_version_is_kept(records):
    records.model_version()
    first, second = (
        record_reproduction(records.trainer, mlflow_model_version="1", mlflow_run_id=run_id, **FACTS)
        for run_id in ("r1", "r2")
    )
    assert first.reproduction_id != second.reproduction_id
    assert (second.created_by, second.differences) == ("trainer", FACTS["differences"])
    [kept] = records.trainer.execute("SELECT count(*) AS rows FROM exp.reproductions").fetchall()
    assert kept == {"rows": 2}


def test_a_version_that_is_not_on_record_has_no_reproduction(records):
    with pytest.raises(RecordNotFound):
        record_reproduction(records.trainer, mlflow_model_version="7", mlflow_run_id="r1", **FACTS)


def test_only_a_trainer_may_say_that_a_version_was_reproduced(records, person):
    records.model_version()
    for connection in (records.evaluator, person):
        with pytest.raises(InsufficientPrivilege):
            record_reproduction(connection, mlflow_model_version="1", mlflow_run_id="r1", **FACTS)
