"""Dataset → training run → model version: the contract is checked before anything is registered."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from modelyard.errors import AttemptLost, RecordLost
from modelyard.pipeline.attempt import Attempt, run_step
from modelyard.pipeline.datasets import use_dataset
from modelyard.pipeline.environment import load_environment, log_environment
from modelyard.pipeline.interrupts import deferred_interrupts
from modelyard.pipeline.request import TrainingRequest
from modelyard.pipeline.results import TrainingResult
from modelyard.pipeline.session import Report, Session
from modelyard.pipeline.training_data import TrainingData
from modelyard.store import attempts, datasets, models
from modelyard.store.connections import Connection
from modelyard.tracking.contract import CheckedRun, Contract, check_contract
from modelyard.tracking.models import log_model
from modelyard.tracking.registry import register
from modelyard.tracking.runs import ActiveRun, list_job_runs
from modelyard.tracking.server import get_or_create_experiment
from modelyard.workloads.contract import SPLITS

MODEL_ARTIFACT = "model"


def build_contract(request: TrainingRequest, *, dataset_digest: str) -> Contract:
    """What a training run of this request must have logged, and on which dataset."""
    spec = request.workload.spec
    return Contract(
        params=(
            "model_type",
            "model_class",
            "used_mlflow_dataset",
            "dataset_name",
            "dataset_version",
            "dataset_digest",
            "data_source",
            *type(request.parameters).model_fields,
        ),
        metrics=tuple(
            f"{of}_{metric.name}"
            for of in ("train", "test", *(f"baseline_{name}" for name in spec.baselines))
            for metric in spec.metrics
        ),
        tags=(
            ("run_type", "training"),
            ("stage", "training"),
            ("workload", spec.name),
            ("task", str(spec.task)),
            ("policy_id", spec.policy_id),
            ("dataset_version", None),
            ("dataset_digest", dataset_digest),
            ("dataset_run_id", None),
        ),
        artifacts=spec.artifacts,
        dataset_digest=dataset_digest,
    )


def train_model(
    session: Session,
    request: TrainingRequest,
    data: TrainingData,
    *,
    attempt: Attempt,
    report: Report,
) -> TrainingResult:
    """A FINISHED training run of this job: an earlier attempt's if there is one, else a new one.

    Raises:
        StepFailed: the workload failed; the run is FAILED with the traceback as an artifact.
    """
    spec = request.workload.spec
    experiment_id = get_or_create_experiment(session.mlflow, request.mlflow_experiment)
    run_id = _find_finished(session, request, data.dataset, attempt)
    resumed = run_id is not None
    if run_id is None:
        tags = request.tags(user=session.user) | {
            "stage": "training",
            "model_type": request.model_type,
            **data.tags(),
        }
        with run_step(
            session,
            attempt,
            step="training",
            run_type="training",
            experiment_id=experiment_id,
            name=request.run_name,
            tags=tags,
        ) as active:
            _fill_run(session, active, request, data, attempt=attempt, report=report)
        run_id = active.run_id
    logged = session.mlflow.get_run(run_id).data.metrics
    return TrainingResult(
        run_id=run_id,
        run_url=session.pages.run(experiment_id, run_id),
        model_type=request.model_type,
        metrics={name: value for name, value in logged.items() if name.partition("_")[0] in SPLITS},
        baselines={
            name: {metric.name: logged[f"baseline_{name}_{metric.name}"] for metric in spec.metrics}
            for name in spec.baselines
        },
        resumed=resumed,
    )


def _find_finished(
    session: Session, request: TrainingRequest, dataset: datasets.Dataset, attempt: Attempt
) -> str | None:
    """The run that an earlier attempt has finished, on this very dataset and with this very code."""
    if not attempt.resumed:
        return None
    same = request.tags(user=session.user) | {"run_type": "training", "dataset_digest": dataset.digest}
    runs = list_job_runs(session.mlflow, job_id=str(attempt.job_id), experiment_names=[request.mlflow_experiment])
    finished = [r.info.run_id for r in runs if r.info.status == "FINISHED" and same.items() <= r.data.tags.items()]
    return finished[-1] if finished else None


def _fill_run(
    session: Session,
    run: ActiveRun,
    request: TrainingRequest,
    data: TrainingData,
    *,
    attempt: Attempt,
    report: Report,
) -> None:
    """Train, and log everything the contract asks for; the model's hashes are on record before the run is FINISHED."""
    processed = data.processed

    def progress(
        share: float, message: str, /, *, metrics: Mapping[str, float] | None = None, step: int | None = None
    ) -> None:
        report("training", 0.9 * share, message)
        if metrics:
            run.log(metrics=metrics, step=step or 0)

    params = {
        **request.parameters.model_dump(mode="json"),
        "model_type": request.model_type,
        **data.params(),
    }
    use_dataset(session, attempt, run, data.dataset, run_type="training", context="training")
    run.log(params=params)
    trained = request.workload.train(processed, parameters=request.parameters, report=progress)
    baselines = request.workload.baselines(processed, parameters=request.parameters)
    log_environment(run, trained.model, processed)
    report("training", 0.92, "logging the model")
    run.log(
        params={"model_class": _class_name(trained.model)},
        metrics={
            **trained.metrics,
            **{f"baseline_{n}_{metric}": value for n, values in baselines.items() for metric, value in values.items()},
        },
    )
    run.log_files({**trained.figures, **trained.artifacts})
    example = processed.X.slice(0, 5).to_pandas()
    logged = log_model(
        run,
        trained.model,
        name=MODEL_ARTIFACT,
        input_example=example,
        predictions=trained.model.predict(example),
        params=params,
        tags={"workload": request.workload.spec.name, "run_type": "training"},
    )
    connection = session.records
    with attempt.fenced(connection):
        models.record_model_files(connection, mlflow_model_id=logged.model_id, files=logged.files)


