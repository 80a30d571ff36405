"""How answers differ from the truth, counted for a chart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.data.labels import read_labels

BINS = 32
SHOWN_CLASSES = 20

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorChart:
    """Bars for each model.

    Attributes:
        title: of the chart.
        what: what the bars are.
        marks: edges of a histogram (one more than bars), or labels.
        series: model → shares of its rows, 0 to 1.
        rows: how many rows were counted.
    """

    title: str
    what: str
    marks: list[float | str]
    series: dict[str, list[float]]
    rows: int


def count_errors(truth: Array, answers: Mapping[str, Array], *, classes: bool) -> ErrorChart | None:
    """Shares of errors in bins of equal width, or of right answers by class; None where there is nothing to count.

    Args:
        truth: n values.
        answers: model → n values.
        classes: whether values are classes; numbers otherwise. Of classes the 20 most frequent are counted.
    """
    if any(values.ndim > 1 for values in answers.values()):
        return None
    if classes:
        return _count_classes(_read_labels(truth), {name: _read_labels(values) for name, values in answers.items()})
    if any(values.dtype.kind not in "iufb" for values in (truth, *answers.values())):
        return None
    errors = {name: values.astype(float) - truth.astype(float) for name, values in answers.items()}
    finite = {name: values[np.isfinite(values)] for name, values in errors.items()}
    every = np.concatenate(list(finite.values()))
    if not len(every):
        return None
    low, high = np.quantile(every, [0.005, 0.995])
    edges = np.linspace(low, high, BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
    counts = {name: np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] for name, values in finite.items()}
    return ErrorChart(
        title="Errors",
        what="Prediction − truth in the target's unit, as shares; what lies beyond 99 % of them is in the outer bars",
        marks=edges.tolist(),
        series={name: (values / max(len(finite[name]), 1)).tolist() for name, values in counts.items()},
        rows=len(truth),
    )


def _read_labels(values: Array) -> Array:
    """Each value as text, equal where a score takes two for one class."""
    codes, labels = read_labels(values)
    return np.array([str(label) for label in labels])[codes]


def _count_classes(truth: Array, answers: Mapping[str, Array]) -> ErrorChart | None:
    labels, counts = np.unique(truth, return_counts=True)
    if not len(labels):
        return None
    shown = labels[np.argsort(-counts, kind="stable")[:SHOWN_CLASSES]].tolist()
    return ErrorChart(
        title="Right answers by class",
        what="Share of the rows of a class that is told right, the most frequent class first",
        marks=shown,
        series={name: [float(np.mean(v[truth == label] == label)) for label in shown] for name, v in answers.items()},
        rows=len(truth),
    )
