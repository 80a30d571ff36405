"""Which trainings are blended: chosen once, when a blend is asked for, and told with the reason."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args
from uuid import UUID

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run

from modelyard.errors import BadInput, UnknownName
from modelyard.pipeline.code_version import CodeVersion, find_code_version
from modelyard.pipeline.request import describe_file
from modelyard.store.catalogue import list_datasets, resolve_dataset
from modelyard.store.connections import Connection
from modelyard.store.datasets import Dataset, get_dataset
from modelyard.store.usage import list_summaries, list_uses
from modelyard.tracking.contract import choose_model, list_models
from modelyard.tracking.runs import find_run
from modelyard.tracking.search import search_runs
from modelyard.workloads.blending import Weights
from modelyard.workloads.contract import Workload, WorkloadSpec
from modelyard.workloads.registry import get_workload

_NB_RUNS = 1000  # of one dataset, the best, that are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A finished training run; ``score`` is the primary metric on the validation rows."""

    run_id: str
    model_type: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendRequest:
    """A blend as asked for: the runs that are its members, the dataset that all were trained on, how they weigh."""

    workload: Workload
    code: CodeVersion
    dataset: Dataset
    run_ids: tuple[str, ...]
    weights: Weights
    mlflow_experiment: str

    def arguments(self) -> dict[str, Any]:
        """The request as a job's arguments: references only."""
        return {
            "workload": self.workload.spec.name,
            "mlflow_experiment": self.mlflow_experiment,
            "dataset_id": str(self.dataset.dataset_id),
            "members": list(self.run_ids),
            "weights": self.weights,
            "workload_sha256": self.code.workload_sha256,
            **describe_file(self.code),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenMembers:
    """A request, and the runs that it names, the best first; ``why`` is the reason, in words."""

    request: BlendRequest
    members: tuple[Candidate, ...]
    why: str


def build_blend(
    connection: Connection,
    client: MlflowClient,
    workload: Workload,
    /,
    *,
    dataset: str | None = None,
    candidates: str | None = None,
    weights: str = "inverse_mae",
) -> ChosenMembers:
    """Choose what is blended, and check it.

    Args:
        connection: as anybody who may read.
        client: of MLflow.
        workload: whose models.
        dataset: ``NAME[@VERSION]`` or a digest; default: the newest that two trainings have used.
        candidates: how many of the best runs, or the runs, ``RUN_ID,RUN_ID``; default: the best of each model type.
        weights: ``inverse_mae`` or ``nnls``.

    Raises:
        UnknownName: no dataset or way to weigh is called so.
        BadInput: models of this workload cannot be blended, or there are not two to blend; what to train.
    """
    spec = workload.spec
    check_blends(spec)
    if weights not in get_args(Weights):
        raise UnknownName("way to weigh a blend", weights, get_args(Weights))
    chosen, found = _choose_dataset(connection, client, spec, dataset)
    called = f"{chosen.name}@{chosen.version}"
    if candidates is None:
        members, why = _take_best_of_each_type(found), "the best run of each model type"
    elif candidates.isdecimal():
        members, why = list(found[: int(candidates)]), f"the {candidates} best runs"
    else:
        names = list(dict.fromkeys(name.strip() for name in candidates.split(",") if name.strip()))
        members, why = _take_named(found, names, called=called), "as named"
    if len(members) < 2:
        raise BadInput(_explain_too_few(spec, chosen, members, found))
    request = BlendRequest(
        workload=workload,
        code=find_code_version(workload),
        dataset=chosen,
        run_ids=tuple(member.run_id for member in members),
        weights=cast(Weights, weights),
        mlflow_experiment=spec.mlflow_experiment,
    )
    return ChosenMembers(request=request, members=tuple(members), why=why)


def read_blend(connection: Connection, arguments: Mapping[str, Any]) -> BlendRequest:
    """A blend from a job's arguments.

    Raises:
        BadInput: this release has no such workload, or its models cannot be blended.
        RecordNotFound: the dataset is not on record.
    """
    workload = get_workload(str(arguments.get("workload")), arguments.get("workload_file"))
    check_blends(workload.spec)
    return BlendRequest(
        workload=workload,
        code=find_code_version(workload),
        dataset=get_dataset(connection, dataset_id=UUID(arguments["dataset_id"])),
        run_ids=tuple(arguments["members"]),
        weights=arguments["weights"],
        mlflow_experiment=arguments["mlflow_experiment"],
    )


def check_blends(spec: WorkloadSpec) -> None:
    """Refuse a workload whose models cannot be blended.

    Raises:
        BadInput: with the reason.
    """
    if not spec.blends:
        raise BadInput(
            f"models of {spec.name} are not blended: weights follow from answers to validation rows, and its models "
            "may have learned from these"
        )
    if spec.primary_metric.higher_is_better:
        raise BadInput(f"models of {spec.name} are not blended: {spec.primary_metric.name} is no error to make small")


def _choose_dataset(
    connection: Connection, client: MlflowClient, spec: WorkloadSpec, name: str | None
) -> tuple[Dataset, list[Candidate]]:
    """The dataset, and the trainings on it, the best first."""
    if name is not None:
        named = resolve_dataset(connection, name)
        if named.workload != spec.name:
            raise BadInput(
                f"dataset {named.name} {named.version} belongs to workload {named.workload}, not {spec.name}"
            )
        return named, _list_candidates(connection, client, spec, named)
    newest: tuple[Dataset, list[Candidate]] | None = None
    for summary in list_summaries(connection, workload=spec.name):
        if summary.removed_at is not None:
            continue
        dataset = get_dataset(connection, dataset_id=summary.dataset_id)
        found = _list_candidates(connection, client, spec, dataset)
        if len(found) >= 2:
            return dataset, found
        newest = newest or (dataset, found)
    if newest is None:
        raise BadInput(f"no dataset of {spec.name} is on record, so nothing was trained on one: {_advise(spec)}")
    return newest


def _list_candidates(
    connection: Connection, client: MlflowClient, spec: WorkloadSpec, dataset: Dataset
) -> list[Candidate]:
    """The finished trainings on the rows of a dataset, the best on the validation rows first.

    That a run was trained on these rows is on record; MLflow's tags only narrow the search.
    """
    same_rows = list_datasets(connection, digest=dataset.digest)
    trained = {
        use.mlflow_run_id
        for row in same_rows
        for use in list_uses(connection, dataset_id=row.dataset_id)
        if (use.run_type, use.context) == ("training", "training")
    }
    metric = f"validation_{spec.primary_metric.name}"
    where = (
        f"attributes.status = 'FINISHED' and tags.run_type = 'training' and tags.workload = '{spec.name}' "
        f"and tags.dataset_digest = '{dataset.digest}'"
    )
    best_first = [f"metrics.{metric} asc"]
    runs = search_runs(client, where=where, order_by=best_first, nb_runs=_NB_RUNS) if trained else []
    measured = [
        run for run in runs if run.info.run_id in trained and math.isfinite(run.data.metrics.get(metric, math.nan))
    ]
    found = [
        _describe(run, metric) for run in measured if find_trained_model(client, spec, run.info.run_id) is not None
    ]
    return sorted(found, key=lambda one: one.score)


def find_trained_model(client: MlflowClient, spec: WorkloadSpec, run_id: str) -> LoggedModel | None:
    """The model that would be registered of a training run; None where MLflow has lost it, or the run was deleted."""
    run = find_run(client, run_id)
    if run is None or run.info.lifecycle_stage != "active":
        return None
    return choose_model(list_models(client, run), spec.model_artifact)


def _describe(run: Run, metric: str) -> Candidate:
    return Candidate(
        run_id=run.info.run_id, model_type=run.data.params.get("model_type", ""), score=run.data.metrics[metric]
    )


def _take_best_of_each_type(found: Sequence[Candidate]) -> list[Candidate]:
    best: dict[str, Candidate] = {}
    for candidate in found:
        best.setdefault(candidate.model_type, candidate)
    return list(best.values())


def _take_named(found: Sequence[Candidate], names: Sequence[str], *, called: str) -> list[Candidate]:
    known = {candidate.run_id: candidate for candidate in found}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BadInput(
            f"these are no finished trainings on {called} with a validation metric and a model: {', '.join(unknown)}; "
            f"there are {', '.join(f'{run.run_id} ({run.model_type})' for run in found) or 'none'}"
        )
    return [known[name] for name in names]


def _explain_too_few(
    spec: WorkloadSpec, dataset: Dataset, members: Sequence[Candidate], found: Sequence[Candidate]
) -> str:
    called = f"{dataset.name}@{dataset.version}"
    there = ", ".join(f"{run.run_id} ({run.model_type})" for run in found) or "none"
    missing = next((name for name in spec.model_types if name not in {run.model_type for run in found}), None)
    return (
        f"a blend takes two runs or more, and of the finished trainings on {called} {len(members) or 'none'} would be "
        f"in it; there are: {there}. {_advise(spec, model_type=missing, dataset=called)}"
    )


def _advise(spec: WorkloadSpec, *, model_type: str | None = None, dataset: str | None = None) -> str:
    """What to train."""
    chosen = model_type or next(iter(spec.model_types))
    return f"Train: modelyard train {spec.name} --model-type {chosen}" + (f" --dataset {dataset}" if dataset else "")
