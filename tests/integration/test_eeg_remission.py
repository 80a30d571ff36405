"""EEG on a real stack: two commands, two runs; what can be learned is promoted, and the shared label is refused."""

import pandas
import pytest
import yaml
from mlflow import MlflowClient

from modelyard.workloads.registry import get_workload
from tests.integration.trainings import environment_of, run_command


@pytest.fixture(scope="module")
def command(stack, stack_settings, tmp_path_factory):
    """Run ``modelyard`` with arguments in a folder of its own."""

    def run(*arguments):
        folder = tmp_path_factory.mktemp("eeg")
        settings = environment_of(stack, stack_settings.mlflow_port) | {"MODELYARD_DATA_DIR": str(folder / "data")}
        return run_command(list(arguments), environment=settings, folder=folder)

    return run


def find_run(processed):
    """The run that has logged a dataset."""
    return processed["dataset"]["run_url"].partition("/runs/")[2].partition("?")[0]


@pytest.fixture(scope="module")
def trained(command, tmp_path_factory):
    """The outcome of ``process`` and of ``train`` on what it has made."""
    folder = tmp_path_factory.mktemp("raw")
    files = get_workload("eeg_remission").sample(folder)
    config = folder / "eeg.yaml"
    config.write_text(yaml.safe_dump({"window_s": 2, "artefact_uv": 60}))
    data = [word for path in files for word in ("--data", str(path))]
    processed = command("process", "eeg_remission", *data, "--config", str(config), "--json")
    assert processed.code == 0, processed.printed
    run_id = find_run(processed.outcome)
    words = ("--level", "window", "--model-type", "logistic_regression", "--use-dataset-from-run", run_id, "--json")
    ended = command("train", "eeg_remission", *words)
    assert ended.code == 0, ended.printed
    return processed.outcome, ended.outcome


def test_two_commands_are_two_runs_and_what_can_be_learned_is_promoted_and_predicts(trained, command, stack, tmp_path):
    processed, outcome = trained
    assert outcome["dataset"]["dataset_id"] == processed["dataset"]["dataset_id"]
    client = MlflowClient(stack.tracking_uri)
    run = client.get_run(outcome["training"]["run_id"])
    assert run.info.run_id != find_run(processed)
    assert (run.data.params["window_s"], run.data.params["level"]) == ("2.0", "window")
    assert {"plots/folds.png", "summary/folds.txt"} <= {
        file.path for folder in ("plots", "summary") for file in client.list_artifacts(run.info.run_id, folder)
    }
    assert outcome["evaluation"]["passed"], outcome["evaluation"]["reasons"]
    promoted = command("promote", "eeg_remission_policy", "--reason", "passed")
    assert promoted.code == 0, promoted.printed
    rows, answers = tmp_path / "rows.csv", tmp_path / "answers.csv"
    name = "{name}@{version}".format_map(processed["dataset"])
    exported = command("datasets", "export", name, "--format", "csv", "--output", str(rows))
    assert exported.code == 0, exported.printed
    predicted = command("predict", "eeg_remission_policy", "--in", str(rows), "--out", str(answers))
    assert predicted.code == 0, predicted.printed
    found = pandas.read_csv(answers)
    assert (found["remission"] == (found["probability"] >= 0.5)).all()
    assert (found["remission"] == found["Remission"]).mean() > 0.7


def test_the_shared_label_is_refused_which_is_the_correct_outcome(command, real_data):
    if real_data is None or not (real_data / "eeg").is_dir():
        pytest.skip("no real data: set MODELYARD_TEST_DATA_DIR to a folder with eeg/eegmat_4ch_250hz.mat")
    ended = command(
        "train", "eeg_remission", "--data", str(real_data / "eeg"), "--model-type", "logistic_regression", "--json"
    )
    assert ended.code == 3, ended.printed
    assert any("balanced_accuracy_low" in reason for reason in ended.outcome["evaluation"]["reasons"])


def test_a_level_that_a_workload_does_not_have_is_refused(command):
    ended = command("train", "california_housing", "--level", "window", "--inline")
    assert ended.code == 2
    assert "there is no parameter of hist_gradient_boosting 'level'" in ended.printed
