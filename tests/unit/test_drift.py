"""Drift: the numbers are scipy's, whatever moved is named, and what cannot be measured never passes as no drift."""

import datetime
import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from modelyard.data.drift import DriftLimits, compare_rows, open_rows, take_rows
from modelyard.data.drift_measures import SHARE_FLOOR, compute_psi, find_cuts, measure_column
from modelyard.errors import DriftNotMeasured
from modelyard.pages.drift import render_drift
from modelyard.pipeline.drift import name_metrics

NAMES = ["longitude", "latitude", "age", "rooms", "bedrooms", "population", "households", "income", "value"]
RNG = np.random.default_rng(7)
NORMAL = RNG.normal(size=4000)


def column(values, data_type=None):
    return pa.chunked_array([pa.array(values, data_type, from_pandas=False)])


def compare(reference, current, *, y=None, limits=None):
    """Columns by name, and the names in the order of the report."""
    sides = [take_rows(pa.table(side), None if y is None else pa.table(y)) for side in (reference, current)]
    found = compare_rows(*sides, limits=limits or DriftLimits(), report=lambda share, name: None)
    return {one.drift.name: one.drift for one in found}, [one.drift.name for one in found]


@pytest.fixture
def houses(real_data):
    """The real table of 20,640 block groups, as pandas reads it."""
    if real_data is None:
        pytest.skip("the real data is not here")
    path = real_data / "california_housing" / "cal_housing.data"
    return pd.read_csv(path, names=NAMES, header=None)


def expect_psi(reference, current):
    """The population stability index by pandas' quantiles and bins, for values without repeated deciles."""
    edges = [-np.inf, *pd.Series(reference).quantile(np.arange(1, 10) / 10, interpolation="lower"), np.inf]
    r, c = (
        pd.cut(side, edges).value_counts(sort=False).to_numpy() / len(side)  # intervals closed on the right
        for side in (pd.Series(reference), pd.Series(current))
    )
    r, c = r.clip(SHARE_FLOOR), c.clip(SHARE_FLOOR)
    return ((c - r) * np.log(c / r)).sum()


def test_kolmogorov_smirnov_on_real_data_is_scipys(houses):
    north, south = houses[houses.latitude > 36], houses[houses.latitude <= 36]
    for name in NAMES:
        found = measure_column(column(north[name].to_numpy()), column(south[name].to_numpy()))
        expected = stats.ks_2samp(north[name], south[name])
        assert (found.statistic, found.p_value) == (expected.statistic, expected.pvalue)


def test_chi_square_on_real_data_is_scipys(houses):
    ages = pd.cut(houses.age, [0, 10, 20, 30, 40, 52]).astype(str)
    north = houses.latitude > 36
    found = measure_column(column(ages[north].tolist()), column(ages[~north].tolist()))
    expected = stats.chi2_contingency(pd.crosstab(north, ages))
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_psi_on_real_data_is_that_of_the_deciles_of_the_reference(houses):
    half = len(houses) // 2
    for name in ("income", "households", "rooms"):
        reference, current = houses[name].to_numpy()[:half], houses[name].to_numpy()[half:]
        found = measure_column(column(reference), column(current))
        assert found.psi == pytest.approx(expect_psi(reference, current), rel=0.02)


def test_psi_of_categories_on_real_data_is_that_of_their_shares(houses):
    ages = pd.cut(houses.age, [0, 10, 20, 30, 40, 52]).astype(str)
    north = houses.latitude > 36
    r, c = (ages[side].value_counts(normalize=True).sort_index() for side in (north, ~north))
    found = measure_column(column(ages[north].tolist()), column(ages[~north].tolist()))
    assert found.psi == pytest.approx(((c - r) * np.log(c / r)).sum(), rel=1e-9)


def test_rare_and_new_categories_share_a_bin_each():
    often = [f"c{i}" for i in range(50) for _ in range(20)]
    rare, new = [f"r{i}" for i in range(100)], [f"n{i}" for i in range(300)]
    found = measure_column(column([*often, *rare]), column([*often, *rare[:50], *new]))
    r, c = np.array([20] * 50 + [100, 0]) / 1100, np.array([20] * 50 + [50, 300]) / 1350
    r, c = r.clip(SHARE_FLOOR), c.clip(SHARE_FLOOR)
    assert found.psi == pytest.approx(((c - r) * np.log(c / r)).sum(), rel=1e-9)
    assert (found.only_reference, found.only_current) == (50, 300)


