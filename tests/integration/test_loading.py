"""Which dataset a training is done on: exactly one, told with the reason; and what is refused by name."""

from dataclasses import replace

import psycopg
import pytest
from mlflow import MlflowClient

import modelyard
from modelyard.errors import DatasetRefused, RecordLost
from modelyard.pipeline.removal import remove_dataset
from modelyard.pipeline.request import build_request
from modelyard.pipeline.selection import select_dataset
from modelyard.workloads.registry import get_workload
from tests.integration.notebook import NAME, connected, own_run, show_input
from tests.integration.trainings import run_command

PARAMS = ("used_mlflow_dataset", "dataset_name", "dataset_version", "dataset_digest", "data_source")


@pytest.fixture
def data_dir(tmp_path):
    """A data folder with a raw file."""
    get_workload(NAME).sample(tmp_path)[0].rename(tmp_path / "housing.csv")
    return tmp_path


@pytest.fixture(scope="module")
def train(environment, tmp_path_factory):
    """Run ``modelyard train`` on the stack, here, with a model that is quick."""

    def run(*words, **settings):
        return run_command(
            ["train", NAME, "--model-type", "ridge", *map(str, words), "--inline", "--json"],
            environment=environment | {"MODELYARD_DATA_DIR": "/absent"} | settings,
            folder=tmp_path_factory.mktemp("train"),
        )

    return run


@pytest.fixture(scope="module")
def refuse(train, stack):
    """Run ``modelyard train``, see that it is refused and that nothing was queued; return what it said."""

    def run(*words, **settings):
        before = count_jobs(stack)
        ended = train(*words, **settings)
        assert ended.code == 2 and "Traceback" not in ended.printed, ended.printed
        assert count_jobs(stack) == before
        return " ".join(ended.printed.split())

    return run


def count_jobs(stack):
    with psycopg.connect(stack.dsn(stack.person)) as connection:
        return connection.execute("SELECT count(*) FROM exp.jobs").fetchone()


@pytest.fixture(scope="module")
def client(session):
    return MlflowClient(session.mlflow.tracking_uri)


def name_of(dataset):
    return f"{dataset.name}@{dataset.version}"


def check_training(client, outcome, dataset, *, data_source="mlflow_dataset", used="True"):
    """The run says on what it was trained, as params and as tags, and has that dataset and no other as its input."""
    run = client.get_run(outcome["training"]["run_id"])
    told = [run.data.params[name] for name in PARAMS]
    assert told == [used, dataset.name, dataset.version, dataset.digest, data_source]
    assert run.data.tags["dataset_run_id"] == dataset.mlflow_run_id
    assert [shown.dataset.digest for shown in run.inputs.dataset_inputs] == [dataset.digest[:32]]
    assert outcome["dataset"]["dataset_id"] == str(dataset.dataset_id)
    return run


@pytest.fixture(scope="module")
def older(log):
    return log(7100)


@pytest.fixture(scope="module")
def newer(log, older):
    return log(7100, file=1)


def test_the_newest_of_the_workload_is_taken_where_nothing_is_named(train, client, older, newer):
    ended = train("--set", "seed=7100", "--strict")
    assert ended.code in (0, 3), ended.printed
    assert f"dataset  {NAME} {newer.version}: the newest that was processed with these parameters" in ended.printed
    run = check_training(client, ended.outcome, newer)
    assert "raw" not in ended.outcome and "dataset_fallback" not in run.data.tags


def test_a_dataset_is_taken_by_its_name_and_version(train, client, older, newer):
    ended = train("--dataset", name_of(older))
    assert f"dataset  {NAME} {older.version}: named as {name_of(older)}" in ended.printed
    run = check_training(client, ended.outcome, older)
    assert run.data.params["seed"] == "7100", "what the dataset was processed with"


def test_the_dataset_of_a_run_is_taken(train, client, older, newer):
    ended = train("--use-dataset-from-run", older.mlflow_run_id)
    assert f"dataset  {NAME} {older.version}: logged by run {older.mlflow_run_id}" in ended.printed
    check_training(client, ended.outcome, older)


def test_the_dataset_of_the_current_run_goes_before_what_is_named(train, client, session, older, newer):
    with own_run(session) as run:
        show_input(session, run, older)
        ended = train("--dataset", name_of(newer), MLFLOW_RUN_ID=run.run_id)
    assert f"dataset  {NAME} {older.version}: logged in the current run {run.run_id}" in ended.printed
    check_training(client, ended.outcome, older)


