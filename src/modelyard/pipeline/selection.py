"""Which dataset a training is done on: chosen once, when it is asked for, and told with the reason."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from modelyard.errors import BadInput, DatasetRefused, RecordLost
from modelyard.pipeline.request import TrainingRequest
from modelyard.store.catalogue import find_by_run, find_newest, list_datasets, resolve_dataset
from modelyard.store.connections import Connection
from modelyard.store.datasets import Dataset, get_dataset
from modelyard.store.usage import list_used
from modelyard.workloads.contract import WorkloadSpec
from modelyard.workloads.registry import build_parameters

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from modelyard.pipeline.training_data import DataSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a training is done on, and why.

    Attributes:
        request: the training, with the processing parameters of the dataset.
        dataset: the dataset on record; None: the configured file is processed.
        data_source: what the training run will say of a dataset on record.
        why: the reason, in words.
        note: what whoever asked should know beside that.
        fallback: why a file is read though none was named.
    """

    request: TrainingRequest
    dataset: Dataset | None = None
    data_source: "DataSource" = "file_path"
    why: str
    note: str | None = None
    fallback: str | None = None

    def arguments(self) -> dict[str, Any]:
        """What the job is told of it, JSON values."""
        if self.dataset is None:
            return {"dataset_fallback": self.fallback}
        return {"dataset_id": str(self.dataset.dataset_id), "data_source": self.data_source}


def select_dataset(
    connection: Connection,
    request: TrainingRequest,
    *,
    mlflow: "Callable[[], MlflowClient]",
    active_run: "Run | None" = None,
    provided: Dataset | None = None,
    run_id: str | None = None,
    name: str | None = None,
    strict: bool = False,
) -> Selection:
    """Choose the dataset of a training; the first of these that is there, in the order of the arguments.

    Without any of them it is the newest dataset of real data of the workload that was processed with the parameters
    that are asked for, and if there is none, the configured file.

    Args:
        connection: as anybody who may read.
        request: the training; its processing parameters that nobody gave are taken from a dataset that is named.
        mlflow: gives a client, where one is needed.
        active_run: the MLflow run that the caller is in; a dataset logged in it with context ``training`` counts.
        provided: a dataset that is handed over.
        run_id: the run that has logged the dataset.
        name: ``NAME``, ``NAME@VERSION`` or a digest.
        strict: no file is fallen back to.

    Raises:
        DatasetRefused: what was named cannot be trained on, or nothing fits and ``strict`` is set; with the reason.
        UnknownName: no dataset is called so.
    """
    workload = request.workload.spec.name
    logged = find_logged(connection, active_run, workload=workload) if active_run else None
    if active_run and logged is not None:
        return _take(request, logged, why=f"logged in the current run {active_run.info.run_id}")
    if provided is not None:
        now = get_dataset(connection, dataset_id=provided.dataset_id)  # it may have been deleted since
        return _take(request, now, why="handed over", source="provided_dataset")
    if run_id is not None:
        return _take(request, _get_by_run(connection, request, mlflow(), run_id), why=f"logged by run {run_id}")
    if name is not None:
        return _take(request, _resolve(connection, name), why=f"named as {name}")
    parameters = request.processing_parameters()
    newest = find_newest(connection, workload=workload, parameters=parameters)
    if newest is not None:
        note = None
        if newest.code_version.get("workload_sha256", request.code.workload_sha256) != request.code.workload_sha256:
            note = "the workload's code has changed since this dataset was made; make process makes it anew"
        selection = _take(request, newest, why="the newest that was processed with these parameters")
        return replace(selection, note=note)
    said = ", ".join(f"{key}={value}" for key, value in parameters.items())
    reason = f"no dataset of {workload} with {said} is on record (made-up data and broken expectations do not count)"
    if strict:
        raise DatasetRefused(
            f"{reason}, and --strict (STRICT=1) takes no file instead; make one (modelyard process {workload}), "
            "or name one with --dataset or --data"
        )
    return Selection(request=request, why=reason, fallback=reason)


def _take(
    request: TrainingRequest,
    dataset: Dataset,
    *,
    why: str,
    source: 'Literal["mlflow_dataset", "provided_dataset"]' = "mlflow_dataset",
) -> Selection:
    """A dataset that was chosen, if the workload can be trained on it as asked."""
    spec, called = request.workload.spec, f"dataset {dataset.name} {dataset.version}"
    if dataset.removed_at is not None:
        raise DatasetRefused(f"{called} was deleted by {dataset.removed_by}: {dataset.removal_reason}")
    if dataset.workload != spec.name:
        raise DatasetRefused(f"{called} belongs to workload {dataset.workload}, not to {spec.name}")
    if dataset.targets and tuple(dataset.targets) != spec.targets:
        raise DatasetRefused(f"{called} has targets {', '.join(dataset.targets)}, not {', '.join(spec.targets)}")
    return Selection(
        request=_adopt(request, dataset),
        dataset=dataset,
        data_source="sample" if dataset.data_source == "sample" else source,
        why=why,
        note=f"{called} breaks {n} expectation{'' if n == 1 else 's'}" if (n := len(dataset.violations)) else None,
    )


