"""Two figures of forecasts: days beside the truth, and the error at each hour."""

from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.workloads.figures import ACCENT, BARS, INK, clear_axes
from modelyard.workloads.hourly_energy.series import TARGET, TIME

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_SHOWN_HOURS = 14 * 24


def draw_forecasts(rows: "pd.DataFrame", forecasts: "np.ndarray[Any, Any]") -> "dict[str, Figure]":
    """``plots/forecast_days.png`` (the last two weeks) and ``plots/error_by_hour.png`` of n rows and n forecasts."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    error = np.abs(forecasts - rows[TARGET].to_numpy())
    days = Figure(figsize=(11, 4.6), dpi=130, layout="constrained", facecolor="white")
    axes = days.subplots()
    shown = rows.tail(_SHOWN_HOURS)
    axes.plot(shown[TIME], shown[TARGET], color=INK, linewidth=1.2, label="truth")
    axes.plot(shown[TIME], forecasts[-len(shown) :], color=ACCENT, linewidth=1.2, label="forecast of the day before")
    axes.set(title="The last days of the test rows", ylabel=TARGET)
    locator = AutoDateLocator(maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.legend(frameon=False, loc="upper left")

    hours = Figure(figsize=(7.5, 4.6), dpi=130, layout="constrained", facecolor="white")
    bars = hours.subplots()
    of_hour = rows["hour"].to_numpy()
    bars.bar(range(24), [error[of_hour == hour].mean() for hour in range(24)], color=BARS)
    bars.set(title=f"Error at each hour · {len(rows):,} test rows · MAE {error.mean():.3f}")
    bars.set(xlabel="hour of the day", ylabel="mean absolute error", xticks=range(0, 24, 3))
    for panel in (axes, bars):
        clear_axes(panel)
    return {"plots/forecast_days.png": days, "plots/error_by_hour.png": hours}
