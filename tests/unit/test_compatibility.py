"""Columns that a model was not trained on are named, each difference in words; what does no harm is let through."""

import pandas as pd
import pyarrow as pa
import pytest

from modelyard.data.compatibility import compare_columns, compare_frame, compare_targets, list_features
from modelyard.data.schema import describe_schema


def describe(**types):
    return [{"name": name, "type": kind, "nullable": True} for name, kind in types.items()]


WANTED = describe(rooms="int64", area="float64", town="string")


def test_the_same_columns_have_no_difference():
    assert compare_columns(WANTED, WANTED) == []


def test_whether_there_are_nulls_is_no_part_of_it():
    assert compare_columns([column | {"nullable": False} for column in WANTED], WANTED) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (describe(rooms="int64", area="float64"), ["missing: town"]),
        (describe(rooms="int64", area="float64", town="string", age="int64"), ["unexpected: age"]),
        (
            describe(area="float64", rooms="int64", town="string"),
            ["in another order: rooms, area (expected rooms, area, town)"],
        ),
        (describe(rooms="int64", area="string", town="string"), ["area is string and float64 is expected"]),
        (
            describe(rooms="float64", floor="int64", town="string"),
            ["missing: area", "unexpected: floor", "rooms is float64 and int64 is expected"],
        ),
        ([*WANTED, WANTED[0]], ["given twice: rooms"]),
        ([], ["missing: rooms, area, town"]),
    ],
)
def test_each_difference_is_named(found, said):
    assert compare_columns(found, WANTED) == said


def test_of_many_columns_the_first_are_named_and_the_others_counted():
    wanted = describe(**{f"x{number}": "float64" for number in range(1_013)})
    [said] = compare_columns([], wanted)
    assert said.startswith("missing: x0, x1,") and said.endswith("x9 and 1,003 more")


@pytest.mark.parametrize(
    ("found", "expected", "fits"),
    [
        ("int32", "int64", True),
        ("int64", "int32", False),
        ("uint8", "int16", True),
        ("uint64", "int64", False),
        ("int8", "uint64", False),
        ("uint8", "uint64", True),
        ("int64", "float64", True),
        ("float32", "float64", True),
        ("float64", "float32", False),
        ("float16", "float32", True),
        ("int16", "float32", True),
        ("int32", "float32", False),
        ("int64", "float32", False),
        ("uint64", "float16", False),
        ("float64", "int64", False),
        ("bool", "int64", False),
        ("int64", "string", False),
        ("null", "string", True),
        ("timestamp[ns]", "timestamp[us]", True),
        ("timestamp[ns,UTC]", "timestamp[us]", False),
        ("timestamp[ns,UTC]", "timestamp[us,UTC]", True),
        ("date", "timestamp[us]", False),
    ],
)
def test_a_type_fits_only_where_every_value_stays_what_it_is(found, expected, fits):
    assert (compare_columns(describe(x=found), describe(x=expected)) == []) == fits


def test_the_types_are_those_that_a_schema_on_record_has():
    table = pa.table({"t": pa.array([0], pa.timestamp("ns", "UTC")), "n": pa.array([1], pa.int16())})
    wanted = [
        {"name": "t", "type": describe_schema(pa.schema([pa.field("t", pa.timestamp("us", "UTC"))]))[0]["type"]},
        {"name": "n", "type": "int64"},
    ]
    assert compare_frame(table, wanted) == []


@pytest.mark.parametrize("make", [pa.table, pd.DataFrame], ids=["table", "frame"])
def test_rows_are_compared_as_they_are_given(make):
    rows = {"rooms": [1, 2], "area": [1.5, 2.5], "town": ["a", None]}
    assert compare_frame(make(rows), WANTED) == []
    assert compare_frame(make(rows | {"area": ["x", "y"]}), WANTED) == ["area is string and float64 is expected"]


def test_whole_numbers_with_gaps_are_integers_still_and_others_are_not():
    rows = {"rooms": [1.0, None], "area": [1.5, 2.5], "town": ["a", "b"]}
    assert compare_frame(pd.DataFrame(rows), WANTED) == []
    rows["rooms"] = [1.5, None]
    assert compare_frame(pd.DataFrame(rows), WANTED) == ["rooms is float64 and int64 is expected"]


def test_a_column_of_several_types_is_called_so():
    frame = pd.DataFrame({"rooms": [1, "two"], "area": [1.0, 2.0], "town": ["a", "b"]})
    assert compare_frame(frame, WANTED) == ["rooms is a mixture of types and int64 is expected"]


def test_a_frame_without_rows_is_compared_by_its_columns():
    frame = pd.DataFrame({"rooms": [1], "area": [1.0], "town": ["a"]})
    assert compare_frame(frame[:0], WANTED) == []
    assert compare_frame(frame[:0].drop(columns="area"), WANTED) == ["missing: area"]


def test_features_are_the_columns_of_x_under_their_own_names():
    schema = describe(**{"X.rooms": "int64", "X.X.y": "string", "y.price": "float64", "split": "string"})
    assert [column["name"] for column in list_features(schema)] == ["rooms", "X.y"]


def test_what_is_no_integer_of_ours_is_a_difference_in_words():
    wanted = describe(x="int64")
    assert compare_frame(pd.DataFrame({"x": [2**70, 1]}), wanted) == [
        "x is of integers beyond 64 bits and int64 is expected"
    ]
    assert compare_frame(pd.DataFrame({"x": [1.0, float("inf")]}), wanted) == ["x is float64 and int64 is expected"]
    assert compare_frame(pd.DataFrame({"x": [1.0, None]}), wanted) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"y.price": "float32", "X.area": "string"}, []),
        ({"y.price": "bool"}, []),
        ({"y.price": "string"}, ["its target price is string, not int64"]),
        ({"y.cost": "int64"}, ["its targets are cost, not price"]),
    ],
)
def test_a_target_is_scored_as_another_where_both_are_numbers(found, said):
    assert compare_targets(describe(**found), describe(**{"y.price": "int64", "X.rooms": "int64"})) == said
