"""Card prices on the stack: from raw prices to signals by the name of a policy."""

import pytest
from mlflow import MlflowClient

from modelyard.data.files import read_table
from modelyard.workloads.registry import get_workload

NAME, POLICY = "pokewatch", "pokewatch_policy"


@pytest.fixture(scope="module")
def outcome(command, tmp_path_factory):
    """The outcome of a training on the sample, which is live afterwards."""
    [sample] = get_workload(NAME).sample(tmp_path_factory.mktemp("raw"))
    outcome = command("train", NAME, "--data", sample, "--inline", "--json").checked().outcome
    version = outcome["evaluation"]["policy_version"]
    command("promote", POLICY, "--version", version, "--reason", "to begin with").checked()
    return outcome


def test_a_training_logs_the_baseline_beside_it_and_its_figures(outcome, stack):
    client, run_id = MlflowClient(stack.tracking_uri), outcome["training"]["run_id"]
    run = client.get_run(run_id)
    assert client.get_experiment(run.info.experiment_id).name == "pokewatch_baseline"
    assert outcome["evaluation"]["passed"] and outcome["training"]["model_type"] == "baseline_moving_average"
    assert run.data.metrics["baseline_last_value_dataset_size"] == run.data.metrics["test_dataset_size"]
    for folder in ("plots", "summary"):
        logged = {file.path for file in client.list_artifacts(run_id, folder)}
        assert logged == {path for path in get_workload(NAME).spec.artifacts if path.startswith(folder)}
    [model] = run.outputs.model_outputs
    assert client.get_logged_model(model.model_id).name == "baseline_model"


@pytest.mark.parametrize(
    "text",
    [
        "card_id,note\ncard-00,mine\nnobody,lost\n",
        "card_id,date,note\ncard-00,2026-01-01,mine\nnobody,2026-01-01,lost\n",
        "date,card_id,note\n2026-01-31T12:00:00,card-00,mine\n2026-01-31T12:00:00,nobody,lost\n",
    ],
)
def test_cards_with_and_without_a_date_are_answered_by_policy(outcome, command, tmp_path, text):
    (tmp_path / "cards.csv").write_text(text)
    command("predict", POLICY, "--in", tmp_path / "cards.csv", "--out", tmp_path / "answers.parquet").checked()
    answers = read_table(tmp_path / "answers.parquet")
    assert answers.column_names == ["note", "fair_value", "signal", "policy_version"]
    known, unknown = answers.to_pylist()
    assert known["fair_value"] > 0 and known["signal"] in ("BUY", "SELL", "HOLD")
    assert unknown["fair_value"] != unknown["fair_value"] and unknown["signal"] == "HOLD"
    assert known["policy_version"] == outcome["evaluation"]["policy_version"]
