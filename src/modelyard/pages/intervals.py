"""Intervals of differences as inline SVG, each beside zero."""

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.pages.numbers import show_number
from modelyard.pages.templates import render

_WIDTH, _ROW_HEIGHT = 640, 30
_LABEL_WIDTH, _VALUE_WIDTH = 140, 170
_FOOT_HEIGHT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownInterval:
    """A difference with its interval, ``low`` to ``high``; ``higher_is_better`` says on which side it is good."""

    label: str
    difference: float
    low: float
    high: float
    higher_is_better: bool

    @property
    def verdict(self) -> str:
        """Better or worse where the whole interval is; else it may be chance."""
        if self.low <= 0 <= self.high:
            return "may be chance"
        return "better" if (self.low > 0) == self.higher_is_better else "worse"


def draw_intervals(intervals: Sequence[ShownInterval]) -> str:
    """One line each, from low to high with a mark at the difference; better is right, each at a scale of its own.

    Raises:
        ValueError: there are none.
    """
    if not intervals:
        raise ValueError("there are no intervals to draw")
    space = _WIDTH - _LABEL_WIDTH - _VALUE_WIDTH
    zero = _LABEL_WIDTH + space / 2
    rows = []
    for number, interval in enumerate(intervals):
        ends = (interval.low, interval.difference, interval.high)
        widest = max(map(abs, ends)) or 1
        sign = 1 if interval.higher_is_better else -1
        low, middle, high = (zero + sign * end / widest * space * 0.46 for end in ends)
        rows.append(
            {
                "y": number * _ROW_HEIGHT + _ROW_HEIGHT / 2,
                "label": interval.label,
                "low": min(low, high),
                "high": max(low, high),
                "middle": middle,
                "text": f"{show_number(interval.low)} to {show_number(interval.high)}",
                "worse": interval.verdict == "worse",
            }
        )
    height = _ROW_HEIGHT * len(intervals)
    return render(
        "intervals.svg",
        width=_WIDTH,
        height=height + _FOOT_HEIGHT,
        axis=height,
        zero=zero,
        left=_LABEL_WIDTH,
        right=_LABEL_WIDTH + space,
        rows=rows,
    )
