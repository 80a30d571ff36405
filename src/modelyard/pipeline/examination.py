"""A run of any tool, held against the contract of its rules; what of it would be registered, and as what."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run

from modelyard.data.compatibility import list_features
from modelyard.data.hashes import HashedFile
from modelyard.errors import BadInput, ContractNotMet, UntrustedModel
from modelyard.pipeline.attempt import Attempt
from modelyard.pipeline.register import Registration, check_known
from modelyard.pipeline.run_request import RunRequest
from modelyard.pipeline.session import Report, Session, say_nothing
from modelyard.pipeline.train import build_contract, describe_workload
from modelyard.store import datasets, models
from modelyard.store.catalogue import list_datasets
from modelyard.store.connections import Connection
from modelyard.store.usage import list_used
from modelyard.tracking.contract import Contract, Demand, hold_run
from modelyard.tracking.datasets import MLFLOW_DIGEST_LENGTH
from modelyard.tracking.model_formats import ModelFormat, find_format
from modelyard.tracking.models import download_model, hash_model
from modelyard.tracking.runs import find_run, list_training_inputs
from modelyard.workloads.registry import build_parameters

_LOG_DATASET = "modelyard.log_dataset inside the run logs one"
_CODE_TAGS = {
    "release": "code_release",
    "python": "code_python",
    "commit": "mlflow.source.git.commit",
    "dirty": "code_dirty",
    "workload_sha256": "workload_sha256",
    "source": "mlflow.source.name",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A run held against its contract.

    Attributes:
        run: as MLflow has it.
        registration: as what it would be registered; None if a demand that this follows from is not met.
        dataset: what it was trained on; None if that is not on record.
        model_id: of its logged model, "" without one.
        files: those of its model.
        demands: everything that was asked for, met or not.
    """

    run: Run
    registration: Registration | None
    dataset: datasets.Dataset | None
    model_id: str
    files: tuple[HashedFile, ...]
    demands: tuple[Demand, ...]

    @property
    def missing(self) -> list[str]:
        return [str(demand) for demand in self.demands if not demand.met]


def examine_run(session: Session, request: RunRequest, *, report: Report = say_nothing) -> Examined:
    """Hold a run against its contract; nothing is written, and nothing of its model runs.

    Raises:
        BadInput: the run is gone.
        ContentMismatch: its model is on record, and a file of it is not what was recorded.
    """
    run = find_run(session.mlflow, request.run_id)
    if run is None:
        raise BadInput(f"there is no run {request.run_id!r} any more")
    dataset, of_dataset = _find_dataset(session.records, run)
    contract = _build_contract(request, run, dataset)
    report("checking", 0.1, "holding the run against its contract")
    held = hold_run(session.mlflow, run, contract=contract)
    files: tuple[HashedFile, ...] = ()
    found: ModelFormat | None = None
    of_model: list[Demand] = []
    if held.model_id:
        report("checking", 0.3, "loading its model, to see how it is stored")
        files, found, of_model = _look_at_model(session, held.model_id, dataset)
    demands = (*held.demands, *of_dataset, *of_model, *_list_unknown(request, run))
    described = None
    if dataset is not None and found is not None and all(demand.met for demand in demands):
        described = _describe(request, run, dataset, found, contract=contract)
    return Examined(
        run=run, registration=described, dataset=dataset, model_id=held.model_id, files=files, demands=demands
    )


def record_run(
    session: Session, request: RunRequest, *, attempt: Attempt, report: Report
) -> tuple[Registration, datasets.Dataset]:
    """Check a run, and record the files of its model; return as what it is to be registered, and its dataset.

    Raises:
        ContractNotMet: with everything that is missing; nothing was recorded.
        BadInput, RecordLost: it is registered under another name, or MLflow has lost its version.
        AttemptLost: the job was taken over or cancelled.
    """
    known = models.find_model_version_by_run(session.records, mlflow_run_id=request.run_id)
    if known is not None:
        check_known(session, known, request.model_name)
        return _describe_known(request, known), datasets.get_dataset(session.records, dataset_id=known.dataset_id)
    examined = examine_run(session, request, report=report)
    if examined.registration is None or examined.dataset is None:
        raise ContractNotMet(request.run_id, examined.missing)
    connection = session.records
    with attempt.fenced(connection):
        models.record_model_files(connection, mlflow_model_id=examined.model_id, files=examined.files)
    return examined.registration, examined.dataset


def _describe_known(request: RunRequest, known: models.ModelVersion) -> Registration:
    return Registration(
        model_name=known.mlflow_model_name,
        rules=known.workload,
        task=known.task,
        policy_id=request.policy_id,
        model_type=known.model_type,
        parameters=known.parameters,
        code_version=known.code_version,
        contract=Contract(params=(), metrics=(), tags=()),
        mlflow_experiment=request.mlflow_experiment,
    )


