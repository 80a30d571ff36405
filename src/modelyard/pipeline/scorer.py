"""How the answers of a model version are scored: by its workload, or by its task where another tool has trained it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard

from modelyard.data.compatibility import list_targets
from modelyard.errors import BadInput, UnknownName
from modelyard.pipeline.code_version import CodeVersion, find_code_version
from modelyard.store.datasets import Dataset
from modelyard.store.models import ModelVersion
from modelyard.workloads import tasks
from modelyard.workloads.contract import AdditiveWorkload, Metric, Processed, Workload
from modelyard.workloads.registry import get_workload, read_parameters
from modelyard.workloads.rules import Gate, load_rules
from modelyard.workloads.tasks import get_task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """How answers are scored.

    Attributes:
        name: of the workload or the task.
        task: what kind of answer it is.
        metrics: names, units and directions; the first one is the primary metric.
        gate: the limits that ship with the workload or the task.
        policy_id: of the policy of its models, where nobody has made another.
        group_column: the column, e.g. ``extra.query``, whose values are resampled together, or None.
        answers: names of the columns that a model must answer with; empty where it gives one for each target.
        split_by_group: no group may be on both sides of a split.
        held: rows of one group must be scored at once.
        code: which code scores.
        score: statistics of rows from rows and answers, and ``summarize``: metrics from their sums; both None where
            metrics are no sums, and all rows are given to ``evaluate``.
        baselines: metrics of naive answers from a dataset; None where there are no such answers.
        baseline_names: theirs.
    """

    name: str
    task: str
    metrics: tuple[Metric, ...]
    gate: Gate
    policy_id: str
    group_column: str | None
    answers: tuple[str, ...]
    split_by_group: bool
    held: bool
    code: CodeVersion
    score: "Callable[[pd.DataFrame, np.ndarray[Any, Any]], Mapping[str, Any]] | None"
    summarize: Callable[[Mapping[str, float]], Metrics] | None
    evaluate: "Callable[[pd.DataFrame, np.ndarray[Any, Any]], Metrics] | None"
    baselines: Callable[[Processed], dict[str, Metrics]] | None
    baseline_names: tuple[str, ...]


def find_scorer(version: ModelVersion, dataset: Dataset) -> Scorer:
    """The scorer of a model version on a dataset.

    Raises:
        UnknownName: neither a workload nor a task with standard scores is called as recorded.
        BadInput: this release does not take the model's parameters, the dataset lacks a column that scores need, or
            the workload is a file of somebody's own, which is not loaded here.
    """
    try:
        workload = get_workload(version.workload, version.workload_file)
    except UnknownName:
        return _score_task(version, dataset)
    spec, name = workload.spec, version.mlflow_model_name
    parameters = read_parameters(workload, model_type=version.model_type, values=version.parameters)
    additive = workload if is_additive(workload) else None
    return Scorer(
        name=spec.name,
        task=str(spec.task),
        metrics=spec.metrics,
        gate=spec.rules.gate,
        policy_id=spec.policy_id if name == spec.model_name else name_policy(name),
        group_column=find_column(dataset, spec.group_column) if spec.group_column else None,
        answers=spec.answers if len(spec.answers) > 1 else (),
        split_by_group=spec.group_column is not None,
        held=False,
        code=find_code_version(workload),
        score=partial(additive.score, parameters=parameters) if additive else None,
        summarize=partial(additive.summarize, parameters=parameters) if additive else None,
        evaluate=None if additive else partial(workload.evaluate, parameters=parameters),
        baselines=partial(workload.baselines, parameters=parameters),
        baseline_names=spec.baselines,
    )


def explain_unscored(version: ModelVersion, dataset: Dataset) -> str | None:
    """Why this release cannot score a model version on a dataset; None if it can."""
    try:
        find_scorer(version, dataset)
    except BadInput as error:
        return str(error)
    return None


def is_additive(workload: Workload) -> TypeGuard[AdditiveWorkload]:
    """Whether a workload's metrics follow from sums over rows."""
    return hasattr(workload, "score") and hasattr(workload, "summarize")


def name_policy(model_name: str) -> str:
    """The policy of a registered model where nobody has made another: ``houses_policy`` of ``houses_model``."""
    name = re.sub("[^a-z0-9_]", "_", model_name.lower()).removesuffix("_model") or "model"
    return (name if name[:1].isalpha() else f"model_{name}")[:93] + "_policy"


def _score_task(version: ModelVersion, dataset: Dataset) -> Scorer:
    scores = get_task(version.task)
    targets, group = list_targets(dataset.schema), version.parameters.get("group_column")
    if len(targets) != 1:
        raise BadInput(
            f"{version.task} is scored on one target, and {dataset.name} {dataset.version} has "
            f"{', '.join(targets) or 'none'}"
        )
    if scores.needs_groups and group is None:
        raise BadInput(
            f"{version.label} has no parameter group_column, which says "
            f"whose rows are ranked against each other; log it in the training run and register that"
        )
    column = find_column(dataset, str(group)) if scores.needs_groups else None
    plain = column.partition(".")[2] if column else None

    def score(rows: "pd.DataFrame", answers: Any) -> Mapping[str, Any]:
        try:
            return scores.score(rows[targets[0]], answers, groups=rows[plain] if plain else None)
        except BadInput as error:
            raise BadInput(f"{dataset.name} {dataset.version}, target {targets[0]}: {error}") from None

    return Scorer(
        name=version.task,
        task=version.task,
        metrics=scores.metrics,
        gate=load_rules(version.workload).gate,
        policy_id=name_policy(version.mlflow_model_name),
        group_column=column,
        answers=(),
        split_by_group=False,
        held=scores.needs_groups,
        code=find_code_version(tasks),  # type: ignore[arg-type]
        score=score,
        summarize=scores.summarize,
        evaluate=None,
        baselines=None,
        baseline_names=(),
    )


def find_column(dataset: Dataset, name: str) -> str:
    """Where a column of X or extra is, e.g. ``extra.query``."""
    known = [
        column["name"] for side in ("extra.", "X.") for column in dataset.schema if column["name"].startswith(side)
    ]
    found = next((side + name for side in ("extra.", "X.") if side + name in known), None)
    if found is None:
        names, more = [column.partition(".")[2] for column in known], len(known) - 10
        raise BadInput(
            f"{dataset.name} {dataset.version} has no column {name!r}, whose values say which rows belong together; "
            f"it has {', '.join(names[:10])}{f' and {more:,} more' if more > 0 else ''}"
        )
    return found
