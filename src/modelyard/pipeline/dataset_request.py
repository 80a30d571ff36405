"""A dataset that somebody asks for: everything about it but its rows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from modelyard.pipeline.raw import RawData
from modelyard.pipeline.request import TrainingRequest
from modelyard.pipeline.session import DATASETS_EXPERIMENT
from modelyard.store.datasets import Dataset
from modelyard.workloads.contract import Expectations


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


def describe_new(request: TrainingRequest, raw: RawData, arguments: Mapping[str, Any], *, user: str) -> DatasetRequest:
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
        tags=request.tags(user=user),
        data_source=raw.source,
        raw=raw,
        expectations=spec.expectations,
        allow_invalid=bool(arguments.get("allow_invalid")),
        group_column=spec.group_column,
    )
