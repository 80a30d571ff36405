"""Schema and profile are JSON, and say what is in the table."""

import datetime
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.data.profile import Profiler, profile_table
from modelyard.data.schema import describe_schema
from modelyard.errors import BadInput
from modelyard.workloads.california_housing import RAW_COLUMNS

SHARES = ("0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99")


def profile_column(values: Any, data_type: pa.DataType | None = None) -> dict[str, Any]:
    return profile_table(pa.table({"a": pa.array(values, data_type)}))["columns"][0]


def profile_in_batches(table: pa.Table, rows: int) -> dict[str, Any]:
    profiler = Profiler(table.schema)
    for start in range(0, table.num_rows, rows):
        profiler.update(table.slice(start, rows))
    return profiler.result()


def test_a_profile_counts_and_describes_numbers() -> None:
    table = pa.table({"x": [1.0, 2.0, None, float("nan")], "n": [1, 2, 3, 2**62], "s": ["a", None, None, "a"]})
    profile = profile_table(table)
    assert (profile["num_rows"], profile["num_elements"]) == (4, 12)
    x, n, s = profile["columns"]
    assert (x["nulls"], x["nan"], x["infinite"], x["distinct"], x["distinct_exact"]) == (1, 1, 0, 2, True)
    assert (x["mean"], x["std"], x["min"], x["max"]) == (1.5, 0.5, 1.0, 2.0)
    assert (n["min"], n["max"], n["quantiles"]["0.99"], n["nan"]) == (1, 2**62, 2**62, None)
    assert n["mean"] == pytest.approx(2**60)
    assert (s["type"], s["nulls"], s["distinct"], s["mean"]) == ("string", 2, 1, None)
    assert s["top"] == [{"value": "a", "count": 2}]


def test_the_figures_of_real_data_are_those_of_numpy_and_pandas(real_data: Path | None) -> None:
    if real_data is None:
        pytest.skip("no real data")
    frame = pd.read_csv(real_data / "california_housing" / "cal_housing.data", header=None, names=list(RAW_COLUMNS))
    for described in profile_table(pa.Table.from_pandas(frame))["columns"]:
        column = frame[described["name"]]
        assert described["distinct"] == column.nunique()
        assert described["mean"] == pytest.approx(column.mean(), rel=1e-12)
        assert described["std"] == pytest.approx(column.std(ddof=0), rel=1e-12)
        assert (described["min"], described["max"]) == (column.min(), column.max())
        expected = np.quantile(column, [float(share) for share in SHARES], method="inverted_cdf")
        assert list(described["quantiles"].values()) == expected.tolist()
        assert tuple(described["quantiles"]) == SHARES
        edges, counts = described["histogram"]["edges"], described["histogram"]["counts"]
        assert counts == np.histogram(column, edges)[0].tolist()
        assert 20 <= len(counts) <= 40


@pytest.mark.parametrize(
    "column",
    [
        pa.array([], pa.float64()),
        pa.array([None, None], pa.int64()),
        pa.array([np.nan, np.nan]),
        pa.array([np.inf, -np.inf, np.nan]),
        pa.array([-1.7e308, 1.7e308, 5e-324, -0.0]),
        pa.array([2**63 - 1, -(2**63)]),
        pa.array([2**64 - 1], pa.uint64()),
        pa.array([1.5], pa.float16()),
        pa.array([Decimal("1.25"), None]),
        pa.array([Decimal(10) ** 60], pa.decimal256(76, 2)),
        pa.array([1, 1]).dictionary_encode(),
        pa.array([True, None]),
        pa.array([[1.0], None]),
        pa.array([{"a": 1}, None]),
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())),
        pa.array([b"\xff", None]),
        pa.array([b"ab"], pa.binary(2)),
        pa.array(["a", ""], pa.string_view()),
        pa.array([-(2**63) + 1, 2**63 - 1], pa.timestamp("ns", "Europe/Paris")),
        pa.array([datetime.time(1, 2, 3)], pa.time64("us")),
        pa.array([1, 2], pa.time32("s")),
        pa.array([-1, 2], pa.duration("ns")),
        pa.array([datetime.date(1, 1, 1)], pa.date64()),
        pa.nulls(2),
    ],
    ids=lambda column: str(column.type),
)
def test_every_column_gives_json_that_any_reader_takes(column: pa.Array) -> None:
    table = pa.table({"a": column})
    json.dumps(describe_schema(table), allow_nan=False)
    profile = profile_table(table)
    assert json.loads(json.dumps(profile, allow_nan=False)) == profile
    assert set(profile["columns"][0]) >= {"name", "type", "nulls", "distinct", "mean", "histogram", "top"}


def test_the_mean_of_large_integers_does_not_overflow() -> None:
    assert profile_column([2**63 - 1] * 4)["mean"] == pytest.approx(2.0**63)


