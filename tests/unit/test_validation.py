import datetime as dt
import json
import os
import subprocess
import sys
import time
import warnings
from dataclasses import asdict
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.data import duplicates
from modelyard.data.dataset import DatasetTables
from modelyard.data.expectations import Expectation, Expectations
from modelyard.data.validation import Example, Validator
from modelyard.errors import BadInput, DataInvalid, InvalidExpectation
from modelyard.workloads import california_housing as housing
from modelyard.workloads.registry import build_parameters

UTC = dt.UTC


def rows(X, y=None, extra=None):
    X = pa.table(X)
    return DatasetTables(
        X=X,
        y=pa.table({"target": np.zeros(X.num_rows)} if y is None else y),
        split=pa.array(["train"] * X.num_rows, pa.string()),
        extra=None if extra is None else pa.table(extra),
    )


def check(expectations, *chunks):
    with Validator(expectations) as validator:
        for chunk in chunks:
            validator.update(chunk)
        return validator.result()


def find(values, **expected):
    """What is found of one column ``a``: rule → (count, row numbers, values)."""
    found = check(Expectations(columns=(Expectation("a", **expected),)), rows({"a": values}))
    assert all(violation.column == "a" for violation in found)
    return {
        violation.rule: (
            violation.count,
            [example.row for example in violation.examples],
            [example.value for example in violation.examples],
        )
        for violation in found
    }


# ── each rule ────────────────────────────────────────────────────────────────────────────────────────────────────────

BROKEN = {
    "low": ([0.0, -1.5, 2.0], {"low": 0}, {"a >= 0": (1, [1], [-1.5])}),
    "low left out": ([0.0, -1.5, 2.0], {"low": 0, "low_included": False}, {"a > 0": (2, [0, 1], [0.0, -1.5])}),
    "high": ([1, 2, 3], {"high": 2}, {"a <= 2": (1, [2], [3])}),
    "high left out": ([1, 2, 3], {"high": 2, "high_included": False}, {"a < 2": (2, [1, 2], [2, 3])}),
    "both": ([1, 2, 9], {"low": 2, "high": 3}, {"a >= 2": (1, [0], [1]), "a <= 3": (1, [2], [9])}),
    "null": ([1, None, 3], {"nullable": False}, {"a is not null": (1, [1], [None])}),
    "null text": (["x", None], {"nullable": False}, {"a is not null": (1, [1], [None])}),
    "unique": (["x", "y", "x", "x"], {"unique": True}, {"a is unique": (3, [0], ["x"])}),
    "allowed": (["x", "y", None], {"allowed": ("x", "z")}, {"a is one of 'x', 'z'": (1, [1], ["y"])}),
    "allowed numbers": ([1, 2], {"allowed": (1.0,)}, {"a is one of 1.0": (1, [1], [2])}),
    "allowed bool": ([True, False], {"allowed": (True,)}, {"a is one of True": (1, [1], [False])}),
    "pattern": (["ab", "ab\n", "xab", "cd"], {"pattern": "ab|cd"}, {"a matches ab|cd": (2, [1, 2], ["ab\n", "xab"])}),
    "type": (["x", "y"], {"type": "number"}, {"a is of type number, not string": (2, [0, 1], ["x", "y"])}),
    "infinity": ([1.0, float("inf")], {"high": 9}, {"a <= 9": (1, [1], ["inf"])}),
}


@pytest.mark.parametrize("case", BROKEN, ids=str)
def test_a_broken_rule_is_told_with_its_count_and_rows(case):
    values, expected, told = BROKEN[case]
    assert find(values, **expected) == told


MET = {
    "low": ([0.0, 1.5], {"low": 0, "type": "float", "nullable": False, "unique": True}),
    "integers are numbers": ([1, 2], {"type": "number", "low": 0.0}),
    "missing values break no other rule": ([None, 1.0, None], {"low": 0, "unique": True, "allowed": (1,)}),
    "nothing is said": (["x", None, "x"], {}),
    "the whole text matches": (["ab", "abab", None], {"pattern": "(ab)+"}),
}


