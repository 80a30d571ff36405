"""Training run → model version: the contract is checked before anything is registered, and a run is registered once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowException

from modelyard.errors import AttemptLost, BadInput, RecordLost
from modelyard.pipeline.attempt import Attempt
from modelyard.pipeline.environment import load_environment
from modelyard.pipeline.interrupts import deferred_interrupts
from modelyard.pipeline.session import Session
from modelyard.store import attempts, datasets, models
from modelyard.store.connections import Connection
from modelyard.tracking.contract import CheckedRun, Contract, check_contract
from modelyard.tracking.registry import find_registered, register


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What a training run is registered as, and what it must have logged.

    Attributes:
        model_name: of the registered model, e.g. ``houses_model``.
        rules: name of the rules that hold for it: a workload's, or a task's for a run of another tool.
        task: what kind of answer it gives.
        policy_id: the policy that its model belongs to.
        model_type: a word for people, e.g. ``ridge``.
        parameters: JSON values.
        code_version: which code made it.
        contract: what its run must have logged.
        mlflow_experiment: where its evaluation is shown.
    """

    model_name: str
    rules: str
    task: str
    policy_id: str
    model_type: str
    parameters: Mapping[str, Any]
    code_version: Mapping[str, Any]
    contract: Contract
    mlflow_experiment: str


def register_model(
    session: Session,
    registration: Registration,
    *,
    dataset: datasets.Dataset,
    run_id: str,
    attempt: Attempt,
    conclude: Callable[[Connection, models.ModelVersion], None],
) -> models.ModelVersion:
    """Register a training run's model once: looked for by run id first, in the store and in MLflow.

    The hashes of its files are on record.

    Args:
        session: open connections.
        registration: as what.
        dataset: what it was trained on.
        run_id: the finished training run.
        attempt: whose work it is.
        conclude: writes on this connection what follows, in the transaction that records the model version.

    Raises:
        ContractNotMet: with everything that is missing; nothing was registered.
        AttemptLost: the job was taken over or cancelled; nothing was registered.
        BadInput: the run is registered under another name.
        RecordLost: it is registered, and MLflow has lost the version; or its dataset was deleted.
    """
    connection = session.records
    with models.lock_registration(connection, mlflow_run_id=run_id):
        known = models.find_model_version_by_run(connection, mlflow_run_id=run_id)
        if known is not None:
            check_known(session, known, registration.model_name)
            with attempt.fenced(connection):
                conclude(connection, known)
            return known
        checked = check_contract(session.mlflow, run_id, contract=registration.contract)
        attempts.check_attempt(connection, job_id=attempt.job_id, attempt=attempt.number)
        environment = load_environment(session.mlflow, run_id)
        with deferred_interrupts():
            version = _register(session, registration, checked, dataset=dataset)
            try:
                writer = session.records
                with attempt.fenced(writer):
                    recorded = _record(writer, registration, checked, version, dataset, attempt, environment)
                    conclude(writer, recorded)
            except (AttemptLost, RecordLost):
                _take_back(session, registration.model_name, version=version, run_id=run_id)
                raise
    return recorded


def check_known(session: Session, known: models.ModelVersion, model_name: str) -> None:
    """Refuse to go on with a version on record that is of another model, or that MLflow has lost.

    Raises:
        BadInput, RecordLost: so it is; what to do.
    """
    if known.mlflow_model_name != model_name:
        raise BadInput(f"run {known.mlflow_run_id} is registered as {known.label}; a run has one version, not two")
    try:
        session.mlflow.get_model_version(known.mlflow_model_name, known.mlflow_model_version)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise RecordLost(
            f"run {known.mlflow_run_id} is registered as {known.label}, and MLflow has lost that version; "
            "numbers are never used twice: restore MLflow from a backup, or train again"
        ) from None


def _register(session: Session, registration: Registration, checked: CheckedRun, *, dataset: datasets.Dataset) -> str:
    """A version of the run's model in MLflow: the one that is there, else a new one. Returns its number.

    A new one has a higher number than any on record: MLflow counts from 1 again after a registered model was deleted.
    """
    name = registration.model_name
    tags = {
        "stage": "none",
        "workload": registration.rules,
        "policy_id": registration.policy_id,
        "dataset_digest": dataset.digest,
    }
    highest = models.find_highest_version(session.records, mlflow_model_name=name)
    found = find_registered(session.mlflow, model_name=name, run_id=checked.run_id, model_id=checked.model_id)
    while True:
        version = found or register(
            session.mlflow, model_name=name, run_id=checked.run_id, model_id=checked.model_id, tags=tags
        )
        if found is None and int(version) > highest:
            return version
        known = models.find_model_version(session.records, mlflow_model_name=name, mlflow_model_version=version)
        if found is not None and known is None:  # left by an attempt that died before it was recorded
            return version
        session.mlflow.delete_model_version(name, version)
        found = None


def _record(
    connection: Connection,
    registration: Registration,
    checked: CheckedRun,
    version: str,
    dataset: datasets.Dataset,
    attempt: Attempt,
    environment: Mapping[str, Any] | None,
) -> models.ModelVersion:
    return models.record_model_version(
        connection,
        mlflow_model_name=registration.model_name,
        mlflow_model_version=version,
        mlflow_run_id=checked.run_id,
        mlflow_model_id=checked.model_id,
        workload=registration.rules,
        task=registration.task,
        model_type=registration.model_type,
        dataset_id=dataset.dataset_id,
        job_id=attempt.job_id,
        parameters=registration.parameters,
        code_version=registration.code_version,
        metrics=checked.metrics,
        environment=environment,
    )


def _take_back(session: Session, model_name: str, *, version: str, run_id: str) -> None:
    """Delete a version from MLflow that an attempt without the right to do so has registered.

    Under the lock of the registration: whoever took the job over may have found that version, and recorded it.
    """
    connection = session.records
    with models.lock_registration(connection, mlflow_run_id=run_id):
        found = models.find_model_version(connection, mlflow_model_name=model_name, mlflow_model_version=version)
        if found is None:
            session.mlflow.delete_model_version(model_name, version)
