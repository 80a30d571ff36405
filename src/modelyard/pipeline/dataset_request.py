"""A dataset that somebody asks for: everything about it but its rows."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from modelyard.data.dataset_writer import check_facts
from modelyard.errors import BadInput, UnknownName, VersionRefused
from modelyard.pipeline.raw import RawData
from modelyard.pipeline.request import TrainingRequest
from modelyard.pipeline.session import DATASETS_EXPERIMENT
from modelyard.store.datasets import Dataset
from modelyard.workloads.contract import Expectations

_VERSION = re.compile("[0-9A-Za-z][0-9A-Za-z._+-]{0,63}")  # as in the database
_NAME_LIMIT = 200
_PARAMETER = re.compile(r"\w[\w\-. :]{0,249}")  # as MLflow takes the name of a param
# params of the processing run beside the parameters
SHOWN_PARAMS = (
    "dataset_name", "dataset_version", "dataset_digest", "dataset_source", "raw_digest", "data_source", "targets",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRequest:
    """A dataset to be logged, but for its rows.

    Attributes:
        name: its name, in which ``{num_rows}`` stands for the number of its rows.
        workload: what it is for; the newest dataset of a workload is found by it.
        version: what a person says, e.g. ``2025-01-03``; None for the rule.
        targets: column names of y.
        parameters: those that processing took; JSON values.
        code_version: which code made the rows.
        tags: of the processing run.
        data_source: ``file_path``, ``download`` or ``sample`` of raw data, ``provided_dataset`` from Python.
        raw: the raw data that it was made from, ``parent`` the dataset.
        expectations: what must hold of its rows; ``allow_invalid``: what does not is only recorded.
        group_column: column of extra whose values must not be on both sides of the split.
        with_profile: without one nothing can be said of its columns later, and logging takes a third of the time.
        mlflow_experiment: where the processing run is.
    """

    name: str
    workload: str
    version: str | None = None
    targets: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    code_version: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    data_source: str
    raw: RawData | None = None
    parent: Dataset | None = None
    expectations: Expectations = field(default_factory=Expectations)
    allow_invalid: bool = False
    group_column: str | None = None
    with_profile: bool = True
    mlflow_experiment: str = DATASETS_EXPERIMENT

    def __post_init__(self) -> None:
        """Refuse a name that ``NAME@VERSION`` could not name, what cannot be a version, and what cannot be kept."""
        _check_name("dataset", self.name)
        _check_name("workload", self.workload)
        _check_version(self.version)
        check_facts("parameter", self.parameters)
        for name in self.parameters:
            if not (isinstance(name, str) and _PARAMETER.fullmatch(name)) or name in SHOWN_PARAMS:
                raise BadInput(
                    f"{name!r} cannot be a parameter's name: give 1 to 250 letters, digits, blanks and _ - . : with a "
                    f"letter, digit or _ first, and none of {', '.join(SHOWN_PARAMS)}, which tell of the dataset itself"
                )

    def check_known(self, known: Dataset, violations: Sequence[Mapping[str, Any]]) -> None:
        """Refuse content that is on record with other facts, which are never changed.

        Args:
            known: the dataset with this very content.
            violations: expectations that it breaks now.

        Raises:
            BadInput: it is for another workload, or on record as breaking nothing.
        """
        called = f"this very content is {known.name} {known.version}"
        if known.workload != self.workload:
            raise BadInput(f"{called} of workload {known.workload}, not of {self.workload}; log it under another name")
        if violations and not known.violations:
            raise BadInput(
                f"{called}, which broke no expectation when it was logged, and breaks {len(violations)} of now: "
                f"{'; '.join(str(one['rule']) for one in violations)}. Log it under another name, or delete that one"
            )


def _check_name(what: str, name: str) -> None:
    if not name.isprintable() or name != name.strip() or not 0 < len(name) <= _NAME_LIMIT or {"@", "/"} & {*name}:
        raise BadInput(
            f"{name!r} cannot be a {what}'s name: give 1 to {_NAME_LIMIT} printable characters without @ and /, "
            "none of them a blank at either end"
        )


def _check_version(version: str | None) -> None:
    if version is not None and not _VERSION.fullmatch(version):
        raise VersionRefused(
            f"{version!r} cannot be a version: it has 1 to 64 letters, digits and . _ + -, a letter or digit first, "
            "e.g. 2025-01-03"
        )


def check_processing(request: TrainingRequest, values: Iterable[str], *, version: str | None) -> None:
    """Check what only a processing is asked for: a parameter of a model would change nothing.

    Args:
        request: checked otherwise.
        values: names of parameters that were given by hand; a config may have a model's too.
        version: the dataset's, or None.

    Raises:
        UnknownName: a name that is no parameter of processing.
        VersionRefused: what cannot be a version.
    """
    known = request.workload.spec.processing.model_fields
    for name in values:
        if name not in known:
            hint = f"It is a parameter of the model {request.model_type}, and processing fits none."
            raise UnknownName("parameter of processing", name, known, hint=hint)
    _check_version(version)


def describe_new(
    request: TrainingRequest, raw: RawData, arguments: Mapping[str, Any], *, user: str, command: str
) -> DatasetRequest:
    """The dataset that a job makes of raw data; made-up data shares no name, and so no versions, with real data."""
    spec = request.workload.spec
    name = spec.dataset_name or spec.name
    return DatasetRequest(
        name=f"{name}_sample" if raw.source == "sample" else name,
        workload=spec.name,
        version=arguments.get("version"),
        targets=spec.targets,
        parameters=request.processing_parameters(),
        code_version=asdict(request.code),
        tags=request.tags(user=user, command=command),
        data_source=raw.source,
        raw=raw,
        expectations=spec.expectations,
        allow_invalid=bool(arguments.get("allow_invalid")),
        group_column=spec.group_column,
    )
