"""Model version → the same training once more: same dataset, parameters and seed; what comes out, and what differs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from modelyard.data.predictions import compare_predictions, digest_predictions
from modelyard.errors import BadInput
from modelyard.pipeline.attempt import Attempt, run_step
from modelyard.pipeline.code_version import CodeVersion, find_code_version
from modelyard.pipeline.datasets import tag_dataset, use_dataset
from modelyard.pipeline.environment import PREDICTIONS_DIGEST, find_environment, list_differences, predict_test
from modelyard.pipeline.evaluation_request import find_experiment, name_file
from modelyard.pipeline.models import load_verified
from modelyard.pipeline.request import describe_origin
from modelyard.pipeline.results import MetricChange, ReproductionResult, ValueChange, decode_result, encode_result
from modelyard.pipeline.session import Report, Session
from modelyard.pipeline.training_data import load_processed
from modelyard.store import attempts, datasets, models, reproductions
from modelyard.store.connections import Connection
from modelyard.tracking.runs import ActiveRun, find_run, is_left_open
from modelyard.tracking.server import get_or_create_experiment
from modelyard.workloads.contract import Parameters, Processed, Trained, Workload
from modelyard.workloads.registry import BLEND, build_parameters, get_workload


def build_arguments(connection: Connection, version: models.ModelVersion) -> dict[str, Any]:
    """The arguments of a job that reproduces a model version: references only.

    Raises:
        BadInput: this release has no such workload, or it does not take the model's parameters any more.
    """
    if version.workload_file is None:
        experiment = build_reproduction(connection, version).mlflow_experiment
    else:  # is run with a worker's rights, not with those of who asks
        experiment = find_experiment(connection, version)
    return {
        "workload": version.workload,
        **name_file(version),
        "mlflow_experiment": experiment,  # where runs of attempts that died are looked for
        "model_name": version.mlflow_model_name,
        "model_version": version.mlflow_model_version,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproductionRequest:
    """A model version that is to be trained anew, the dataset it was trained on, and the code that does it now."""

    workload: Workload
    parameters: Parameters
    mlflow_experiment: str
    code: CodeVersion
    version: models.ModelVersion
    dataset: datasets.Dataset

    @property
    def model(self) -> str:
        """As it is written: ``houses_model/3``."""
        return f"{self.version.mlflow_model_name}/{self.version.mlflow_model_version}"


def build_reproduction(connection: Connection, version: models.ModelVersion) -> ReproductionRequest:
    """The reproduction of a model version by the code that is here.

    Raises:
        BadInput: it is a blend, or this release has no such workload or does not take its parameters any more.
    """
    if version.model_type == BLEND:
        raise BadInput(
            f"{version.label} is a blend, and no training made it: its weights follow from what its members answered. "
            f"Reproduce its members instead; modelyard lineage {version.label} has them"
        )
    dataset = datasets.get_dataset(connection, dataset_id=version.dataset_id)
    try:
        workload = get_workload(version.workload, version.workload_file)
        _, parameters = build_parameters(workload, model_type=version.model_type, values=version.parameters)
    except BadInput as error:
        made_by = version.code_version
        raise BadInput(
            f"{version.mlflow_model_name}/{version.mlflow_model_version} cannot be trained anew by this release: "
            f"{str(error).rstrip('.')}; use the one that trained it: release {made_by.get('release')}, "
            f"commit {made_by.get('commit') or 'unknown'}"
        ) from None
    return ReproductionRequest(
        workload=workload,
        parameters=parameters,
        mlflow_experiment=workload.spec.mlflow_experiment,
        code=find_code_version(workload),
        version=version,
        dataset=dataset,
    )


def read_reproduction(connection: Connection, arguments: Mapping[str, Any]) -> ReproductionRequest:
    """A reproduction from a job's arguments.

    Raises:
        BadInput: this release has no such workload, or it does not take the model's parameters any more.
        RecordNotFound: no such model version is on record.
    """
    version = models.get_model_version(
        connection, mlflow_model_name=arguments["model_name"], mlflow_model_version=arguments["model_version"]
    )
    return replace(build_reproduction(connection, version), mlflow_experiment=arguments["mlflow_experiment"])


def reproduce_model(
    session: Session, request: ReproductionRequest, *, attempt: Attempt, report: Report
) -> ReproductionResult:
    """Train a model version anew and hold it against the stored one; nothing is registered.

    Equal means: both models answer all test rows alike, bit for bit, and so did the model when it was trained.

    Raises:
        StepFailed: it could not be done: a file is damaged or lost, or the workload failed.
        AttemptLost: the job was taken over or cancelled.
    """
    kept = (attempt.job.result or {}).get("reproduction")
    if kept is not None:  # recorded by an attempt that died before it could say so
        result = decode_result("reproduction", kept)
        assert isinstance(result, ReproductionResult)  # noqa: S101  its name says so
        if is_left_open(find_run(session.mlflow, result.run_id)):
            session.mlflow.set_terminated(result.run_id, "FINISHED")
        return result
    version, dataset = request.version, request.dataset
    experiment_id = get_or_create_experiment(session.mlflow, request.mlflow_experiment)
    tags = describe_origin(request.workload, request.code, user=session.user, command="reproduce") | {
        "evaluation": "reproduction",
        "reproduces": request.model,
        "model_name": version.mlflow_model_name,
        "model_version": version.mlflow_model_version,
        "training_run_id": version.mlflow_run_id,
        **tag_dataset(dataset),
    }
    with run_step(
        session,
        attempt,
        step="reproduction",
        run_type="evaluation",
        experiment_id=experiment_id,
        name=f"reproduction of {version.mlflow_model_name} {version.mlflow_model_version}",
        tags=tags,
    ) as active:
        use_dataset(session, attempt, active, dataset, run_type="evaluation", context="training")
        report("reproduction", 0.05, "loading and verifying the dataset")
        processed = load_processed(session, dataset)
        report("reproduction", 0.1, "loading and verifying the model")
        stored = load_verified(session, version).estimator
        trained = _train(request, processed, report=report)
        report("reproduction", 0.95, "comparing")
        environment = find_environment()
        result = _compare(
            request,
            then=predict_test(stored, processed),
            now=predict_test(trained.model, processed),
            trained=trained,
            environment=environment,
            run_id=active.run_id,
            run_url=session.pages.run(experiment_id, active.run_id),
        )
        _log(active, request, result, environment=environment)
        _record(session, request, result, environment=environment, attempt=attempt)
    return result


def _train(request: ReproductionRequest, processed: Processed, *, report: Report) -> Trained:
    def progress(
        share: float, message: str, /, *, metrics: Mapping[str, float] | None = None, step: int | None = None
    ) -> None:
        del metrics, step  # the curve of the training is with the training
        report("reproduction", 0.15 + 0.8 * share, message)

    trained: Trained = request.workload.train(processed, parameters=request.parameters, report=progress)
    # as the training did before its environment was noted; libraries that only a baseline loads would differ
    request.workload.baselines(processed, parameters=request.parameters)
    return trained


def _compare(
    request: ReproductionRequest,
    *,
    then: Any,
    now: Any,
    trained: Trained,
    environment: Mapping[str, Any],
    run_id: str,
    run_url: str,
) -> ReproductionResult:
    version, recorded = request.version, dict(request.version.environment or {})
    compared = compare_predictions(then, now)
    digest_then, digest_now = recorded.pop(PREDICTIONS_DIGEST, None), digest_predictions(now)
    return ReproductionResult(
        model=request.model,
        dataset=f"{request.dataset.name}@{request.dataset.version}",
        run_id=run_id,
        run_url=run_url,
        equal=compared.differing_rows == 0 and digest_then in (None, digest_now),
        rows=compared.rows,
        differing_rows=compared.differing_rows,
        largest_difference=compared.largest,
        digest_then=digest_then,
        digest_now=digest_now,
        metrics={name: _change(version.metrics.get(name), value) for name, value in trained.metrics.items()},
        differences=tuple(
            ValueChange(**one) for one in _list_differences(request, recorded=recorded, environment=environment)
        ),
        environment_recorded=version.environment is not None,
    )


def _change(then: float | None, now: float) -> MetricChange:
    return MetricChange(then=then, now=float(now), difference=None if then is None else float(now) - then)


def _list_differences(
    request: ReproductionRequest, *, recorded: Mapping[str, Any], environment: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Of the code, and of the environment where it was recorded; Python's version stands in both."""
    now = asdict(request.code)
    then = {name: request.version.code_version.get(name) for name in now}
    if not recorded:
        return list_differences(then, now, prefix="code.")
    del then["python"], now["python"]
    return list_differences(then, now, prefix="code.") + list_differences(recorded, environment)


