"""A participant that a model was trained on tells nothing of how it does on others, whichever dataset has the rows."""

import pytest

from modelyard.workloads.registry import get_workload

NAME, QUICK = "eeg_remission", ("--set", "window_s=10")


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Recordings of the same participants, made up anew for each number: as options of a command."""

    def make(seed):
        files = get_workload(NAME).sample(tmp_path_factory.mktemp("raw"), seed=seed)
        return [word for file in reversed(files) for word in ("--data", file)]

    return make


@pytest.fixture(scope="module")
def model(command, sample):
    words = ("--model-type", "logistic_regression", "--set", "cv_folds=2", *QUICK)
    ended = command("train", NAME, *sample(0), *words, "--inline", "--json")
    assert ended.code in (0, 3), ended.printed
    made = ended.outcome["registration"]
    assert [one["limit"] for one in ended.outcome["evaluation"]["limits"]], "its own dataset has no such row"
    return f"{made['model_name']}/{made['version']}"


@pytest.fixture(scope="module")
def other(command, sample):
    """Other recordings of the same participants, in another split."""
    ended = command("process", NAME, *sample(1), *QUICK, "--set", "seed=9", "--inline", "--json")
    assert ended.code == 0, ended.printed
    made = ended.outcome["dataset"]
    return f"{made['name']}@{made['version']}"


def test_rows_of_a_participant_that_it_was_trained_on_are_refused_and_counted(command, model, other):
    ended = command("evaluate", model, "--dataset", other, "--inline", "--json")
    assert ended.code == 2, ended.printed
    assert "are of groups whose other rows" in ended.printed
    assert "Participant" in ended.printed and "nothing was judged by them" in ended.printed
    assert f"modelyard evaluate {model} --dataset {other} --unseen-rows scores the" in " ".join(ended.printed.split())


def test_the_others_are_scored_where_that_is_asked_for(command, model, other, rows):
    ended = command("evaluate", model, "--dataset", other, "--unseen-rows", "--inline", "--json")
    assert ended.code in (0, 3), ended.printed
    found = ended.outcome["evaluation"]
    [dataset] = rows("SELECT split_counts FROM exp.datasets WHERE name = %s AND version = %s", *other.split("@"))
    assert found["unseen_rows"] is True
    assert 0 < found["rows"] < dataset["split_counts"]["test"]