@pytest.mark.parametrize("case", MET, ids=str)
def test_what_is_as_expected_is_not_told(case):
    values, expected = MET[case]
    assert find(values, **expected) == {}


def test_the_two_zeros_are_one_value():
    assert find([0.0, 1.0, -0.0], unique=True) == {"a is unique": (2, [0], [0.0])}


@pytest.mark.parametrize("width", ["float16", "float32", "float64"])
def test_a_limit_is_the_number_that_the_column_has(width):
    values = pa.array([0.1, 0.2]).cast(pa.type_for_alias(width), safe=False)
    assert find(values, low=0.1, high=0.2, allowed=(0.1, 0.2)) == {}
    assert list(find(values, low=0.1, low_included=False)) == ["a > 0.1"]
    assert list(find(values, allowed=(0.2,))) == ["a is one of 0.2"]


def test_a_column_without_any_value_breaks_nothing_but_that_it_must_have_one():
    rules = {"low": 0, "high": 1, "allowed": (1,), "pattern": "x", "unique": True}
    assert find(pa.nulls(3), **rules) == {}
    assert find(pa.nulls(3), **rules, nullable=False) == {"a is not null": (3, [0, 1, 2], [None, None, None])}
    expected = Expectations(unique_key=("a", "b"))
    assert check(expected, rows({"a": pa.nulls(2), "b": [1, 1]}), rows({"a": pa.nulls(2), "b": [1, 1]})) == []


def test_examples_can_be_kept_in_a_database_whatever_the_text():
    key = Expectations(unique_key=("a", "b"))
    [violation] = check(key, rows({"a": ["x\0"] * 2, "b": ["\0"] * 2}))
    assert violation.examples[0].value == ["x␀", "␀"]
    assert find(["\0y"], allowed=("y",)) == {"a is one of 'y'": (1, [0], ["␀y"])}


def test_nan_is_a_missing_value():
    values = [1.0, float("nan"), None, -1.0]
    assert find(values, nullable=False) == {"a is not null": (2, [1, 2], ["nan", None])}
    assert find(values, low=0, allowed=(1.0,)) == {
        "a >= 0": (1, [3], [-1.0]),
        "a is one of 1.0": (1, [3], [-1.0]),
    }
    assert find([float("nan")] * 3, unique=True) == {}
    assert find(pa.array([float("nan"), -1.0], pa.float16()), low=0) == {"a >= 0": (1, [1], [-1.0])}


TYPES = {
    "date": ([dt.date(2024, 1, 1), dt.date(2025, 1, 3)], "2025-01-01", "2024-01-01"),
    "date64": (pa.array([dt.date(2024, 1, 1), dt.date(2025, 1, 3)], pa.date64()), "2025-01-01", "2024-01-01"),
    "timestamp": ([dt.datetime(2024, 1, 1), dt.datetime(2025, 1, 3)], "2025-01-01", "2024-01-01T00:00:00"),
    "timestamp with a zone": (
        pa.array([dt.datetime(2024, 1, 1, tzinfo=UTC), dt.datetime(2025, 1, 3, tzinfo=UTC)], pa.timestamp("ns", "UTC")),
        "2025-01-01T00:00:00+02:00",
        "2024-01-01T00:00:00+00:00",
    ),
    "time of day": ([dt.time(9), dt.time(12)], "10:00:00", "09:00:00"),
    "decimal": ([Decimal("0.10"), Decimal("0.30")], 0.2, "0.10"),
    "duration": ([dt.timedelta(seconds=1), dt.timedelta(seconds=9)], 2.5, "0:00:01"),
    "text": (["a", "c"], "b", "a"),
    "dictionary": (pa.array([1, 3]).dictionary_encode(), 2, 1),
    "runs": (pa.RunEndEncodedArray.from_arrays([1, 2], [1, 3]), 2, 1),
    "int8": (pa.array([1, 3], pa.int8()), 2, 1),
    "text view": (pa.array(["a", "c"], pa.string_view()), "b", "a"),
}


