"""What a job achieves, as JSON values: told by whoever does it, read by whoever follows it."""

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from modelyard.pipeline.gate import LimitOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted:
    """A job was begun; ``attempt`` above 1 takes up what an earlier one left."""

    job_id: str
    attempt: int
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that whoever asked should know."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetResult:
    """A dataset on record; ``reused`` if the same content had been logged before."""

    dataset_id: str
    name: str
    version: str
    digest: str
    raw_digest: str
    num_rows: int
    split_counts: dict[str, int]
    data_source: str
    run_url: str
    reused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """A finished training run: ``metrics`` by split, ``baselines`` on the test rows."""

    run_id: str
    run_url: str
    model_type: str
    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    resumed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationResult:
    """A registered model version, and the job that evaluates it."""

    model_name: str
    version: str
    url: str
    evaluation_job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """A verdict on a model version, and the policy version that it made (None if it was refused)."""

    evaluation_id: str
    run_url: str
    passed: bool
    limits: tuple[LimitOutcome, ...]
    reasons: tuple[str, ...]
    metrics: dict[str, float | None]
    policy_id: str
    policy_version: int | None
    stage: str
    resumed: bool


Result = Notice | DatasetResult | TrainingResult | RegistrationResult | EvaluationResult

_KINDS: dict[str, type[Result]] = {
    "notice": Notice,
    "dataset": DatasetResult,
    "training": TrainingResult,
    "registration": RegistrationResult,
    "evaluation": EvaluationResult,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def encode_result(result: Result) -> tuple[str, dict[str, Any]]:
    """A result's name and its JSON value."""
    return _NAMES[type(result)], asdict(result)


def decode_result(name: str, value: dict[str, Any]) -> Result | None:
    """A result from its name and JSON value; None for a name that this release does not know."""
    kind = _KINDS.get(name)
    return None if kind is None else TypeAdapter(kind).validate_python(value)
