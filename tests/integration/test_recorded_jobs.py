"""Jobs as another release, or somebody by hand, has recorded them: done as they say, or refused once and for all."""

import pytest
from mlflow import MlflowClient

from modelyard.pipeline.raw import LocatedData, hash_raw, store_raw
from modelyard.pipeline.request import build_request
from modelyard.store.attempts import list_attempts
from modelyard.store.connections import connect
from modelyard.store.following import follow_job
from modelyard.store.jobs import submit_job
from modelyard.tracking.runs import ORPHAN_TAG
from modelyard.workloads.registry import get_workload

ABSENT = {"name": "a.csv", "sha256": "0" * 64, "size_bytes": 1}


@pytest.fixture(scope="module")
def arguments(stack, tmp_path_factory):
    """What ``modelyard process`` records for the sample."""
    files = get_workload("california_housing").sample(tmp_path_factory.mktemp("raw"))
    hashed = hash_raw(LocatedData(files=tuple(files), source="sample", why="made up"))
    raw = store_raw(hashed, raw_uri=stack.raw_uri)
    return build_request("california_housing", values={"seed": 5000}).arguments(raw)


@pytest.fixture
def do(stack):
    """Submit a job, wait until it has ended, and return it with its attempts."""

    def run(kind, arguments):
        dsn = stack.dsn(stack.person)
        with connect(dsn) as connection:
            job_id = submit_job(connection, kind=kind, arguments=arguments)
            *_, job = follow_job(dsn, job_id=job_id)
            return job, list_attempts(connection, job_id=job_id)

    return run


def test_a_job_of_other_code_is_done_with_the_code_that_is_there_and_says_so(do, arguments):
    job, _ = do("process", arguments | {"workload_sha256": "0" * 64})
    assert job.state == "succeeded"
    assert [result["name"] for result in job.results] == ["notice", "dataset"]
    assert "code has changed since this was asked for" in job.result["notice"]["text"]
    job, _ = do("process", arguments)
    assert [result["name"] for result in job.results] == ["dataset"]


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("process", {"workload": "flats"}, "there is no workload 'flats'"),
        ("process", {"parameters": {"max_dept": 6}}, "did you mean 'max_depth'"),
        ("train", {"run_name": "a\nb"}, "printable"),
        ("blend", {}, "models of california_housing are not blended"),
        ("evaluate", {"model_name": "flats_model", "model_version": "1"}, "was not registered by modelyard"),
        ("process", {"raw": {"digest": "0" * 64, "files": [ABSENT]}}, "the raw store has lost"),
    ],
    ids=["workload", "parameter", "run name", "kind", "model version", "raw data"],
)
def test_a_job_that_this_release_cannot_do_fails_at_once_with_the_reason(stack, do, arguments, kind, changes, said):
    raw = arguments["raw"] | changes.get("raw", {})
    job, tried = do(kind, arguments | changes | {"raw": raw})
    assert (job.state, job.orphaned) == ("failed", False)
    assert said in job.error
    assert [attempt.state for attempt in tried] == ["failed"], "another attempt would only find the same"
    client = MlflowClient(stack.tracking_uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`modelyard.job_id` = '{job.job_id}'")
    assert [run.info.status for run in runs] == ["FAILED"]
    assert said in runs[0].data.tags[ORPHAN_TAG], "and MLflow says why"
