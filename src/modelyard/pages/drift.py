"""The page of a drift report: every column with its verdict, and the reference drawn against the current rows."""

from collections.abc import Sequence

from markupsafe import escape

from modelyard.data.drift import ColumnDrift, DriftedColumn, DriftLimits
from modelyard.pages.charts import draw_bars
from modelyard.pages.document import Card, render_cards, render_page, render_table
from modelyard.pages.numbers import show_number, show_share

DRAWN = 200  # columns with a chart, the worst first; a page with thousands would not open
TESTS = {"ks": "KS", "chi2": "χ²"}


def render_drift(
    title: str, *, facts: Sequence[tuple[str, str]], columns: Sequence[DriftedColumn], limits: DriftLimits
) -> str:
    """A page with a table of all columns and a card per column; those that drifted stand out.

    Args:
        title: what was held against what.
        facts: name and value of what stands on top.
        columns: as ``compare_rows`` returns them, the worst first.
        limits: that they were held against.
    """
    drifts = [column.drift for column in columns]
    table = render_table(
        ["column", "PSI", "KS", "χ²", "p value", "missing", "verdict"],
        [_show_row(drift) for drift in drifts],
        numeric=range(1, 6),
        marked=[number for number, drift in enumerate(drifts) if drift.drifted],
    )
    drawn = [column for column in columns if column.chart is not None]
    rest = f" The worst {DRAWN} of {len(drawn):,} columns are drawn." if len(drawn) > DRAWN else ""
    how = (
        f"<p>A column has drifted where its PSI is above {limits.psi:g}, its Kolmogorov-Smirnov statistic (KS) above "
        f"{limits.ks:g}{_show_p_limit(limits)}, or where it could not be measured. χ² has no limit of its own: it "
        f"grows with the number of rows. Bars are shares of each side's rows.{escape(rest)}</p>"
    )
    sections = [("Columns", table), ("Reference against current", how + render_cards([*map(_draw, drawn[:DRAWN])]))]
    return render_page(title, facts=facts, sections=sections)


def describe_verdict(drift: ColumnDrift) -> str:
    """A column's verdict in one line, with every reason."""
    if not drift.compared:
        return "ignored, as the workload declares"
    return f"drifted: {'; '.join(drift.reasons)}" if drift.drifted else "within the limits"


def _show_p_limit(limits: DriftLimits) -> str:
    return "" if limits.p_value is None else f", its p value below {limits.p_value:g}"


def _show_row(drift: ColumnDrift) -> list[object]:
    by_test = {drift.test: show_number(drift.statistic)}
    missing = _show_missing(drift) if drift.psi is not None else None
    psi, p_value = show_number(drift.psi), show_number(drift.p_value)
    return [drift.name, psi, by_test.get("ks"), by_test.get("chi2"), p_value, missing, describe_verdict(drift)]


def _show_missing(drift: ColumnDrift) -> str:
    """Shares before and now; one where they are equal."""
    before, now = (show_share(part, 1) for part in (drift.missing_reference, drift.missing_current))
    return before if before == now else f"{before} → {now}"


def _draw(column: DriftedColumn) -> Card:
    drift, chart = column.drift, column.chart
    assert chart is not None and drift.psi is not None and drift.test is not None  # noqa: S101  only such are drawn
    facts = [
        ("PSI", show_number(drift.psi)),
        (TESTS[drift.test], show_number(drift.statistic)),
        ("p value", show_number(drift.p_value)),
    ]
    if drift.missing_reference or drift.missing_current:
        facts.append(("missing", _show_missing(drift)))
    if drift.only_current:
        facts.append(("new categories", f"{drift.only_current:,}"))
    if drift.only_reference:
        facts.append(("lost categories", f"{drift.only_reference:,}"))
    return Card(
        title=drift.name,
        subtitle=drift.type if not drift.drifted else f"{drift.type} · {'; '.join(drift.reasons)}",
        content=draw_bars(chart.marks, {"reference": chart.reference, "current": chart.current}, height=110),
        facts=facts,
        marked=drift.drifted,
    )
