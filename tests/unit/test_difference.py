"""What differs between two datasets is named, sorted by how much, and nothing else is."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from modelyard.data.difference import Change, compare_datasets, compare_profiles
from modelyard.data.profile import profile_table
from modelyard.data.schema import describe_schema


@dataclass(frozen=True)
class Described:
    table: pa.Table
    digest: str = "a"
    split_counts: dict[str, int] = field(default_factory=lambda: {"train": 600, "test": 400})
    parameters: dict[str, Any] = field(default_factory=lambda: {"seed": 42})
    preprocessing_hash: str | None = ""

    @property
    def num_rows(self) -> int:
        return self.table.num_rows

    @property
    def schema(self) -> list[dict[str, Any]]:
        return describe_schema(self.table)

    @property
    def profile(self) -> dict[str, Any]:
        return profile_table(self.table)


@pytest.fixture
def table():
    rng = np.random.default_rng(1)
    return pa.table(
        {
            "rooms": rng.normal(5, 2, 1000),
            "age": rng.integers(0, 50, 1000),
            "town": rng.choice(["Aarau", "Bern", "Chur"], 1000),
        }
    )


def test_equal_digests_are_the_same_content(table):
    found = compare_datasets(Described(table), Described(table))
    assert found.same_content
    assert not (found.added or found.removed or found.retyped or found.moved or found.rows or found.shifts)
    assert found.preprocessing_changed is False


def test_columns_are_named_that_came_went_changed_their_type_or_their_place(table):
    other = table.select(["town", "rooms"]).append_column("price", [list(range(1000))])
    other = other.set_column(1, "rooms", table["rooms"].cast("float32"))
    found = compare_datasets(Described(table), Described(other, digest="b"))
    assert (found.added, found.removed) == (("price",), ("age",))
    assert found.retyped == (Change(name="rooms", first="float64", second="float32"),)
    assert len(found.moved) == 1
    assert set(found.moved) < {"town", "rooms"}
    assert not found.same_content


def test_one_column_that_moved_through_many_is_the_only_one_named():
    names = [f"c{number}" for number in range(50)]
    first = Described(pa.table({name: [1.0] for name in names}))
    second = Described(pa.table({name: [1.0] for name in [*names[1:], "c0"]}), digest="b")
    assert compare_datasets(first, second).moved == ("c0",)


def test_shifts_are_measured_in_the_first_ones_std_and_the_largest_comes_first(table):
    shifted = table.set_column(0, "rooms", pa.array(table["rooms"].to_numpy() + 6))
    shifted = shifted.set_column(1, "age", pa.array(table["age"].to_numpy() + 1))
    shifts = compare_datasets(Described(table), Described(shifted, digest="b")).shifts
    rooms = table["rooms"].to_numpy()
    mean = next(shift for shift in shifts if shift.statistic == "mean" and shift.column == "rooms")
    assert mean.first == pytest.approx(rooms.mean())
    assert mean.size == pytest.approx(6 / rooms.std())
    assert [shift.column for shift in shifts if shift.statistic == "mean"] == ["rooms", "age"]
    assert {shift.column for shift in shifts} == {"rooms", "age"}
    assert {"min", "max", "quantile 0.5"} <= {shift.statistic for shift in shifts if shift.column == "rooms"}


def test_more_nulls_and_another_mix_of_values_are_shares(table):
    rooms = pa.array(table["rooms"].to_numpy(), mask=np.arange(1000) < 250)
    town = pa.array(["Bern"] * 900 + ["Chur"] * 100)
    other = table.set_column(0, "rooms", rooms).set_column(2, "town", town)
    shifts = {(shift.column, shift.statistic): shift for shift in compare_profiles(*map(profile_table, (table, other)))}
    assert shifts["rooms", "null share"].size == pytest.approx(0.25)
    share = shifts["town", "share of Bern"]
    assert (share.second, share.size) == (0.9, pytest.approx(0.9 - share.first))
    assert (shifts["town", "distinct"].first, shifts["town", "distinct"].second) == (3, 2)


def test_a_shift_that_has_no_measure_is_not_hidden_behind_others(table):
    constant = table.append_column("flag", [[1.0] * 1000])
    other = table.append_column("flag", [[2.0] * 1000]).set_column(0, "rooms", pa.array(table["rooms"].to_numpy() + 9))
    first, *_ = compare_profiles(profile_table(constant), profile_table(other))
    assert (first.column, first.size) == ("flag", None)


@pytest.mark.parametrize(
    ("counts", "exact", "told"),
    [
        ((100_000, 101_900), (False, False), False),
        ((100_000, 101_900), (True, False), False),
        ((100_000, 102_500), (False, False), True),
        ((50_000, 50_001), (True, True), True),
        ((50_000, 50_001), (None, None), True),
    ],
)
def test_two_estimates_that_may_be_of_one_number_are_no_shift(counts, exact, told):
    sides = [
        {"num_rows": 10**6, "columns": [{"name": "X.id", "distinct": count, "distinct_exact": known}]}
        for count, known in zip(counts, exact, strict=True)
    ]
    assert [shift.statistic for shift in compare_profiles(*sides)] == (["distinct"] if told else [])


def test_profiles_of_the_same_very_many_values_in_another_order_have_no_shift():
    values = np.arange(200_000) * 1.5
    sides = [profile_table(pa.table({"x": order})) for order in (values, values[::-1])]
    assert sides[0]["columns"][0]["distinct_exact"] is False
    assert not [shift for shift in compare_profiles(*sides) if shift.statistic == "distinct"]


def test_rows_parameters_and_pipeline_are_compared(table):
    second = Described(
        table.slice(0, 900),
        digest="b",
        split_counts={"train": 600, "test": 200, "validation": 100},
        parameters={"seed": 43, "features": "all"},
        preprocessing_hash="c" * 40,
    )
    found = compare_datasets(Described(table), second)
    assert {change.name: (change.first, change.second) for change in found.rows} == {
        "all": (1000, 900),
        "test": (400, 200),
        "validation": (None, 100),
    }
    assert {change.name: (change.first, change.second) for change in found.parameters} == {
        "seed": (42, 43),
        "features": (None, "all"),
    }
    assert found.preprocessing_changed


def test_what_an_older_release_did_not_keep_is_not_known_and_no_difference(table):
    @dataclass(frozen=True)
    class Old(Described):
        @property
        def profile(self) -> dict[str, Any]:
            return {"rooms": {"mean": 3.5}}

    old = Old(table, digest="b", preprocessing_hash=None)
    found = compare_datasets(old, Described(table))
    assert (found.preprocessing_changed, found.shifts) == (None, ())
    assert compare_datasets(replace(old, digest="c"), old).shifts == ()


def test_without_a_profile_no_statistic_is_known(table):
    class Bare(Described):
        profile = {"num_rows": 1000}  # noqa: RUF012

    found = compare_datasets(Described(table), Bare(table, digest="b"))
    assert not found.profiled and not found.shifts
    assert compare_datasets(Described(table), Described(table, digest="b")).profiled


def test_a_shift_that_no_double_can_hold_has_no_size():
    sides = [{"num_rows": 9, "columns": [{"name": "x", "mean": mean, "std": 5e-324}]} for mean in (0.0, 1e300)]
    [shift] = compare_profiles(*sides)
    assert (shift.statistic, shift.size) == ("mean", None)
