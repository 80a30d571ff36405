"""A gate passes only what was measured, finite and inside every limit."""

import math

import pytest

from modelyard.pipeline.gate import apply_gate
from modelyard.workloads.contract import Limit

BASELINES = {"linear": {"rmse": 2.0}}


@pytest.mark.parametrize(
    ("comparison", "better", "equal", "worse"),
    [
        ("<=", (0.9, True), (1.0, True), (1.1, False)),
        ("<", (0.9, True), (1.0, False), (1.1, False)),
        (">=", (1.1, True), (1.0, True), (0.9, False)),
        (">", (1.1, True), (1.0, False), (0.9, False)),
        ("==", (1.0, True), (1.0, True), (1.0000001, False)),
    ],
)
def test_each_comparison_tells_better_equal_and_worse(comparison, better, equal, worse):
    for value, held in (better, equal, worse):
        verdict = apply_gate([Limit("rmse", comparison, 1.0)], metrics={"rmse": value}, baselines={})
        assert verdict.passed is held, value
        assert bool(verdict.reasons) is not held


@pytest.mark.parametrize("comparison", ["<=", "<", ">=", ">", "=="])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_a_number_that_is_missing_or_not_finite_is_refused_whatever_the_comparison(comparison, value):
    metrics = {} if value is None else {"rmse": value}
    verdict = apply_gate([Limit("rmse", comparison, 1.0)], metrics=metrics, baselines={})
    assert not verdict.passed
    assert "rmse is" in verdict.reasons[0]


@pytest.mark.parametrize("base", [math.nan, math.inf, None])
def test_a_baseline_that_is_missing_or_not_finite_is_refused(base):
    baselines = {} if base is None else {"linear": {"rmse": base}}
    verdict = apply_gate([Limit("rmse", "<=", 0.9, of="linear")], metrics={"rmse": 0.1}, baselines=baselines)
    assert not verdict.passed
    assert "baseline linear" in verdict.reasons[0]


def test_a_share_of_a_baseline_is_the_bound():
    limit = Limit("rmse", "<=", 0.95, of="linear")
    inside = apply_gate([limit], metrics={"rmse": 1.9}, baselines=BASELINES)
    outside = apply_gate([limit], metrics={"rmse": 1.9000001}, baselines=BASELINES)
    assert inside.passed
    assert not outside.passed
    assert inside.outcomes[0].bound == pytest.approx(1.9)


def test_a_refusal_lists_every_reason_at_once():
    gate = [Limit("rmse", "<=", 1.0), Limit("r2", ">=", 0.6), Limit("mae", "<=", 5.0)]
    verdict = apply_gate(gate, metrics={"rmse": 3.0, "mae": 1.0}, baselines={})
    assert len(verdict.outcomes) == 3
    assert [reason.partition(":")[0] for reason in verdict.reasons] == ["rmse <= 1", "r2 >= 0.6"]


def test_an_empty_gate_passes_nothing():
    assert not apply_gate([], metrics={"rmse": 0.0}, baselines={}).passed
