"""docs/digest.md defines the digest: an implementation from that page alone agrees, and so do the page's own bytes."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from digest_reference import FLOAT64, STRING, build_table, columns_and_rows, preimage, streams
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.data.digest import digest_table
from modelyard.data.schema import describe_schema

PAGE = (Path(__file__).parents[2] / "docs" / "digest.md").read_text(encoding="utf-8")

EXAMPLE: list[Any] = [("s", STRING, ["ab", None, "c"]), ("x", FLOAT64, [1.0, float("nan"), -0.0])]

VECTORS: dict[str, pa.Table] = {
    "no columns, no rows": pa.table({}),
    "`int64`: no rows": pa.table({"a": pa.array([], pa.int64())}),
    "`int64`: 1, 2, 3": pa.table({"a": pa.array([1, 2, 3])}),
    "`int64`: 1, null, 3": pa.table({"a": pa.array([1, None, 3])}),
    "`int32`: 1, 2, 3": pa.table({"a": pa.array([1, 2, 3], pa.int32())}),
    "`null`: null, null": pa.table({"a": pa.nulls(2)}),
    "`bool`: true, null, false": pa.table({"a": pa.array([True, None, False])}),
    "`float64`: 0.0": pa.table({"a": pa.array([0.0])}),
    "`float64`: −0.0": pa.table({"a": pa.array([-0.0])}),
    "`float64`: NaN, null": pa.table({"a": pa.array([float("nan"), None])}),
    "`decimal(5, 2)`: 1.25": pa.table({"a": pa.array([125]).cast(pa.decimal128(21, 2)).cast(pa.decimal128(5, 2))}),
    '`timestamp[ms, "UTC"]`: 1970-01-01 00:00:01': pa.table({"a": pa.array([1], pa.timestamp("s", "UTC"))}),
    '`string`: "ab", "c"': pa.table({"a": ["ab", "c"]}),
    '`string`: "a", "bc"': pa.table({"a": ["a", "bc"]}),
    '`string`: "", null': pa.table({"a": ["", None]}),
    "`list<int64>`: [1, 2], null, []": pa.table({"a": [[1, 2], None, []]}),
    '`struct<"b": int64>`: {b: 1}, null': pa.table({"a": [{"b": 1}, None]}),
    "`map<string, int64>`: {k: 1}": pa.table({"a": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))}),
}


@settings(max_examples=150, deadline=None)
@given(columns_and_rows(), st.integers(0, 17))
def test_an_implementation_from_the_page_alone_gives_the_same_digest(drawn: tuple[list[Any], int], form: int) -> None:
    columns, num_rows = drawn
    table = build_table(columns, form=form)
    assert [column["type"] for column in describe_schema(table)] == [kind.text for _, kind, _ in columns]
    assert digest_table(table) == sha256(preimage(columns, num_rows if columns else 0)).hexdigest()


def test_the_pages_example_shows_the_bytes_that_are_hashed() -> None:
    section = PAGE.split("## Example")[1].split("## Test vectors")[0]
    whole = bytes.fromhex("".join(re.findall(r"^ {4}([0-9a-f ]+?)(?:  .*)?$", section, re.M)))
    shown_streams = dict(re.findall(r"^\| `(\w+ \w+)` \| `([0-9a-f]*)` \|", section, re.M))
    for name, kind, values in EXAMPLE:
        for part, stream in zip(("nulls", "lengths", "values"), streams(kind, values), strict=True):
            assert shown_streams.get(f"{name} {part}", "") == stream.hex()
    assert whole == preimage(EXAMPLE, 3)
    assert f"`{sha256(whole).hexdigest()}`" in section
    assert digest_table(build_table(EXAMPLE)) == sha256(whole).hexdigest()


@pytest.mark.parametrize("name", VECTORS)
def test_the_pages_test_vectors_hold(name: str) -> None:
    shown = dict(re.findall(r"^\| (.*) \| `([0-9a-f]{64})` \|$", PAGE.split("## Test vectors")[1], re.M))
    assert set(shown) == set(VECTORS)
    assert digest_table(VECTORS[name]) == shown[name]
