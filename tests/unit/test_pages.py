"""Pages hold what they are given, escaped, and ask for nothing beside themselves."""

import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.data.profile import profile_table
from modelyard.pages.charts import draw_bars
from modelyard.pages.document import Card, render_cards, render_page, render_table
from modelyard.pages.numbers import show_bytes, show_number, show_share
from modelyard.pages.profile import DRAWN, render_profile

EVIL = "<script>alert('x')</script>&\"'"
VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """The elements of a page, and its text; fails where an element is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def heights(svg: str) -> dict[str, float]:
    """The height of every bar that stands, by what a pointer over it shows."""
    bars = re.findall(r'height="([\d.]+)"><title>(.*?)</title>', svg)
    return {title: float(height) for height, title in bars}


def test_names_and_values_are_escaped_wherever_they_stand() -> None:
    bars = draw_bars([EVIL, "b"], {EVIL: [1, 2], "other": [2, 1]})
    table = render_table([EVIL], [[EVIL]])
    cards = render_cards([Card(EVIL, EVIL, "", [(EVIL, EVIL)])])
    page = Page(render_page(EVIL, facts=[(EVIL, EVIL)], sections=[(EVIL, bars + table + cards)]))
    assert page.count("script") == 0
    assert page.text.count(EVIL) == 16


def test_a_dataset_cannot_put_elements_into_its_profile_page() -> None:
    table = pa.table({EVIL: [EVIL, None], f"n{EVIL}": [1.0, 2.0]})
    page = Page(render_profile(EVIL, EVIL, [(EVIL, EVIL)], profile_table(table)))
    assert page.count("script") == 0
    assert EVIL[:19] in page.text  # the label of its bar
    assert EVIL in page.text


def test_a_page_needs_nothing_from_elsewhere() -> None:
    text = render_profile("d", "1.0.0", [], profile_table(pa.table({"a": [1, 2, 3]})))
    page = Page(text)
    assert not [
        (tag, name) for tag, values in page.elements for name in values if name in {"src", "href", "srcset", "action"}
    ]
    assert not re.search(r"@import|url\(|javascript:", text)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text


def test_a_profile_page_has_a_card_for_each_column_and_a_row_with_its_figures() -> None:
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "X.income": rng.normal(100, 15, 2_000),
            "X.rooms": rng.integers(1, 5, 2_000),
            "split": ["train"] * 1_500 + ["test"] * 500,
            "extra.when": pa.array(np.arange(2_000), pa.timestamp("s", "UTC")),
            "extra.same": [7] * 2_000,
            "extra.none": pa.nulls(2_000, pa.float64()),
            "extra.list": pa.array([[1.0]] * 2_000),
        }
    )
    profile = profile_table(table)
    page = Page(render_profile("housing", "1.2.0", [("digest", "ab" * 32)], profile))
    assert "housing 1.2.0" in page.text
    assert "ab" * 32 in page.text
    assert page.count("article") == 7
    assert page.count("svg") == 5  # neither without values nor of lists
    assert page.count("tr") == 8
    for said in ("always the same value", "no value at all", "1970-01-01 00:00:00", "2,000", "train", "1,500"):
        assert said in page.text
    assert show_number(profile["columns"][0]["mean"]) in page.text


def test_durations_are_drawn_from_short_to_long() -> None:
    took = pa.array([2_000, 10_000, -500, 10_000], pa.duration("ms"))
    page = render_profile("times", None, [], profile_table(pa.table({"took": took})))
    assert re.findall("<title>([^<]*): ", page) == ["-PT0.5S", "PT2S", "PT10S"]


def test_very_many_columns_give_the_table_only() -> None:
    profile = profile_table(pa.table({f"c{index}": [1.0, 2.0] for index in range(DRAWN + 1)}))
    page = Page(render_profile("wide", None, [], profile))
    assert (page.count("article"), page.count("tr")) == (0, DRAWN + 2)


@pytest.mark.parametrize("table", [pa.table({}), pa.table({"a": pa.array([], pa.float64())})], ids=["columns", "rows"])
def test_a_dataset_without_anything_has_a_page(table: pa.Table) -> None:
    assert "empty" in Page(render_profile("empty", None, [], profile_table(table))).text


def test_estimates_are_shown_as_estimates() -> None:
    page = Page(render_profile("big", None, [], profile_table(pa.table({"a": np.arange(100_000) * 0.5}))))
    assert "≈" in page.text
    assert "65,536 rows drawn evenly" in page.text


def test_bars_are_as_high_as_their_values() -> None:
    assert heights(draw_bars([0, 1, 2, 3], {"rows": [10, 5, 0]}, height=80)) == {
        "0 to 1: 10": 80,
        "1 to 2: 5": 40,
        "2 to 3: 0": 0,
    }


def test_a_value_that_is_rare_can_still_be_seen() -> None:
    assert heights(draw_bars([0, 1, 2], {"rows": [1, 10**9]}))["0 to 1: 1"] == 1


def test_two_series_are_drawn_side_by_side_on_one_scale() -> None:
    svg = draw_bars([0, 1, 2], {"reference": [0.25, 0.75], "current": [0.5, 0.5]}, height=75)
    assert heights(svg) == {
        "0 to 1, reference: 0.25": 25,
        "1 to 2, reference: 0.75": 75,
        "0 to 1, current: 0.5": 50,
        "1 to 2, current: 0.5": 50,
    }
    assert "reference</text>" in svg


@pytest.mark.parametrize(
    ("places", "series"),
    [([], {"a": []}), ([1], {"a": []}), ([1, 2, 3], {"a": [1]}), ([1, 2], {"a": [1], "b": [1, 2]}), ([1], {})],
)
def test_bars_that_do_not_fit_their_edges_are_refused(places: list[float], series: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        draw_bars(places, series)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        ("a", "a"),
        (0, "0"),
        (-0.0, "0"),
        (1234567, "1,234,567"),
        (2.0, "2"),
        (1234.5678, "1,234.6"),
        (0.00012345678, "0.00012346"),
        (1.5e-9, "1.5e-09"),
        (-2.5e12, "-2.5e+12"),
        (float("nan"), "nan"),
        (99999.96, "100,000"),
    ],
)
def test_numbers_are_shown_with_the_digits_that_count(value: float | str | None, shown: str) -> None:
    assert show_number(value) == shown


@given(st.floats(-1e300, 1e300))
def test_any_number_is_shown_near_its_value(value: float) -> None:
    assert float(show_number(value).replace(",", "")) == pytest.approx(value, rel=1e-3)


def test_shares_never_say_none_or_all_when_it_is_not_so() -> None:
    assert [show_share(part, 10**6) for part in (0, 1, 123_456, 999_999, 10**6)] == [
        "0 %",
        "< 0.01 %",
        "12.3 %",
        "> 99.99 %",
        "100 %",
    ]
    assert show_share(0, 0) == "0 %"


def test_sizes_have_three_digits() -> None:
    assert [show_bytes(size) for size in (0, 999, 1_500, 800_000_000, 10**13)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "800 MB",
        "10 TB",
    ]