@pytest.mark.parametrize("case", TYPES, ids=str)
def test_limits_hold_in_every_type_that_has_an_order(case):
    values, low, broken = TYPES[case]
    assert find(values, low=low) == {f"a >= {low}": (1, [0], [broken])}
    assert find(values, low=low, unique=True, nullable=False) == {f"a >= {low}": (1, [0], [broken])}
    twice = pa.chunked_array([values, values])
    [(count, numbers, _)] = find(twice, unique=True).values()
    assert (count, numbers) == (4, [0, 1])


def test_large_integers_are_compared_exactly_beside_a_null():
    assert find([2**53, 2**53 + 1, None], high=2**53) == {f"a <= {2**53}": (1, [1], [2**53 + 1])}
    unsigned = pa.array([2**64 - 1, 5, None], pa.uint64())
    assert find(unsigned, low=6, high=2**64 - 1) == {"a >= 6": (1, [1], [5])}
    assert find(unsigned, high=9) == {"a <= 9": (1, [0], [2**64 - 1])}


def test_dictionaries_are_checked_by_their_values():
    kinds = pa.array(["x", None, "y", "x"]).dictionary_encode()
    assert find(kinds, allowed=("x",), type="text", nullable=False, unique=True) == {
        "a is not null": (1, [1], [None]),
        "a is one of 'x'": (1, [2], ["y"]),
        "a is unique": (2, [0], ["x"]),
    }


# ── the dataset as a whole ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_over_several_columns_is_unique_over_chunks():
    expected = Expectations(unique_key=("person", "window"))
    first = rows({"window": [1, 2, 3]}, extra={"person": ["p", "p", None]})
    again = rows({"window": [1, 2, 3]}, extra={"person": ["q", "p", None]})
    [violation] = check(expected, first, again)
    assert (violation.column, violation.rule, violation.count) == ("person, window", "(person, window) is unique", 2)
    assert violation.examples == (Example(1, ["p", 2]),)


def test_row_counts_are_of_all_chunks():
    expected = Expectations(min_rows=5, max_rows=6)
    three = rows({"a": [1, 2, 3]})
    assert [str(violation) for violation in check(expected, three)] == ["at least 5 rows (it has 3)"]
    assert check(expected, three, three) == []
    assert [str(violation) for violation in check(expected, three, three, three)] == ["at most 6 rows (it has 9)"]


def test_row_numbers_go_on_over_chunks_and_examples_stop_at_five():
    expected = Expectations(columns=(Expectation("a", low=0),))
    [violation] = check(expected, *[rows({"a": [1, -1]}) for _ in range(70)])
    assert (violation.count, [example.row for example in violation.examples]) == (70, [1, 3, 5, 7, 9])


def test_empty_data_breaks_only_row_counts_and_types():
    expected = Expectations(
        columns=(Expectation("a", type="text"), Expectation("b", low=0, nullable=False, unique=True)), min_rows=1
    )
    found = check(expected, rows({"a": pa.array([], pa.int64()), "b": pa.array([], pa.float64())}))
    assert [violation.rule for violation in found] == ["a is of type text, not int64", "at least 1 rows"]
    assert check(Expectations()) == []


