"""From raw data to a policy version, in the ways that a training can go; what is on record is in training_record."""

from pathlib import Path
from uuid import UUID

import mlflow
import pytest
from mlflow import MlflowClient

from modelyard.store.connections import connect
from modelyard.store.jobs import get_job, hold_job
from modelyard.workloads.registry import get_workload
from tests.integration.trainings import environment_of, run_command, workers_asleep
from tests.training_record import ACHIEVED

FAILS_IN_FIT = {"at": "before modelyard.workloads.california_housing:Trained", "fault": "fail"}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return get_workload("california_housing").sample(tmp_path_factory.mktemp("raw"))[0]


@pytest.fixture(scope="module")
def train(stack, stack_settings, tmp_path_factory):
    """Run ``modelyard train california_housing`` with further arguments: through the queue, unless they say inline."""

    def run(*arguments, command="train", environment=None, **options):
        folder = tmp_path_factory.mktemp("train")
        settings = environment_of(stack, stack_settings.mlflow_port) | {"MODELYARD_DATA_DIR": str(folder / "data")}
        words = [command, "california_housing", *arguments]
        return run_command(words, environment=settings | (environment or {}), folder=folder, **options)

    return run


@pytest.fixture(scope="module")
def outcome(train, sample):
    """The outcome of one training on the sample, as ``--json`` prints it."""
    ended = train("--data", str(sample), "--run-name", "first", "--json")
    assert ended.code == 0, ended.printed
    return ended.outcome


@pytest.fixture(scope="module")
def client(stack):
    mlflow.set_tracking_uri(stack.tracking_uri)
    return MlflowClient(stack.tracking_uri)


def get_jobs(stack, outcome):
    with connect(stack.dsn(stack.person)) as connection:
        return [get_job(connection, job_id=UUID(outcome[key]["job_id"])) for key in ("job", "evaluation_job")]


def test_inline_the_same_is_achieved_without_a_worker(stack, train, sample, outcome):
    ended = train("--data", str(sample), "--run-name", "inline", "--inline", "--json")
    assert ended.code == 0, ended.printed
    inline = ended.outcome
    assert set(inline) == ACHIEVED
    assert inline["training"]["metrics"] == outcome["training"]["metrics"]
    assert inline["dataset"]["dataset_id"] == outcome["dataset"]["dataset_id"]
    assert all(job.worker.startswith("inline ") for job in get_jobs(stack, inline))


def test_processing_alone_makes_a_dataset_and_no_model(train, sample, rows):
    versions = rows("SELECT count(*) FROM exp.model_versions")
    arguments = ("--data", str(sample), "--set", "seed=77", "--json")
    first, again = (train(*arguments, command="process").outcome for _ in range(2))
    assert set(first) == {"job", "raw", "dataset"}
    assert (first["dataset"]["reused"], again["dataset"]["reused"]) == (False, True)
    assert first["dataset"]["dataset_id"] == again["dataset"]["dataset_id"]
    assert rows("SELECT count(*) FROM exp.model_versions") == versions


def test_the_same_data_is_one_dataset_and_the_alias_follows_the_newest_candidate(client, train, sample, outcome):
    again = train("--data", str(sample), "--params", "max_iter=60", "--json").outcome
    assert again["dataset"]["reused"]
    assert again["dataset"]["dataset_id"] == outcome["dataset"]["dataset_id"]
    assert int(again["registration"]["version"]) > int(outcome["registration"]["version"])
    assert again["evaluation"]["passed"]
    shown = client.get_model_version_by_alias("california_housing_model", "candidate")
    assert str(shown.version) == again["registration"]["version"]


def test_a_refused_model_exits_with_3_lists_each_reason_and_gets_no_policy_version(train, sample, rows):
    ended = train("--data", str(sample), "--params", "max_iter=1 learning_rate=0.001", "--json")
    assert ended.code == 3
    refused = ended.outcome["evaluation"]
    assert not refused["passed"]
    assert len(refused["reasons"]) >= 2
    assert refused["policy_version"] is None
    assert "REFUSED" in ended.printed
    query = "SELECT passed, reasons FROM exp.evaluations WHERE evaluation_id = %s"
    assert rows(query, refused["evaluation_id"]) == [{"passed": False, "reasons": refused["reasons"]}]


def test_without_data_the_sample_is_said_first_and_last_and_tagged(train, client, rows):
    # a proxy that nobody listens on stands for a network that is not there
    proxy = {"https_proxy": "http://127.0.0.1:9"}
    ended = train("--run-name", "on the sample", "--set", "seed=777", "--json", environment=proxy)  # no dataset has it
    assert ended.code == 0, ended.printed
    lines = [line for line in ended.printed[: ended.printed.index("\n{")].splitlines() if line.strip()]
    assert "SAMPLE" in "".join(lines[:5]), ended.printed
    assert "SAMPLE" in "".join(lines[-3:])
    outcome = ended.outcome
    assert outcome["dataset"]["name"] == "california_housing_sample"
    assert client.get_run(outcome["training"]["run_id"]).data.tags["data_source"] == "sample"


