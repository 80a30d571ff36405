"""The standard scores of a task are scikit-learn's, however the rows come."""

import math
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn import metrics as reference

from modelyard.data.scoring import Scores, compare_scores
from modelyard.data.whole_groups import WholeGroups
from modelyard.errors import BadInput, UnknownName
from modelyard.pipeline.gate import apply_gate
from modelyard.workloads.metrics import score_regression
from modelyard.workloads.rules import load_rules
from modelyard.workloads.tasks import MAX_CLASSES, get_task

BATCHES = [1, 7, 64, 10_000]


def sum_up(task, truth, predictions, *, batch=10_000, groups=None):
    """Scores of rows that come in batches, of groups in whole ones."""
    scores, held = Scores(), WholeGroups("group")
    columns = {"truth": truth, "answer": predictions}
    rows = pa.table(columns if groups is None else columns | {"group": groups})
    parts = [rows.slice(start, batch) for start in range(0, len(truth), batch)]
    if groups is not None:
        parts = [*map(held.add, parts), held.finish()]
    for part in parts:
        of = None if groups is None else part["group"]
        scores.update(task.score(part["truth"].to_numpy(), part["answer"].to_numpy(), groups=of), groups=of)
    return scores


def evaluate(name, truth, predictions, *, batch=10_000, groups=None):
    task = get_task(name)
    found = task.summarize(sum_up(task, truth, predictions, batch=batch, groups=groups).totals)
    assert set(found) == {metric.name for metric in task.metrics}
    assert all(type(value) is float for value in found.values())
    return found


# ── regression ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("offset", [0.0, -3.0, 1e6, 1e9])
def test_regression_is_scored_as_scikit_learn_does(batch, offset):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=300) + offset
    predictions = truth + 0.5 * rng.normal(size=300)
    assert evaluate("regression", truth, predictions, batch=batch) == pytest.approx(
        {
            "rmse": reference.root_mean_squared_error(truth, predictions),
            "mae": reference.mean_absolute_error(truth, predictions),
            "r2": reference.r2_score(truth, predictions),
            "mape": reference.mean_absolute_percentage_error(truth, predictions),
        },
        rel=1e-9,
    )


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 / 3])
def test_r2_of_a_constant_target_is_what_the_workloads_say(value):
    truth = np.full(1000, value)
    for predictions in (truth, truth + 1):
        expected = score_regression(truth, predictions)["r2"]
        assert evaluate("regression", truth, predictions, batch=33)["r2"] == expected


@pytest.mark.parametrize("truth", [[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]])
def test_r2_of_a_missing_answer_is_none_also_where_the_target_is_constant(truth):
    answers = np.array([2.0, math.nan, 2.0])
    assert math.isnan(score_regression(truth, answers)["r2"])
    assert math.isnan(evaluate("regression", truth, answers)["r2"])


def test_a_target_of_zero_and_integers_are_scored():
    truth, predictions = np.array([0, 1, 2]), np.array([1.0, 1.0, 2.5])
    assert evaluate("regression", truth, predictions)["mape"] == pytest.approx(
        reference.mean_absolute_percentage_error(truth, predictions)
    )


# ── classification ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("labels", [["no", "yes"], ["a", "b c", "d true", ""], [0, 1, 2, 7], [1.5, 2.0, 3.0]])
def test_classification_is_scored_as_scikit_learn_does(batch, labels):
    rng = np.random.default_rng(1)
    truth = np.array(labels, dtype=object)[np.minimum(rng.geometric(0.4, 200), len(labels)) - 1]
    predictions = np.where(rng.random(200) < 0.6, truth, rng.permutation(truth))
    found = evaluate("classification", truth.tolist(), predictions.tolist(), batch=batch)
    names = [str(value) for value in truth], [str(value) for value in predictions]
    assert found == pytest.approx(
        {
            "accuracy": reference.accuracy_score(*names),
            "balanced_accuracy": reference.balanced_accuracy_score(*names),
            "f1_macro": reference.f1_score(*names, average="macro", zero_division=0),
        }
    )


