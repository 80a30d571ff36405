"""Bytes that are not the recorded ones are refused before anything opens them, and nothing follows from them."""

import psycopg
import pytest

from modelyard.workloads.registry import get_workload
from tests.integration.trainings import workers_asleep


@pytest.fixture
def train(command, tmp_path):
    """A training on data of its own, done here: stopped by a fault, or gone on with."""
    sample = get_workload("california_housing").sample(tmp_path)[0]

    def run(name, seed, **fault):
        request = ["--data", str(sample), "--run-name", name, "--set", f"seed={seed}"]
        return command("train", "california_housing", *request, "--inline", **fault)

    return run


def find_artifact(stack, name, path):
    """The stored file of the training (or of its dataset) with this run name."""
    with psycopg.connect(stack.dsn(stack.person)) as connection:
        query = """
            SELECT v.mlflow_model_id, d.mlflow_run_id
            FROM exp.model_versions AS v JOIN exp.jobs AS j USING (job_id) JOIN exp.datasets AS d USING (dataset_id)
            WHERE j.arguments->>'run_name' = %s
        """
        owners = connection.execute(query, [name]).fetchone()
    (found,) = [file for owner in owners for file in (stack.home / "artifacts").rglob(f"*{owner}*/**/{path}")]
    return found


def find_evaluation(stack, name):
    """Id and state of the job that evaluates the training with this run name."""
    with psycopg.connect(stack.dsn(stack.person)) as connection:
        query = """
            SELECT e.job_id::text, e.state FROM exp.jobs AS e JOIN exp.jobs AS t ON e.parent_job_id = t.job_id
            WHERE t.arguments->>'run_name' = %s
        """
        return connection.execute(query, [name]).fetchone()


def assert_nothing_followed(stack, name):
    with psycopg.connect(stack.dsn(stack.person)) as connection:
        query = """
            SELECT count(e.*), count(p.*), min(s.stage)
            FROM exp.model_versions AS v JOIN exp.jobs AS j USING (job_id)
            LEFT JOIN exp.evaluations AS e USING (mlflow_model_name, mlflow_model_version)
            LEFT JOIN exp.policy_versions AS p USING (mlflow_model_name, mlflow_model_version)
            JOIN exp.stages AS s USING (mlflow_model_name, mlflow_model_version)
            WHERE j.arguments->>'run_name' = %s
        """
        assert connection.execute(query, [name]).fetchone() == (0, 0, "none")


CASES = ["model flipped", "model truncated", "model gone", "dataset flipped", "split emptied"]


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("model.skops", flip),
        ("model.skops", lambda content: content[:-100]),
        ("model.skops", lambda content: None),
        ("metadata/X.parquet", flip),
        ("metadata/split.parquet", lambda content: b""),
    ],
    ids=CASES,
)
def test_a_stored_file_that_was_changed_is_refused_and_nothing_follows(stack, command, train, request, path, change):
    name = request.node.callspec.id
    seed = 4000 + CASES.index(name)
    with workers_asleep(stack):  # or the evaluator would be done before the file is changed
        stopped = train(name, seed, at="before modelyard.pipeline.evaluate:download_recorded", fault="interrupt")
        assert stopped.code == 130
        stored = find_artifact(stack, name, path)
        original = stored.read_bytes()
        changed = change(original)
        if changed is None:
            stored.unlink()
        else:
            stored.write_bytes(changed)
        refused = train(name, seed)
    assert refused.code == 1
    assert "is not what was recorded: expected sha256" in refused.printed
    assert_nothing_followed(stack, name)
    evaluation = find_evaluation(stack, name)
    assert evaluation[1] == "failed", "another attempt would only find the same"
    stored.write_bytes(original)
    assert command("jobs", "retry", evaluation[0]).code == 0
    assert command("jobs", "follow", evaluation[0]).code == 0
    assert find_evaluation(stack, name)[1] == "succeeded"