def test_all_that_is_broken_is_told_in_the_order_of_the_expectations():
    expected = Expectations(
        columns=(
            Expectation("b", nullable=False, pattern="[a-z]"),
            Expectation("target", low=0),
            Expectation("X.a", unique=True, high=3),
        ),
        unique_key=("a", "b"),
        max_rows=3,
    )
    found = check(
        expected, rows({"a": [4, 4, 4, 1]}, y={"target": [1.0, -1.0, 0.0, 0.0]}, extra={"b": ["x", "X", None, "x"]})
    )
    assert [violation.rule for violation in found] == [
        "b is not null", "b matches [a-z]", "target >= 0", "X.a <= 3", "X.a is unique", "at most 3 rows",
    ]  # fmt: skip
    error = DataInvalid(found)
    assert isinstance(error, BadInput) and error.exit_code == 2 and error.violations == found
    assert "breaks 6 expectations" in str(error) and "\n" not in str(error)
    assert "X.a <= 3 (3 rows, e.g. row 0: 4; row 1: 4; row 2: 4)" in str(error)
    assert "b is not null (1 row, e.g. row 2: null)" in str(error)
    assert "--allow-invalid records it anyway" in str(error)


def test_violations_and_expectations_are_json():
    day = dt.date(2025, 1, 3)
    expected = Expectations(
        columns=(
            Expectation("a", low="2026-01-01", type="date"),
            Expectation("b", allowed=("x",)),
            Expectation("c", high=1),
        ),
        min_rows=9,
    )
    found = check(expected, rows({"a": [day], "b": ["y" * 500], "c": [float("inf")]}))
    kept = json.loads(json.dumps([asdict(violation) for violation in found], allow_nan=False))
    assert [violation["examples"] for violation in kept[:3:2]] == [
        [{"row": 0, "value": "2025-01-03"}],
        [{"row": 0, "value": "inf"}],
    ]
    assert len(kept[1]["examples"][0]["value"]) == 80
    assert json.loads(json.dumps(expected.describe(), allow_nan=False)) == {
        "columns": [
            {"column": "a", "low": "2026-01-01", "type": "date"},
            {"column": "b", "allowed": ["x"]},
            {"column": "c", "high": 1},
        ],
        "min_rows": 9,
    }
    assert Expectations().describe() == {"columns": []}


