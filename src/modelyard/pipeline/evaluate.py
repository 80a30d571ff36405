"""Model version → evaluation: verified model, verified dataset, the test rows, a verdict, and what follows from it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from modelyard.data.splits import check_split
from modelyard.errors import RecordNotFound
from modelyard.pipeline.attempt import Attempt, run_step
from modelyard.pipeline.code_version import CodeVersion, find_code_version
from modelyard.pipeline.datasets import load_recorded, use_dataset
from modelyard.pipeline.gate import LimitOutcome, Verdict, apply_gate, describe_gate
from modelyard.pipeline.models import load_verified
from modelyard.pipeline.request import describe_origin
from modelyard.pipeline.results import EvaluationResult
from modelyard.pipeline.session import Report, Session
from modelyard.store import attempts, datasets, evaluations, models, policies
from modelyard.store.connections import Connection
from modelyard.tracking.registry import project_alias, project_stage
from modelyard.tracking.runs import ActiveRun, is_finished
from modelyard.tracking.server import get_or_create_experiment
from modelyard.workloads.contract import Parameters, Processed, Workload
from modelyard.workloads.registry import build_parameters, get_workload


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """An evaluation as asked for: a model version on record, and the dataset whose test rows it is scored on."""

    workload: Workload
    parameters: Parameters
    mlflow_experiment: str
    code: CodeVersion
    version: models.ModelVersion
    dataset: datasets.Dataset


def build_arguments(
    version: models.ModelVersion, dataset: datasets.Dataset, *, mlflow_experiment: str
) -> dict[str, Any]:
    """The arguments of a job that evaluates a model version on a dataset: references only."""
    return {
        "workload": version.workload,
        "model_name": version.mlflow_model_name,
        "model_version": version.mlflow_model_version,
        "dataset_id": str(dataset.dataset_id),
        "dataset_name": dataset.name,
        "dataset_digest": dataset.digest,
        "mlflow_experiment": mlflow_experiment,
    }


def read_evaluation(connection: Connection, arguments: Mapping[str, Any]) -> EvaluationRequest:
    """An evaluation from recorded arguments, perhaps of an earlier release.

    Raises:
        BadInput: this release has no such workload, or it does not take the model's parameters any more.
        RecordNotFound: no such model version or dataset is on record.
    """
    workload = get_workload(str(arguments.get("workload")))
    version = models.get_model_version(
        connection, mlflow_model_name=arguments["model_name"], mlflow_model_version=arguments["model_version"]
    )
    dataset = _get_dataset(connection, arguments)
    _, parameters = build_parameters(workload, model_type=version.model_type, values=version.parameters)
    return EvaluationRequest(
        workload=workload,
        parameters=parameters,
        mlflow_experiment=arguments["mlflow_experiment"],
        code=find_code_version(workload),
        version=version,
        dataset=dataset,
    )


def _get_dataset(connection: Connection, arguments: Mapping[str, Any]) -> datasets.Dataset:
    if "dataset_id" in arguments:
        return datasets.get_dataset(connection, dataset_id=UUID(arguments["dataset_id"]))
    name, digest = arguments["dataset_name"], arguments["dataset_digest"]  # as 0.1.0 names it
    dataset = datasets.find_dataset(connection, name=name, digest=digest)
    if dataset is None:
        raise RecordNotFound(f"there is no dataset {name} {digest}")
    return dataset


def evaluate_model(
    session: Session, request: EvaluationRequest, *, attempt: Attempt, report: Report
) -> EvaluationResult:
    """Evaluate a model version on the test rows of its dataset, once under the gate as it is declared now.

    The verdict, the policy version and the stage are one transaction; MLflow shows them after it.

    Raises:
        StepFailed: the evaluation could not be done; there is no verdict.
        AttemptLost: the job was taken over or cancelled.
    """
    spec, version, dataset = request.workload.spec, request.version, request.dataset
    experiment_id = get_or_create_experiment(session.mlflow, request.mlflow_experiment)
    found = evaluations.find_evaluation(
        session.records,
        mlflow_model_name=version.mlflow_model_name,
        mlflow_model_version=version.mlflow_model_version,
        dataset_id=dataset.dataset_id,
        gate=describe_gate(spec.gate),
    )
    recorded = found or _evaluate(session, request, attempt=attempt, report=report, experiment_id=experiment_id)
    if not is_finished(session.mlflow, recorded.mlflow_run_id):  # its writer died after recording the verdict
        session.mlflow.set_terminated(recorded.mlflow_run_id, "FINISHED")
    policy_version = next(
        (
            row.version
            for row in policies.list_policy_versions(session.records, policy_id=spec.policy_id)
            if row.mlflow_model_version == version.mlflow_model_version and not row.config_defaults
        ),
        None,
    )
    stage = policies.get_stage(
        session.records,
        mlflow_model_name=version.mlflow_model_name,
        mlflow_model_version=version.mlflow_model_version,
    )
    project_stage(
        session.mlflow,
        model_name=version.mlflow_model_name,
        version=version.mlflow_model_version,
        stage=stage,
        policy_version=policy_version,
    )
    newest = policies.find_newest_in_stage(
        session.records, mlflow_model_name=version.mlflow_model_name, stage="candidate"
    )
    project_alias(session.mlflow, model_name=version.mlflow_model_name, alias="candidate", version=newest)
    return EvaluationResult(
        evaluation_id=str(recorded.evaluation_id),
        run_url=session.pages.run(experiment_id, recorded.mlflow_run_id),
        passed=recorded.passed,
        limits=tuple(LimitOutcome(**limit) for limit in recorded.limits),
        reasons=tuple(recorded.reasons),
        metrics=recorded.metrics,
        policy_id=spec.policy_id,
        policy_version=policy_version,
        stage=stage,
        resumed=found is not None,
    )


def _evaluate(
    session: Session, request: EvaluationRequest, *, attempt: Attempt, report: Report, experiment_id: str
) -> evaluations.Evaluation:
    version = request.version
    tags = describe_origin(request.workload, request.code, user=session.user) | {
        "model_name": version.mlflow_model_name,
        "model_version": version.mlflow_model_version,
        "training_run_id": version.mlflow_run_id,
        "dataset_version": request.dataset.version,
        "dataset_digest": request.dataset.digest,
        "evaluation": "verdict",
    }
    with run_step(
        session,
        attempt,
        step="evaluation",
        run_type="evaluation",
        experiment_id=experiment_id,
        name=f"evaluation of {version.mlflow_model_name} {version.mlflow_model_version}",
        tags=tags,
    ) as active:
        metrics, baselines = _score(session, request, active, attempt=attempt, report=report)
        verdict = apply_gate(request.workload.spec.gate, metrics=metrics, baselines=baselines)
        _log_verdict(active, verdict, metrics=metrics, baselines=baselines)
        return _record(
            session, request, verdict, metrics=metrics, baselines=baselines, attempt=attempt, run_id=active.run_id
        )


def _score(
    session: Session, request: EvaluationRequest, run: ActiveRun, *, attempt: Attempt, report: Report
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Metrics of the model and of the baselines on the test rows; dataset and model are verified before use."""
    workload = request.workload
    report("evaluation", 0.1, "loading and verifying the model")
    model = load_verified(session, request.version)
    model.check_dataset(request.dataset)
    report("evaluation", 0.3, "loading and verifying the dataset")
    tables = load_recorded(session, request.dataset)
    use_dataset(session, attempt, run, request.dataset, run_type="evaluation", context="evaluation")
    report("evaluation", 0.5, "scoring the test rows")
    processed = Processed(X=tables.X, y=tables.y, split=tables.split, extra=tables.extra)
    check_split(processed.split, processed.load_groups(workload.spec.group_column))
    rows = processed.load_rows("test")
    predictions = model.predict(rows[tables.X.column_names])
    metrics = workload.evaluate(rows, predictions, parameters=request.parameters)
    return metrics, workload.baselines(processed, parameters=request.parameters)


