"""How the figures of all workloads look."""

from typing import Any

INK, ACCENT, BARS = "#1f2937", "#b45309", "#3b6ea5"


def clear_axes(axes: Any) -> None:
    """Leave of a matplotlib axes' frame what is read: two sides, and a faint grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
