"""An hourly series on the stack: from raw hours to forecasts by the name of a policy."""

import numpy as np
import pytest
from mlflow import MlflowClient

from modelyard.data.files import read_table
from modelyard.workloads.registry import build_parameters, get_workload

NAME, POLICY = "hourly_energy", "hourly_energy_policy"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return get_workload(NAME).sample(tmp_path_factory.mktemp("raw"))[0]


def test_a_ridge_is_trained_promoted_asked_by_policy_and_made_again(command, sample, stack, tmp_path):
    outcome = command("train", NAME, "--data", sample, "--set", "refit_days=60", "--inline", "--json").checked().outcome
    run = MlflowClient(stack.tracking_uri).get_run(outcome["training"]["run_id"])
    assert outcome["evaluation"]["passed"]
    assert run.data.metrics["test_mae"] < 0.9 * run.data.metrics["baseline_epf_naive_mae"]
    version = outcome["evaluation"]["policy_version"]
    command("promote", POLICY, "--version", version, "--reason", "to begin with").checked()

    workload = get_workload(NAME)
    _, parameters = build_parameters(workload, model_type=None, values={})
    dataset = workload.process(workload.load_raw([sample], parameters=parameters), parameters=parameters)
    rows = dataset.load_rows("test")
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    command("predict", POLICY, "--in", tmp_path / "rows.parquet", "--out", tmp_path / "answers.parquet").checked()
    answers = read_table(tmp_path / "answers.parquet")["prediction"].to_numpy()
    error = float(np.mean(np.abs(answers - rows["target"])))
    assert error == pytest.approx(run.data.metrics["test_mae"])
    assert command("reproduce", f"{NAME}_model/1", "--inline", "--json").checked().outcome["reproduction"]["equal"]