def test_psi_by_hand():
    assert compute_psi([50, 50], [80, 20]) == pytest.approx(0.3 * np.log(1.6) - 0.3 * np.log(0.4))
    assert compute_psi([1, 1], [50, 50]) == 0
    # an empty bin counts as 1 in 10,000
    assert compute_psi([100, 0], [50, 50]) == pytest.approx(0.5 * np.log(2) + (0.5 - 1e-4) * np.log(5000))


def test_the_same_rows_have_not_drifted_in_any_type():
    table = {
        "double": NORMAL,
        "integer": np.arange(4000),
        "constant": np.ones(4000),
        "text": [f"t{i % 7}" for i in range(4000)],
        "flag": [i % 3 == 0 for i in range(4000)],
        "day": pa.array([datetime.date(2020, 1, 1) + datetime.timedelta(i) for i in range(4000)]),
        "gaps": pa.array([None if i % 5 else i for i in range(4000)]),
    }
    found, _ = compare(table, table, y={"target": NORMAL})
    assert set(found) == {f"X.{name}" for name in table} | {"y.target"}
    assert {name: drift.reasons for name, drift in found.items() if drift.reasons} == {}
    assert all(drift.psi == 0 for drift in found.values())


def test_the_column_that_moved_is_named_first():
    reference = dict.fromkeys(("a", "b", "c", "d"), NORMAL)
    found, order = compare(reference, reference | {"b": NORMAL + 0.5, "c": NORMAL + 3})
    assert order == ["X.c", "X.b", "X.a", "X.d"]
    assert found["X.c"].reasons[0].startswith("PSI") and found["X.b"].reasons[-1].startswith("KS 0.")
    assert not found["X.a"].drifted


def test_a_constant_that_changes_has_drifted_in_either_direction():
    for current in (0.0, 2.0, np.nextafter(1.0, 2), np.nextafter(1.0, 0)):
        found, _ = compare({"x": np.ones(100)}, {"x": np.full(100, current)})
        assert found["X.x"].psi > 1 and found["X.x"].statistic == 1


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_values_that_go_missing_are_drift_though_the_others_stay(missing):
    current = pa.array([missing if i % 2 else value for i, value in enumerate(NORMAL)], pa.float64())
    found, _ = compare({"x": NORMAL}, {"x": current})
    assert found["X.x"].missing_current == 0.5 and found["X.x"].missing_reference == 0
    assert [reason[:3] for reason in found["X.x"].reasons] == ["PSI"]


def test_null_and_nan_are_not_the_same():
    found, _ = compare({"x": pa.array([1.0, None] * 50)}, {"x": pa.array([1.0, float("nan")] * 50)})
    assert found["X.x"].psi > 1


@pytest.mark.parametrize(
    ("reference", "current", "said"),
    [
        ([1.0, 2.0], [None, None], "no finite value in the current rows"),
        ([None, None], [1.0, 2.0], "no finite value in the reference rows"),
        ([float("nan")] * 2, [float("nan")] * 2, "no finite value in the reference and in the current rows"),
        ([1.0, 2.0], [1.0, float("inf")], "1 infinite current values"),
        ([1.0, float("-inf")], [1.0, float("-inf")], "1 infinite reference values"),
    ],
)
def test_what_cannot_be_measured_is_said_and_is_no_absence_of_drift(reference, current, said):
    found, _ = compare({"x": pa.array(reference, pa.float64())}, {"x": pa.array(current, pa.float64())})
    assert said in " ".join(found["X.x"].reasons) and found["X.x"].drifted
    json.dumps(asdict(found["X.x"]), allow_nan=False)


def test_text_without_a_value_and_lists_are_said():
    nothing = pa.array([None, None], pa.string())
    found, _ = compare({"t": nothing, "l": [[1], [2]]}, {"t": nothing, "l": [[1], [2]]})
    assert "no value" in found["X.t"].reasons[0]
    assert "cannot be compared" in found["X.l"].reasons[0]


def test_rows_that_are_not_there_are_a_failure():
    some, none = {"x": [1.0]}, {"x": pa.array([], pa.float64())}
    with pytest.raises(DriftNotMeasured, match="the current has no rows"):
        compare(some, none)
    with pytest.raises(DriftNotMeasured, match="the reference has no rows"):
        compare(none, some)
    with pytest.raises(DriftNotMeasured, match="no column to compare"):
        compare(some, some, limits=DriftLimits(ignored=("X.x",)))


