"""A gate passes only what was measured, finite and inside every limit."""

import math

import pytest

from modelyard.pipeline.gate import apply_gate, refuse_unknown
from modelyard.workloads.contract import Gate, Limit
from modelyard.workloads.rules import load_rules

NEVER = [math.nan, math.inf, -math.inf, None]
COMPARISONS = ["<=", "<", ">=", ">", "=="]
# what a limit is held against
NUMBER, BASELINE, PRODUCTION = "a number", "a naive baseline", "the live version"


def judge(kind, comparison, value, *, share=0.95, base=2.0):
    """The verdict on the metric m, held against ``share`` (a number), or this share of ``base``; None: missing."""
    limit = Limit("m", comparison, share, of={NUMBER: None, BASELINE: "linear", PRODUCTION: "production"}[kind])
    gate = Gate(against_production=(limit,)) if kind == PRODUCTION else Gate(always=(limit,))
    metrics, others = ({} if number is None else {"m": number} for number in (value, base))
    baselines = {"linear": others} if kind == BASELINE else {}
    return apply_gate(gate, metrics=metrics, baselines=baselines, production=others if kind == PRODUCTION else None)


@pytest.mark.parametrize("kind", [NUMBER, BASELINE, PRODUCTION])
@pytest.mark.parametrize(
    ("comparison", "held"),
    [  # far below, just below, equal, just above, far above
        ("<=", (True, True, True, False, False)),
        ("<", (True, True, False, False, False)),
        (">=", (False, False, True, True, True)),
        (">", (False, False, False, True, True)),
        ("==", (False, False, True, False, False)),
    ],
)
@pytest.mark.parametrize(("base", "bound"), [(2.0, 0.95 * 2.0), (-2.0, 1.05 * -2.0)])
def test_each_comparison_tells_what_is_inside_from_what_is_outside(kind, comparison, held, base, bound):
    share = bound if kind == NUMBER else 0.95
    values = (bound - 5, math.nextafter(bound, -math.inf), bound, math.nextafter(bound, math.inf), bound + 5)
    for value, expected in zip(values, held, strict=True):
        verdict = judge(kind, comparison, value, share=share, base=base)
        assert verdict.passed is expected, value
        assert bool(verdict.reasons) is not expected
        assert verdict.outcomes[0].bound == bound and verdict.outcomes[0].found == value


@pytest.mark.parametrize("kind", [NUMBER, BASELINE, PRODUCTION])
@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("value", NEVER)
def test_a_number_that_is_missing_or_not_finite_is_refused_whatever_the_comparison(kind, comparison, value):
    verdict = judge(kind, comparison, value)
    assert not verdict.passed
    assert f"m is {'missing' if value is None else value}" in verdict.reasons[0]


@pytest.mark.parametrize("kind", [BASELINE, PRODUCTION])
@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("base", NEVER)
def test_a_baseline_or_live_version_that_is_missing_or_not_finite_is_refused(kind, comparison, base):
    verdict = judge(kind, comparison, 0.1, base=base)
    assert not verdict.passed
    assert f"m of {'linear' if kind == BASELINE else 'production'} is" in verdict.reasons[0]


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_a_none_among_recorded_numbers_is_a_missing_one(comparison):
    gate = Gate(against_production=(Limit("m", comparison, 1.0, of="production"),))
    for metrics, production in (({"m": None}, {"m": 1.0}), ({"m": 1.0}, {"m": None})):
        assert not apply_gate(gate, metrics=metrics, baselines={}, production=production).passed


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_a_baseline_that_was_not_scored_is_refused(comparison):
    gate = Gate(always=(Limit("m", comparison, 1.0, of="linear"),))
    verdict = apply_gate(gate, metrics={"m": 1.0}, baselines={"mean": {"m": 1.0}}, production={"m": 1.0})
    assert verdict.reasons == (f"m {comparison} linear: m of linear is missing",)


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_candidate_and_live_version_that_are_both_not_finite_are_both_told(comparison):
    verdict = judge(PRODUCTION, comparison, math.nan, base=math.nan)
    assert "m is nan, not a finite number and m of production is nan" in verdict.reasons[0]


def test_a_bound_that_overflows_is_refused():
    for comparison in COMPARISONS:
        verdict = judge(PRODUCTION, comparison, 1.0, share=2.0, base=1.7e308)
        assert not verdict.passed
        assert verdict.outcomes[0].bound is None, "JSON has no infinity"


@pytest.mark.parametrize(
    ("comparison", "share", "production", "bound"),
    [
        (">=", 0.95, 0.8, 0.76),  # at most 5 % worse
        (">=", 0.95, -0.8, -0.84),  # of a negative value too
        (">=", 0.95, 0.0, 0.0),
        ("<=", 1.01, 2.0, 2.02),  # at most 1 % worse, where lower is better
        ("<=", 1.01, -2.0, -1.98),
        (">=", 1.1, -2.0, -1.8),  # at least 10 % better
        ("<=", 0.9, -2.0, -2.2),
        (">=", 1.0, -2.0, -2.0),
    ],
)
def test_a_share_of_a_negative_value_is_as_much_worse_or_better_as_of_a_positive_one(
    comparison, share, production, bound
):
    verdict = judge(PRODUCTION, comparison, bound, share=share, base=production)
    assert verdict.outcomes[0].bound == pytest.approx(bound, abs=1e-12)
    sign = -1 if comparison == "<=" else 1
    for step, passed in ((1e-6, True), (-1e-6, False)):
        assert judge(PRODUCTION, comparison, bound + sign * step, share=share, base=production).passed is passed


