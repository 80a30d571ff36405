"""Trainings blended into one model: which, how they weigh, what is on record, and when they are chosen anew."""

import json

import numpy as np
import pytest
from mlflow import MlflowClient

from modelyard.pipeline.models import load_model_version
from modelyard.pipeline.training_data import load_training_data
from modelyard.workloads.registry import get_workload

MODELS = [
    ["--model-type", "ridge"],
    ["--model-type", "lightgbm", "--params", "n_estimators=40 refit_days=60"],
    ["--model-type", "lightgbm", "--params", "n_estimators=8 refit_days=60"],
]


@pytest.fixture(scope="module")
def dataset(command, tmp_path_factory):
    """A dataset of the sample."""
    sample = get_workload("hourly_energy").sample(tmp_path_factory.mktemp("raw"))[0]
    ended = command("process", "hourly_energy", "--data", str(sample), "--inline", "--json")
    assert ended.code == 0, ended.printed
    return ended.outcome["dataset"]


@pytest.fixture(scope="module")
def name(dataset):
    return f"{dataset['name']}@{dataset['version']}"


@pytest.fixture(scope="module")
def trainings(command, name):
    """A ridge, a lightgbm and a worse one: the training, the registration and all else that each has achieved."""
    runs = []
    for options in MODELS:
        if len(runs) == 1:  # too few to blend
            refused = command("blend", "hourly_energy", "--inline")
            assert refused.code == 2, refused.printed
            advice = f"modelyard train hourly_energy --model-type hist_gradient_boosting --dataset {name}"
            assert advice in _unwrap(refused.printed)
        ended = command("train", "hourly_energy", "--dataset", name, *options, "--inline", "--json")
        assert ended.code in (0, 3), ended.printed  # whether the gate takes it does not matter here
        runs.append(ended.outcome)
    return runs


@pytest.fixture(scope="module")
def outcome(command, trainings):
    """What a blend of the best run of each model type has achieved, by the workers."""
    ended = command("blend", "hourly_energy", "--json")
    assert ended.code in (0, 3), ended.printed
    return ended.outcome


@pytest.fixture(scope="module")
def client(stack):
    return MlflowClient(stack.tracking_uri)


@pytest.fixture(scope="module")
def model(outcome):
    return _name_model(outcome)


def _name_model(outcome):
    return f"{outcome['registration']['model_name']}/{outcome['registration']['version']}"


def _unwrap(printed):
    return " ".join(printed.split())


def _get_version(rows, model):
    query = "SELECT * FROM exp.model_versions WHERE mlflow_model_name || '/' || mlflow_model_version = %s"
    [version] = rows(query, model)
    return version


def test_the_best_of_each_type_are_weighted_by_their_errors_on_validation_rows(outcome, trainings):
    ridge, *trees = [one["training"] for one in trainings]
    best = min(trees, key=lambda run: run["metrics"]["validation_mae"])
    trained = {run["run_id"]: run["metrics"] for run in (ridge, best)}
    members = {member["run_id"]: member for member in outcome["blend"]["members"]}
    assert set(members) == set(trained)
    total = sum(1 / metrics["validation_mae"] for metrics in trained.values())
    for run_id, member in members.items():
        assert member["weight"] == pytest.approx(1 / trained[run_id]["validation_mae"] / total)
        for metric in ("validation_mae", "test_mae", "test_rmse"):  # on the same rows as its own training
            assert member["metrics"][metric] == pytest.approx(trained[run_id][metric])


def test_a_blend_answers_with_the_weighted_sum_and_is_no_worse_than_its_worst_member(
    session, outcome, model, trainings, dataset
):
    found = outcome["blend"]
    assert found["metrics"]["test_mae"] <= max(member["metrics"]["test_mae"] for member in found["members"])
    processed = load_training_data(session, dataset["dataset_id"], data_source="mlflow_dataset").processed
    test = processed.load_rows("test")[processed.X.column_names]
    names = {one["training"]["run_id"]: _name_model(one) for one in trainings}
    parts = [
        member["weight"] * load_model_version(session, names[member["run_id"]]).predict(test)
        for member in found["members"]
    ]
    assert load_model_version(session, model).predict(test) == pytest.approx(np.sum(parts, axis=0))


def test_it_is_registered_and_evaluated_like_any_other_with_its_members_on_record(outcome, model, rows):
    version = _get_version(rows, model)
    assert (version["model_type"], version["workload"]) == ("blend", "hourly_energy")
    members = version["parameters"]["members"]
    assert [member["run_id"] for member in members] == [member["run_id"] for member in outcome["blend"]["members"]]
    files = "SELECT path FROM exp.model_files WHERE mlflow_model_id = %s"
    paths = {row["path"] for row in rows(files, version["mlflow_model_id"])}
    assert {"MLmodel", "blend.json", "members/1/model.skops", "members/2/model.skops"} <= paths
    evaluation = outcome["evaluation"]
    assert evaluation["model"] == model
    assert evaluation["metrics"]["mae"] == pytest.approx(outcome["blend"]["metrics"]["test_mae"])
    assert any("epf_naive" in limit["limit"] for limit in evaluation["limits"])