def _log(
    run: ActiveRun, request: ReproductionRequest, result: ReproductionResult, *, environment: Mapping[str, Any]
) -> None:
    changes = {f"difference_{name}": change.difference for name, change in result.metrics.items()}
    facts = {"test_rows": result.rows, "differing_rows": result.differing_rows, "largest": result.largest_difference}
    numbers = {name: change.now for name, change in result.metrics.items()} | changes | facts
    run.log(
        params={**request.parameters.model_dump(mode="json"), "model_type": request.version.model_type},
        metrics={name: value for name, value in numbers.items() if value is not None},
        tags={"equal_predictions": str(result.equal).lower()},
    )
    value = asdict(result) | {"code_version": asdict(request.code), "environment": dict(environment)}
    run.log_files({"reproduction.json": json.dumps(value, indent=2)})


def _record(
    session: Session,
    request: ReproductionRequest,
    result: ReproductionResult,
    *,
    environment: Mapping[str, Any],
    attempt: Attempt,
) -> None:
    """One transaction: the row, and the job's result, which the next attempt finds if this one dies now."""
    version, connection = request.version, session.records
    name, value = encode_result(result)
    with attempt.fenced(connection):
        reproductions.record_reproduction(
            connection,
            mlflow_model_name=version.mlflow_model_name,
            mlflow_model_version=version.mlflow_model_version,
            equal_predictions=result.equal,
            metrics=value["metrics"],
            differences=value["differences"],
            code_version=asdict(request.code),
            environment=environment,
            mlflow_run_id=result.run_id,
            job_id=attempt.job_id,
        )
        attempts.keep_result(connection, job_id=attempt.job_id, attempt=attempt.number, result={name: value})
