"""A whole HTML page, and the tables and cards in it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from modelyard.pages.templates import render


@dataclass(frozen=True)
class Card:
    """One of many things shown side by side, such as a column.

    Attributes:
        title: text, escaped, as are ``subtitle`` and the names and values of ``facts``.
        content: HTML, such as a chart; may be "".
        marked: whether it stands out.
    """

    title: str
    subtitle: str
    content: str
    facts: Sequence[tuple[str, str]]
    marked: bool = False


def render_page(title: str, *, facts: Sequence[tuple[str, str]], sections: Sequence[tuple[str, str]]) -> str:
    """A page that needs nothing beside itself: style inline, no script, no address is ever asked; light and dark.

    Args:
        title: text, escaped.
        facts: name and value of what stands on top, texts, escaped.
        sections: a heading (text, escaped; "" for none) and its content, which is HTML: what ``render_table`` and
            ``draw_bars`` return, or tags around values that went through ``markupsafe.escape``.
    """
    return render("document.html", title=title, facts=facts, sections=sections)


def render_table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    numeric: Collection[int] = (),
    marked: Collection[int] = (),
) -> str:
    """A table as HTML; header and cells are escaped, None is shown as a dash.

    Args:
        header: k titles of columns.
        rows: k cells each. A cell that is HTML already (a chart) comes as ``markupsafe.Markup``.
        numeric: indexes of the columns that are aligned to the right, digit under digit.
        marked: indexes of the rows that stand out, e.g. columns that have drifted.
    """
    return render("table.html", header=header, rows=rows, numeric=set(numeric), marked=set(marked))


def render_cards(cards: Sequence[Card]) -> str:
    """Cards as HTML, as many in a row as there is room for."""
    return render("cards.html", cards=cards)
