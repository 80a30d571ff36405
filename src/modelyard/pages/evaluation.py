"""The page of an evaluation: the verdict with every limit, metrics side by side, and how the answers are wrong."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import escape

from modelyard.data.answers import ErrorChart
from modelyard.data.scoring import Interval
from modelyard.pages.charts import draw_bars
from modelyard.pages.document import Card, render_cards, render_page, render_table
from modelyard.pages.intervals import ShownInterval, draw_intervals
from modelyard.pages.numbers import show_number

Values = Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownMetric:
    """A metric as a reader sees it: its unit ("" for none), which direction is better, the candidate's value."""

    name: str
    unit: str
    higher_is_better: bool
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownLimit:
    """A limit as it was applied; ``reason`` says why it does not hold, None where it does."""

    limit: str
    found: float | None
    bound: float | None
    reason: str | None


def render_evaluation(
    title: str,
    *,
    facts: Sequence[tuple[str, str]],
    limits: Sequence[ShownLimit],
    reasons: Sequence[str],
    metrics: Sequence[ShownMetric],
    production: Values | None,
    baselines: Mapping[str, Values],
    intervals: Sequence[Interval],
    resamples: int,
    errors: ErrorChart | None,
) -> str:
    """A page about one verdict.

    Args:
        title: what was evaluated.
        facts: name and value of what stands on top.
        limits: every limit; those that do not hold stand out.
        reasons: why it is refused; empty for a pass.
        metrics: of the candidate.
        production: the live version's, None where none is.
        baselines: name of a naive answer → its metrics.
        intervals: of the differences; empty where no version is live.
        resamples: how often rows were drawn anew for them.
        errors: how the answers differ from the truth; None where that cannot be drawn.
    """
    sections = [
        ("Limits", _render_limits(limits, reasons)),
        ("Metrics on the same rows", _render_metrics(metrics, production, baselines, intervals)),
    ]
    cards = _draw_metrics(metrics, production, baselines)
    if cards:
        sections.append(("Side by side", render_cards(cards)))
    shown = _choose_intervals(metrics, intervals)
    if shown:
        how = (
            f"<p class='remark'>Candidate against production: the difference of each metric, and the interval "
            f"that holds 95 % of {resamples:,} drawings of the same rows for both. One that crosses the middle may be "
            "chance.</p>"
        )
        sections.append(("How sure that is", draw_intervals(shown) + how))
    if errors is not None:
        how = f"<p class='remark'>{escape(errors.what)}, of {errors.rows:,} rows that stand for all.</p>"
        sections.append((errors.title, draw_bars(errors.marks, errors.series, height=130) + how))
    return render_page(title, facts=facts, sections=sections)


def _render_limits(limits: Sequence[ShownLimit], reasons: Sequence[str]) -> str:
    rows = [
        [
            limit.limit,
            show_number(limit.found),
            show_number(limit.bound),
            "held" if limit.reason is None else f"not held: {limit.reason.partition(': ')[2]}",
        ]
        for limit in limits
    ]
    marked = [number for number, limit in enumerate(limits) if limit.reason is not None]
    others = [reason for reason in reasons if reason not in {limit.reason for limit in limits}]
    marked += range(len(rows), len(rows) + len(others))
    rows += [[reason, "–", "–", "refused"] for reason in others]
    return render_table(["limit", "found", "bound", "verdict"], rows, numeric=(1, 2), marked=marked)


def _render_metrics(
    metrics: Sequence[ShownMetric],
    production: Values | None,
    baselines: Mapping[str, Values],
    intervals: Sequence[Interval],
) -> str:
    by_metric = {interval.metric: interval for interval in intervals}
    header = ["metric", "candidate"]
    if production is not None:
        header += ["production", "difference", "95 % interval", "that is"]
    header += [f"baseline {name}" for name in baselines]
    rows: list[list[object]] = []
    for metric in metrics:
        name = f"{metric.name} [{metric.unit}]" if metric.unit else metric.name
        row: list[object] = [name, show_number(metric.value)]
        if production is not None:
            found = by_metric.get(metric.name)
            row += [show_number(production.get(metric.name)), show_number(found.difference if found else None)]
            row += _show_interval(metric, found)
        rows.append(row + [show_number(values.get(metric.name)) for values in baselines.values()])
    texts = {5} if production is not None else set()
    return render_table(header, rows, numeric=set(range(1, len(header))) - texts)


def _draw_metrics(
    metrics: Sequence[ShownMetric], production: Values | None, baselines: Mapping[str, Values]
) -> list[Card]:
    """A card of bars for each metric whose values are all there and none is below zero."""
    cards = []
    for metric in metrics:
        values = {"candidate": metric.value}
        if production is not None:
            values["production"] = production.get(metric.name)
        values |= {f"baseline {name}": of.get(metric.name) for name, of in baselines.items()}
        bars = [value for value in values.values() if value is not None and 0 <= value < math.inf]
        if len(bars) == len(values) > 1:
            better = "higher is better" if metric.higher_is_better else "lower is better"
            subtitle = f"{metric.unit} · {better}" if metric.unit else better
            cards.append(
                Card(title=metric.name, subtitle=subtitle, content=draw_bars(list(values), {"value": bars}), facts=())
            )
    return cards


def _show_interval(metric: ShownMetric, interval: Interval | None) -> list[str]:
    shown = _as_shown(metric, interval)
    if shown is None:
        return ["–", "–"]
    return [f"{show_number(shown.low)} to {show_number(shown.high)}", shown.verdict]


def _choose_intervals(metrics: Sequence[ShownMetric], intervals: Sequence[Interval]) -> list[ShownInterval]:
    by_metric = {interval.metric: interval for interval in intervals}
    found = [_as_shown(metric, by_metric.get(metric.name)) for metric in metrics]
    return [shown for shown in found if shown is not None]


def _as_shown(metric: ShownMetric, interval: Interval | None) -> ShownInterval | None:
    if interval is None or interval.difference is None or interval.low is None or interval.high is None:
        return None
    return ShownInterval(
        label=metric.name,
        difference=interval.difference,
        low=interval.low,
        high=interval.high,
        higher_is_better=metric.higher_is_better,
    )
