"""A run that is to be registered: by which rules, and as which model."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from mlflow.entities import Run

from modelyard.errors import BadInput, RecordNotFound, UnknownName
from modelyard.pipeline.scorer import name_policy
from modelyard.pipeline.session import Session
from modelyard.pipeline.workload_file import load_recorded_workload
from modelyard.store import models
from modelyard.store.connections import Connection
from modelyard.store.jobs import get_job, is_workload_file
from modelyard.tracking.runs import JOB_TAG, find_run
from modelyard.workloads.contract import ContractTable, Workload
from modelyard.workloads.registry import NAMES, get_workload
from modelyard.workloads.rules import Rules, list_rules, load_rules

_MODEL_NAME = re.compile("[a-z][a-z0-9_]{0,55}_model")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A run that is to be registered, as asked for.

    Attributes:
        run_id: the MLflow run.
        model_name: of the registered model.
        name: of the rules that hold for it: a workload's, or a task's.
        task: what kind of answer the model gives.
        table: what the rules ask for.
        mlflow_experiment: the run's.
        workload_file: sha256 of the file of a workload that does not ship; None of all others.
    """

    run_id: str
    model_name: str
    name: str
    task: str
    table: ContractTable
    mlflow_experiment: str
    workload_file: str | None = None

    @property
    def workload(self) -> Workload | None:
        """The workload of ours that trained it; None for a run of another tool."""
        return get_workload(self.name, self.workload_file) if self.workload_file or self.name in NAMES else None

    @property
    def policy_id(self) -> str:
        """Of the policy that owns the model."""
        return name_policy(self.model_name)

    def arguments(self) -> dict[str, Any]:
        """The request as a job's arguments."""
        table = self.table
        return {
            "workload": self.name,
            **({"workload_file": self.workload_file} if self.workload_file else {}),
            "run_id": self.run_id,
            "model_name": self.model_name,
            "task": self.task,
            "mlflow_experiment": self.mlflow_experiment,
            "contract": {
                "params": list(table.params),
                "metrics": list(table.metrics),
                "tags": dict(table.tags),
                "artifacts": list(table.artifacts),
            },
        }


def build_run_request(
    session: Session, run_id: str, *, model_name: str | None = None, task: str | None = None, rules: Rules | None = None
) -> RunRequest:
    """What a run is to be registered as, from what was asked for and what the run says of itself.

    Args:
        session: as anybody who may read.
        run_id: the MLflow run.
        model_name: of the registered model; default: by the run's tag ``policy_id`` or ``workload``.
        task: name of the rules; default: by the run's tags ``workload``, ``task`` and ``policy_id``.
        rules: a table of one's own, in place of the one that ships for its task.

    Raises:
        BadInput: there is no such run or rules, or the model's name is none or another's.
    """
    run = find_run(session.mlflow, run_id)
    if run is None:
        raise BadInput(
            f"there is no run {run_id!r} at {session.mlflow.tracking_uri}; MLflow's page of a run has its id"
        )
    own = None if task in list_rules() or rules else _load_own(session, run)
    if own is None:
        name = _name_rules(run, task=task, rules=rules)
        asked = rules or load_rules(name)
    else:
        name, asked = own.spec.name, own.spec.rules
    request = RunRequest(
        run_id=run.info.run_id,
        model_name=model_name or (own.spec.model_name if own else _name_model(run, name)),
        name=name,
        task=str(asked.task),
        table=asked.contract,
        mlflow_experiment=session.mlflow.get_experiment(run.info.experiment_id).name,
        workload_file=run.data.tags["workload_file"] if own else None,
    )
    _check_name(session.records, request)
    return request


def find_queue(session: Session, run_id: str) -> str | None:
    """The queue of the job that made a run: its workers have the packages to open the model. None for other runs."""
    run = find_run(session.mlflow, run_id)
    job_id = run.data.tags.get(JOB_TAG) if run else None
    if job_id is None:
        return None
    try:
        return get_job(session.records, job_id=UUID(job_id)).queue
    except (ValueError, RecordNotFound):  # anybody may set a tag
        return None


