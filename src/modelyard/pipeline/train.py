"""Dataset → training run, with everything that its contract asks for."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from numbers import Real
from typing import Any

from modelyard.errors import ModelFailed
from modelyard.pipeline.attempt import Attempt, run_step
from modelyard.pipeline.datasets import use_dataset
from modelyard.pipeline.environment import log_environment
from modelyard.pipeline.register import Registration
from modelyard.pipeline.request import TrainingRequest
from modelyard.pipeline.results import TrainingResult
from modelyard.pipeline.session import Report, Session
from modelyard.pipeline.training_data import TrainingData
from modelyard.store import datasets, models
from modelyard.tracking.contract import Contract
from modelyard.tracking.models import log_model
from modelyard.tracking.runs import ActiveRun, list_job_runs
from modelyard.tracking.server import get_or_create_experiment
from modelyard.workloads.contract import SPLITS, Parameters, Workload, WorkloadSpec
from modelyard.workloads.own import find_own_file


def describe_training(request: TrainingRequest, dataset: datasets.Dataset) -> Registration:
    """What the training run of a request is registered as."""
    return describe_workload(
        request.workload,
        model_type=request.model_type,
        parameters=request.parameters,
        code_version=asdict(request.code),
        dataset=dataset,
        mlflow_experiment=request.mlflow_experiment,
    )


def describe_workload(
    workload: Workload,
    *,
    model_type: str,
    parameters: Parameters,
    code_version: Mapping[str, Any],
    dataset: datasets.Dataset,
    mlflow_experiment: str,
) -> Registration:
    """What a training run of a workload is registered as, and what it must have logged."""
    spec = workload.spec
    return Registration(
        model_name=spec.model_name,
        rules=spec.name,
        task=str(spec.task),
        policy_id=spec.policy_id,
        model_type=model_type,
        parameters=parameters.model_dump(mode="json"),
        code_version=code_version,
        contract=build_contract(spec, type(parameters), dataset_digest=dataset.digest),
        mlflow_experiment=mlflow_experiment,
    )


def build_contract(spec: WorkloadSpec, parameters: type[Parameters], *, dataset_digest: str | None) -> Contract:
    """The table of a workload's rules, and what its parameters, metrics and baselines ask for.

    ``dataset_digest`` is that of the dataset, None for any.
    """
    table = spec.rules.contract
    params = ("used_mlflow_dataset", "dataset_name", "dataset_version", "dataset_digest", "data_source")
    tags: dict[str, str | None] = {
        **table.tags,
        "run_type": "training",
        "stage": "training",
        "workload": spec.name,
        "task": str(spec.task),
        "policy_id": spec.policy_id,
        "dataset_version": None,
        "dataset_digest": dataset_digest,
        "dataset_run_id": None,
    }
    return Contract(
        params=tuple(dict.fromkeys(("model_type", "model_class", *params, *parameters.model_fields, *table.params))),
        metrics=tuple(dict.fromkeys((*_name_scores(spec), *table.metrics))),
        tags=tuple(tags.items()),
        artifacts=tuple(dict.fromkeys((*spec.artifacts, *table.artifacts))),
        dataset_digest=dataset_digest,
        model=spec.model_artifact,
    )


def _name_scores(spec: WorkloadSpec) -> list[str]:
    """The metrics that every training run of a workload has."""
    scored = ("train", "test", *(f"baseline_{name}" for name in spec.baselines))
    return [f"{of}_{metric.name}" for of in scored for metric in spec.metrics]


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
            run_id=attempt.job.arguments.get("into_run"),
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
    check_trained_scores(request.workload.spec, trained.metrics, baselines)
    example = processed.X.slice(0, 5).to_pandas()
    answers = trained.model.predict(example)
    _check_answers(request.workload.spec, answers)
    log_environment(run, trained.model, processed)
    report("training", 0.92, "logging the model")
    run.log(
        params={"model_class": _class_name(trained.model)},
        metrics={
            **trained.metrics,
            **{f"baseline_{n}_{metric}": value for n, values in baselines.items() for metric, value in values.items()},
        },
    )
    own = find_own_file(request.workload)
    source = {f"workload/{own.file_name}": own.content} if own else {}
    run.log_files({**trained.figures, **trained.artifacts, **source})
    logged = log_model(
        run,
        trained.model,
        name=request.workload.spec.model_artifact,
        input_example=example,
        predictions=answers,
        optional=request.workload.spec.optional_features,
        params=params,
        tags={"workload": request.workload.spec.name, "run_type": "training"},
    )
    connection = session.records
    with attempt.fenced(connection):
        models.record_model_files(connection, mlflow_model_id=logged.model_id, files=logged.files)


def check_trained_scores(
    spec: WorkloadSpec, metrics: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]
) -> None:
    """Refuse scores that a run is not registered with.

    Raises:
        ModelFailed: one that the workload declares is missing, or one is no finite number; with all of them.
    """
    found = dict(metrics)
    for name, values in baselines.items():
        found |= {f"baseline_{name}_{metric}": value for metric, value in values.items()}
    problems = [f"{name} is missing" for name in _name_scores(spec) if name not in found]
    problems += [
        f"{name} is {value!r}, no finite number"
        for name, value in found.items()
        if not (isinstance(value, Real) and math.isfinite(value))
    ]
    if problems:
        raise ModelFailed(
            f"the scores of {spec.name}: {'; '.join(problems)}; train gives train_NAME and "
            "test_NAME of each of spec.metrics, and "
            "baselines NAME for each of spec.baselines"
        )


def _check_answers(spec: WorkloadSpec, answers: Any) -> None:
    """Refuse a model that does not answer with the columns that its workload declares."""
    columns = [str(name) for name in getattr(answers, "columns", ())]
    if spec.answers and columns != list(spec.answers):
        found = f"the columns {', '.join(columns)}" if columns else f"a {type(answers).__name__} without columns"
        raise ModelFailed(
            f"the model of {spec.name} answered with {found}; its predict must return a pandas DataFrame with the "
            f"columns that spec.answers names: {', '.join(spec.answers)}"
        )


def _class_name(model: object) -> str:
    """The class of the model, or of the last step of a pipeline."""
    steps = getattr(model, "steps", None)
    last = steps[-1][1] if steps else model
    return f"{type(last).__module__.partition('._')[0]}.{type(last).__name__}"