def test_a_failure_ends_failed_with_the_traceback_as_an_artifact_and_one_line(train, client, sample, tmp_path):
    ended = train("--data", str(sample), "--run-name", "fails", "--inline", **FAILS_IN_FIT)
    assert ended.code == 1
    error = ended.printed.strip().splitlines()[-1]
    assert error.startswith("modelyard: training failed: RuntimeError: made to fail")
    run_id = error.partition("/runs/")[2].partition("?")[0]
    assert client.get_run(run_id).info.status == "FAILED"
    text = Path(client.download_artifacts(run_id, "error/traceback.txt", str(tmp_path))).read_text()
    assert "RuntimeError: made to fail" in text
    assert client.search_model_versions(f"run_id = '{run_id}'") == []


def test_an_evaluation_that_fails_ends_failed_and_the_same_command_goes_on(train, client, sample, rows, stack):
    arguments = ("--data", str(sample), "--run-name", "evaluation fails", "--inline")
    with workers_asleep(stack):  # or the evaluator would go on with it
        ended = train(*arguments, at="before modelyard.pipeline.evaluate:apply_gate", fault="fail")
        again = train(*arguments)
    assert ended.code == 1
    error = ended.printed.strip().splitlines()[-1]
    assert error.startswith("modelyard: evaluation failed: RuntimeError: made to fail")
    assert client.get_run(error.partition("/runs/")[2].partition("?")[0]).info.status == "FAILED"
    assert again.code == 0
    query = "SELECT count(*) FROM exp.model_versions JOIN exp.jobs USING (job_id) WHERE arguments->>'run_name' = %s"
    assert rows(query, "evaluation fails") == [{"count": 1}]


def test_the_alias_stays_with_the_newest_candidate_when_an_older_training_goes_on(train, client, sample, stack):
    older = ("--data", str(sample), "--run-name", "older", "--inline")
    newer = ("--data", str(sample), "--run-name", "newer", "--inline", "--json")
    with workers_asleep(stack):
        assert train(*older, at="before modelyard.pipeline.evaluate:project_model").code == -9
        newest = train(*newer).outcome["registration"]["version"]
        assert train(*older).code == 0
    assert str(client.get_model_version_by_alias("california_housing_model", "candidate").version) == newest


def test_a_registered_model_that_was_deleted_in_mlflow_is_numbered_on(train, client, sample, outcome, rows):
    highest = rows("SELECT max(mlflow_model_version::integer) AS number FROM exp.model_versions")[0]["number"]
    client.delete_registered_model("california_housing_model")
    ended = train("--data", str(sample), "--run-name", "after a deletion", "--json")
    assert ended.code == 0, ended.printed
    again = ended.outcome
    assert int(again["registration"]["version"]) > highest
    left = client.search_model_versions("name = 'california_housing_model'")
    assert [str(version.version) for version in left] == [again["registration"]["version"]]


def test_the_same_training_twice_inline_at_once_is_refused(train, sample, stack, rows):
    arguments = ("--data", str(sample), "--run-name", "twice", "--inline")
    assert train(*arguments, **FAILS_IN_FIT).code == 1
    (job,) = rows("SELECT job_id FROM exp.jobs WHERE arguments->>'run_name' = 'twice'")
    with connect(stack.dsn(stack.person)) as connection, hold_job(connection, job_id=job["job_id"]):
        second = train(*arguments)
    assert second.code == 2
    assert "another process" in second.printed


def test_the_real_data_reaches_the_reference(train, real_data, client):
    if real_data is None:
        pytest.skip("no real data: set MODELYARD_TEST_DATA_DIR to a folder with california_housing/cal_housing.data")
    data = str(real_data / "california_housing" / "cal_housing.data")
    for config, limit in ([], 0.4660), (["--config", "tuned"], 0.4450):
        ended = train("--data", data, "--json", *config)
        assert ended.code == 0, ended.printed
        outcome = ended.outcome
        assert 0.39 < outcome["training"]["metrics"]["test_rmse"] <= limit
        assert outcome["training"]["baselines"]["mean"]["rmse"] == pytest.approx(1.145, abs=0.001)
        if not config:  # the tuned configuration has more features, for the linear baseline too
            assert outcome["training"]["baselines"]["linear"]["rmse"] == pytest.approx(0.746, abs=0.001)