def _adopt(request: TrainingRequest, dataset: Dataset) -> TrainingRequest:
    """The request with the dataset's processing parameters; what was given otherwise is refused."""
    asked = request.parameters.model_dump(mode="json")
    processed = {n: v for n, v in dataset.parameters.items() if n in request.workload.spec.processing.model_fields}
    called = f"dataset {dataset.name} {dataset.version}"
    try:
        _, parameters = build_parameters(request.workload, model_type=request.model_type, values={**asked, **processed})
    except BadInput as error:
        raise DatasetRefused(f"{called} was processed with what this release does not take: {error}") from None
    has = parameters.model_dump(mode="json")
    contradicted = [
        f"{name}={asked[name]} was asked for and it has {name}={has[name]}"
        for name in processed
        if name in request.given and has[name] != asked[name]
    ]
    if contradicted:
        raise DatasetRefused(
            f"{called} was processed otherwise: {'; '.join(contradicted)}; leave these out, or choose another dataset"
        )
    return replace(request, parameters=parameters)


def _resolve(connection: Connection, text: str) -> Dataset:
    try:
        return resolve_dataset(connection, text)
    except RecordLost as deleted:
        raise DatasetRefused(str(deleted)) from None


def find_active_run(client: "MlflowClient") -> "Run | None":
    """The MLflow run that is active in this process; None where it is on another server."""
    import mlflow

    from modelyard.tracking.runs import find_run

    active = mlflow.active_run()
    return find_run(client, active.info.run_id) if active else None


def find_logged(connection: Connection, run: "Run", *, workload: str | None = None) -> Dataset | None:
    """The dataset on record that is an input of a run with context ``training``, of this workload if one is named.

    Raises:
        DatasetRefused: there are several.
    """
    from modelyard.tracking.runs import list_training_inputs

    used = list_used(connection, mlflow_run_id=run.info.run_id, context="training")
    found: dict[UUID, Dataset] = {}
    for name, digest in list_training_inputs(run):
        rows = list_datasets(connection, name=name, digest=digest)
        fitting = [row for row in rows if row.workload == (workload or row.workload)]
        # the same rows with another pipeline are another dataset: MLflow shows them alike, and our record tells which
        known = [row for row in fitting if row.dataset_id in used]
        there = [row for row in fitting if row.removed_at is None]
        found |= {row.dataset_id: row for row in known or there[:1] or fitting[:1]}
    if len(found) > 1:
        names = ", ".join(f"{row.name}@{row.version}" for row in found.values())
        raise DatasetRefused(
            f"the current run {run.info.run_id} has several datasets: {names}; use a run that has one, or none"
        )
    return next(iter(found.values()), None)


def _get_by_run(connection: Connection, request: TrainingRequest, client: "MlflowClient", run_id: str) -> Dataset:
    """The dataset that a finished processing run of this workload has logged."""
    recorded = find_by_run(connection, mlflow_run_id=run_id)
    if recorded is not None and recorded.removed_at is not None:
        return _resolve(connection, f"{recorded.name}@{recorded.version}")  # which says by whom it was deleted
    _check_run(_get_run(client, run_id), request.workload.spec)
    if recorded is None:
        raise DatasetRefused(
            f"run {run_id} has a dataset that is not on record, so nothing vouches for its bytes; log it anew"
        )
    return recorded


def _get_run(client: "MlflowClient", run_id: str) -> "Run":
    from modelyard.tracking.runs import find_run

    run = find_run(client, run_id)
    if run is None:
        raise DatasetRefused(f"there is no run {run_id!r}; modelyard datasets show NAME has the run of a dataset")
    return run


def _check_run(run: "Run", spec: WorkloadSpec) -> None:
    from modelyard.tracking.runs import list_training_inputs

    run_id, tags = run.info.run_id, run.data.tags
    run_type, workload = tags.get("run_type", "not said"), tags.get("workload", "not said")
    if run_type != "dataset":
        raise DatasetRefused(f"run {run_id} is no dataset run: its run_type is {run_type}")
    if run.info.status != "FINISHED":
        raise DatasetRefused(f"run {run_id} is not finished: its status is {run.info.status}")
    if workload != spec.name:
        raise DatasetRefused(f"run {run_id} belongs to workload {workload}, not to {spec.name}")
    if not list_training_inputs(run):
        raise DatasetRefused(f"run {run_id} has no dataset with context training")