def read_run_request(session: Session, arguments: Mapping[str, Any]) -> RunRequest:
    """The request of a job, from its arguments; checked again.

    Raises:
        BadInput: the model's name has become another's.
    """
    table = arguments["contract"]
    request = RunRequest(
        run_id=arguments["run_id"],
        model_name=arguments["model_name"],
        name=arguments["workload"],
        task=arguments["task"],
        table=ContractTable(
            params=tuple(table["params"]),
            metrics=tuple(table["metrics"]),
            tags=table["tags"],
            artifacts=tuple(table["artifacts"]),
        ),
        mlflow_experiment=arguments["mlflow_experiment"],
        workload_file=arguments.get("workload_file"),
    )
    _check_name(session.records, request)
    return request


def _load_own(session: Session, run: Run) -> Workload | None:
    """The workload of a run that names a file of somebody's own; None of all others.

    Raises:
        BadInput: nobody who may ask for trainings has asked for one with this file: a run's tags are anybody's.
    """
    name, file = run.data.tags.get("workload", ""), run.data.tags.get("workload_file")
    if file is None:
        return None
    if not is_workload_file(session.records, name=name, sha256=file):
        raise BadInput(
            f"run {run.info.run_id} names a file of workload {name!r} that no training or processing on record has "
            "used, and it is not run; --task registers the run by the rules of a task"
        )
    return load_recorded_workload(name, {"workload_file": file}, raw_uri=session.raw_uri)


def _name_rules(run: Run, *, task: str | None, rules: Rules | None) -> str:
    tags, known = run.data.tags, list_rules()
    if rules is not None:
        of_task = {name: str(load_rules(name).task) for name in known if name not in NAMES}
        if rules.task not in of_task.values():
            tasks = ", ".join(sorted({*of_task.values()}))
            raise BadInput(f"a model is scored by its task, and for {rules.task} there are no rules; known: {tasks}")
        return next(name for name, of in of_task.items() if of == rules.task)
    if task is not None:
        if task not in known:
            raise UnknownName("rules of a task", task, known)
        return task
    said = (tags.get("workload"), tags.get("task"), tags.get("policy_id", "").removesuffix("_policy"))
    found = next((name for name in said if name in known), None)
    if found is None:
        raise BadInput(
            f"run {run.info.run_id} does not say by which rules it goes: none of its tags workload, task and "
            f"policy_id names any; give --task, one of {', '.join(known)}"
        )
    return found


def _name_model(run: Run, name: str) -> str:
    if name in NAMES:
        return get_workload(name).spec.model_name
    policy_id, workload = run.data.tags.get("policy_id", ""), run.data.tags.get("workload")
    if policy_id.endswith("_policy"):
        return f"{policy_id.removesuffix('_policy')}_model"
    if workload:
        return f"{workload}_model"
    raise BadInput(f"run {run.info.run_id} has neither a tag policy_id nor workload; name its model with --model")


def _check_name(connection: Connection, request: RunRequest) -> None:
    """Refuse a name that is none of a model, or of one that goes by other rules: its gate would change with it."""
    name = request.model_name
    if _MODEL_NAME.fullmatch(name) is None:
        raise BadInput(
            f"{name!r} cannot be the name of a model: lower-case letters, digits and _, and _model at its end, e.g. "
            "houses_model; its policy is houses_policy then"
        )
    of_workload = {get_workload(workload).spec.model_name: workload for workload in NAMES}
    others = of_workload.get(name) or models.find_rules(connection, mlflow_model_name=name)
    if others is not None and others != request.name:
        raise BadInput(f"{name} goes by the rules of {others}, not of {request.name}; name another model with --model")
    if request.workload is not None and request.workload.spec.model_name != name:
        own = request.workload.spec.model_name
        raise BadInput(f"a run of {request.name} is registered as {own}, not as {name}; --task names other rules")
