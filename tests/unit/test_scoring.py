"""Sums over rows give the metrics of all of them, and an interval for how two models differ."""

import json
import math
import subprocess
import sys
import tracemalloc
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pytest

from modelyard.data.scoring import MAX_UNITS, Scores, compare_metrics, compare_scores
from modelyard.data.whole_groups import WholeGroups
from modelyard.errors import DatasetRefused

# Runs in an interpreter of its own: the peak of its memory in MB after so many rows.
MEMORY = """
import resource, sys
import numpy as np
from modelyard.data.scoring import Scores, compare_scores

candidate, production = Scores(), Scores()
rng, rows = np.random.default_rng(0), 65_536
for start in range(0, int(sys.argv[1]), rows):
    error, groups = rng.normal(size=rows), np.arange(start, start + rows) // 3
    for scores, factor in ((candidate, 1.0), (production, 1.1)):
        statistics = {"rows": np.ones(rows), "squared_error": (factor * error) ** 2}
        scores.update(statistics, groups=groups if sys.argv[2] == "groups" else None)
compare_scores(candidate, production, lambda totals: {"mse": totals["squared_error"] / totals["rows"]}, seed=0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def score(errors, *, batch=None, groups=None):
    scores = Scores()
    batch = batch or len(errors)
    for start in range(0, len(errors), batch):
        part = errors[start : start + batch]
        of = None if groups is None else groups[start : start + batch]
        scores.update({"rows": np.ones(len(part)), "squared_error": part**2}, groups=of)
    return scores


def summarize(totals):
    return {"rmse": math.sqrt(totals["squared_error"] / totals["rows"])}


def rmse(errors):
    return lambda rows: {"rmse": math.sqrt(np.mean(errors[rows] ** 2))}


@pytest.fixture
def errors():
    rng = np.random.default_rng(7)
    shared = rng.normal(size=3000)
    return shared, 1.05 * shared + 0.3 * rng.normal(size=3000)


def test_totals_are_the_sums_over_all_rows_however_they_come(errors):
    for batch in (1, 7, 3000):
        scores = score(errors[0][:100], batch=batch)
        assert scores.num_rows == scores.num_units == 100
        assert scores.totals == pytest.approx({"rows": 100, "squared_error": np.sum(errors[0][:100] ** 2)})
    many = score(np.tile(errors[0], 5), batch=999)
    assert many.num_rows == 15_000 and many.num_units == MAX_UNITS
    assert many.totals["rows"] == 15_000


def test_a_statistic_that_comes_late_was_zero_before():
    scores = Scores()
    scores.update({"a": [1, 2]})
    scores.update({"a": [3], "b": [True]})
    scores.update({"a": [], "b": []})
    assert scores.totals == {"a": 6, "b": 1} and scores.num_rows == 3


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_stays_so_and_has_no_interval(errors, bad):
    broken = errors[1].copy()
    broken[17] = bad
    assert not math.isfinite(score(broken).totals["squared_error"])
    (interval,) = compare_scores(score(errors[0]), score(broken), summarize, seed=1)
    assert interval.candidate is not None
    assert (interval.production, interval.difference, interval.low, interval.high) == (None, None, None, None)
    json.dumps(asdict(interval), allow_nan=False)


def test_one_unit_tells_nothing_of_how_sure_a_difference_is():
    for count, groups in ((1, None), (5, ["a"] * 5)):
        one, other = Scores(), Scores()
        for scores, value in ((one, 1.0), (other, 2.0)):
            scores.update({"rows": np.ones(count), "squared_error": np.full(count, value)}, groups)
        (interval,) = compare_scores(one, other, summarize, seed=0)
        (held,) = compare_metrics(
            lambda rows: {"rmse": 1.0}, lambda rows: {"rmse": 2.0}, num_rows=count, seed=0, groups=groups
        )
        for found in (interval, held):
            assert found.difference < 0
            assert (found.low, found.high) == (None, None)


def test_statistics_are_held_as_they_come():
    """As doubles the 3,002 statistics of 1,000 classes took 1.9 GB a batch."""
    statistics = {f"true {number}": np.ones(20_000, bool) for number in range(200)}
    scores = Scores()
    scores.update(statistics)
    tracemalloc.start()
    scores.update(statistics)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000 * 8 * 10
    assert scores.totals["true 7"] == 40_000


def test_equal_models_differ_by_exactly_nothing(errors):
    for copies in (1, 3):  # a unit is a row, or several
        rows = np.tile(errors[0], copies)
        (interval,) = compare_scores(score(rows), score(rows.copy()), summarize, seed=3)
        assert (interval.difference, interval.low, interval.high) == (0, 0, 0)


def test_the_same_rows_and_seed_give_the_same_interval_and_another_seed_a_near_one(errors):
    first, again = (compare_scores(score(errors[0]), score(errors[1]), summarize, seed=5)[0] for _ in range(2))
    (other,) = compare_scores(score(errors[0]), score(errors[1]), summarize, seed=6)
    assert first == again != other
    assert first.difference == other.difference
    assert other.low == pytest.approx(first.low, abs=0.15 * (first.high - first.low))


def test_the_interval_is_that_of_a_plain_bootstrap_of_the_rows(errors):
    candidate, production = errors
    (interval,) = compare_scores(score(candidate), score(production), summarize, seed=0)
    rng, differences = np.random.default_rng(99), []
    for _ in range(2000):
        rows = rng.integers(3000, size=3000)
        differences.append(rmse(candidate)(rows)["rmse"] - rmse(production)(rows)["rmse"])
    low, high = np.quantile(differences, [0.025, 0.975])
    assert interval.difference == pytest.approx(np.sqrt(np.mean(candidate**2)) - np.sqrt(np.mean(production**2)))
    assert interval.low < interval.difference < interval.high
    assert interval.low == pytest.approx(low, abs=0.1 * (high - low))
    assert interval.high == pytest.approx(high, abs=0.1 * (high - low))


def test_rows_that_share_a_unit_keep_the_width_of_the_interval():
    rng = np.random.default_rng(1)
    candidate, production = rng.normal(size=40_000), 1.02 * rng.normal(size=40_000)
    (interval,) = compare_scores(score(candidate), score(production), summarize, seed=0)
    expected = 2 * 1.96 * math.sqrt((1 + 1.02**2) / 2 / 40_000)  # the standard error of an RMSE is σ / √(2n)
    assert interval.high - interval.low == pytest.approx(expected, rel=0.1)


def test_19_of_20_intervals_hold_the_true_difference():
    rng, held = np.random.default_rng(2), 0
    for repeat in range(200):
        shared = rng.normal(size=400)
        candidate, production = shared + 0.5 * rng.normal(size=400), 1.2 * shared + 0.5 * rng.normal(size=400)
        (interval,) = compare_scores(score(candidate), score(production), summarize, seed=repeat, resamples=300)
        held += interval.low <= math.sqrt(1.25) - math.sqrt(1.44 + 0.25) <= interval.high
    assert 180 <= held <= 199


def test_groups_are_drawn_whole():
    rng = np.random.default_rng(4)
    common = np.repeat(rng.normal(size=200), 25)  # rows of a group err together: 200 facts, and no 5,000
    candidate, production = common + 0.01 * rng.normal(size=5000), np.full(5000, 1.0)
    groups = np.repeat(np.arange(200), 25)
    (by_group,) = compare_scores(
        score(candidate, groups=groups), score(production, groups=groups), summarize, seed=0
    )  # fmt: skip
    (by_row,) = compare_scores(score(candidate), score(production), summarize, seed=0)
    assert by_group.difference == pytest.approx(by_row.difference)
    assert (by_group.high - by_group.low) / (by_row.high - by_row.low) == pytest.approx(5, rel=0.25)
    assert score(candidate, groups=groups, batch=33).num_units == 200


@pytest.mark.parametrize(
    "groups",
    [
        np.array(["b", "a", "b", "a"]),
        pa.chunked_array([["b", "a"], ["b", "a"]]),
        pa.array(["b", "a", "b", "a"]).dictionary_encode(),
        np.array([math.nan, 1.0, math.nan, 1.0]),
        [None, 1, None, 1],
    ],
)
def test_a_group_is_one_unit_in_whatever_column_and_batch_it_comes(groups):
    scores = Scores()
    for _ in range(2):
        scores.update({"rows": [1, 2, 3, 4]}, groups=groups)
    assert scores.num_units == 2
    assert [totals["rows"] for totals in scores.resample(np.array([[1.0, 0.0], [0.0, 1.0]]))] == [8, 12]


def test_a_group_beyond_the_number_of_units_stays_whole():
    def count():
        return [totals["rows"] for totals in scores.resample(np.eye(MAX_UNITS))]

    scores = Scores()
    scores.update({"rows": np.ones(MAX_UNITS)}, groups=np.arange(MAX_UNITS))
    assert count() == [1] * MAX_UNITS
    for _ in range(3):
        scores.update({"rows": [1, 1]}, groups=[5000, 17])
    assert scores.num_units == MAX_UNITS
    assert count()[17] == 4 and sorted(count())[-3:] == [1, 4, 4]


@pytest.mark.parametrize("kind", ["rows", "groups"])
def test_memory_does_not_grow_with_the_rows(kind):
    peaks = [
        float(subprocess.check_output([sys.executable, "-c", MEMORY, str(rows), kind]))
        for rows in (500_000, 10_000_000 if kind == "rows" else 3_000_000)
    ]
    assert peaks[1] < peaks[0] + 25, peaks


def test_scores_of_other_rows_cannot_be_compared(errors):
    with pytest.raises(ValueError, match="3000 and of 2999 rows"):
        compare_scores(score(errors[0]), score(errors[1][1:]), summarize, seed=0)
    with pytest.raises(ValueError, match="no rows"):
        compare_scores(Scores(), Scores(), summarize, seed=0)
    with pytest.raises(ValueError, match="no rows"):
        compare_metrics(rmse(errors[0]), rmse(errors[1]), num_rows=0, seed=0)


def test_batches_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one length"):
        Scores().update({"a": [1, 2], "b": [1]})
    with pytest.raises(ValueError, match="one length"):
        Scores().update({"a": [1, 2]}, groups=[1])
    for first, second in ((None, [1]), ([1], None)):
        scores = Scores()
        scores.update({"a": [1]}, groups=first)
        with pytest.raises(ValueError, match="every batch, or with none"):
            scores.update({"a": [1]}, groups=second)


def test_metrics_that_are_no_sums_get_the_interval_of_their_rows(errors):
    candidate, production = errors
    (plain,) = compare_metrics(rmse(candidate), rmse(production), num_rows=3000, seed=0, resamples=1000)
    (summed,) = compare_scores(score(candidate), score(production), summarize, seed=0)
    assert plain.difference == pytest.approx(summed.difference)
    for found, expected in ((plain.low, summed.low), (plain.high, summed.high)):
        assert found == pytest.approx(expected, abs=0.15 * (summed.high - summed.low))
    (same,) = compare_metrics(rmse(candidate), rmse(candidate), num_rows=3000, seed=0)
    assert (same.difference, same.low, same.high) == (0, 0, 0)


def test_rows_of_a_group_are_drawn_together_where_metrics_are_no_sums():
    drawn = []

    def count(rows):
        drawn.append(np.bincount(rows, minlength=6))
        return {"rows": float(len(rows))}

    compare_metrics(count, lambda rows: {"rows": 0.0}, num_rows=6, seed=0, resamples=20, groups=["a", "b"] * 3)
    for counts in drawn:
        assert len(set(counts[::2])) == len(set(counts[1::2])) == 1
    assert any(counts[0] == 0 for counts in drawn)


# ── whole groups ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
def test_rows_are_given_on_in_whole_groups_and_in_order(batch):
    groups = np.repeat(["x", "y", "z", "w"], [3, 1, 40, 2])
    rows, held = pa.table({"group": groups, "row": np.arange(46)}), WholeGroups("group")
    parts = [held.add(rows.slice(start, batch)) for start in range(0, 46, batch)]
    parts.append(held.finish())
    assert pa.concat_tables(parts)["row"].to_pylist() == list(range(46))
    seen = [set(part["group"].to_pylist()) for part in parts]
    assert sum(map(len, seen)) == 4, "a group in two parts"


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
@pytest.mark.parametrize("groups", [[1, 1, 2, 1], [5, None, 5], ["a", "b", "c", "a", "d"]])
def test_a_group_that_stands_apart_is_refused_with_what_to_do(groups, batch):
    rows, held = pa.table({"query": groups}), WholeGroups("query")
    with pytest.raises(DatasetRefused, match=r"stand apart in the dataset \(query .*\); sort it by query"):
        for start in range(0, len(groups), batch):
            held.add(rows.slice(start, batch))
        held.finish()


def test_no_rows_are_no_groups():
    held = WholeGroups("query")
    assert held.finish() is None
    empty = pa.table({"query": pa.array([], pa.int64())})
    assert held.add(empty).num_rows == 0
    assert held.finish().num_rows == 0
