"""A training that is killed anywhere and started again ends in one version, one evaluation, one policy version.

The faults strike in the process that does the work itself: ``--inline``. What is killed in a worker is another matter.
"""

import signal

import psycopg
import pytest
from mlflow import MlflowClient

from modelyard.workloads.registry import get_workload
from tests.integration.trainings import environment_of, run_command, workers_asleep

POINTS = [
    "after modelyard.cli.submission:store_raw",
    "after modelyard.store.jobs:submit_job",
    "after modelyard.workers.inline:begin_attempt",
    "after modelyard.pipeline.process:write_dataset",
    "before modelyard.store.datasets:record_dataset",
    "after modelyard.store.datasets:record_dataset",
    "before modelyard.workloads.california_housing:train",
    "before modelyard.workloads.california_housing:Trained",
    "before mlflow:MlflowClient.log_model_artifacts",
    "before mlflow:MlflowClient.finalize_logged_model",
    "after modelyard.store.models:record_model_files",
    "before modelyard.pipeline.register:register",
    "after modelyard.pipeline.register:register",
    "after modelyard.store.models:record_model_version",
    "after modelyard.pipeline.flow:build_arguments",
    "before modelyard.store.attempts:finish_job",
    "after modelyard.pipeline.flow:register_model",
    "before modelyard.pipeline.flow:read_evaluation",
    "before modelyard.pipeline.evaluate:load_verified",
    "before modelyard.store.evaluations:record_evaluation",
    "before modelyard.store.policies:add_policy_version",
    "before modelyard.store.attempts:keep_result",
    "after modelyard.pipeline.evaluate:_record",
    "before modelyard.pipeline.evaluate:project_model",
    "after modelyard.pipeline.flow:evaluate_model",
]
LEFT_TO_WORKERS = [
    "after modelyard.workers.inline:begin_attempt",
    "before modelyard.workloads.california_housing:Trained",
    "after modelyard.pipeline.register:register",
    "after modelyard.pipeline.flow:register_model",
    "before modelyard.pipeline.evaluate:project_model",
]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return get_workload("california_housing").sample(tmp_path_factory.mktemp("raw"))[0]


@pytest.fixture
def train(stack, stack_settings, sample, tmp_path):
    """Run ``modelyard train`` under a run name, perhaps with a fault."""

    def run(name, seed, *arguments, **fault):
        # a claim that runs out soon, so that nobody waits long for workers to go on with what was killed
        environment = environment_of(stack, stack_settings.mlflow_port) | {"MODELYARD_CLAIM_S": "6"}
        # another seed is another split and so another dataset: each case begins with nothing on record
        request = ["--data", str(sample), "--run-name", name, "--set", f"seed={seed}"]
        return run_command(
            ["train", "california_housing", *request, *arguments], environment=environment, folder=tmp_path, **fault
        )

    return run


@pytest.fixture
def quiet(stack):
    """Nobody but the next command goes on with what was killed."""
    with workers_asleep(stack):
        yield