def _log_verdict(
    run: ActiveRun, verdict: Verdict, *, metrics: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]
) -> None:
    run.log(
        metrics={
            **metrics,
            **{f"baseline_{n}_{metric}": value for n, values in baselines.items() for metric, value in values.items()},
        },
        tags={"passed": str(verdict.passed).lower()},
    )
    run.log_files({"verdict.json": json.dumps(asdict(verdict), indent=2)})


def _record(
    session: Session,
    request: EvaluationRequest,
    verdict: Verdict,
    *,
    metrics: Mapping[str, float],
    baselines: Mapping[str, Any],
    attempt: Attempt,
    run_id: str,
) -> evaluations.Evaluation:
    """One transaction: the verdict, and if it is a pass the policy version and the stage ``candidate``."""
    version, connection = request.version, session.records
    with attempt.fenced(connection):
        recorded = evaluations.record_evaluation(
            connection,
            mlflow_model_name=version.mlflow_model_name,
            mlflow_model_version=version.mlflow_model_version,
            dataset_id=request.dataset.dataset_id,
            gate=describe_gate(request.workload.spec.gate),
            metrics=metrics,
            baselines=baselines,
            limits=[asdict(outcome) for outcome in verdict.outcomes],
            reasons=verdict.reasons,
            mlflow_run_id=run_id,
            job_id=attempt.job_id,
        )
        if recorded.passed:
            policies.add_policy_version(
                connection,
                policy_id=request.workload.spec.policy_id,
                mlflow_model_name=version.mlflow_model_name,
                mlflow_model_version=version.mlflow_model_version,
            )
        attempts.keep_result(
            connection,
            job_id=attempt.job_id,
            attempt=attempt.number,
            result={"evaluation_id": str(recorded.evaluation_id)},
        )
    return recorded
