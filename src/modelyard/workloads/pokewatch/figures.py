"""Figures and the summary of one evaluation, of the rows that have a fair value."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.workloads.figures import ACCENT, BARS, INK, clear_axes
from modelyard.workloads.pokewatch.scores import METRICS, SIGNALS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, np.dtype[Any]]


def draw_figures(price: Array, fair_value: Array, signal: Array, true_signal: Array) -> "dict[str, Figure]":
    """Artifact path → figure, for n rows with a fair value: errors, values, signals."""
    errors, axes = _make_figure("Errors of the fair value", "fair value − price [USD]", "rows")
    wrong = fair_value - price
    low, high = np.quantile(wrong, [0.01, 0.99])
    axes.hist(np.clip(wrong, low, high), bins=60, color=BARS)
    axes.axvline(0, color=ACCENT, linewidth=1.5)
    axes.set_title("what lies beyond the middle 98 % is in the outer bars", fontsize=9, color=INK)

    scatter, axes = _make_figure("Fair value and price", "price [USD]", "fair value [USD]")
    ends = [min(price.min(), fair_value.min()), max(price.max(), fair_value.max())]
    cells = axes.hexbin(price, fair_value, gridsize=55, bins="log", xscale="log", yscale="log", mincnt=1, linewidths=0)
    axes.plot(ends, ends, color=ACCENT, linewidth=1.5, label="exact")
    axes.legend(frameon=False, loc="upper left")
    scatter.colorbar(cells, ax=axes, label="rows per cell", shrink=0.85)

    signals, axes = _make_figure("Signals, given and true", "", "share of rows")
    places = np.arange(len(SIGNALS))
    for shift, of, values, colour in ((-0.2, "given", signal, BARS), (0.2, "true", true_signal, ACCENT)):
        bars = axes.bar(
            places + shift, [float(np.mean(values == name)) for name in SIGNALS], 0.4, label=of, color=colour
        )
        axes.bar_label(bars, fmt="{:.1%}", fontsize=9)
    axes.set_xticks(places, SIGNALS)
    axes.legend(frameon=False)
    return {
        "plots/error_distribution.png": errors,
        "plots/scatter_true_vs_predicted.png": scatter,
        "plots/signal_distribution.png": signals,
    }


def write_summary(scores: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]], *, rows: str) -> str:
    """The metrics beside those of the baselines, as a text of aligned columns; ``rows`` says of which rows."""
    columns = {"model": scores, **baselines}
    lines = [f"Card prices: {rows}", "", f"{'metric':<18}{'unit':<8}" + "".join(f"{name:>14}" for name in columns)]
    for metric in METRICS:
        values = "".join(f"{of[metric.name]:>14,.4f}" for of in columns.values())
        lines.append(f"{metric.name:<18}{metric.unit:<8}{values}")
    better = [name for name, of in baselines.items() if scores["rmse"] < of["rmse"]]
    beaten = "; ".join(f"{name}: {'beaten' if name in better else 'not beaten'}" for name in baselines)
    return "\n".join([*lines, "", f"By RMSE, {beaten}.", ""])


def _make_figure(title: str, x: str, y: str) -> "tuple[Figure, Any]":
    from matplotlib.figure import Figure  # without pyplot: no global state, no display, nothing to close

    figure = Figure(figsize=(6.4, 4.8), dpi=130, layout="constrained", facecolor="white")
    figure.suptitle(title, fontsize=13, fontweight="bold", color=INK)
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y)
    clear_axes(axes)
    return figure, axes