def test_a_dataset_is_handed_over_from_python(session, client, older, newer):
    told = []
    outcome = modelyard.train(
        session, NAME, dataset=older, model_type="ridge", report=lambda step, _, text: told.append((step, text))
    )
    check_training(client, outcome, older, data_source="provided_dataset")
    assert ("dataset", f"{NAME} {older.version}: handed over") in told
    assert outcome["evaluation"]["metrics"]["rmse"] > 0 and outcome["job"]["job_id"]


def test_a_file_is_read_with_a_warning_where_nothing_fits(train, client, session, data_dir):
    ended = train("--set", "seed=7101", MODELYARD_DATA_DIR=str(data_dir))
    said = " ".join(ended.printed.split())
    assert f"dataset none: no dataset of {NAME} with seed=7101, features=basic" in said
    assert "a file is read, and --strict would refuse that" in said
    _, dataset = modelyard.load_dataset(session, ended.outcome["dataset"]["digest"])
    run = check_training(client, ended.outcome, dataset, data_source="file_path", used="False")
    assert run.data.tags["dataset_fallback"].startswith(f"no dataset of {NAME} with seed=7101")
    assert run.data.tags["raw_source"] == "file_path"


def test_python_warns_too_before_a_file_is_read(session, data_dir, monkeypatch):
    monkeypatch.setenv("MODELYARD_DATA_DIR", str(data_dir))
    with pytest.warns(UserWarning, match="a file is read, and strict=True would refuse that"):
        outcome = modelyard.train(session, NAME, model_type="ridge", parameters={"seed": 7102})
    assert outcome["raw"]["files"][0]["name"] == "housing.csv"
    with pytest.raises(DatasetRefused, match="takes no file instead"):
        modelyard.train(session, NAME, parameters={"seed": 7103}, strict=True)


def test_strict_takes_no_file(refuse, data_dir):
    said = refuse("--set", "seed=7104", "--strict", MODELYARD_DATA_DIR=str(data_dir))
    assert f"no dataset of {NAME} with seed=7104" in said and "--strict (STRICT=1) takes no file instead" in said


def test_exactly_one_is_taken_in_the_promised_order(session, log):
    logged, handed, by_run, named, newest = (log(7110, file=n % 2, name=f"ordered_{n}") for n in range(5))
    with own_run(session) as run:
        show_input(session, run, logged)
        rungs = {
            "active_run": (session.mlflow.get_run(run.run_id), logged, "logged in the current run"),
            "provided": (handed, handed, "handed over"),
            "run_id": (by_run.mlflow_run_id, by_run, "logged by run"),
            "name": (named.digest, None, "named as"),
        }
        request = build_request(NAME, values={"seed": 7110})
        given = {rung: value for rung, (value, _, _) in rungs.items()}
        for rung, (_, expected, why) in rungs.items():
            selection = select_dataset(session.records, request, mlflow=lambda: session.mlflow, **given)
            assert selection.why.startswith(why)
            assert expected is None or selection.dataset == expected
            del given[rung]
        assert select_dataset(session.records, request, mlflow=lambda: session.mlflow).dataset == newest


@pytest.mark.parametrize("text", [NAME, "digest", "digest cut"])
def test_a_name_alone_is_its_newest_version_and_a_digest_may_be_cut(session, log, text):
    log(7111)
    newest = log(7112)
    named = {"digest": newest.digest, "digest cut": newest.digest[:12]}.get(text, text)
    selection = select_dataset(session.records, build_request(NAME), mlflow=lambda: session.mlflow, name=named)
    assert selection.dataset == newest


def test_what_breaks_expectations_is_passed_over_unless_it_is_named(session, log, train):
    fine = log(7120)
    request = build_request(NAME, values={"seed": 7120})
    narrow = get_workload(NAME).spec.expectations
    broken = log(7120, file=1, expectations=replace(narrow, min_rows=1_000_000), allow_invalid=True)
    assert len(broken.violations) == 1
    chosen = select_dataset(session.records, request, mlflow=lambda: session.mlflow)
    assert chosen.dataset == fine
    ended = train("--dataset", name_of(broken))
    assert ended.code in (0, 3) and f"note     dataset {broken.name} {broken.version} breaks 1 expectation" in (
        ended.printed
    )


