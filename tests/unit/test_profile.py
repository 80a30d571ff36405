"""Schema and profile are JSON, and say what is in the table."""

import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from modelyard.data.profile import profile_table
from modelyard.data.schema import describe_schema


def test_a_profile_counts_and_describes_numbers() -> None:
    table = pa.table({"x": [1.0, 2.0, None, float("nan")], "n": [1, 2, 3, 2**62], "s": ["a", None, None, "b"]})
    profile = profile_table(table)
    assert (profile["num_rows"], profile["num_elements"]) == (4, 12)
    x, n, s = profile["columns"]
    assert x == {"name": "x", "type": "float64", "nulls": 1, "mean": 1.5, "std": 0.5, "min": 1.0, "max": 2.0}
    assert (n["min"], n["max"]) == (1, 2**62)
    assert n["mean"] == pytest.approx(2**60)
    assert s == {"name": "s", "type": "string", "nulls": 2}


@pytest.mark.parametrize(
    "column",
    [
        pa.array([], pa.float64()),
        pa.array([None, None], pa.int64()),
        pa.array([np.inf, -np.inf, np.nan]),
        pa.array([2**63 - 1] * 3),
        pa.array([2**64 - 1], pa.uint64()),
        pa.array([1.5], pa.float16()),
        pa.array([Decimal("1.25"), None]),
        pa.array([1, 1]).dictionary_encode(),
        pa.array([True, None]),
        pa.array([[1.0], None]),
        pa.nulls(2),
    ],
    ids=lambda column: str(column.type),
)
def test_every_column_gives_json_that_any_reader_takes(column: pa.Array) -> None:
    table = pa.table({"a": column})
    json.dumps([profile_table(table), describe_schema(table)], allow_nan=False)


def test_the_mean_of_large_integers_does_not_overflow() -> None:
    described = profile_table(pa.table({"a": [2**63 - 1] * 4}))["columns"][0]
    assert described["mean"] == pytest.approx(2.0**63)


def test_nullable_is_what_the_table_holds_or_else_what_the_schema_declares() -> None:
    table = pa.table({"a": [1, None], "b": [1, 2]})
    assert [column["nullable"] for column in describe_schema(table)] == [True, False]
    assert [column["nullable"] for column in describe_schema(table.schema)] == [True, True]
