"""Deleting datasets on the Compose stack: who may, what is refused, what is gone and what stays."""

import json

import pytest
from mlflow import MlflowException

from tests.stack.project import PERSON

PROCESS = ("process", "california_housing", "--json")
DELETE = ("datasets", "delete")
GC = ("gc", "--older-than", "0h", "--keep", "0")


@pytest.fixture(scope="module")
def used(outcome):
    """The dataset that a registered model version was trained on, as people call it."""
    return call(outcome)


@pytest.fixture(scope="module")
def unused(project, outcome, write_houses, tmp_path_factory):
    """A dataset that nothing uses."""
    data = write_houses(tmp_path_factory.mktemp("raw") / "unused.csv", 0, 600)
    return project.launch(*PROCESS, "--data", str(data), "--version", "2025-01-03").checked().outcome


@pytest.fixture
def without_role(project):
    """The person is in every group but the one whose members may delete."""
    with project.connect("modelyard_admin") as connection:
        connection.execute(f"REVOKE modelyard_trainer FROM {PERSON}")
        yield
        connection.execute(f"GRANT modelyard_trainer TO {PERSON}")


def call(outcome):
    return f"{outcome['dataset']['name']}@{outcome['dataset']['version']}"


def find_row(project, outcome):
    [row] = project.rows("SELECT * FROM exp.datasets WHERE dataset_id = %s", outcome["dataset"]["dataset_id"])
    return row


def find_run(project, outcome):
    return find_row(project, outcome)["mlflow_run_id"]


def test_a_dataset_that_a_model_was_trained_on_is_refused_with_all_that_uses_it(project, outcome, used, list_objects):
    refused = project.launch(*DELETE, used, "--reason", "no room", "--yes")
    assert refused.code == 2
    registered, evaluation = outcome["registration"], outcome["evaluation"]
    model = f"{registered['model_name']}/{registered['version']}"
    policy = f"policy version {evaluation['policy_id']} version {evaluation['policy_version']}"
    for user in (f"model version {model}", f"evaluation {model}", policy):
        assert user in refused.stderr
    assert find_row(project, outcome)["removed_at"] is None
    assert "metadata/X.parquet" in list_objects(find_run(project, outcome))


def test_nobody_is_there_to_ask_so_nothing_is_deleted(project, unused):
    refused = project.launch(*DELETE, call(unused), "--reason", "no room")
    assert refused.code == 2
    assert "nothing was deleted; --yes deletes it unasked" in refused.stderr
    assert find_row(project, unused)["removed_at"] is None


def test_a_person_without_the_role_may_neither_delete_nor_collect(project, unused, without_role, list_objects):
    before = list_objects(find_run(project, unused))
    for words in ((*DELETE, call(unused), "--reason", "no room", "--yes"), (*GC, "--yes")):
        refused = project.launch(*words)
        assert refused.code == 2, words
        assert f"{PERSON} may not delete anything" in refused.stderr
    assert find_row(project, unused)["removed_at"] is None
    assert list_objects(find_run(project, unused)) == before != set()


def test_a_deleted_datasets_files_and_run_are_gone_and_its_record_stays(project, unused, list_objects):
    run_id = find_run(project, unused)
    files = list_objects(run_id)
    assert "metadata/X.parquet" in files
    reason = 'it held "names" of one\'s neighbours'
    project.launch(*DELETE, call(unused), "--reason", reason, "--yes").checked()
    assert list_objects(run_id) == set()
    assert project.mlflow().get_run(run_id).info.lifecycle_stage == "deleted"
    row = find_row(project, unused)
    assert (row["removed_by"], row["removal_reason"]) == (PERSON, reason)
    assert row["digest"] == unused["dataset"]["digest"]
    shown = json.loads(project.launch("datasets", "show", call(unused), "--json").checked().stdout)
    assert shown["removal_reason"] == reason
    refused = project.launch("train", "california_housing", "--dataset", call(unused))
    assert refused.code == 2
    assert f"was deleted by {PERSON}" in refused.stderr
    place = f"runs/{project.mlflow().get_run(run_id).info.experiment_id}/{run_id}/artifacts/"
    kept = project.s3("backup").list_object_versions(Bucket=project.bucket, Prefix=place)
    assert {version["Key"].removeprefix(place) for version in kept["Versions"]} == files, "for a while, as old versions"


def test_a_collection_shows_its_plan_and_then_deletes_what_nothing_refers_to(
    project, outcome, used, write_houses, list_objects, tmp_path
):
    data = write_houses(tmp_path / "garbage.csv", 0, 700)
    garbage = project.launch(*PROCESS, "--data", str(data)).checked().outcome
    run_id = find_run(project, garbage)
    planned = project.launch(*GC, "--json").checked().outcome
    assert call(garbage) in {one["name"] for one in planned["plan"]}
    assert used not in {one["name"] for one in planned["plan"]}
    assert planned["deleted"] == []
    assert list_objects(run_id) != set(), "a plan deletes nothing"
    told = project.launch(*GC, "--yes").checked().stdout
    assert f"deleted  dataset {call(garbage)}" in told
    assert list_objects(run_id) == set()
    assert find_row(project, garbage)["removed_by"] == PERSON
    assert "metadata/X.parquet" in list_objects(find_run(project, outcome))
    assert project.launch(*GC, "--json").checked().outcome["plan"] == []


def test_a_run_that_somebody_deleted_in_mlflow_is_removed_for_good_and_one_on_record_comes_back(
    project, outcome, list_objects
):
    needed, client = find_run(project, outcome), project.mlflow()
    unneeded = client.create_run("0", tags={"run_type": "dataset", "workload": "california_housing"}).info.run_id
    for run_id in (needed, unneeded):
        client.delete_run(run_id)
    project.launch("gc", "--older-than", "0h", "--yes").checked()
    with pytest.raises(MlflowException, match=unneeded):
        client.get_run(unneeded)
    assert client.get_run(needed).info.lifecycle_stage == "active"
    assert "metadata/X.parquet" in list_objects(needed)