def test_made_up_data_is_passed_over_unless_it_is_named_and_then_called_so(session, log):
    made_up = log(7121, source="sample")
    request = build_request(NAME, values={"seed": 7121})
    chosen = select_dataset(session.records, request, mlflow=lambda: session.mlflow)
    assert chosen.dataset is None and "made-up data" in chosen.why
    chosen = select_dataset(session.records, request, mlflow=lambda: session.mlflow, name=made_up.digest)
    assert chosen.dataset == made_up and chosen.data_source == "sample"


@pytest.mark.parametrize("run_id", ["0" * 32, "x/../y"])
def test_a_run_that_is_not_there_is_refused(refuse, run_id):
    assert f"there is no run '{run_id}'" in refuse("--use-dataset-from-run", run_id)


def test_a_run_that_is_no_dataset_run_is_refused(refuse, session):
    with own_run(session, "training") as run:
        pass
    said = refuse("--use-dataset-from-run", run.run_id)
    assert f"run {run.run_id} is no dataset run: its run_type is training" in said


def test_a_run_that_is_not_finished_is_refused(refuse, session):
    with own_run(session, "dataset") as run:
        said = refuse("--use-dataset-from-run", run.run_id)
    assert f"run {run.run_id} is not finished: its status is RUNNING" in said


def test_a_run_of_another_workload_is_refused(refuse, log):
    other = log(7130, workload="bungalows", name="bungalows", tags={"workload": "bungalows"})
    said = refuse("--use-dataset-from-run", other.mlflow_run_id)
    assert f"run {other.mlflow_run_id} belongs to workload bungalows, not to {NAME}" in said
    said = refuse("--dataset", "bungalows")
    assert f"dataset bungalows {other.version} belongs to workload bungalows, not to {NAME}" in said


def test_a_run_without_that_context_is_refused(refuse, session):
    with own_run(session, "dataset") as run:
        pass
    assert f"run {run.run_id} has no dataset with context training" in refuse("--use-dataset-from-run", run.run_id)


def test_a_run_whose_dataset_nobody_vouches_for_is_refused(refuse, session, older):
    with own_run(session, "dataset") as run:
        show_input(session, run, older)
    assert "not on record, so nothing vouches for its bytes" in refuse("--use-dataset-from-run", run.run_id)


def test_a_deleted_dataset_is_refused_with_who_when_and_why(refuse, session, log, environment):
    gone = log(7131)
    with connected(environment, "person") as person:
        removed = remove_dataset(person, gone, reason="it held names")
    for words in (["--use-dataset-from-run", gone.mlflow_run_id], ["--dataset", name_of(gone)]):
        said = refuse(*words)
        assert f"dataset {gone.name} {gone.version} was deleted by {removed.removed_by} at 20" in said
        assert "it held names" in said
    with pytest.raises(RecordLost, match="it held names"):
        modelyard.load_dataset(session, gone)
    with pytest.raises(DatasetRefused, match="it held names"):
        modelyard.train(session, NAME, dataset=gone)
    with own_run(session) as run:  # that of the current run is not passed over in silence
        show_input(session, run, gone)
        assert "it held names" in refuse("--set", "seed=7100", MLFLOW_RUN_ID=run.run_id)


def test_several_datasets_in_the_current_run_are_refused(refuse, session, older, newer):
    with own_run(session) as run:
        show_input(session, run, older)
        show_input(session, run, newer)
        said = refuse("--set", "seed=7100", MLFLOW_RUN_ID=run.run_id)
    assert f"the current run {run.run_id} has several datasets" in said
    assert name_of(older) in said and name_of(newer) in said


def test_parameters_that_the_dataset_was_not_processed_with_are_refused(refuse, older):
    said = refuse("--dataset", name_of(older), "--set", "seed=1", "--set", "features=engineered")
    assert f"dataset {NAME} {older.version} was processed otherwise" in said
    assert "seed=1 was asked for and it has seed=7100" in said
    assert "features=engineered was asked for and it has features=basic" in said


def test_two_names_for_what_to_train_on_are_refused(refuse, older):
    said = refuse("--dataset", NAME, "--use-dataset-from-run", older.mlflow_run_id)
    assert "--dataset and --use-dataset-from-run each say what to train on" in said


def test_a_name_that_is_not_there_is_refused_with_those_that_are(refuse, older):
    assert "there is no dataset 'california_house'; did you mean" in refuse("--dataset", "california_house")
