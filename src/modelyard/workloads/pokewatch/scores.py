"""Signals, and the scores of fair values and signals as sums over rows."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from modelyard.workloads.contract import Metric

Array = np.ndarray[Any, np.dtype[Any]]
BUY, SELL, HOLD = SIGNALS = ("BUY", "SELL", "HOLD")
METRICS = (
    Metric("rmse", "USD", higher_is_better=False),
    Metric("mae", "USD", higher_is_better=False),
    Metric("mape", "", higher_is_better=False),
    Metric("coverage_rate", "", higher_is_better=True),
    Metric("buy_rate", "", higher_is_better=True),
    Metric("sell_rate", "", higher_is_better=True),
    Metric("hold_rate", "", higher_is_better=True),
    Metric("buy_precision", "", higher_is_better=True),
    Metric("buy_recall", "", higher_is_better=True),
    Metric("sell_precision", "", higher_is_better=True),
    Metric("sell_recall", "", higher_is_better=True),
    Metric("dataset_size", "rows", higher_is_better=True),
)


def find_signals(value: Array, newest: Array, *, buy_threshold_pct: float, sell_threshold_pct: float) -> Array:
    """BUY, SELL or HOLD for each of n values, beside the newest price before; HOLD where one of the two is NaN.

    Args:
        value: n prices in USD, a fair value or what was paid.
        newest: n prices in USD.
        buy_threshold_pct: BUY from this many percent above the newest price.
        sell_threshold_pct: SELL from this many percent below it; the newest price itself is HOLD with both at 0.
    """
    buy = (value >= newest * (1 + buy_threshold_pct / 100)) & (value > newest)
    sell = (value <= newest * (1 - sell_threshold_pct / 100)) & (value < newest)
    return np.where(buy, BUY, np.where(sell, SELL, HOLD))


def score_rows(price: Array, fair_value: Array, signal: Array, true_signal: Array) -> dict[str, Array]:
    """What ``summarize_rows`` needs the sums of, for each of n rows; NaN is no fair value."""
    answered = ~np.isnan(fair_value)
    error = np.where(answered, fair_value - price, 0.0)
    statistics = {
        "rows": np.ones(len(price)),
        "answered": answered,
        "squared_error": error**2,
        "absolute_error": np.abs(error),
        "relative_error": np.abs(error) / price,
        "hold": answered & (signal == HOLD),
    }
    for name in (BUY, SELL):
        said, true = answered & (signal == name), true_signal == name
        statistics |= {name.lower(): said, f"true_{name.lower()}": true, f"hit_{name.lower()}": said & true}
    return {name: values.astype(float) for name, values in statistics.items()}


def summarize_rows(totals: Mapping[str, float]) -> dict[str, float]:
    """The metrics from the sums of ``score_rows``; NaN where no row has an answer, which every gate refuses."""
    rows, answered = totals["rows"], totals["answered"]
    metrics = {
        "rmse": math.sqrt(_divide(totals["squared_error"], answered, empty=math.nan)),
        "mae": _divide(totals["absolute_error"], answered, empty=math.nan),
        "mape": _divide(totals["relative_error"], answered, empty=math.nan),
        "coverage_rate": answered / rows,
        "dataset_size": rows,
    }
    for name in ("buy", "sell", "hold"):
        metrics[f"{name}_rate"] = _divide(totals[name], answered, empty=0.0)
    for name in ("buy", "sell"):
        metrics[f"{name}_precision"] = _divide(totals[f"hit_{name}"], totals[name], empty=0.0)
        metrics[f"{name}_recall"] = _divide(totals[f"hit_{name}"], totals[f"true_{name}"], empty=0.0)
    return metrics


def _divide(part: float, whole: float, *, empty: float) -> float:
    return part / whole if whole else empty