def assert_one_of_each(stack, name):
    """One job of each kind, one version, evaluation, policy version; nothing RUNNING; MLflow and Postgres agree."""
    with psycopg.connect(stack.dsn(stack.person)) as connection:
        jobs = connection.execute(
            """
            SELECT j.job_id, j.state, e.job_id, e.state
            FROM exp.jobs AS j LEFT JOIN exp.jobs AS e ON e.parent_job_id = j.job_id
            WHERE j.arguments->>'run_name' = %s
            """,
            [name],
        ).fetchall()
        assert [(training, evaluation) for _, training, _, evaluation in jobs] == [("succeeded", "succeeded")]
        [(training_id, _, evaluation_id, _)] = jobs
        versions = connection.execute(
            """
            SELECT v.mlflow_model_version, v.mlflow_run_id, array_agg(DISTINCT e.job_id), array_agg(DISTINCT p.version),
                min(s.stage)
            FROM exp.model_versions AS v
            LEFT JOIN exp.evaluations AS e USING (mlflow_model_name, mlflow_model_version)
            LEFT JOIN exp.policy_versions AS p USING (mlflow_model_name, mlflow_model_version)
            LEFT JOIN exp.stages AS s USING (mlflow_model_name, mlflow_model_version)
            WHERE v.job_id = %s GROUP BY 1, 2
            """,
            [training_id],
        ).fetchall()
        running = "SELECT count(*) FROM exp.attempts WHERE job_id = ANY(%s) AND state = 'running'"
        assert connection.execute(running, [[training_id, evaluation_id]]).fetchone() == (0,)
    [(version, run_id, evaluated_by, policy_versions, stage)] = versions
    assert (evaluated_by, len(policy_versions), stage) == ([evaluation_id], 1, "candidate")
    client = MlflowClient(stack.tracking_uri)
    registered = client.search_model_versions(f"name = 'california_housing_model' and run_id = '{run_id}'")
    assert [str(v.version) for v in registered] == [version]
    assert registered[0].tags["stage"] == "candidate"
    assert registered[0].tags["policy_version"] == str(policy_versions[0])
    experiments = [e.experiment_id for e in client.search_experiments()]
    for job_id, run_type in ((training_id, "training"), (evaluation_id, "evaluation")):
        runs = client.search_runs(experiments, f"tags.`modelyard.job_id` = '{job_id}'")
        assert {run.info.status for run in runs} <= {"FINISHED", "FAILED", "KILLED"}
        finished = [run.data.tags["run_type"] for run in runs if run.info.status == "FINISHED"]
        assert finished.count(run_type) == 1
        of_runs = [v for run in runs for v in client.search_model_versions(f"run_id = '{run.info.run_id}'")]
        assert len(of_runs) == (run_type == "training")


@pytest.mark.parametrize("point", POINTS)
def test_a_training_killed_anywhere_and_started_again_ends_in_one_of_each(stack, quiet, train, point):
    seed = 1000 + POINTS.index(point)
    killed = train(point, seed, "--inline", at=point)
    assert killed.code == -signal.SIGKILL, killed.printed
    again = train(point, seed, "--inline")
    assert again.code == 0, again.printed
    assert_one_of_each(stack, point)


@pytest.mark.parametrize("point", LEFT_TO_WORKERS)
def test_workers_finish_a_training_that_was_killed_inline_and_whoever_asks_again_follows_it(stack, train, point):
    name, seed = f"workers {point}", 1500 + LEFT_TO_WORKERS.index(point)
    killed = train(name, seed, "--inline", at=point)
    assert killed.code == -signal.SIGKILL, killed.printed
    again = train(name, seed)
    assert again.code == 0, again.printed
    assert "is the same request and has not ended; going on with it" in again.printed
    assert "PASSED on the test rows" in again.printed
    assert_one_of_each(stack, name)


@pytest.mark.parametrize("fault", ["interrupt", "terminate"])
def test_an_interrupted_training_is_killed_in_mlflow_and_goes_on_when_started_again(stack, train, fault):
    name, seed = f"stopped by {fault}", 2000 + len(fault)
    point = "before modelyard.workloads.california_housing:Trained"
    stopped = train(name, seed, "--inline", at=point, fault=fault)
    assert stopped.code == 130
    assert "interrupted" in stopped.printed
    client = MlflowClient(stack.tracking_uri)
    experiment = client.get_experiment_by_name("california_housing_price").experiment_id
    assert [r.info.status for r in client.search_runs([experiment], f"attributes.run_name = '{name}'")] == ["KILLED"]
    assert train(name, seed, "--inline").code == 0
    assert_one_of_each(stack, name)


def test_an_interrupt_during_registration_waits_until_both_registries_have_the_version(stack, train):
    name, seed = "interrupted in registration", 3000
    point = "after modelyard.pipeline.register:register"
    stopped = train(name, seed, "--inline", at=point, fault="interrupt")
    assert stopped.code == 130
    with psycopg.connect(stack.dsn(stack.person)) as connection:
        query = """
            SELECT count(*) FROM exp.model_versions JOIN exp.jobs USING (job_id) WHERE arguments->>'run_name' = %s
        """
        assert connection.execute(query, [name]).fetchone() == (1,)
    assert train(name, seed, "--inline").code == 0
    assert_one_of_each(stack, name)