@pytest.mark.parametrize(("comparison", "share"), [(">=", 0.95), ("<=", 1.05), (">=", 1.0), ("<=", 1.0), ("==", 1.0)])
@pytest.mark.parametrize("value", [-3.0, -1e-9, 0.0, 1e-9, 3.0])
def test_an_equal_version_passes_every_limit_that_lets_it_be_no_worse(comparison, share, value):
    assert judge(PRODUCTION, comparison, value, share=share, base=value).passed


def test_limits_for_a_first_version_and_against_the_live_one_apply_where_they_should():
    gate = Gate(
        always=(Limit("r2", ">", 0),),
        against_production=(Limit("r2", ">=", 0.95, of="production"),),
        first_version=(Limit("r2", ">=", 0.6),),
    )
    first = apply_gate(gate, metrics={"r2": 0.5}, baselines={}, production=None)
    assert [outcome.limit for outcome in first.outcomes] == ["r2 > 0", "r2 >= 0.6"]
    assert first.reasons == ("r2 >= 0.6: r2 is 0.5, the limit is 0.6",)
    later = apply_gate(gate, metrics={"r2": 0.5}, baselines={}, production={"r2": 0.5})
    assert [outcome.limit for outcome in later.outcomes] == ["r2 > 0", "r2 >= 0.95 * production"]
    assert later.passed
    assert not apply_gate(gate, metrics={"r2": 0.9}, baselines={}, production={}).passed, "live, and not scored"


def test_a_refusal_lists_every_reason_at_once():
    gate = Gate(always=(Limit("rmse", "<=", 1.0), Limit("r2", ">=", 0.6), Limit("mae", "<=", 5.0)))
    verdict = apply_gate(gate, metrics={"rmse": 3.0, "mae": 1.0}, baselines={}, production=None)
    assert len(verdict.outcomes) == 3
    assert [reason.partition(":")[0] for reason in verdict.reasons] == ["rmse <= 1", "r2 >= 0.6"]


def test_a_reason_shows_as_many_digits_as_it_takes_to_see_the_difference():
    verdict = judge(NUMBER, "==", math.nextafter(1.0, 0), share=1.0)
    assert verdict.reasons == ("m == 1: m is 0.99999999999999989, the limit is 1",)


@pytest.mark.parametrize("production", [None, {"rmse": 0.0}])
def test_an_empty_gate_passes_nothing(production):
    assert not apply_gate(Gate(), metrics={"rmse": 0.0}, baselines={}, production=production).passed


@pytest.mark.parametrize("production", [None, {"rmse": 0.0}])
def test_a_gate_with_limits_for_the_other_case_only_passes_nothing(production):
    against, first = (Limit("rmse", "<=", 1, of="production"),), (Limit("rmse", "<=", 1),)
    gate = Gate(against_production=against) if production is None else Gate(first_version=first)
    assert not apply_gate(gate, metrics={"rmse": 0.0}, baselines={}, production=production).passed


@pytest.mark.parametrize(
    ("metrics", "production", "reasons"),
    [
        ({"constraint_respect_score": 1.0, "plan_alignment_score": 0.8, "diversity_score": 0.38}, True, []),
        ({"constraint_respect_score": 1.0, "plan_alignment_score": 0.7999, "diversity_score": 0.5}, True, ["plan"]),
        ({"constraint_respect_score": 1.0, "plan_alignment_score": 0.9, "diversity_score": 0.3799}, True, ["diver"]),
        ({"constraint_respect_score": 0.999999, "plan_alignment_score": 0.9, "diversity_score": 1.0}, True, ["const"]),
        ({"plan_alignment_score": 0.9, "diversity_score": 1.0}, True, ["const"]),
        ({"constraint_respect_score": 1.0, "plan_alignment_score": 0.5, "diversity_score": 0.1}, False, []),
        (
            {"constraint_respect_score": 1.0, "plan_alignment_score": 0.4, "diversity_score": 0.0},
            False,
            ["plan", "div"],
        ),
    ],
)
def test_the_planner_is_held_to_its_constraints_and_to_the_live_version(metrics, production, reasons):
    live = {"plan_alignment_score": 0.8, "diversity_score": 0.4} if production else None
    verdict = apply_gate(load_rules("planner").gate, metrics=metrics, baselines={}, production=live)
    assert len(verdict.reasons) == len(reasons)
    assert all(reason.startswith(begin) for reason, begin in zip(verdict.reasons, reasons, strict=True))


def test_a_declared_metric_that_was_not_found_is_refused_though_no_limit_asks_for_it():
    found = {"rmse": 1.0, "r2": math.inf}
    verdict = apply_gate(Gate(always=(Limit("rmse", "<=", 2.0),)), metrics=found, baselines={}, production=None)
    assert verdict.passed
    refused = refuse_unknown(verdict, found, declared=["rmse", "mae", "r2"])
    assert not refused.passed
    assert refused.reasons == ("mae is missing", "r2 is inf, not a finite number")
    assert refuse_unknown(verdict, {"rmse": 1.0}, declared=["rmse"]) == verdict
