"""Model version → evaluation: verified model, verified dataset, the test rows, a verdict, and what follows from it."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelyard.data.splits import check_split
from modelyard.errors import StepFailed
from modelyard.pipeline.attempt import Attempt
from modelyard.pipeline.gate import LimitOutcome, Verdict, apply_gate, describe_gate
from modelyard.pipeline.process import describe_dataset, load_recorded
from modelyard.pipeline.request import TrainingRequest
from modelyard.pipeline.session import Report, Session
from modelyard.store import datasets, evaluations, jobs, models, policies
from modelyard.tracking.datasets import log_input
from modelyard.tracking.models import load_model
from modelyard.tracking.registry import project_alias, project_stage
from modelyard.tracking.runs import ActiveRun, is_finished, start_run
from modelyard.tracking.server import get_or_create_experiment
from modelyard.workloads.contract import Processed


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """A verdict on a model version, and the policy version that it made (None if it was refused)."""

    evaluation_id: str
    run_url: str
    passed: bool
    limits: tuple[LimitOutcome, ...]
    reasons: tuple[str, ...]
    metrics: dict[str, float | None]
    policy_id: str
    policy_version: int | None
    stage: str
    resumed: bool


def evaluate_model(
    session: Session,
    request: TrainingRequest,
    *,
    dataset: datasets.Dataset,
    version: models.ModelVersion,
    attempt: Attempt,
    report: Report,
) -> EvaluationResult:
    """Evaluate a model version on the test rows of its dataset, once under the gate as it is declared now.

    The verdict, the policy version and the stage are one transaction; MLflow shows them after it.

    Raises:
        StepFailed: the evaluation could not be done; there is no verdict.
    """
    spec = request.workload.spec
    experiment_id = get_or_create_experiment(session.mlflow, request.mlflow_experiment)
    found = evaluations.find_evaluation(
        session.evaluator,
        mlflow_model_name=version.mlflow_model_name,
        mlflow_model_version=version.mlflow_model_version,
        dataset_id=dataset.dataset_id,
        gate=describe_gate(spec.gate),
    )
    recorded = found or _evaluate(
        session, request, dataset=dataset, version=version, attempt=attempt, report=report, experiment_id=experiment_id
    )
    if not is_finished(session.mlflow, recorded.mlflow_run_id):  # its writer died after recording the verdict
        session.mlflow.set_terminated(recorded.mlflow_run_id, "FINISHED")
    policy_version = next(
        (
            row.version
            for row in policies.list_policy_versions(session.evaluator, policy_id=spec.policy_id)
            if row.mlflow_model_version == version.mlflow_model_version and not row.config_defaults
        ),
        None,
    )
    stage = policies.get_stage(
        session.evaluator,
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
        session.evaluator, mlflow_model_name=version.mlflow_model_name, stage="candidate"
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
    session: Session,
    request: TrainingRequest,
    *,
    dataset: datasets.Dataset,
    version: models.ModelVersion,
    attempt: Attempt,
    report: Report,
    experiment_id: str,
) -> evaluations.Evaluation:
    spec = request.workload.spec
    name = f"evaluation of {version.mlflow_model_name} {version.mlflow_model_version}"
    active: ActiveRun | None = None
    try:
        with start_run(
            session.mlflow,
            experiment_id=experiment_id,
            run_type="evaluation",
            job_id=str(attempt.job_id),
            attempt=attempt.number,
            name=name,
            tags=request.tags(user=session.person.info.user)
            | {
                "model_name": version.mlflow_model_name,
                "model_version": version.mlflow_model_version,
                "training_run_id": version.mlflow_run_id,
                "dataset_version": dataset.version,
            },
        ) as active:
            metrics, baselines = _score(session, request, active, dataset=dataset, version=version, report=report)
            verdict = apply_gate(spec.gate, metrics=metrics, baselines=baselines)
            _log_verdict(active, verdict, metrics=metrics, baselines=baselines)
            return _record(
                session,
                request,
                verdict,
                metrics=metrics,
                baselines=baselines,
                dataset=dataset,
                version=version,
                attempt=attempt,
                run_id=active.run_id,
            )
    except Exception as error:
        url = session.pages.run(experiment_id, active.run_id) if active else None
        first_line = (str(error).splitlines() or [""])[0]
        raise StepFailed("evaluation", f"{type(error).__name__}: {first_line}", run_url=url) from error


def _score(
    session: Session,
    request: TrainingRequest,
    run: ActiveRun,
    *,
    dataset: datasets.Dataset,
    version: models.ModelVersion,
    report: Report,
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Metrics of the model and of the baselines on the test rows; dataset and model are verified before use."""
    workload = request.workload
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        report("evaluation", 0.1, "loading and verifying the dataset")
        tables = load_recorded(session, dataset)
        report("evaluation", 0.3, "loading and verifying the model")
        model_files = models.list_model_files(session.evaluator, mlflow_model_id=version.mlflow_model_id)
        model = load_model(
            session.mlflow,
            model_id=version.mlflow_model_id,
            files=model_files,
            folder=Path(folder, "model"),
        )
    log_input(run, describe_dataset(dataset, tables), context="evaluation")
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
    request: TrainingRequest,
    verdict: Verdict,
    *,
    metrics: Mapping[str, float],
    baselines: Mapping[str, Any],
    dataset: datasets.Dataset,
    version: models.ModelVersion,
    attempt: Attempt,
    run_id: str,
) -> evaluations.Evaluation:
    """One transaction: the verdict, and if it is a pass the policy version and the stage ``candidate``."""
    jobs.check_attempt(session.evaluator, job_id=attempt.job_id, attempt=attempt.number)
    with session.evaluator.transaction():
        recorded = evaluations.record_evaluation(
            session.evaluator,
            mlflow_model_name=version.mlflow_model_name,
            mlflow_model_version=version.mlflow_model_version,
            dataset_id=dataset.dataset_id,
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
                session.evaluator,
                policy_id=request.workload.spec.policy_id,
                mlflow_model_name=version.mlflow_model_name,
                mlflow_model_version=version.mlflow_model_version,
            )
    return recorded