def test_mean_and_std_keep_their_digits_far_from_zero() -> None:
    values = 1e9 + np.random.default_rng(0).normal(size=200_000)
    described = profile_in_batches(pa.table({"a": values}), 7_001)["columns"][0]
    assert described["mean"] == pytest.approx(values.mean(), rel=1e-14)
    assert described["std"] == pytest.approx(values.std(), rel=1e-9)


def test_what_is_infinite_is_counted_and_is_no_minimum() -> None:
    described = profile_column([1.0, 3.0, np.inf, np.nan])
    assert (described["infinite"], described["nan"], described["distinct"]) == (1, 1, 3)
    assert (described["min"], described["max"], described["mean"]) == (1.0, None, None)
    assert sum(described["histogram"]["counts"]) == 2


def test_a_constant_column_is_one_value_and_one_bin() -> None:
    described = profile_column([0.1] * 5)
    assert (described["std"], described["distinct"], described["quantiles"]["0.5"]) == (0.0, 1, 0.1)
    assert described["histogram"] == {"edges": [0.1, 0.1], "counts": [5]}
    assert described["top"] == [{"value": 0.1, "count": 5}]


def test_times_are_iso_text_and_zones_are_utc() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    described = profile_column(
        [datetime.datetime(2026, 1, 31, 14, 5, tzinfo=zone), None], pa.timestamp("us", "Europe/Paris")
    )
    assert (described["min"], described["quantiles"]["0.5"]) == ("2026-01-31T12:05:00Z", "2026-01-31T12:05:00Z")
    assert profile_column([datetime.date(2026, 1, 31)])["max"] == "2026-01-31"
    assert profile_column([datetime.time(14, 5, 0, 500)])["max"] == "14:05:00.0005"
    assert profile_column([-1500], pa.duration("ms"))["max"] == "-PT1.5S"
    days = profile_column([datetime.date(2026, 1, 1) + datetime.timedelta(days=day) for day in range(365)])
    assert days["histogram"]["edges"][0] <= "2026-01-01" < days["histogram"]["edges"][-1]
    assert sum(days["histogram"]["counts"]) == 365


def test_the_most_frequent_come_first_and_long_texts_are_cut() -> None:
    long = "x" * 150
    described = profile_column(["b", "a", "b", long + "1", long + "2", "a", "b"])
    assert described["distinct"] == 4
    assert [top["count"] for top in described["top"]] == [3, 2, 1, 1]
    assert described["top"][2]["value"] == "x" * 100 + "…"
    assert profile_column([b"\x00\xff"])["top"] == [{"value": "00ff", "count": 1}]
    assert profile_column([True, None, True, False])["top"] == [
        {"value": True, "count": 2},
        {"value": False, "count": 1},
    ]


@pytest.mark.parametrize("num_distinct", [255, 257, 10_001, 65_536, 65_537, 400_000])
@pytest.mark.parametrize("as_text", [False, True], ids=["numbers", "texts"])
def test_distinct_values_are_exact_up_to_a_number_and_near_beyond(num_distinct: int, as_text: bool) -> None:
    numbers = pa.array(np.arange(num_distinct) * 0.1)
    described = profile_column(pa.concat_arrays([numbers, numbers]).cast(pa.string() if as_text else pa.float64()))
    assert described["distinct_exact"] == (num_distinct <= 65_536)
    assert described["distinct"] == pytest.approx(num_distinct, rel=0 if num_distinct <= 65_536 else 0.016)


def test_frequent_texts_are_found_among_too_many_to_count() -> None:
    rng = np.random.default_rng(0)
    texts = np.char.add("id ", np.arange(100_000).astype(str)).astype(object)
    texts[rng.random(100_000) < 0.3] = "unknown"
    described = profile_column(texts)
    assert [top["value"] for top in described["top"]] == ["unknown"]
    assert not described["top_exact"]
    assert described["top"][0]["count"] == pytest.approx(30_000, rel=0.1)


@pytest.mark.parametrize("draw", ["normal", "lognormal", "integers"])
def test_quantiles_of_many_rows_are_within_the_stated_bound(draw: str) -> None:
    rng = np.random.default_rng(1)
    drawn = {"normal": rng.normal(size=10**6), "lognormal": rng.lognormal(size=10**6), "integers": np.arange(10**6)}
    values = np.sort(drawn[draw])
    for share, value in profile_column(values)["quantiles"].items():
        assert abs(np.searchsorted(values, value, "right") / len(values) - float(share)) < 0.008


def test_the_same_rows_give_the_same_profile_in_other_batches() -> None:
    rng = np.random.default_rng(2)
    num_rows = 300_000
    number = rng.integers(0, 50_000, num_rows)
    table = pa.table(
        {
            "double": pa.array(rng.normal(size=num_rows), mask=rng.random(num_rows) < 0.1),
            "growing": np.cumsum(rng.exponential(size=num_rows)),
            "integer": number,
            "text": pa.array(number.astype(str)),
            "category": pa.array(number % 7).cast(pa.string()).dictionary_encode(),
            "time": pa.array(number, pa.timestamp("s")),
        }
    )
    whole, parts = profile_table(table), profile_in_batches(table, 9_973)
    for one, other in zip(whole["columns"], parts["columns"], strict=True):
        assert {**one, "mean": 0, "std": 0} == {**other, "mean": 0, "std": 0}
        if one["mean"] is not None:
            assert (one["mean"], one["std"]) == pytest.approx((other["mean"], other["std"]), rel=1e-12)
    assert profile_in_batches(table, 9_973) == parts


