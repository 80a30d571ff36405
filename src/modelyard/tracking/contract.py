"""The contract: what a training run must have logged before its model may be registered."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import mlflow.models
from mlflow import MlflowClient, MlflowException
from mlflow.entities import LoggedModel, LoggedModelStatus, Run
from yaml import YAMLError

from modelyard.errors import ContractNotMet
from modelyard.tracking.datasets import MLFLOW_DIGEST_LENGTH
from modelyard.tracking.runs import list_training_inputs

MODEL_ARTIFACT = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """Names that must be there, and tags with the value they must have (None: any).

    Every metric that was logged must be finite. ``dataset_digest`` is that of the dataset input, None for any.
    An artifact without a suffix may have one: ``config`` is met by ``config.json``, by a folder, or by a logged model.
    ``model`` is the name of the model that would be registered, where the run has logged several.
    """

    params: tuple[str, ...]
    metrics: tuple[str, ...]
    tags: tuple[tuple[str, str | None], ...]
    artifacts: tuple[str, ...] = ()
    dataset_digest: str | None = None
    model: str = MODEL_ARTIFACT


@dataclass(frozen=True, slots=True)
class Demand:
    """One thing that a contract asks for, whether it is there, and what is there instead."""

    what: str
    met: bool
    found: str = ""

    def __str__(self) -> str:
        return f"{self.what} ({self.found})" if self.found else self.what


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRun:
    """A run held against a contract: every demand, the ones that are met too; ``model_id`` is "" if it has no model."""

    run: Run
    model_id: str
    demands: tuple[Demand, ...]

    @property
    def missing(self) -> list[str]:
        return [str(demand) for demand in self.demands if not demand.met]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRun:
    """A training run that meets its contract."""

    run_id: str
    model_id: str
    metrics: dict[str, float]


def check_contract(client: MlflowClient, run_id: str, *, contract: Contract) -> CheckedRun:
    """Hold a run against its contract.

    Raises:
        ContractNotMet: with everything that is missing, at once.
    """
    held = hold_run(client, client.get_run(run_id), contract=contract)
    if held.missing:
        raise ContractNotMet(run_id, held.missing)
    return CheckedRun(run_id=run_id, model_id=held.model_id, metrics=dict(held.run.data.metrics))


def hold_run(client: MlflowClient, run: Run, *, contract: Contract) -> HeldRun:
    """Hold a run against a contract; every demand is answered."""
    model, model_demands = _demand_model(client, run, contract.model)
    return HeldRun(
        run=run,
        model_id=model.model_id if model else "",
        demands=(
            *_demand_values(run, contract),
            *_demand_dataset(run, contract),
            *_demand_artifacts(client, run, contract),
            *model_demands,
        ),
    )


def _demand_values(run: Run, contract: Contract) -> Iterator[Demand]:
    status, deleted = run.info.status, run.info.lifecycle_stage == "deleted"
    yield Demand("status FINISHED", status == "FINISHED", "" if status == "FINISHED" else f"it is {status}")
    if deleted:
        yield Demand("a run that is not deleted", False)
    yield from (Demand(f"param {name}", name in run.data.params) for name in contract.params)
    yield from (Demand(f"metric {name}", name in run.data.metrics) for name in contract.metrics)
    # MLflow stores infinity as the largest double
    yield from (
        Demand(f"a finite metric {name}", False, f"it is {value}")
        for name, value in run.data.metrics.items()
        if not abs(value) < sys.float_info.max
    )
    yield from (_demand_tag(run.data.tags, name, value) for name, value in contract.tags)


def _demand_tag(tags: Mapping[str, str], name: str, value: str | None) -> Demand:
    what, found = f"tag {name}" if value is None else f"tag {name}={value}", tags.get(name)
    met = found is not None and value in (None, found)
    return Demand(what, met, "" if met or found is None else f"it is {found!r}")


def _demand_dataset(run: Run, contract: Contract) -> Iterator[Demand]:
    wanted = (contract.dataset_digest or "")[:MLFLOW_DIGEST_LENGTH]
    met = any(digest == wanted or not wanted for _, digest in list_training_inputs(run))
    yield Demand(f"a dataset input with context training and a digest {wanted}".rstrip(), met)


def _demand_artifacts(client: MlflowClient, run: Run, contract: Contract) -> Iterator[Demand]:
    logged = {model.name for model in list_models(client, run)}
    known: dict[str, set[str]] = {}
    for path in contract.artifacts:
        parent = path.rpartition("/")[0]
        if parent not in known:
            found = {entry.path for entry in client.list_artifacts(run.info.run_id, parent or None)}
            known[parent] = found | {str(PurePosixPath(entry).with_suffix("")) for entry in found}
        yield Demand(f"artifact {path}", path in known[parent] or path in logged)


def list_models(client: MlflowClient, run: Run) -> list[LoggedModel]:
    """The models that a run has logged and that are whole, the oldest first."""
    models = []
    for output in run.outputs.model_outputs if run.outputs else []:
        try:
            model = client.get_logged_model(output.model_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            continue  # somebody has deleted it
        if model.status == LoggedModelStatus.READY:
            models.append(model)
    return sorted(models, key=lambda model: model.creation_timestamp)


def choose_model(models: Sequence[LoggedModel], name: str) -> LoggedModel | None:
    """Of what a run has logged, oldest first, its model: the newest that is called ``name``, else the only one."""
    named = [model for model in models if model.name == name]
    if named:
        return named[-1]
    return models[0] if len(models) == 1 else None


def _demand_model(client: MlflowClient, run: Run, name: str) -> tuple[LoggedModel | None, list[Demand]]:
    """The model that would be registered."""
    models = list_models(client, run)
    if not models:
        return None, [Demand("a logged model", False)]
    model = choose_model(models, name)
    if model is None:
        names = ", ".join(sorted(model.name for model in models))
        return None, [Demand(f"one logged model, or one of the name {name}", False, f"it has {names}")]
    return model, [Demand("a logged model", True), Demand("a signature of its model", _has_signature(model))]


def _has_signature(model: LoggedModel) -> bool:
    try:
        return mlflow.models.get_model_info(f"models:/{model.model_id}").signature is not None
    except (MlflowException, OSError, ValueError, TypeError, AttributeError, YAMLError):  # a file from outside
        return False