def test_other_columns_and_other_types_are_drift():
    found, _ = compare({"gone": [1.0], "kind": [1.0], "same": [1.0]}, {"new": ["a"], "kind": [1], "same": [1.0]})
    assert found["X.gone"].reasons == ("the current rows lack this column",)
    assert found["X.new"].reasons == ("the reference lacks this column",)
    assert found["X.kind"].reasons == ("its type was float64 and is int64",)
    assert not found["X.same"].drifted


def test_ids_with_a_type_of_their_own_are_categories():
    ids = [bytes([number] * 16) for number in range(3)] * 20
    same, other = pa.array(ids, pa.uuid()), pa.array([b"\xff" * 16] * 60, pa.uuid())
    found, _ = compare({"same": same, "other": same}, {"same": same, "other": other})
    assert (found["X.same"].drifted, found["X.same"].test) == (False, "chi2")
    assert found["X.other"].drifted and found["X.other"].psi > 1


def test_what_is_infinite_in_every_row_is_no_finite_value():
    found, _ = compare({"x": [1.0, 2.0]}, {"x": [float("inf")] * 2})
    assert "no finite value in the current rows" in found["X.x"].reasons


def test_another_layout_of_the_same_type_is_no_drift():
    texts = ["a", "b", None, "a"] * 100
    for other in (pa.array(texts).dictionary_encode(), pa.array(texts, pa.large_string())):
        found, _ = compare({"x": pa.array(texts)}, {"x": other})
        assert not found["X.x"].drifted and found["X.x"].statistic == 0


def test_moments_are_compared_in_the_same_unit():
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(i) for i in range(300)]
    found, _ = compare({"x": pa.array(days, pa.date32())}, {"x": pa.array(days, pa.date64())})
    assert not found["X.x"].drifted and found["X.x"].test == "ks"
    seconds, millis = pa.array(range(300), pa.timestamp("s")), pa.array(range(0, 300_000, 1000), pa.timestamp("ms"))
    found, _ = compare({"x": seconds}, {"x": millis})
    assert found["X.x"].psi == 0 and found["X.x"].statistic == 0
    found, _ = compare({"x": pa.array(days)}, {"x": pa.array([day + datetime.timedelta(200) for day in days])})
    assert found["X.x"].drifted


def test_categories_that_only_one_side_has_are_counted():
    found, _ = compare({"x": ["a"] * 50 + ["b"] * 50}, {"x": ["b"] * 50 + ["c"] * 40 + ["d"] * 10})
    assert (found["X.x"].only_reference, found["X.x"].only_current) == (1, 2)
    expected = stats.chi2_contingency([[50, 50, 0, 0], [0, 50, 40, 10]])
    assert found["X.x"].statistic == pytest.approx(expected.statistic)
    assert found["X.x"].drifted


def test_texts_that_never_repeat_and_are_all_new_have_drifted():
    found, _ = compare({"x": [f"old {i}" for i in range(20_000)]}, {"x": [f"new {i}" for i in range(20_000)]})
    assert found["X.x"].psi > 1 and found["X.x"].only_current == 20_000


def test_a_p_value_counts_only_where_a_limit_is_declared():
    many = RNG.normal(size=200_000)
    reference, current = {"x": many}, {"x": many + 0.02}
    found, _ = compare(reference, current)
    assert found["X.x"].p_value < 1e-4 and not found["X.x"].drifted
    found, _ = compare(reference, current, limits=DriftLimits(p_value=0.01))
    assert [reason[:7] for reason in found["X.x"].reasons] == ["p value"]


def test_limits_are_the_workloads_and_ignored_columns_are_told():
    reference, current = {"x": NORMAL, "week": np.ones(4000)}, {"x": NORMAL + 1, "week": np.zeros(4000)}
    found, _ = compare(reference, current)
    assert found["X.x"].drifted and found["X.week"].drifted
    found, order = compare(reference, current, limits=DriftLimits(psi=10, ks=0.99, ignored=("X.week",)))
    assert not found["X.x"].drifted and not found["X.week"].compared and order[-1] == "X.week"


