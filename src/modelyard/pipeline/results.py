"""What a job achieves, as JSON values: told by whoever does it, read by whoever follows it."""

from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

from modelyard.data.drift import ColumnDrift
from modelyard.data.scoring import Interval
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
    """A dataset on record; ``reused`` if the same content had been logged before, ``violations``: of how many
    expectations it was allowed to break.
    """

    dataset_id: str
    name: str
    version: str
    digest: str
    raw_digest: str | None
    num_rows: int
    split_counts: dict[str, int]
    data_source: str
    run_url: str
    reused: bool
    violations: int = 0


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
class BlendedMember:
    """A model in a blend: its weight (0 to 1), and its metrics on the same validation and test rows."""

    run_id: str
    model_type: str
    weight: float
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendResult:
    """A finished blend run: ``weights`` is how they were found; ``metrics`` by split, ``baselines`` on test rows."""

    run_id: str
    run_url: str
    weights: str
    members: tuple[BlendedMember, ...]
    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    resumed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationResult:
    """A registered model version, and the job that evaluates it; else why nothing can score it."""

    model_name: str
    version: str
    url: str
    evaluation_job_id: str | None
    not_evaluated: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """A verdict on a model version, and the policy version that it made (None if it was refused).

    Attributes:
        model: e.g. ``houses_model/4``; ``dataset`` e.g. ``houses@1.0.0``; ``production`` e.g.
            ``houses_policy@3 (houses_model/2)``, None where nothing was live.
        rows: that were scored.
        unseen_rows: whether rows that a model was trained on were left out.
        baselines: metrics of naive answers, and of ``production``.
        intervals: per metric what it was compared with.
        note: what MLflow could not be told.
    """

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
    run_id: str = ""  # what follows is not in results of releases before 0.2
    model: str = ""
    dataset: str = ""
    rows: int | None = None
    unseen_rows: bool = False
    production: str | None = None
    baselines: dict[str, dict[str, float | None]] = field(default_factory=dict)
    intervals: tuple[Interval, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChange:
    """A metric at a model's training and now; None where it was not recorded then."""

    then: float | None
    now: float
    difference: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueChange:
    """Something that is not as it was, JSON values; of lists only what the other lacks."""

    what: str
    then: Any
    now: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproductionResult:
    """A model version that was trained anew; ``equal`` if every test row is answered as then, bit for bit.

    Attributes:
        model: e.g. ``houses_model/3``; ``dataset`` e.g. ``houses@1.0.0``.
        rows: test rows, of which ``differing_rows`` differ from the stored model's answers.
        largest_difference: the largest absolute one, in the target's unit; None if nothing finite differs.
        digest_then: sha256 of the answers when the model was trained; None where it was not recorded.
        digest_now: of those of the model that was trained now.
        differences: of code, packages, processor, threads, as far as they were recorded.
        environment_recorded: whether more than the code was.
    """

    model: str
    dataset: str
    run_id: str
    run_url: str
    equal: bool
    rows: int
    differing_rows: int
    largest_difference: float | None
    digest_then: str | None
    digest_now: str
    metrics: dict[str, MetricChange]
    differences: tuple[ValueChange, ...]
    environment_recorded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftResult:
    """Current rows held against the training rows of a dataset, the worst column first.

    ``reference`` and ``current`` are names for people, e.g. ``houses 1.0.0`` and ``new.csv``.
    """

    drift_report_id: str
    run_id: str
    run_url: str
    reference: str
    reference_rows: int
    current: str
    current_rows: int
    drifted: bool
    limits: dict[str, Any]
    columns: tuple[ColumnDrift, ...]


Result = (
    Notice
    | DatasetResult
    | TrainingResult
    | BlendResult
    | RegistrationResult
    | EvaluationResult
    | ReproductionResult
    | DriftResult
)

_KINDS: dict[str, type[Result]] = {
    "notice": Notice,
    "dataset": DatasetResult,
    "training": TrainingResult,
    "blend": BlendResult,
    "registration": RegistrationResult,
    "evaluation": EvaluationResult,
    "reproduction": ReproductionResult,
    "drift": DriftResult,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def encode_result(result: Result) -> tuple[str, dict[str, Any]]:
    """A result's name and its JSON value."""
    return _NAMES[type(result)], asdict(result)


def decode_result(name: str, value: dict[str, Any]) -> Result | None:
    """A result from its name and JSON value; None for a name that this release does not know."""
    kind = _KINDS.get(name)
    return None if kind is None else TypeAdapter(kind).validate_python(value)