def test_who_validates_can_still_make_times_of_a_zone():
    code = """if True:
        import datetime as dt
        import pyarrow as pa
        from modelyard.data.expectations import Expectation, Expectations
        from modelyard.data.dataset import DatasetTables
        from modelyard.data.validation import Validator
        noon = dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
        a = pa.table({"a": [1]})
        with Validator(Expectations(columns=(Expectation("X.a", low=0),))) as validator:
            validator.update(DatasetTables(X=a, y=a, split=pa.array(["train"]), extra=None))
        print(pa.array([noon], pa.timestamp("s", "UTC"))[0].as_py().isoformat())"""
    environment = {name: value for name, value in os.environ.items() if name != "PYARROW_IGNORE_TIMEZONE"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "2026-01-01T10:00:00+00:00"


def test_validation_cannot_be_switched_off_from_outside(monkeypatch):
    import pandera.config

    monkeypatch.setattr(pandera.config.CONFIG, "validation_enabled", False)
    with pandera.config.config_context(validation_enabled=False):
        assert find([-1.0], low=0) == {"a >= 0": (1, [0], [-1.0])}


# ── expectations that are wrong ──────────────────────────────────────────────────────────────────────────────────────

WRONG = {
    "unknown column": ({"column": "c"}, "'c' is no column of the dataset; it has X.a, X.b, y.target, split"),
    "text for a number": ({"low": "many"}, "a: 'many' cannot be compared with values of type int64"),
    "half for an integer": ({"low": 0.5}, "a: 0.5 cannot be compared with values of type int64"),
    "no number": ({"high": float("nan")}, "a: nan cannot be compared"),
    "infinity": ({"column": "target", "high": float("inf")}, "target: inf cannot be compared"),
    "too large": ({"high": 2**70}, "cannot be compared with values of type int64"),
    "number for text": ({"column": "b", "allowed": (1,)}, "b: 1 cannot be compared with values of type string"),
    "pattern of a number": ({"pattern": "x"}, "a: a pattern is for text, and its type is integer"),
    "broken pattern": ({"column": "b", "pattern": "("}, "b: the pattern '(' cannot be used"),
    "look-around": ({"column": "b", "pattern": "a(?=b)"}, "b: the pattern 'a(?=b)' cannot be used"),
    "nothing allowed": ({"allowed": ()}, "a: no value at all is allowed"),
    "limits crossed": ({"low": 2, "high": 1}, "a: a >= 2 and a <= 1 cannot both hold"),
    "nothing between": ({"low": 1, "high": 1, "low_included": False}, "a > 1 and a <= 1 cannot both hold"),
    "unknown type": ({"type": "floating"}, "a: there is no type 'floating'; known: bool, integer, float"),
}


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_an_expectation_that_cannot_be_checked_is_refused_by_name(case):
    expected, problem = WRONG[case]
    with pytest.raises(InvalidExpectation) as refused:
        check(Expectations(columns=(Expectation(**{"column": "a", **expected}),)), rows({"a": [1], "b": ["x"]}))
    assert problem in str(refused.value) and "\n" not in str(refused.value)


def test_all_wrong_expectations_are_listed_at_once():
    expected = Expectations(
        columns=(Expectation("a", low="x"), Expectation("z"), Expectation("a"), Expectation("both")),
        unique_key=("q", "lists"), min_rows=3, max_rows=2,
    )  # fmt: skip
    with pytest.raises(InvalidExpectation) as refused:
        check(expected, rows({"a": [1], "both": [1], "lists": [[1]]}, extra={"both": [1]}))
    assert len(refused.value.problems) == 7
    for problem in ("'a' is expected twice", "at least 3 and at most 2 rows", "'q' is no column", "cannot be unique",
                    "'z' is no column", "'both' may be any of X.both, extra.both"):  # fmt: skip
        assert problem in str(refused.value)


def test_limits_in_a_time_zone_need_an_offset():
    zoned = pa.array([dt.datetime(2025, 1, 1)], pa.timestamp("us", "Europe/Paris"))
    with pytest.raises(InvalidExpectation, match="it needs a Z or an offset"):
        find(zoned, low="2025-01-01")


def test_a_column_that_need_not_be_there_is_checked_where_it_is():
    expected = Expectations(columns=(Expectation("b", low=0, required=False),))
    assert check(expected, rows({"a": [-1]})) == []
    assert [violation.rule for violation in check(expected, rows({"b": [-1]}))] == ["b >= 0"]


# ── any chunks, any amount ───────────────────────────────────────────────────────────────────────────────────────────

EVERYTHING = Expectations(
    columns=(
        Expectation("number", low=-2, high=2, nullable=False, unique=True),
        Expectation("kind", allowed=("a", "b"), pattern="[ab]", unique=True),
        Expectation("when", low="1970-01-02", unique=True, required=False),
    ),
    unique_key=("kind", "number"), min_rows=4, max_rows=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    records=st.lists(
        st.tuples(
            st.one_of(st.none(), st.sampled_from([float("nan"), -3.0, 0.0, 1.5, 7.0])),
            st.sampled_from(["a", "b", "c", None]),
            st.one_of(st.none(), st.integers(0, 3)),
        ),
        max_size=16,
    ),
    cuts=st.lists(st.integers(0, 16), max_size=5),
    limit=st.sampled_from([1, 2**26]),
)
def test_how_rows_are_cut_changes_nothing(records, cuts, limit):
    numbers, kinds, days = ([record[i] for record in records] for i in range(3))
    whole = rows(
        {
            "number": pa.array(numbers, pa.float64(), from_pandas=False),
            "kind": pa.array(kinds, pa.string()),
            "when": pa.array(days, pa.date32()),
        }
    )
    edges = sorted({0, len(records), *(min(cut, len(records)) for cut in cuts)})
    parts = [whole.slice(start, stop - start) for start, stop in pairwise(edges)]
    kept = duplicates._MEMORY_BYTES
    duplicates._MEMORY_BYTES = limit  # of one byte, every chunk goes to the files
    try:
        found = check(EVERYTHING, *(parts or [whole]))
    finally:
        duplicates._MEMORY_BYTES = kept
    assert found == check(EVERYTHING, whole)
    told = {violation.rule: violation.count for violation in found}
    plain = [None if number is None or number != number else number for number in numbers]
    assert told.get("number is not null", 0) == plain.count(None)
    assert told.get("number >= -2", 0) == plain.count(-3.0)
    assert told.get("kind is one of 'a', 'b'", 0) == kinds.count("c")
    assert told.get("number is unique", 0) == sum(plain.count(n) > 1 for n in plain if n is not None)
    keys = [key for key in zip(kinds, plain, strict=True) if None not in key]
    assert told.get("(kind, number) is unique", 0) == sum(keys.count(key) > 1 for key in keys)


def test_duplicates_are_found_far_apart_when_values_went_to_files(monkeypatch, tmp_path):
    monkeypatch.setattr(duplicates, "_MEMORY_BYTES", 2**20)
    values = np.random.default_rng(0).permutation(300_000)
    values[299_999], values[150_000] = values[7], values[8]
    names = [f"name {value}" for value in values]
    expected = Expectations(columns=(Expectation("a", unique=True), Expectation("b", unique=True)))
    whole = rows({"a": values, "b": names})
    validator = Validator(expected, folder=tmp_path)
    for start in range(0, 300_000, 30_000):
        validator.update(whole.slice(start, 30_000))
    found = validator.result()
    assert [(violation.count, [example.row for example in violation.examples]) for violation in found] == [
        (4, [7, 8]), (4, [7, 8]),
    ]  # fmt: skip
    assert found[0].examples[0].value == int(values[7])
    assert list(tmp_path.iterdir()) == [], "nothing stays behind"


def test_a_million_rows_of_twenty_columns_take_seconds():
    columns = {f"c{i}": np.random.default_rng(i).normal(size=1_000_000) for i in range(20)}
    expected = Expectations(
        columns=tuple(Expectation(name, type="float", low=-10, high=10, nullable=False) for name in columns)
    )
    data = rows(columns)
    start = time.perf_counter()
    assert check(expected, data) == []
    assert time.perf_counter() - start < 10, "0.3 s on an idle machine"


# ── california_housing ───────────────────────────────────────────────────────────────────────────────────────────────


def process(path, **values):
    _, parameters = build_parameters(housing, model_type=None, values=values)
    processed = housing.process(housing.load_raw([path], parameters=parameters), parameters=parameters)
    return DatasetTables(X=processed.X, y=processed.y, split=processed.split, extra=processed.extra)


@pytest.mark.parametrize("features", ["basic", "engineered"])
@pytest.mark.parametrize("name", ["cal_housing.data", "housing.csv", "sample"])
def test_housing_data_is_as_expected(name, features, real_data, tmp_path):
    if name != "sample" and real_data is None:
        pytest.skip("no real data: put it into data/california_housing, or set MODELYARD_TEST_DATA_DIR")
    path = (
        housing.sample(tmp_path)[0] if real_data is None or name == "sample" else real_data / housing.spec.name / name
    )
    data = process(path, features=features)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check(housing.spec.expectations, data) == []


def test_swapped_coordinates_and_a_wrong_unit_are_told(tmp_path):
    data = process(housing.sample(tmp_path)[0])
    swapped = data.X.set_column(data.X.column_names.index("Latitude"), "Latitude", data.X["Longitude"])
    dollars = pa.table({housing.TARGET: pa.array(data.y[housing.TARGET].to_numpy() * 100_000)})
    found = check(housing.spec.expectations, DatasetTables(X=swapped, y=dollars, split=data.split, extra=None))
    assert [(violation.rule, violation.count) for violation in found] == [
        ("Latitude >= 32", 2000), ("MedHouseVal <= 10", 2000),
    ]  # fmt: skip