def test_the_two_zeros_are_one_value_in_any_batches() -> None:
    zeros = pa.table({"a": [0.0, -0.0, 1.0, -0.0]})
    parts = Profiler(zeros.schema)
    for row in range(4):
        parts.update(zeros.slice(row, 1))
    [column] = profile_table(zeros)["columns"]
    assert parts.result()["columns"] == [column]
    assert (column["distinct"], column["top"][0]) == (2, {"value": 0.0, "count": 3})


def test_no_text_of_a_profile_holds_what_a_database_cannot_keep() -> None:
    profile = profile_table(pa.table({"a": ["x\0y", "z"], "b": pa.array(["\0"] * 2).dictionary_encode()}))
    assert [column["top"][0]["value"] for column in profile["columns"]] == ["x␀y", "␀"]


def test_a_dictionary_is_profiled_as_what_it_stands_for() -> None:
    plain = pa.array(["a", "b", "a", None])
    encoded = pa.DictionaryArray.from_arrays([0, 1, 0, 2], ["a", "b", None])
    assert profile_column(encoded) == profile_column(plain)
    profiler = Profiler(pa.schema({"a": pa.string()}))
    profiler.update(pa.table({"a": plain.cast(pa.large_string())}))
    profiler.update(pa.table({"a": encoded}))
    assert profiler.result()["columns"][0]["top"][0] == {"value": "a", "count": 4}


def test_a_batch_of_other_columns_is_refused() -> None:
    profiler = Profiler(pa.schema({"a": pa.int64()}))
    with pytest.raises(BadInput, match="'b'"):
        profiler.update(pa.table({"b": [1]}))


@pytest.mark.parametrize(
    "broken",
    [
        pa.array([2**62], pa.timestamp("s")),
        pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], "i4")), pa.py_buffer(b"\xff\xfe")]),
    ],
    ids=["time", "text"],
)
def test_a_value_that_its_type_cannot_hold_is_refused_by_column(broken: pa.Array) -> None:
    with pytest.raises(BadInput, match="column 'odd'"):
        profile_table(pa.table({"odd": broken}))


def test_three_thousand_columns_are_profiled() -> None:
    values = np.random.default_rng(0).normal(size=(3_000, 50))
    profile = profile_table(pa.table({f"c{index}": row for index, row in enumerate(values)}))
    assert (len(profile["columns"]), profile["exact_up_to"]) == (3_000, 2_796)
    assert profile["columns"][2_999]["mean"] == pytest.approx(values[2_999].mean())


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.none(), max_size=60),
    st.integers(min_value=1, max_value=20),
)
def test_any_doubles_are_counted_as_numpy_counts_them(values: list[float | None], rows: int) -> None:
    described = profile_in_batches(pa.table({"a": pa.array(values, pa.float64())}), rows)["columns"][0]
    present = np.array([value for value in values if value is not None], float)
    numbers = present[~np.isnan(present)]
    finite = numbers[np.isfinite(numbers)]
    assert described["nulls"] == len(values) - len(present)
    assert described["nan"] == np.isnan(present).sum()
    assert described["distinct"] == len(np.unique(numbers))
    assert described["min"] == (numbers.min() if len(numbers) and math.isfinite(numbers.min()) else None)
    histogram = described["histogram"]
    assert (histogram is None) == (len(finite) == 0)
    if histogram is not None:
        edges, counts = histogram["edges"], histogram["counts"]
        assert sum(counts) == len(finite)
        if len(edges) > 2:
            places = np.minimum(np.searchsorted(edges, finite, "right") - 1, len(counts) - 1)
            assert counts == np.bincount(places, minlength=len(counts)).tolist()


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=60), st.integers(min_value=1, max_value=20))
def test_any_integers_keep_every_digit(values: list[int], rows: int) -> None:
    described = profile_in_batches(pa.table({"a": pa.array(values, pa.int64())}), rows)["columns"][0]
    assert (described["min"], described["max"]) == (min(values), max(values))
    assert described["quantiles"]["0.5"] == sorted(values)[(len(values) - 1) // 2]
    assert described["distinct"] == len(set(values))
    assert sum(described["histogram"]["counts"]) == len(values)


def test_nullable_is_what_the_table_holds_or_else_what_the_schema_declares() -> None:
    table = pa.table({"a": [1, None], "b": [1, 2]})
    assert [column["nullable"] for column in describe_schema(table)] == [True, False]
    assert [column["nullable"] for column in describe_schema(table.schema)] == [True, True]
