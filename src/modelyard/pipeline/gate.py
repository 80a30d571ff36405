"""The gate: declared limits, applied to measured numbers; what is missing or not finite is a refusal."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from modelyard.workloads.contract import Limit

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOutcome:
    """A limit held against a number: ``bound`` is the number it was compared with, None if it could not be had."""

    limit: str
    found: float | None
    bound: float | None
    held: bool
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a gate says of a model version: every limit's outcome, and every reason for a refusal at once."""

    passed: bool
    outcomes: tuple[LimitOutcome, ...]
    reasons: tuple[str, ...]


def describe_limit(limit: Limit) -> str:
    """A limit in one line, e.g. ``rmse <= 0.95 × linear``."""
    share = f"{limit.value:g}" if limit.of is None else f"{limit.value:g} × {limit.of}"
    return f"{limit.metric} {limit.comparison} {share}"


def describe_gate(limits: Sequence[Limit]) -> list[dict[str, object]]:
    """A gate as JSON values, the form that is stored."""
    return [asdict(limit) for limit in limits]


def apply_gate(
    limits: Sequence[Limit], *, metrics: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]
) -> Verdict:
    """Hold metrics against limits.

    Args:
        limits: an empty gate is refused: nothing passes without having been asked anything.
        metrics: metric name → value.
        baselines: baseline name → its metrics on the same rows.
    """
    outcomes = tuple(_apply(limit, metrics, baselines) for limit in limits)
    reasons = [outcome.reason for outcome in outcomes if outcome.reason is not None]
    if not limits:
        reasons.append("the gate declares no limit")
    return Verdict(passed=not reasons, outcomes=outcomes, reasons=tuple(reasons))


def _apply(limit: Limit, metrics: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]) -> LimitOutcome:
    text = describe_limit(limit)
    found = metrics.get(limit.metric)
    base = 1.0 if limit.of is None else baselines.get(limit.of, {}).get(limit.metric)
    for name, value in ((limit.metric, found), (f"{limit.metric} of baseline {limit.of}", base)):
        if value is None or not math.isfinite(value):
            problem = "missing" if value is None else f"{value}, not a finite number"
            return LimitOutcome(limit=text, found=None, bound=None, held=False, reason=f"{text}: {name} is {problem}")
    assert found is not None and base is not None  # noqa: S101  both were just checked
    bound = limit.value * base
    held = _COMPARISONS[limit.comparison](found, bound)
    reason = None if held else f"{text}: {limit.metric} is {found:.6g}, the limit is {bound:.6g}"
    return LimitOutcome(limit=text, found=found, bound=bound, held=held, reason=reason)