def test_a_column_is_ignored_by_the_name_that_the_workload_gives_it():
    sides = {"x": NORMAL, "week": np.ones(4000)}, {"x": NORMAL, "week": np.zeros(4000)}
    found, _ = compare(*sides, limits=DriftLimits(ignored=("week",)))
    assert not found["X.week"].compared and found["X.x"].compared
    with pytest.raises(DriftNotMeasured, match=r"ignore 'wek', which is no column; there are X\.x, X\.week"):
        compare(*sides, limits=DriftLimits(ignored=("wek",)))
    with pytest.raises(DriftNotMeasured, match=r"'week', and that may be any of X\.week, y\.week"):
        compare(*sides, y={"week": NORMAL}, limits=DriftLimits(ignored=("week",)))


def test_an_ignored_target_may_be_missing_on_one_side():
    X = pa.table({"x": NORMAL})
    limits = DriftLimits(ignored=("price",))
    sides = take_rows(X, pa.table({"price": NORMAL})), take_rows(X, None)
    assert len(compare_rows(*sides, limits=limits, report=lambda share, name: None)) == 1


def test_targets_count_where_both_sides_have_them():
    found, _ = compare({"x": NORMAL}, {"x": NORMAL}, y={"t": NORMAL})
    assert "y.t" in found
    sides = take_rows(pa.table({"x": NORMAL}), pa.table({"t": NORMAL})), take_rows(pa.table({"x": NORMAL}), None)
    columns = compare_rows(*sides, limits=DriftLimits(), report=lambda share, name: None)
    assert [column.drift.name for column in columns] == ["X.x"]


def test_files_are_read_with_the_rows_of_one_split_only(tmp_path):
    X, y = pa.table({"a": np.arange(10.0), "a.b": np.arange(10)}), pa.table({"t": np.arange(10)})
    for name, table in (("X", X), ("y", y), ("split", pa.table({"split": ["train", "test"] * 5}))):
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=3)
    rows = open_rows(*(tmp_path / f"{name}.parquet" for name in ("X", "y")), split=tmp_path / "split.parquet")
    assert rows.num_rows == 5 and rows.read("X.a").to_pylist() == [0, 2, 4, 6, 8]
    assert rows.read("X.a.b").to_pylist() == rows.read("y.t").to_pylist() == [0, 2, 4, 6, 8]
    assert open_rows(tmp_path / "X.parquet", tmp_path / "y.parquet").num_rows == 10


@example([-np.finfo(float).max] * 3)
@example([-np.finfo(float).max, np.finfo(float).max] * 9)
@example([5e-324, 0.0, -0.0])
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=60))
@settings(max_examples=300, deadline=None)
def test_every_value_falls_into_one_bin_and_measures_are_finite(values):
    cuts = find_cuts(np.array(values))
    assert (cuts[1:] > cuts[:-1]).all()
    found = measure_column(column(values, pa.float64()), column(values[::-1], pa.float64()))
    assert (found.psi, found.statistic) == (0, 0)
    json.dumps(asdict(found), allow_nan=False)


@given(st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=60))
@settings(deadline=None)
def test_categories_of_any_text_are_measured(values):
    found = measure_column(column(values, pa.string()), column(["x", *values], pa.string()))
    json.dumps(asdict(found), allow_nan=False)
    assert found.psi >= 0 and found.statistic >= 0


def test_the_page_names_what_drifted_and_escapes_what_it_shows():
    name = "<script>alert(1)</script>"
    sides = [take_rows(pa.table({name: values, "flag": ["<b>"] * 4000}), None) for values in (NORMAL, NORMAL + 2)]
    columns = compare_rows(*sides, limits=DriftLimits(), report=lambda share, name: None)
    page = render_drift("Drift of <new>", facts=[("current", "<i>")], columns=columns, limits=DriftLimits())
    assert "<script" not in page and "<b>" not in page and "<i>" not in page and "<new>" not in page
    assert "is above 0.2" in page and page.count("<svg") == 2


def test_names_of_metrics_are_those_that_mlflow_takes_and_differ():
    from mlflow.utils.validation import _validate_metric_name

    names = name_metrics(["X.income", "X.a/b", "X.a\\b", "X.größe (€)", "X." + "long" * 100, "X." + "long" * 101])
    assert len(set(names)) == 6
    for name in names:
        _validate_metric_name(f"p_value_{name}")