def test_classes_that_are_only_answered_or_only_true_count_as_scikit_learn_has_it():
    truth, predictions = ["a", "a", "b", "b"], ["a", "c", "a", "a"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that c is not in the truth
        balanced = reference.balanced_accuracy_score(truth, predictions)
    found = evaluate("classification", truth, predictions, batch=1)
    assert found["balanced_accuracy"] == pytest.approx(balanced)
    assert found["f1_macro"] == pytest.approx(reference.f1_score(truth, predictions, average="macro", zero_division=0))


@pytest.mark.parametrize(
    ("truth", "predictions"),
    [
        ([1, 0, 1], [1.0, 0.0, 1.0]),
        ([True, False, True], [1, 0, 1]),
        (pd.Series(["a", "b", "a"], dtype="category"), np.array([["a"], ["b"], ["a"]], dtype=object)),
    ],
)
def test_equal_classes_in_other_types_are_equal(truth, predictions):
    task, scores = get_task("classification"), Scores()
    scores.update(task.score(np.asarray(truth), np.asarray(predictions)))
    assert task.summarize(scores.totals)["accuracy"] == 1


@pytest.mark.parametrize("missing", [None, math.nan, pd.NA])
def test_a_text_that_is_missing_is_no_class(missing):
    task, scores = get_task("classification"), Scores()
    scores.update(task.score(np.array(["a", "b"]), pd.Series(["a", missing], dtype=object)))
    assert all(math.isnan(value) for value in task.summarize(scores.totals).values())
    with pytest.raises(BadInput, match="the target is missing in 1 of 2 rows; log the dataset without those rows"):
        task.score(pd.Series(["a", missing], dtype=object), np.array(["a", "b"]))


@pytest.mark.parametrize("target", [[0, 1] * 600, [0.0, 1.0] * 600, [False, True] * 600])
@pytest.mark.parametrize("answers", [[0.31, 0.62] * 600, np.linspace(0.001, 0.999, 1200)])
def test_probabilities_are_no_classes(target, answers):
    with pytest.raises(BadInput, match=r"predictions such as 0\.\d+ are no classes of .* with its threshold"):
        evaluate("classification", target, answers, batch=64)


def test_classes_of_several_types_are_refused():
    with pytest.raises(BadInput, match="of one type"):
        get_task("classification").score(np.array(["a", "b"]), np.array(["a", 1], dtype=object))


def test_a_target_of_too_many_classes_is_refused():
    task = get_task("classification")
    task.score(np.arange(MAX_CLASSES), np.arange(MAX_CLASSES))
    with pytest.raises(BadInput, match="a target of numbers is task regression"):
        task.score(np.array([-1]), np.array([0]))


# ── ranking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def make_queries(seed, *, ties):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 25, 40)
    groups = np.repeat(rng.permutation(40), sizes)
    truth = rng.integers(0, 4, sizes.sum())
    scores = truth + 2 * rng.normal(size=len(truth))
    return groups, truth, np.round(scores) if ties else scores


def ndcg(groups, truth, predictions, depth):
    of = [groups == group for group in np.unique(groups)]
    return np.mean([reference.ndcg_score([truth[rows]], [predictions[rows]], k=depth) for rows in of])


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("ties", [False, True])
def test_ranking_is_scored_as_scikit_learn_does_also_where_a_query_falls_into_two_batches(batch, ties):
    groups, truth, predictions = make_queries(2, ties=ties)
    found = evaluate("ranking", truth, predictions, groups=groups, batch=batch)
    assert found == pytest.approx({f"ndcg@{depth}": ndcg(groups, truth, predictions, depth) for depth in (5, 10)})


def test_queries_that_stand_apart_within_a_batch_are_one_group_of_it():
    groups, truth, predictions = make_queries(3, ties=False)
    mixed = np.random.default_rng(0).permutation(len(groups))
    task, scores = get_task("ranking"), Scores()
    scores.update(task.score(truth[mixed], predictions[mixed], groups=groups[mixed]), groups=groups[mixed])
    assert task.summarize(scores.totals)["ndcg@10"] == pytest.approx(ndcg(groups, truth, predictions, 10))


@pytest.mark.parametrize(("truth", "expected"), [([0, 0], 0.0), ([3], 1.0), ([0], 0.0), ([2, 2], 1.0)])
def test_a_query_with_nothing_to_tell_apart_has_a_score(truth, expected):
    found = evaluate("ranking", truth, [0.5] * len(truth), groups=[1] * len(truth))
    assert found == {"ndcg@10": pytest.approx(expected), "ndcg@5": pytest.approx(expected)}


def test_a_ranking_is_resampled_by_query():
    groups, truth, predictions = make_queries(4, ties=False)
    task = get_task("ranking")
    ours = sum_up(task, truth, predictions, groups=groups, batch=50)
    theirs = sum_up(task, truth, np.zeros(len(truth)), groups=groups, batch=50)
    assert ours.num_units == 40
    first = compare_scores(ours, theirs, task.summarize, seed=0)[0]
    assert first.metric == "ndcg@10" and 0 < first.low < first.difference < first.high


@pytest.mark.parametrize("truth", [[-1.0, 2.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_a_relevance_that_is_none_is_refused(truth):
    with pytest.raises(BadInput, match="a finite number, 0 or more"):
        get_task("ranking").score(np.array(truth), np.zeros(2), groups=np.zeros(2))


def test_a_ranking_without_groups_is_refused():
    with pytest.raises(BadInput, match="needs a group column"):
        get_task("ranking").score(np.ones(2), np.ones(2))


# ── all of them ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["regression", "classification", "ranking"])
@pytest.mark.parametrize("missing", [math.nan, math.inf, -math.inf])
def test_one_answer_that_is_not_finite_is_refused_by_the_shipped_gate(name, missing):
    truth, predictions = [1.0, 0.0, 1.0, 0.0], [1.0, missing, 1.0, 0.0]
    groups = [1, 1, 2, 2] if name == "ranking" else None
    found = evaluate(name, truth, predictions, groups=groups)
    assert not apply_gate(load_rules(name).gate, metrics=found, baselines={}, production=None).passed
    exact = evaluate(name, truth, truth, groups=groups)
    assert apply_gate(load_rules(name).gate, metrics=exact, baselines={}, production=None).passed


@pytest.mark.parametrize("name", ["regression", "classification", "ranking"])
@pytest.mark.parametrize(
    ("truth", "predictions"),
    [
        ([1.0, 0.0], [1.0]),
        ([1.0, 0.0], [[0.1, 0.9], [0.2, 0.8]]),
        ([1.0, 0.0], ["up", "down"]),
        (["up", "down"], [1.0, 0.0]),
        ([None, 1.0], [1.0, 1.0]),
        ([math.nan, 1.0], [1.0, 1.0]),
    ],
)
def test_answers_and_targets_that_are_none_of_the_task_are_refused(name, truth, predictions):
    with pytest.raises(BadInput):
        get_task(name).score(np.array(truth), np.array(predictions), groups=np.zeros(2))


def test_a_task_without_standard_scores_is_told():
    with pytest.raises(UnknownName, match="Known: classification, ranking, regression"):
        get_task("generation")
