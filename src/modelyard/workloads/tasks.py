"""The standard scores of a task, for models of other tools: additive, so that rows may come in batches."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from modelyard.data.labels import read_labels
from modelyard.data.scoring import encode_groups
from modelyard.errors import BadInput, UnknownName
from modelyard.workloads.contract import Metric
from modelyard.workloads.metrics import regression_metrics, sum_regression, summarize_regression

Array = np.ndarray[Any, np.dtype[Any]]
MAX_CLASSES = 1000
RANKING_DEPTHS = (10, 5)
_WITHOUT = "log the dataset without those rows"


class TaskScores(Protocol):
    """How answers to a task are scored. One object scores every model of an evaluation, batch by batch.

    Attributes:
        metrics: what ``summarize`` returns; the first one is the primary metric.
        needs_groups: whether ``score`` takes groups, each of them whole in one batch: see ``data.whole_groups``.
    """

    @property
    def metrics(self) -> tuple[Metric, ...]: ...

    @property
    def needs_groups(self) -> bool: ...

    def score(self, truth: Any, predictions: Any, *, groups: Any = None) -> dict[str, Array]:
        """Statistics of n rows, one number a row each; NaN where an answer is missing, which every gate refuses.

        Args:
            truth: the target of n rows.
            predictions: n answers, of shape (n,) or (n, 1).
            groups: of n rows the value that tells which are ranked against each other.

        Raises:
            BadInput: the answers or the target are none of this task.
        """

    def summarize(self, totals: Mapping[str, float]) -> dict[str, float]:
        """The metrics, from the sum of each statistic over all rows."""


def get_task(name: str) -> TaskScores:
    """The scores of a task, for one evaluation.

    Raises:
        UnknownName: no such task, or one that has no standard scores.
    """
    if name not in _TASKS:
        raise UnknownName("task with standard scores", name, _TASKS)
    return _TASKS[name]()


class RegressionScores:
    """RMSE, MAE, R² and MAPE (a share: 0.05 is 5 %), as scikit-learn has them."""

    needs_groups = False
    metrics = (*regression_metrics(unit=""), Metric("mape", "", higher_is_better=False))

    def __init__(self) -> None:
        self._origin: float | None = None

    def score(self, truth: Any, predictions: Any, *, groups: Any = None) -> dict[str, Array]:  # noqa: ARG002
        y, answers = _read_numbers(truth, "the target"), _read_numbers(predictions, "a prediction")
        _check_length(y, answers)
        if not np.isfinite(y).all():
            nb_missing = (~np.isfinite(y)).sum()
            raise BadInput(f"the target is missing or not finite in {nb_missing:,} of {len(y):,} rows; {_WITHOUT}")
        if self._origin is None and len(y):
            self._origin = float(y[0])
        sums = sum_regression(y, answers, origin=self._origin or 0.0)
        return sums | {"share_of_error": sums["absolute_error"] / np.maximum(np.abs(y), np.finfo(float).eps)}

    def summarize(self, totals: Mapping[str, float]) -> dict[str, float]:
        return summarize_regression(totals) | {"mape": totals["share_of_error"] / totals["rows"]}


class ClassificationScores:
    """Accuracy, balanced accuracy and macro F1, as scikit-learn has them, of up to 1,000 classes."""

    needs_groups = False
    metrics = (
        Metric("balanced_accuracy", "", higher_is_better=True),
        Metric("accuracy", "", higher_is_better=True),
        Metric("f1_macro", "", higher_is_better=True),
    )

    def __init__(self) -> None:
        self._labels: set[str] = set()
        self._fraction: float | None = None  # that was answered
        self._fractions_true = False

    def score(self, truth: Any, predictions: Any, *, groups: Any = None) -> dict[str, Array]:  # noqa: ARG002
        (y, known), (answers, given) = read_labels(_flatten(truth)), read_labels(_flatten(predictions))
        _check_length(y, answers)
        if None in known:
            nb_missing = np.isin(y, [code for code, label in enumerate(known) if label is None]).sum()
            raise BadInput(f"the target is missing in {nb_missing:,} of {len(y):,} rows; {_WITHOUT}")
        self._check(known, given)
        codes = {label: code for code, label in enumerate(known)}
        answers = np.array([codes.setdefault(label, len(codes)) for label in given], dtype=np.int64)[answers]
        correct = (y == answers).astype(float)
        if None in codes:
            correct[answers == codes.pop(None)] = math.nan
        statistics = {"rows": np.ones(len(y), dtype=bool), "correct": correct}
        for label, code in codes.items():
            is_true, is_answer = y == code, answers == code
            statistics |= {f"true {label}": is_true, f"answer {label}": is_answer, f"hit {label}": is_true & is_answer}
        return statistics

    def summarize(self, totals: Mapping[str, float]) -> dict[str, float]:
        self._refuse_fractions()
        accuracy = totals["correct"] / totals["rows"]
        if math.isnan(accuracy):
            return {metric.name: math.nan for metric in self.metrics}
        recalls, scores = [], []
        for name, true in totals.items():
            kind, _, label = name.partition(" ")
            if kind != "true":
                continue
            hits, answers = totals[f"hit {label}"], totals[f"answer {label}"]
            recalls += [hits / true] if true else []
            scores += [2 * hits / (true + answers)] if true + answers else []
        return {
            "balanced_accuracy": math.fsum(recalls) / len(recalls),
            "accuracy": accuracy,
            "f1_macro": math.fsum(scores) / len(scores),
        }

    def _check(self, known: list[Any], given: list[Any]) -> None:
        kinds = [{type(label) for label in labels if label is not None} for labels in (known, given)]
        if all(kinds) and (str in kinds[0]) != (str in kinds[1]):
            raise BadInput(f"predictions such as {given[0]!r} are no classes of a target such as {known[0]!r}")
        self._fractions_true = self._fractions_true or float in kinds[0]
        self._fraction = next((label for label in given if isinstance(label, float)), self._fraction)
        self._labels |= {str(label) for label in (*known, *given)}
        if len(self._labels) > MAX_CLASSES:
            self._refuse_fractions()
            raise BadInput(f"there are more than {MAX_CLASSES:,} classes; a target of numbers is task regression")

    def _refuse_fractions(self) -> None:
        """A fraction is no class of a target that has none: it is a probability, and each would count as wrong."""
        if self._fraction is not None and not self._fractions_true:
            raise BadInput(
                f"predictions such as {self._fraction!r} are no classes of a target of whole numbers; a model that "
                "gives probabilities is logged from code, with its threshold"
            )


class RankingScores:
    """NDCG@10 and NDCG@5, the mean over groups, as scikit-learn has it: linear gains, equal scores share their places.

    A group in which nothing is relevant counts as 0.
    """

    needs_groups = True
    metrics = tuple(Metric(f"ndcg@{depth}", "", higher_is_better=True) for depth in RANKING_DEPTHS)

    def score(self, truth: Any, predictions: Any, *, groups: Any = None) -> dict[str, Array]:
        gains, answers = _read_numbers(truth, "the target"), _read_numbers(predictions, "a prediction")
        if groups is None:
            raise BadInput("a ranking needs a group column: its rows of one value are ranked against each other")
        codes, values = encode_groups(groups)
        _check_length(gains, answers)
        _check_length(gains, codes)
        if not (np.isfinite(gains) & (gains >= 0)).all():
            raise BadInput("the target of a ranking is how relevant a row is: a finite number, 0 or more")
        first = np.zeros(len(gains), dtype=bool)
        first[np.unique(codes, return_index=True)[1]] = True
        statistics = {"groups": first.astype(float)}
        for depth in RANKING_DEPTHS:
            ndcg = _rank(gains, answers, codes, nb_groups=len(values), depth=depth)
            statistics[f"ndcg@{depth}"] = np.where(first, ndcg[codes], 0.0)
        return statistics

    def summarize(self, totals: Mapping[str, float]) -> dict[str, float]:
        return {metric.name: totals[metric.name] / totals["groups"] for metric in self.metrics}


def _rank(gains: Array, answers: Array, codes: Array, *, nb_groups: int, depth: int) -> Array:
    """NDCG of each group; NaN where an answer is not finite."""
    ideal = np.lexsort((-gains, codes))
    best = np.bincount(codes[ideal], gains[ideal] * _discount(codes[ideal], depth), minlength=nb_groups)
    order = np.lexsort((-answers, codes))
    of, answer, gain = codes[order], answers[order], gains[order]
    ties = np.cumsum((np.diff(of, prepend=-1) != 0) | (answer != np.roll(answer, 1))) - 1
    shared = np.bincount(ties, gain) / np.bincount(ties)
    found = np.bincount(of, shared[ties] * _discount(of, depth), minlength=nb_groups)
    ndcg = np.divide(found, best, out=np.zeros(nb_groups), where=best > 0)
    ndcg[codes[~np.isfinite(answers)]] = math.nan
    return ndcg


def _discount(codes: Array, depth: int) -> Array:
    """Of rows sorted by group what a place in it is worth: 1 / log2(place + 1) down to ``depth``, 0 below."""
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    places = np.arange(len(codes)) - np.repeat(starts, np.diff(starts, append=len(codes)))
    return np.where(places < depth, 1 / np.log2(places + 2), 0.0)


def _read_numbers(values: Any, what: str) -> Array:
    try:
        return _flatten(values).astype(float)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{what} is not a number: {error}") from None


def _flatten(values: Any) -> Array:
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise BadInput(f"answers of shape {array.shape} cannot be scored; a row has one")
    return array


def _check_length(truth: Array, other: Array) -> None:
    if len(truth) != len(other):
        raise BadInput(f"{len(other):,} answers for {len(truth):,} rows")


_TASKS: dict[str, Callable[[], TaskScores]] = {
    "regression": RegressionScores,
    "classification": ClassificationScores,
    "ranking": RankingScores,
}