def _class_name(model: object) -> str:
    """The class of the model, or of the last step of a pipeline."""
    steps = getattr(model, "steps", None)
    last = steps[-1][1] if steps else model
    return f"{type(last).__module__.partition('._')[0]}.{type(last).__name__}"


def register_model(
    session: Session,
    request: TrainingRequest,
    *,
    dataset: datasets.Dataset,
    run_id: str,
    attempt: Attempt,
    conclude: Callable[[Connection, models.ModelVersion], None],
) -> models.ModelVersion:
    """Register a training run's model once: looked for by run id first, in MLflow and in the store.

    Args:
        session: open connections.
        request: what was trained.
        dataset: on what.
        run_id: the finished training run.
        attempt: whose work it is.
        conclude: writes on this connection what follows, in the transaction that records the model version.

    Raises:
        ContractNotMet: with everything that is missing; nothing was registered.
        AttemptLost: the job was taken over or cancelled; nothing was registered.
    """
    connection = session.records
    with models.lock_registration(connection, mlflow_run_id=run_id):
        checked = check_contract(
            session.mlflow, run_id, contract=build_contract(request, dataset_digest=dataset.digest)
        )
        attempts.check_attempt(connection, job_id=attempt.job_id, attempt=attempt.number)
        environment = load_environment(session.mlflow, run_id)
        with deferred_interrupts():
            version = _register(session, request, checked, dataset=dataset)
            try:
                writer = session.records
                with attempt.fenced(writer):
                    recorded = _record(writer, request, checked, version, dataset, attempt, environment)
                    conclude(writer, recorded)
            except (AttemptLost, RecordLost):
                _take_back(session, request, version=version, run_id=run_id)
                raise
    return recorded


def _register(session: Session, request: TrainingRequest, checked: CheckedRun, *, dataset: datasets.Dataset) -> str:
    """A version of the run's model in MLflow: the one that is there, else a new one. Returns its number."""
    spec = request.workload.spec
    tags = {"stage": "none", "workload": spec.name, "policy_id": spec.policy_id, "dataset_digest": dataset.digest}
    while True:
        version = register(
            session.mlflow, model_name=spec.model_name, run_id=checked.run_id, model_id=checked.model_id, tags=tags
        )
        known = models.find_model_version(
            session.records, mlflow_model_name=spec.model_name, mlflow_model_version=version
        )
        if known is None or known.mlflow_run_id == checked.run_id:
            return version
        # MLflow counts from 1 again after a registered model was deleted; a number on record is never used twice
        session.mlflow.delete_model_version(spec.model_name, version)


def _record(
    connection: Connection,
    request: TrainingRequest,
    checked: CheckedRun,
    version: str,
    dataset: datasets.Dataset,
    attempt: Attempt,
    environment: Mapping[str, Any] | None,
) -> models.ModelVersion:
    spec = request.workload.spec
    return models.record_model_version(
        connection,
        mlflow_model_name=spec.model_name,
        mlflow_model_version=version,
        mlflow_run_id=checked.run_id,
        mlflow_model_id=checked.model_id,
        workload=spec.name,
        task=str(spec.task),
        model_type=request.model_type,
        dataset_id=dataset.dataset_id,
        job_id=attempt.job_id,
        parameters=request.parameters.model_dump(mode="json"),
        code_version=asdict(request.code),
        metrics=checked.metrics,
        environment=environment,
    )


def _take_back(session: Session, request: TrainingRequest, *, version: str, run_id: str) -> None:
    """Delete a version from MLflow that an attempt without the right to do so has registered.

    Under the lock of the registration: whoever took the job over may have found that version, and recorded it.
    """
    name = request.workload.spec.model_name
    connection = session.records
    with models.lock_registration(connection, mlflow_run_id=run_id):
        if models.find_model_version(connection, mlflow_model_name=name, mlflow_model_version=version) is None:
            session.mlflow.delete_model_version(name, version)
