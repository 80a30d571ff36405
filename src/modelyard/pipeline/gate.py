"""The gate: declared limits, applied to measured numbers; what is missing or not finite is a refusal."""

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from modelyard.workloads.rules import PRODUCTION, Gate, Limit

Values = Mapping[str, float | None]

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


def apply_gate(gate: Gate, *, metrics: Values, baselines: Mapping[str, Values], production: Values | None) -> Verdict:
    """Hold metrics against the limits that apply.

    Args:
        gate: where none of its limits applies it is refused: nothing passes without having been asked anything.
        metrics: metric name → value; None is a missing one.
        baselines: name of a naive baseline → its metrics on the same rows.
        production: the live version's metrics on the same rows; None where none is live.
    """
    bases = {**baselines, PRODUCTION: {} if production is None else production}
    outcomes = tuple(_apply(limit, metrics, bases) for limit in gate.list_limits(production=production is not None))
    reasons = [outcome.reason for outcome in outcomes if outcome.reason is not None]
    if not outcomes:
        reasons.append(f"the gate declares no limit for {'a' if production is not None else 'no'} live version")
    return Verdict(passed=not reasons, outcomes=outcomes, reasons=tuple(reasons))


def refuse_unknown(verdict: Verdict, metrics: Values, *, declared: Iterable[str]) -> Verdict:
    """A metric that no limit asks for is a refusal too where it is no number: the answers are not what they seem.

    Args:
        verdict: what the limits say.
        metrics: that were found.
        declared: names of those that should have been.
    """
    asked = {outcome.limit.partition(" ")[0] for outcome in verdict.outcomes}
    others = [name for name in dict.fromkeys((*declared, *metrics)) if name not in asked]
    more = [problem for name in others for problem in _find_problem(name, metrics.get(name))]
    return replace(verdict, passed=verdict.passed and not more, reasons=(*verdict.reasons, *more))


def _apply(limit: Limit, metrics: Values, bases: Mapping[str, Values]) -> LimitOutcome:
    found = metrics.get(limit.metric)
    base = 1.0 if limit.of is None else bases.get(limit.of, {}).get(limit.metric)
    problems = _find_problem(limit.metric, found) + _find_problem(f"{limit.metric} of {limit.of}", base)
    if found is None or base is None or problems:
        missing = f"{limit}: {' and '.join(problems)}"
        return LimitOutcome(limit=str(limit), found=None, bound=None, held=False, reason=missing)
    bound = limit.find_bound(base)
    held = math.isfinite(bound) and _COMPARISONS[limit.comparison](found, bound)
    reason = None if held else f"{limit}: {_tell(limit.metric, found, bound)}"
    bound_or_none = bound if math.isfinite(bound) else None  # a share of a large number can overflow
    return LimitOutcome(limit=str(limit), found=found, bound=bound_or_none, held=held, reason=reason)


def _find_problem(name: str, value: float | None) -> list[str]:
    if value is None:
        return [f"{name} is missing"]
    return [] if math.isfinite(value) else [f"{name} is {value}, not a finite number"]


def _tell(metric: str, found: float, bound: float) -> str:
    """Both numbers with as many digits as it takes to see that they differ."""
    digits = next((n for n in (6, 9, 12) if f"{found:.{n}g}" != f"{bound:.{n}g}"), 17)
    return f"{metric} is {found:.{digits}g}, the limit is {bound:.{digits}g}"
