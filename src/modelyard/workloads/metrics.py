"""Regression scores and their figures, the same for every workload that predicts numbers."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.workloads.contract import Metric
from modelyard.workloads.figures import ACCENT, BARS, INK, clear_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, np.dtype[Any]]


def regression_metrics(*, unit: str) -> tuple[Metric, ...]:
    """The metrics that ``score_regression`` returns, RMSE first; ``unit`` is the target's."""
    return (
        Metric("rmse", unit, higher_is_better=False),
        Metric("mae", unit, higher_is_better=False),
        Metric("r2", "", higher_is_better=True),
    )


def score_regression(truth: Any, predictions: Any) -> dict[str, float]:
    """RMSE, MAE and R² of n predictions; R² of a constant target is 1 if every prediction is exact, else 0.

    Args:
        truth: n numbers.
        predictions: n numbers, of shape (n,) or (n, 1). NaN among them gives NaN, which every gate refuses.

    Raises:
        ValueError: the two differ in length, or there are none.
    """
    y = np.asarray(truth, dtype=float).reshape(-1)
    error = np.asarray(predictions, dtype=float).reshape(-1)
    if len(error) != len(y) or len(y) == 0:
        raise ValueError(f"{len(error)} predictions for {len(y)} rows")
    error = error - y
    residual = float(np.sum(error**2))
    # the mean of equal numbers may differ from them in the last bit
    total = float(np.sum((y - y.mean()) ** 2)) if y.min() != y.max() else 0.0
    return {
        "rmse": math.sqrt(residual / len(y)),
        "mae": float(np.mean(np.abs(error))),
        "r2": _find_r2(residual, total),
    }


def sum_regression(truth: Any, predictions: Any, *, origin: float = 0.0) -> dict[str, Array]:
    """What ``summarize_regression`` needs the sums of, for each of n rows.

    Args:
        truth: n numbers.
        predictions: n numbers, of shape (n,) or (n, 1).
        origin: a number near the truth, the same for all rows; R² loses digits with the square of the distance.

    Raises:
        ValueError: the two differ in length.
    """
    y, answers = np.asarray(truth, dtype=float).reshape(-1), np.asarray(predictions, dtype=float).reshape(-1)
    if len(answers) != len(y):
        raise ValueError(f"{len(answers)} predictions for {len(y)} rows")
    error, y = answers - y, y - origin
    return {
        "rows": np.ones(len(y)),
        "absolute_error": np.abs(error),
        "squared_error": error**2,
        "truth": y,
        "squared_truth": y**2,
    }


def summarize_regression(totals: Mapping[str, float]) -> dict[str, float]:
    """RMSE, MAE and R² from the sums of ``sum_regression``; what ``score_regression`` says, apart from rounding."""
    n, residual = totals["rows"], totals["squared_error"]
    total = totals["squared_truth"] - totals["truth"] ** 2 / n
    if total <= 1e-12 * totals["squared_truth"]:  # rounding leaves something of a constant target
        total = 0.0
    return {
        "rmse": math.sqrt(residual / n),
        "mae": totals["absolute_error"] / n,
        "r2": _find_r2(residual, total),
    }


def _find_r2(residual: float, total: float) -> float:
    if total:
        return 1 - residual / total
    return float(residual == 0) if math.isfinite(residual) else math.nan


def draw_regression(truth: Any, predictions: Any, *, quantity: str, unit: str) -> "dict[str, Figure]":
    """Two figures for n rows: ``plots/predicted_vs_true.png`` and ``plots/residuals.png``.

    Args:
        truth: n numbers.
        predictions: n numbers.
        quantity: what is predicted, e.g. ``median house value``.
        unit: its unit, for the axes.
    """
    y, predicted = np.asarray(truth, dtype=float), np.asarray(predictions, dtype=float)
    scores = score_regression(y, predicted)
    summary = f"{len(y):,} test rows · RMSE {scores['rmse']:.3f} · MAE {scores['mae']:.3f} · R² {scores['r2']:.3f}"
    low, high = float(min(y.min(), predicted.min())), float(max(y.max(), predicted.max()))

    scatter, (axes,) = _make_figure(f"Predicted and true {quantity}", summary, panels=1)
    cells = axes.hexbin(y, predicted, gridsize=55, bins="log", mincnt=1, cmap="viridis", linewidths=0)
    axes.plot([low, high], [low, high], color=ACCENT, linewidth=1.5, label="exact")
    axes.set(xlabel=f"true {quantity} [{unit}]", ylabel=f"predicted {quantity} [{unit}]", aspect="equal")
    axes.legend(frameon=False, loc="upper left")
    scatter.colorbar(cells, ax=axes, label="rows per cell", shrink=0.85)

    residuals, (left, right) = _make_figure(f"Residuals of the {quantity}", summary, panels=2)
    cells = left.hexbin(predicted, y - predicted, gridsize=45, bins="log", mincnt=1, cmap="viridis", linewidths=0)
    left.axhline(0, color=ACCENT, linewidth=1.5)
    left.set(xlabel=f"predicted {quantity} [{unit}]", ylabel=f"true − predicted [{unit}]")
    residuals.colorbar(cells, ax=left, label="rows per cell", shrink=0.85)
    right.hist(y - predicted, bins=60, color=BARS)
    right.axvline(0, color=ACCENT, linewidth=1.5)
    right.set(xlabel=f"true − predicted [{unit}]", ylabel="rows")
    return {"plots/predicted_vs_true.png": scatter, "plots/residuals.png": residuals}


def _make_figure(title: str, summary: str, *, panels: int) -> "tuple[Figure, Any]":
    # Figure without pyplot: no global state, no display, nothing to close.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 if panels == 1 else 11.0, 5.4), dpi=130, layout="constrained", facecolor="white")
    figure.suptitle(f"{title}\n", fontsize=13, fontweight="bold", color=INK)
    figure.text(0.5, 0.925, summary, ha="center", fontsize=9.5, color=INK)
    grid = figure.subplots(1, panels, squeeze=False)[0]
    for axes in grid:
        clear_axes(axes)
    return figure, grid