def _build_contract(request: RunRequest, run: Run, dataset: datasets.Dataset | None) -> Contract:
    """The table of the rules, what the workload asks for beside it, and what holds for all runs."""
    digest = dataset.digest if dataset else None
    if request.workload is not None:
        spec = request.workload.spec
        parameters = spec.model_types.get(run.data.params.get("model_type", ""), spec.processing)
        return build_contract(spec, parameters, dataset_digest=digest)
    tags = {**request.table.tags, "run_type": "training"}
    if "policy_id" in {*tags, *run.data.tags}:
        tags["policy_id"] = request.policy_id
    if dataset is not None and "dataset_version" in tags:
        tags["dataset_version"] = dataset.version
    return Contract(
        params=request.table.params,
        metrics=request.table.metrics,
        tags=tuple(tags.items()),
        artifacts=request.table.artifacts,
        dataset_digest=digest,
    )


def _list_unknown(request: RunRequest, run: Run) -> list[Demand]:
    """What a run of a workload says that this release of it does not know."""
    known = request.workload.spec.model_types if request.workload else {}
    found = run.data.params.get("model_type")
    if not known or found is None or found in known:
        return []
    return [Demand("a param model_type that is known here", False, f"it is {found}; known: {', '.join(known)}")]


def _find_dataset(connection: Connection, run: Run) -> tuple[datasets.Dataset | None, list[Demand]]:
    """The one dataset on record that a run was trained on; all of its training inputs must be on record."""
    what, inputs = "its dataset on record", list_training_inputs(run)
    used = list_used(connection, mlflow_run_id=run.info.run_id, context="training")
    found: dict[str, datasets.Dataset] = {}
    for name, digest in inputs:
        whole = len(digest) == MLFLOW_DIGEST_LENGTH
        rows = list_datasets(connection, name=name, digest=digest) if whole else []
        # the same rows with another pipeline are another dataset; MLflow shows them alike, and our record tells which
        known = (
            [row for row in rows if row.dataset_id in used] or [row for row in rows if row.removed_at is None] or rows
        )
        if not known:
            why = "no dataset has it" if whole else "it is MLflow's own, which covers 10,000 rows at most"
            return None, [Demand(what, False, f"of {name} the digest is {digest}, and {why}; {_LOG_DATASET}")]
        found[str(known[0].dataset_id)] = known[0]
    if not found:
        return None, []  # that there is none, another demand says
    names = ", ".join(sorted(f"{row.name}@{row.version}" for row in found.values()))
    if len(found) > 1:
        return None, [Demand("one dataset", False, f"it has {names}; log one dataset of all rows")]
    [dataset] = found.values()
    if dataset.removed_at is not None:
        return None, [Demand(what, False, f"{names} was deleted by {dataset.removed_by}: {dataset.removal_reason}")]
    return dataset, [Demand(f"{what}: {names}", True)]


def _look_at_model(
    session: Session, model_id: str, dataset: datasets.Dataset | None
) -> tuple[tuple[HashedFile, ...], ModelFormat | None, list[Demand]]:
    what = "a model that can be opened without a pickle"
    recorded = tuple(models.list_model_files(session.records, mlflow_model_id=model_id))
    with tempfile.TemporaryDirectory(prefix="modelyard-") as name:
        folder, files = Path(name, "model"), recorded
        if recorded:  # by the training, before it was finished
            root = download_model(session.mlflow, model_id=model_id, files=recorded, folder=folder)
        else:
            root, files = hash_model(session.mlflow, model_id=model_id, folder=folder)
        try:
            found = find_format(root)
        except UntrustedModel as error:
            return files, None, [Demand(what, False, str(error))]
    demands = [Demand(f"{what} ({found.kind})", True)]
    if dataset is not None and found.inputs is not None:
        unknown = [name for name in found.inputs if name not in {one["name"] for one in list_features(dataset.schema)}]
        of = f"its inputs among the features of {dataset.name}@{dataset.version}"
        demands.append(Demand(of, not unknown, f"unknown: {', '.join(unknown)}" if unknown else ""))
    return files, found, demands


def _describe(
    request: RunRequest, run: Run, dataset: datasets.Dataset, found: ModelFormat, *, contract: Contract
) -> Registration:
    """As what a run is registered that meets its contract."""
    params, workload = run.data.params, request.workload
    code_version = {name: value for name, tag in _CODE_TAGS.items() if (value := run.data.tags.get(tag)) is not None}
    if request.workload_file is not None:  # never from the run's tags, which are anybody's: workers run this file
        code_version["workload_file"] = request.workload_file
    if workload is None:
        return Registration(
            model_name=request.model_name,
            rules=request.name,
            task=request.task,
            policy_id=request.policy_id,
            model_type=params.get("model_type") or found.model_class.rpartition(".")[2] or found.kind,
            parameters=dict(params),
            code_version={"python": found.python, **code_version},
            contract=contract,
            mlflow_experiment=request.mlflow_experiment,
        )
    fields = workload.spec.model_types[params["model_type"]].model_fields
    model_type, parameters = build_parameters(
        workload, model_type=params["model_type"], values={name: params[name] for name in fields}
    )
    return describe_workload(
        workload,
        model_type=model_type,
        parameters=parameters,
        code_version=code_version | {"dirty": {"true": True, "false": False}.get(code_version.get("dirty", ""))},
        dataset=dataset,
        mlflow_experiment=request.mlflow_experiment,
    )
