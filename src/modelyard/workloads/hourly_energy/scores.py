"""Scores of forecasts, as sums over rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from modelyard.workloads.contract import Metric

Array = np.ndarray[Any, np.dtype[Any]]
METRICS = (
    Metric("mae", "EUR/MWh", higher_is_better=False),
    Metric("rmse", "EUR/MWh", higher_is_better=False),
    Metric("smape", "%", higher_is_better=False),
    Metric("mase", "", higher_is_better=False),
)


def measure_seasonal_error(values: Any, *, season: int = 24) -> float:
    """Mean absolute difference of a series from itself a season earlier: what MASE is relative to.

    Source: Hyndman and Koehler, Another look at measures of forecast accuracy, International Journal of Forecasting
    22, 2006.
    """
    series = np.asarray(values, dtype=float)
    return float(np.mean(np.abs(series[season:] - series[:-season])))


def score_forecasts(truth: Any, forecasts: Any, *, seasonal_error: Any) -> dict[str, Array]:
    """What ``summarize_forecasts`` needs the sums of, for each of n rows.

    Args:
        truth: n numbers.
        forecasts: n numbers, of shape (n,) or (n, 1). NaN among them gives NaN, which every gate refuses.
        seasonal_error: see ``measure_seasonal_error``; one number above 0, or n.

    Raises:
        ValueError: the two differ in length, or there are none.
    """
    y, answers = np.asarray(truth, dtype=float).reshape(-1), np.asarray(forecasts, dtype=float).reshape(-1)
    if len(answers) != len(y) or len(y) == 0:
        raise ValueError(f"{len(answers)} predictions for {len(y)} rows")
    error, size = np.abs(answers - y), np.abs(answers) + np.abs(y)
    return {
        "rows": np.ones(len(y)),
        "absolute_error": error,
        "squared_error": error**2,
        "relative_error": 200 * np.divide(error, size, out=np.zeros(len(y)), where=size != 0),
        "scaled_error": error / np.asarray(seasonal_error, dtype=float),
    }


def summarize_forecasts(totals: Mapping[str, float]) -> dict[str, float]:
    """MAE and RMSE in the target's unit, sMAPE in percent (0 to 200) and MASE, from sums of ``score_forecasts``.

    sMAPE as in the M4 competition: the mean of 200 · |y - ŷ| / (|y| + |ŷ|), 0 where both are 0.
    """
    n = totals["rows"]
    return {
        "mae": float(totals["absolute_error"] / n),
        "rmse": float(np.sqrt(totals["squared_error"] / n)),
        "smape": float(totals["relative_error"] / n),
        "mase": float(totals["scaled_error"] / n),
    }
