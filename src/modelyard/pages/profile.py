"""The page of a dataset's profile: what is in it, a card for each column, and all figures in a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import escape

from modelyard.pages.charts import draw_bars
from modelyard.pages.document import Card, render_cards, render_page, render_table
from modelyard.pages.numbers import show_bytes, show_number, show_share

DRAWN = 200  # columns with a chart; a dataset with more has the table only, so that the page opens
_FEW = 8  # values that are drawn one by one
_SPREAD = {
    "1 %": "0.01",
    "5 %": "0.05",
    "25 %": "0.25",
    "median": "0.5",
    "75 %": "0.75",
    "95 %": "0.95",
    "99 %": "0.99",
}

Column = Mapping[str, Any]


def render_profile(name: str, version: str | None, facts: Sequence[tuple[str, str]], profile: Mapping[str, Any]) -> str:
    """A page with a card for each column, if there are at most ``DRAWN``, and a table of all of them.

    Args:
        name: the dataset's.
        version: the dataset's; None while it has none.
        facts: name and value of more that stands on top, such as the digest.
        profile: as ``modelyard.data.profile.Profiler.result`` returns it.
    """
    columns, num_rows = profile["columns"], profile["num_rows"]
    on_top = [
        ("rows", f"{num_rows:,}"),
        ("columns", f"{len(columns):,}"),
        ("in memory", show_bytes(profile["num_bytes"])),
        ("missing", show_share(sum(map(_count_missing, columns)), profile["num_elements"])),
    ]
    sections = []
    if 0 < len(columns) <= DRAWN:
        sections.append(("Columns", render_cards([_draw(column, num_rows) for column in columns])))
    sections.append(("All figures", _render_table(columns, num_rows) + _explain(profile)))
    return render_page(name if version is None else f"{name} {version}", facts=[*on_top, *facts], sections=sections)


def _draw(column: Column, num_rows: int) -> Card:
    remark = _find_remark(column, num_rows)
    facts = [("missing", show_share(_count_missing(column), num_rows))]
    if column["distinct"] is not None:
        facts.append(("distinct", _show_distinct(column)))
    facts += _describe_values(column)
    if column["infinite"]:
        facts.append(("infinite", f"{column['infinite']:,}"))
    content = ""
    few = _few_values(column)
    if few is not None:
        labels = [_show(column, top["value"]) for top in few]
        content = draw_bars(labels, {"rows": [top["count"] for top in few]})
        if column["distinct"] > len(few):
            present = num_rows - _count_missing(column)
            facts.append((f"these {len(few)}", show_share(sum(top["count"] for top in few), present)))
    elif column["histogram"] is not None and len(column["histogram"]["counts"]) > 1:
        edges = [_show(column, edge) for edge in column["histogram"]["edges"]]
        content = draw_bars(edges, {"rows": column["histogram"]["counts"]})
    subtitle = column["type"] if remark is None else f"{column['type']} · {remark}"
    return Card(column["name"], subtitle, content, facts, marked=remark is not None)


def _describe_values(column: Column) -> list[tuple[str, str]]:
    quantiles = column["quantiles"]
    if quantiles is None:
        return []
    shown = {"median": quantiles["0.5"], "min": column["min"], "mean": column["mean"], "max": column["max"]}
    shown |= {"5 %": quantiles["0.05"], "std": column["std"], "95 %": quantiles["0.95"]}
    return [(title, _show(column, value)) for title, value in shown.items()]


def _few_values(column: Column) -> list[dict[str, Any]] | None:
    """The values to draw one by one: of texts the most frequent, of numbers and times all, if they are few."""
    if not column["top"]:
        return None
    if column["quantiles"] is None:
        return list(column["top"][:_FEW])
    if column["distinct"] > _FEW or column["infinite"]:
        return None
    return sorted(column["top"], key=lambda top: _order(column, top["value"]))


def _order(column: Column, value: Any) -> Any:
    """What values are sorted by: as text ten seconds would come before two."""
    is_duration = column["type"].startswith("duration") and isinstance(value, str)
    return float(value.replace("PT", "").removesuffix("S")) if is_duration else value


def _find_remark(column: Column, num_rows: int) -> str | None:
    """What somebody who trains on this column would want to be told first."""
    if num_rows and _count_missing(column) == num_rows:
        return "no value at all"
    if num_rows > 1 and column["distinct"] == 1:
        return "always the same value"
    return "infinite values" if column["infinite"] else None


def _render_table(columns: Sequence[Column], num_rows: int) -> str:
    header = ["column", "type", "missing", "distinct", "mean", "std", "min", *_SPREAD, "max"]
    rows = []
    for column in columns:
        quantiles = column["quantiles"] or {}
        middle = [column["mean"], column["std"], column["min"], *(quantiles.get(share) for share in _SPREAD.values())]
        missing = show_share(_count_missing(column), num_rows)
        numbers = [_show(column, value) for value in (*middle, column["max"])]
        rows.append([column["name"], column["type"], missing, _show_distinct(column), *numbers])
    marked = [index for index, column in enumerate(columns) if _find_remark(column, num_rows) is not None]
    return render_table(header, rows, numeric=range(2, len(header)), marked=marked)


def _explain(profile: Mapping[str, Any]) -> str:
    """How exact the figures are, where not all of them are."""
    remarks = ["Missing are nulls and NaN; no other figure counts them."]
    limit = profile["exact_up_to"]
    if profile["num_rows"] > limit:
        remarks.append(f"Quantiles are those of {limit:,} rows drawn evenly from all.")
    if any(column["distinct_exact"] is False for column in profile["columns"]):
        remarks.append(f"Numbers of distinct values with a ≈ are estimates, off by {1 / limit**0.5:.1%} as a rule.")
    if any(column["top_exact"] is False for column in profile["columns"]):
        remarks.append("Where there are too many texts to count each, the counts of the most frequent are estimates.")
    return f'<p class="remark">{escape(" ".join(remarks))}</p>'


def _count_missing(column: Column) -> int:
    return int(column["nulls"] + (column["nan"] or 0))


def _show_distinct(column: Column) -> str:
    number = show_number(column["distinct"])
    return f"≈ {number}" if column["distinct_exact"] is False else number


def _show(column: Column, value: Any) -> str:
    if isinstance(value, str) and column["type"].startswith("timestamp"):
        return value[:19].replace("T", " ").removesuffix("Z")  # the type above says whether it is UTC
    if isinstance(value, str | bool):
        return str(value) or "(empty text)"
    return show_number(value)
