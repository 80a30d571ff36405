"""A training that is killed anywhere and started again ends in one version, one evaluation, one policy version."""

import signal

import psycopg
import pytest
from mlflow import MlflowClient

from modelyard.workloads.registry import get_workload
from tests.integration.trainings import environment_of, run_command

POINTS = [
    "after modelyard.pipeline.flow:store_raw",
    "before modelyard.pipeline.process:log_dataset_files",
    "before modelyard.store.datasets:record_dataset",
    "after modelyard.store.datasets:record_dataset",
    "before modelyard.workloads.california_housing:train",
    "before modelyard.workloads.california_housing:Trained",
    "before mlflow:MlflowClient.log_model_artifacts",
    "before mlflow:MlflowClient.finalize_logged_model",
    "after modelyard.store.models:record_model_files",
    "before modelyard.pipeline.train:register",
    "after modelyard.pipeline.train:register",
    "after modelyard.store.models:record_model_version",
    "before modelyard.pipeline.evaluate:load_model",
    "before modelyard.store.evaluations:record_evaluation",
    "before modelyard.store.policies:add_policy_version",
    "after modelyard.pipeline.evaluate:_record",
    "before modelyard.pipeline.evaluate:project_stage",
    "before modelyard.store.jobs:finish_job",
]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return get_workload("california_housing").sample(tmp_path_factory.mktemp("raw"))[0]


def train_arguments(sample, name, seed):
    # another seed is another split and so another dataset: each case begins with nothing on record
    return ["train", "california_housing", "--data", str(sample), "--run-name", name, "--set", f"seed={seed}"]


def assert_one_of_each(stack, name):
    """One job, version, evaluation, policy version; nothing RUNNING; MLflow and Postgres agree."""
    with psycopg.connect(stack.dsn(stack.person)) as connection:
        jobs = connection.execute(
            "SELECT job_id, state FROM exp.jobs WHERE arguments->>'run_name' = %s", [name]
        ).fetchall()
        assert [state for _, state in jobs] == ["succeeded"]
        job_id = jobs[0][0]
        versions = connection.execute(
            """
            SELECT v.mlflow_model_version, v.mlflow_run_id, count(DISTINCT e.evaluation_id),
                count(DISTINCT p.policy_version_id), min(s.stage)
            FROM exp.model_versions AS v
            LEFT JOIN exp.evaluations AS e USING (mlflow_model_name, mlflow_model_version)
            LEFT JOIN exp.policy_versions AS p USING (mlflow_model_name, mlflow_model_version)
            LEFT JOIN exp.stages AS s USING (mlflow_model_name, mlflow_model_version)
            WHERE v.job_id = %s GROUP BY 1, 2
            """,
            [job_id],
        ).fetchall()
    assert [row[2:] for row in versions] == [(1, 1, "candidate")]
    version, run_id = versions[0][:2]
    client = MlflowClient(stack.tracking_uri)
    registered = client.search_model_versions(f"name = 'california_housing_model' and run_id = '{run_id}'")
    assert [str(v.version) for v in registered] == [version]
    assert registered[0].tags["stage"] == "candidate"
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`modelyard.job_id` = '{job_id}'")
    assert {run.info.status for run in runs} <= {"FINISHED", "FAILED", "KILLED"}
    finished = [run.data.tags["run_type"] for run in runs if run.info.status == "FINISHED"]
    assert finished.count("training") == 1
    assert finished.count("evaluation") == 1
    of_runs = [v for run in runs for v in client.search_model_versions(f"run_id = '{run.info.run_id}'")]
    assert len(of_runs) == 1


@pytest.mark.parametrize("point", POINTS)
def test_a_training_killed_anywhere_and_started_again_ends_in_one_of_each(
    stack, stack_settings, sample, tmp_path, point
):
    environment = environment_of(stack, stack_settings.mlflow_port)
    arguments = train_arguments(sample, point, seed=1000 + POINTS.index(point))
    killed = run_command(arguments, environment=environment, folder=tmp_path, at=point)
    assert killed.code == -signal.SIGKILL, killed.printed
    again = run_command(arguments, environment=environment, folder=tmp_path)
    assert again.code == 0, again.printed
    assert_one_of_each(stack, point)


@pytest.mark.parametrize("fault", ["interrupt", "terminate"])
def test_an_interrupted_training_is_killed_in_mlflow_and_goes_on_when_started_again(
    stack, stack_settings, sample, tmp_path, fault
):
    name = f"stopped by {fault}"
    environment = environment_of(stack, stack_settings.mlflow_port)
    arguments = train_arguments(sample, name, seed=2000 + len(fault))
    point = "before modelyard.workloads.california_housing:Trained"
    stopped = run_command(arguments, environment=environment, folder=tmp_path, at=point, fault=fault)
    assert stopped.code == 130
    assert "interrupted" in stopped.printed
    client = MlflowClient(stack.tracking_uri)
    experiment = client.get_experiment_by_name("california_housing_price").experiment_id
    assert [r.info.status for r in client.search_runs([experiment], f"attributes.run_name = '{name}'")] == ["KILLED"]
    assert run_command(arguments, environment=environment, folder=tmp_path).code == 0
    assert_one_of_each(stack, name)


def test_an_interrupt_during_registration_waits_until_both_registries_have_the_version(
    stack, stack_settings, sample, tmp_path
):
    name = "interrupted in registration"
    environment = environment_of(stack, stack_settings.mlflow_port)
    arguments = train_arguments(sample, name, seed=3000)
    point = "after modelyard.pipeline.train:register"
    stopped = run_command(arguments, environment=environment, folder=tmp_path, at=point, fault="interrupt")
    assert stopped.code == 130
    with psycopg.connect(stack.dsn(stack.person)) as connection:
        query = """
            SELECT count(*) FROM exp.model_versions JOIN exp.jobs USING (job_id) WHERE arguments->>'run_name' = %s
        """
        assert connection.execute(query, [name]).fetchone() == (1,)
    assert run_command(arguments, environment=environment, folder=tmp_path).code == 0
    assert_one_of_each(stack, name)
