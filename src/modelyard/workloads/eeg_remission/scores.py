"""Scores of a classifier of participants, at the level of windows and of participants, with intervals."""

import math
from typing import Any

import numpy as np

from modelyard.errors import BadInput
from modelyard.workloads.contract import Metric

Array = np.ndarray[Any, np.dtype[Any]]
NB_RESAMPLES = 1000
_SCORES = ("balanced_accuracy", "auc", "f1")
_NAMES = [
    f"{level}{score}{end}" for level in ("", "participant_") for score in _SCORES for end in ("", "_low", "_high")
]
METRICS = tuple(Metric(name, "", higher_is_better=True) for name in (*_NAMES, "accuracy", "participant_accuracy"))


def score_classifier(truth: Any, predictions: Any, participants: Any, *, seed: int) -> dict[str, float]:
    """One number for each of ``METRICS``; ``_low`` and ``_high`` are the ends of a 95 % interval.

    Intervals are of a bootstrap over participants within each class, since windows of one participant say the same
    again. A participant's answer is the mean probability of its windows. Of rows of one class the balanced accuracy is
    that class's recall, and the AUC 0.5.

    Args:
        truth: n labels, 0 or 1; all of a participant's are the same.
        predictions: of shape (n, 2): the label 0 or 1 and the probability of label 1. NaN among them gives NaN.
        participants: n names.
        seed: of the bootstrap.

    Raises:
        BadInput: a participant has both labels.
        ValueError: the lengths differ, or there are no rows.
    """
    y, answers = np.asarray(truth, dtype=float), np.asarray(predictions, dtype=float).reshape(-1, 2)
    if len(answers) != len(y) or len(y) == 0:
        raise ValueError(f"{len(answers)} predictions for {len(y)} rows")
    if not np.isfinite(answers).all():
        return {metric.name: math.nan for metric in METRICS}
    names, codes = np.unique(np.asarray(participants, dtype=str), return_inverse=True)
    rows = np.bincount(codes)
    label = np.bincount(codes, y) / rows
    if not np.isin(label, (0, 1)).all():
        torn = names[~np.isin(label, (0, 1))]
        raise BadInput(f"participants have one label; {', '.join(torn[:5])} has both: correct the dataset")
    # equal probabilities must stay equal: the mean of n equal numbers may differ from them in the last bit
    mean = np.round(np.bincount(codes, answers[:, 1]) / rows, 12)
    weights = _draw_weights(label, seed)
    each = np.arange(len(names))
    levels = {
        "": _score(y, answers[:, 0], answers[:, 1], codes, label, weights),
        "participant_": _score(label, (mean >= 0.5).astype(float), mean, each, label, weights),
    }
    scores = {}
    for level, found in levels.items():
        for name, values in found.items():
            scores[level + name] = float(values[0])
            if name in _SCORES:
                low, high = np.quantile(values[1:], (0.025, 0.975))
                scores |= {f"{level}{name}_low": float(low), f"{level}{name}_high": float(high)}
    return scores


def _draw_weights(label: Array, seed: int) -> Array:
    """How often each participant counts: once in the first row, then as often as it was drawn."""
    rng, weights = np.random.default_rng(seed), np.ones((1 + NB_RESAMPLES, len(label)))
    for value in (0, 1):
        members = np.flatnonzero(label == value)
        if len(members):
            shares = np.full(len(members), 1 / len(members))
            weights[1:, members] = rng.multinomial(len(members), shares, size=NB_RESAMPLES)
    return weights


def _score(y: Array, answer: Array, probability: Array, codes: Array, label: Array, weights: Array) -> dict[str, Array]:
    """Each score for each row of weights; ``codes`` has the participant of a row, ``label`` that of a participant."""
    rows = np.bincount(codes, minlength=len(label)).astype(float)
    hits = np.bincount(codes, answer == y, minlength=len(label))
    nb, found = weights * rows, weights * hits
    counts = {value: nb[:, label == value].sum(axis=1) for value in (0, 1) if (label == value).any()}
    right = {value: found[:, label == value].sum(axis=1) for value in counts}
    recalls = [right[value] / counts[value] for value in counts]
    none = np.zeros(len(weights))
    true_positives, true_negatives = right.get(1, none), right.get(0, none)
    errors = nb.sum(axis=1) - true_positives - true_negatives
    f1 = np.divide(2 * true_positives, 2 * true_positives + errors, out=none.copy(), where=true_positives > 0)
    return {
        "balanced_accuracy": np.mean(recalls, axis=0),
        "auc": _measure_auc(probability, codes, label, weights, counts),
        "f1": f1,
        "accuracy": (true_positives + true_negatives) / nb.sum(axis=1),
    }


def _measure_auc(probability: Array, codes: Array, label: Array, weights: Array, counts: dict[int, Array]) -> Array:
    """The share of pairs of a positive and a negative row in which the positive one has the higher probability."""
    if len(counts) < 2:
        return np.full(len(weights), 0.5)
    negatives, positives = np.flatnonzero(label == 0), np.flatnonzero(label == 1)
    is_positive = label[codes] == 1
    wins = np.empty((len(positives), len(negatives)))
    for place, participant in enumerate(negatives):
        other = np.sort(probability[codes == participant])
        below = np.searchsorted(other, probability[is_positive], "left")
        not_above = np.searchsorted(other, probability[is_positive], "right")
        won = np.bincount(codes[is_positive], (below + not_above) / 2, minlength=len(label))
        wins[:, place] = won[positives]
    total = np.einsum("bp,pn,bn->b", weights[:, positives], wins, weights[:, negatives], optimize=True)
    auc: Array = total / (counts[0] * counts[1])
    return auc
