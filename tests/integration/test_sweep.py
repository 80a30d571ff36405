"""A sweep from its trainings to the best one's registration, through what may happen to workers and to its client."""

import json
import signal
import subprocess
import sys

import psycopg
import pytest
from mlflow import MlflowClient

from tests.browser import look, open_page
from tests.integration.crew import WORKLOAD, Fault, open_crew

FIT = "before modelyard.workloads.california_housing:Trained"


@pytest.fixture(scope="module")
def crew():
    with open_crew() as crew:
        crew.start(trainers=2, evaluators=1)
        yield crew


@pytest.fixture
def rows(crew):
    with psycopg.connect(crew.dsn) as connection:
        yield lambda query, *values: connection.execute(query, values).fetchall()


def launch(crew, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "modelyard", *words],
        env=crew.make_environment(),
        cwd=crew.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process):
    """Its exit code, what it printed as JSON, and all that it said to people."""
    out, said = process.communicate(timeout=300)
    return process.returncode, json.loads(out) if out.startswith("{") else None, said


@pytest.fixture(scope="module")
def swept(crew):
    """A sweep of three trainings on three datasets: a worker is killed in one of them, and one fails for good."""
    crew.place("seed 902", Fault(do="kill-worker", at=FIT))
    crew.place("seed 903", *(Fault(do="fail", at=FIT, attempt=attempt) for attempt in (1, 2, 3)))
    words = ("--model-type", "ridge", "--set", "seed=901,902,903", "--set", "alpha=2", "--data", str(crew.sample))
    return end(launch(crew, "sweep", WORKLOAD, *words, "--json"))


def test_a_killed_worker_changes_nothing_and_a_failed_training_is_named(crew, swept, rows):
    code, outcome, said = swept
    assert code == 1, said
    assert "1 of 3 trainings have not succeeded" in said
    assert sorted(one["name"] for one in outcome["ranking"]) == ["ridge seed=901 alpha=2.0", "ridge seed=902 alpha=2.0"]
    assert [one["value"] for one in outcome["ranking"]] == sorted(one["value"] for one in outcome["ranking"])
    [failed] = outcome["failed"]
    assert (failed["name"], failed["state"]) == ("ridge seed=903 alpha=2.0", "failed")
    assert "made to fail" in failed["error"]
    [killed] = [one["job_id"] for one in outcome["ranking"] if "902" in one["name"]]
    assert rows("SELECT attempt FROM exp.job_states WHERE job_id = %s", killed) == [(2,)]
    assert crew.wait_struck("seed 902").worker in crew.ended


def test_a_ranked_training_is_a_finished_run_with_its_own_dataset_and_is_not_registered(crew, swept, rows):
    _, outcome, _ = swept
    client = MlflowClient(crew.stack.tracking_uri)
    found = [client.get_run(one["run_id"]) for one in outcome["ranking"]]
    assert {run.info.status for run in found} == {"FINISHED"}
    assert [run.data.metrics["validation_rmse"] for run in found] == [one["value"] for one in outcome["ranking"]]
    assert [run.info.run_name for run in found] == [one["name"] for one in outcome["ranking"]]
    assert len({run.data.params["dataset_digest"] for run in found}) == 2
    assert rows("SELECT count(*) FROM exp.model_versions") == [(0,)]


def test_a_training_that_failed_is_tried_again_and_the_sweep_goes_on(crew, swept):
    _, outcome, _ = swept
    assert end(launch(crew, "jobs", "retry", outcome["failed"][0]["job_id"]))[0] == 0
    code, resumed, said = end(launch(crew, "sweep", "--resume", outcome["sweep_id"], "--json"))
    assert code == 0, said
    assert (len(resumed["ranking"]), resumed["failed"]) == (3, [])


@pytest.mark.browser
def test_the_link_leads_to_the_runs_side_by_side(swept):
    _, outcome, _ = swept
    with open_page() as page:
        look(page, outcome["compare_url"], "Comparing 2 Runs")


def test_a_stopped_client_changes_nothing_and_only_the_best_is_registered(crew, rows):
    crew.place("seed 904", Fault(do="hold", at=FIT))
    words = ("sweep", WORKLOAD, "--set", "seed=904", "--set", "max_iter=2,60")
    client = launch(crew, *words, "--data", str(crew.sample))
    crew.wait_struck("seed 904")
    client.send_signal(signal.SIGINT)
    code, _, said = end(client)
    assert code == 130
    assert "goes on without you" in said
    code, again, said = end(launch(crew, *words, "--no-wait", "--json"))
    assert code == 0, said
    assert again["sweep_id"] in said
    assert rows("SELECT count(*) FROM exp.sweep_jobs WHERE sweep_id = %s", again["sweep_id"]) == [(2,)]
    assert rows("SELECT count(*) FROM exp.sweeps WHERE arguments #>> '{values,seed,0}' = '904'") == [(1,)]
    crew.release("seed 904")
    code, outcome, said = end(launch(crew, "sweep", "--resume", again["sweep_id"][:8], "--best", "--json"))
    assert code == 0, said
    best, other = outcome["ranking"]
    assert (best["parameters"]["max_iter"], other["parameters"]["max_iter"]) == (60, 2)
    assert rows("SELECT mlflow_run_id FROM exp.model_versions") == [(best["run_id"],)]
    assert outcome["best"]["evaluation"]["passed"]


def test_a_dataset_that_was_processed_otherwise_is_refused_and_nothing_is_queued(crew, rows):
    before = rows("SELECT count(*) FROM exp.jobs")
    code, _, said = end(launch(crew, "sweep", WORKLOAD, "--dataset", WORKLOAD, "--set", "seed=1,2"))
    assert code == 2
    assert "was processed otherwise" in said
    assert rows("SELECT count(*) FROM exp.jobs") == before
