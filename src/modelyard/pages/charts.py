"""Bar charts as inline SVG, in the colours of the page around them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from modelyard.pages.numbers import show_number
from modelyard.pages.templates import render

_WIDTH = 320  # of the drawing, in its own units; a page scales it to the space there is
_LEGEND_HEIGHT = 18
_ROW_HEIGHT = 9  # of one bar that lies; the text beside it needs two
_LABEL_CHARACTERS = 20
_LABEL_WIDTH = 140  # at the left of bars that lie


def draw_bars(
    edges_or_labels: Sequence[float | str], series: Mapping[str, Sequence[float]], *, height: int = 90
) -> str:
    """Bars as SVG, to put into a section or a card; a pointer over a bar shows what it counts and its value.

    With edges (one more than values) it is a histogram: bars that stand, all bins equally wide, the first and the last
    edge written below. With labels (as many as values) the bars lie, each beside its label.

    Args:
        edges_or_labels: numbers or texts.
        series: values of zero or more under their name, all of the same length, e.g. counts, or the shares of
            ``reference`` and ``current``; of several the bars of a bin stand side by side, with a legend.
        height: of the bars that stand, in pixels of a drawing 320 wide.

    Raises:
        ValueError: there are no values, or the lengths do not fit.
    """
    lengths = {len(values) for values in series.values()}
    if len(lengths) != 1 or 0 in lengths or len(edges_or_labels) - min(lengths) not in (0, 1):
        raise ValueError(
            f"{len(edges_or_labels)} edges or labels do not fit series of the lengths {sorted(lengths) or 'none'}"
        )
    legend = list(series) if len(series) > 1 else []
    top = _LEGEND_HEIGHT if legend else 0
    highest = max(max(values) for values in series.values()) or 1
    texts = [show_number(value) for value in edges_or_labels]
    standing = len(edges_or_labels) == min(lengths) + 1
    drawing = _standing(texts, series, highest, top, height) if standing else _lying(texts, series, highest, top)
    return render("bars.svg", width=_WIDTH, legend=legend, standing=standing, **drawing)


def _standing(
    edges: list[str], series: Mapping[str, Sequence[float]], highest: float, top: int, height: int
) -> dict[str, object]:
    bins = [f"{low} to {high}" for low, high in pairwise(edges)]
    step = _WIDTH / len(bins)
    bar = step * (0.92 if len(series) == 1 else 0.86) / len(series)
    bars = [
        {
            "series": number,
            "x": index * step + (step - bar * len(series)) / 2 + number * bar,
            "y": top + height - _length(value, highest, height),
            "width": bar,
            "height": _length(value, highest, height),
            "title": _title(bins[index], name, value, series),
        }
        for number, (name, values) in enumerate(series.items())
        for index, value in enumerate(values)
    ]
    texts = [(0, top + height + 14, "start", edges[0]), (_WIDTH, top + height + 14, "end", edges[-1])]
    return {"height": top + height + 18, "axis": top + height, "bars": bars, "texts": texts}


def _lying(labels: list[str], series: Mapping[str, Sequence[float]], highest: float, top: int) -> dict[str, object]:
    row = max(20, _ROW_HEIGHT * len(series) + 8)
    thickness = (row - 8) / len(series)
    space = _WIDTH - _LABEL_WIDTH - 60  # the rest is for the value behind the bar
    bars = [
        {
            "series": number,
            "x": _LABEL_WIDTH,
            "y": top + index * row + 4 + number * thickness,
            "width": _length(value, highest, space),
            "height": thickness,
            "title": _title(labels[index], name, value, series),
        }
        for number, (name, values) in enumerate(series.items())
        for index, value in enumerate(values)
    ]
    middle = [top + index * row + row / 2 + 4 for index in range(len(labels))]
    texts: list[tuple[float, float, str, str]] = [
        (_LABEL_WIDTH - 8, y, "end", _shorten(label)) for y, label in zip(middle, labels, strict=True)
    ]
    if len(series) == 1:
        (values,) = series.values()
        texts += [
            (_LABEL_WIDTH + _length(value, highest, space) + 6, y, "start", show_number(value))
            for y, value in zip(middle, values, strict=True)
        ]
    return {"height": top + row * len(labels), "axis": None, "bars": bars, "texts": texts}


def _length(value: float, highest: float, space: float) -> float:
    """At least a pixel for what is not zero, so that a rare value can be seen."""
    return max(1.0, value / highest * space) if value else 0.0


def _title(place: str, name: str, value: float, series: Mapping[str, Sequence[float]]) -> str:
    return f"{place}: {show_number(value)}" if len(series) == 1 else f"{place}, {name}: {show_number(value)}"


def _shorten(text: str) -> str:
    return text if len(text) <= _LABEL_CHARACTERS else text[: _LABEL_CHARACTERS - 1] + "…"