def test_mlflow_shows_one_run_with_dataset_and_members_as_inputs_and_each_error(client, outcome, model, rows):
    run = client.get_run(outcome["blend"]["run_id"])
    assert (run.data.tags["run_type"], run.info.status) == ("blend", "FINISHED")
    [shown] = run.inputs.dataset_inputs
    assert [tag.value for tag in shown.tags] == ["training"]
    members = _get_version(rows, model)["parameters"]["members"]
    assert {entry.model_id for entry in run.inputs.model_inputs} == {member["model_id"] for member in members}
    for place, member in enumerate(members, 1):
        assert run.data.metrics[f"member_{place}_{member['model_type']}_test_mae"] == member["metrics"]["test_mae"]
    assert run.data.params["members"] == ",".join(member["run_id"] for member in members)


def test_lineage_leads_to_the_members(command, outcome, model, trainings):
    found = json.loads(command("lineage", model, "--json").printed)
    kinds = {node["id"]: node["kind"] for node in found["nodes"]}
    run = f"run:{outcome['blend']['run_id']}"
    sources = {edge["source"] for edge in found["edges"] if edge["target"] == run}
    made_of = {member["run_id"] for member in outcome["blend"]["members"]}
    members = {f"model:{_name_model(one)}" for one in trainings if one["training"]["run_id"] in made_of}
    assert {source for source in sources if kinds[source] == "model version"} == members


def test_a_blend_outlives_its_members(client, session, command, trainings, rows):
    """A blend of runs that are named, by least squares; then MLflow loses one of them."""
    runs = [one["training"]["run_id"] for one in trainings[1:]]
    asked = ["--candidates", ",".join(runs), "--weights", "nnls"]
    ended = command("blend", "hourly_energy", *asked, "--inline", "--json")
    assert ended.code in (0, 3), ended.printed
    assert [member["run_id"] for member in ended.outcome["blend"]["members"]] == runs
    assert sum(member["weight"] for member in ended.outcome["blend"]["members"]) == pytest.approx(1)
    model = _name_model(ended.outcome)
    lost = _get_version(rows, model)["parameters"]["members"][1]
    client.delete_logged_model(lost["model_id"])
    client.delete_run(lost["run_id"])
    known = client.get_run(runs[0]).data.metrics["validation_mae"]
    client.log_metric(runs[0], "validation_mae", float("nan"))  # no candidate any more, and no reason to stop at
    assert load_model_version(session, model).estimator is not None
    again = command("blend", "hourly_energy", "--candidates", ",".join(runs), "--inline")
    assert again.code == 2
    assert f"no finished trainings on {ended.outcome['evaluation']['dataset']}" in _unwrap(again.printed)
    assert f"and a model: {', '.join(runs)}; there are {trainings[0]['training']['run_id']} (" in _unwrap(again.printed)
    client.log_metric(runs[0], "validation_mae", known)


def test_a_check_says_whether_members_are_to_be_selected_anew(client, command, model, outcome, name):
    name_and_version = model.split("/")
    assert client.get_model_version(*name_and_version).tags["needs_reselection"] == "false", "its first evaluation"
    assert client.get_run(outcome["blend"]["run_id"]).data.tags["needs_reselection"] == "false"
    for limit, code, said in (("1.1", 0, "false"), ("0.9", 3, "true")):
        ended = command("blend", "hourly_energy", "--check", "--dataset", name, "--limit", limit, "--inline", "--json")
        assert ended.code == code, ended.printed
        found = ended.outcome["reselection"]
        assert found["needs_reselection"] is (said == "true")
        assert found["now"] == pytest.approx(found["then"])  # the same rows
        checked = found["model"].split("/")
        assert checked[0] == name_and_version[0]
        assert client.get_model_version(*checked).tags["needs_reselection"] == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["blend", "california_housing"], "models of california_housing are not blended"),
        (["blend", "hourly_energy", "--candidates", "1"], "takes two runs or more"),
        (["blend", "hourly_energy", "--candidates", "none,of,these"], "no finished trainings"),
        (["blend", "hourly_energy", "--weights", "equal"], "inverse_mae, nnls"),
        (["blend", "hourly_energy", "--limit", "1.2"], "--limit is of --check"),
        (["blend", "hourly_energy", "--check", "--limit", "0"], "no number above 0"),
        (["blend", "hourly_energy", "--check", "--weights", "nnls"], "--check makes no blend"),
    ],
)
def test_what_cannot_be_blended_is_refused_before_anything_is_written(command, rows, outcome, arguments, said):
    [before] = rows("SELECT count(*) FROM exp.jobs")
    ended = command(*arguments)
    assert ended.code == 2, ended.printed
    assert said in _unwrap(ended.printed)
    assert rows("SELECT count(*) FROM exp.jobs") == [before]


def test_a_blend_is_not_reproduced_and_its_members_are_named_where_to_find_them(command, model):
    ended = command("reproduce", model)
    assert ended.code == 2
    assert f"{model} is a blend" in _unwrap(ended.printed)
    assert f"modelyard lineage {model}" in _unwrap(ended.printed)


def test_a_blend_that_was_killed_is_one_version_in_the_end(command, trainings, rows):
    [before] = rows("SELECT count(*) FROM exp.model_versions")
    asked = ["blend", "hourly_energy", "--candidates", "2", "--weights", "nnls", "--inline", "--json"]
    killed = command(*asked, at="before modelyard.pipeline.register:register")
    assert killed.code == -9
    ended = command(*asked)
    assert ended.code in (0, 3), ended.printed
    assert ended.outcome["blend"]["resumed"]
    [after] = rows("SELECT count(*) FROM exp.model_versions")
    assert after["count"] == before["count"] + 1
    assert json.dumps(ended.outcome["job"]).count('"attempt": 2') == 1
