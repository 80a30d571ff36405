"""Model version → evaluation: verified models, verified rows that neither has seen, a verdict, and what follows."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelyard.data.scoring import Interval
from modelyard.errors import ServiceFailed, WorkHeld
from modelyard.pipeline.attempt import Attempt, run_step
from modelyard.pipeline.datasets import download_recorded, use_dataset
from modelyard.pipeline.evaluation_baselines import find_baselines
from modelyard.pipeline.evaluation_log import log_evaluation
from modelyard.pipeline.evaluation_request import EvaluationRequest, check_columns
from modelyard.pipeline.gate import LimitOutcome, Verdict, apply_gate, refuse_unknown
from modelyard.pipeline.models import load_verified
from modelyard.pipeline.overlap import find_left_out
from modelyard.pipeline.projection import project_model
from modelyard.pipeline.request import describe_code
from modelyard.pipeline.reselection import judge_blend
from modelyard.pipeline.results import EvaluationResult
from modelyard.pipeline.scorer import Metrics
from modelyard.pipeline.session import Report, Session
from modelyard.pipeline.standing import Standing, find_standing
from modelyard.pipeline.tally import Findings, score_rows
from modelyard.store import attempts, evaluations, policies
from modelyard.tracking.runs import ActiveRun, find_run, is_left_open
from modelyard.tracking.server import get_or_create_experiment
from modelyard.workloads.registry import BLEND
from modelyard.workloads.rules import PRODUCTION

_TOLD = 5  # of what was edited or lost in MLflow, in a note


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What the scored rows have shown, and a file of every answer."""

    found: Findings
    baselines: dict[str, Metrics]
    sample: dict[str, Any]
    predictions: Path


def evaluate_model(
    session: Session, request: EvaluationRequest, *, attempt: Attempt, report: Report
) -> EvaluationResult:
    """Evaluate a model version on test rows, beside the version that is live now, under the gate as declared now.

    What was evaluated so before is not scored again. The verdict, the policy version and the stage are one
    transaction; MLflow shows them after it.

    Raises:
        StepFailed: the evaluation could not be done; there is no verdict.
        RowsSeen: a model was trained on some of the rows; there is no verdict.
        BadInput: the dataset lacks columns, or no row is left.
        AttemptLost: the job was taken over or cancelled.
    """
    version, name = request.version, request.version.mlflow_model_name
    experiment_id = get_or_create_experiment(session.mlflow, request.mlflow_experiment)
    standing = find_standing(session, request)
    found = evaluations.find_evaluation(
        session.records,
        mlflow_model_name=name,
        mlflow_model_version=version.mlflow_model_version,
        dataset_id=request.dataset.dataset_id,
        gate=standing.gate.gate,
        baseline_policy_version_id=standing.baseline_id,
        unseen_rows=request.unseen_rows,
    )
    recorded = found or _evaluate(
        session, request, standing, attempt=attempt, report=report, experiment_id=experiment_id
    )
    run = find_run(session.mlflow, recorded.mlflow_run_id)
    lost = None if run else f"MLflow has lost run {recorded.mlflow_run_id} with the report; the verdict is on record"
    if is_left_open(run):
        session.mlflow.set_terminated(recorded.mlflow_run_id, "FINISHED")
    notes = filter(None, (lost, _project(session, name), _judge(session, request, recorded)))
    return _describe(
        session,
        request,
        standing,
        recorded,
        run_url=session.pages.run(run.info.experiment_id, run.info.run_id) if run else "",
        note="\n".join(notes) or None,
        known=found is not None,
    )


def _project(session: Session, name: str) -> str | None:
    """Let MLflow show the stage; what keeps it from that takes nothing from the verdict."""
    try:
        found = project_model(session, name)
    except (ServiceFailed, WorkHeld) as error:
        return str(error)
    return "\n".join([str(finding) for finding in found if finding.kind in ("edited", "lost")][:_TOLD]) or None


def _judge(session: Session, request: EvaluationRequest, recorded: evaluations.Evaluation) -> str | None:
    """Let MLflow show whether a blend needs other members; what keeps it from that takes nothing from the verdict."""
    metric, known = request.scorer.metrics[0], request.version.metrics
    if request.version.model_type != BLEND or metric.higher_is_better or f"test_{metric.name}" not in known:
        return None  # what another tool calls a blend may be anything
    try:
        judge_blend(session.mlflow, request, metric=metric.name, now=recorded.metrics.get(metric.name))
    except ServiceFailed as error:
        return str(error)
    return None


def _describe(
    session: Session,
    request: EvaluationRequest,
    standing: Standing,
    recorded: evaluations.Evaluation,
    *,
    run_url: str,
    note: str | None,
    known: bool,
) -> EvaluationResult:
    version, comparison = request.version, recorded.comparison or {}
    policy_version = None
    if recorded.passed:
        policy_version = policies.find_configured_version(
            session.records,
            policy_id=standing.policy_id,
            mlflow_model_name=version.mlflow_model_name,
            mlflow_model_version=version.mlflow_model_version,
            config_defaults={},
        )
    metrics = [metric.name for metric in request.scorer.metrics]
    return EvaluationResult(
        evaluation_id=str(recorded.evaluation_id),
        run_id=recorded.mlflow_run_id,
        run_url=run_url,
        passed=recorded.passed,
        limits=tuple(LimitOutcome(**limit) for limit in recorded.limits),
        reasons=tuple(recorded.reasons),
        metrics={name: recorded.metrics.get(name) for name in dict.fromkeys((*metrics, *recorded.metrics))},
        policy_id=standing.policy_id,
        policy_version=policy_version.version if policy_version else None,
        stage=policies.get_stage(
            session.records,
            mlflow_model_name=version.mlflow_model_name,
            mlflow_model_version=version.mlflow_model_version,
        ),
        resumed=known,
        model=version.label,
        dataset=f"{request.dataset.name}@{request.dataset.version}",
        rows=comparison.get("rows"),
        unseen_rows=recorded.unseen_rows,
        production=standing.production,
        baselines=recorded.baselines,
        intervals=tuple(Interval(**interval) for interval in comparison.get("intervals", ())),
        note=note,
    )


def _evaluate(
    session: Session,
    request: EvaluationRequest,
    standing: Standing,
    *,
    attempt: Attempt,
    report: Report,
    experiment_id: str,
) -> evaluations.Evaluation:
    version, dataset, gate, live = request.version, request.dataset, standing.gate, standing.live
    name = f"{version.mlflow_model_name} {version.mlflow_model_version}"
    code = describe_code(request.scorer.code, user=session.user, command=f"evaluate {version.label}")
    tags = code | {
        "workload": version.workload,
        "task": request.scorer.task,
        "policy_id": standing.policy_id,
        "model_name": version.mlflow_model_name,
        "model_version": version.mlflow_model_version,
        "training_run_id": version.mlflow_run_id,
        "dataset_version": dataset.version,
        "dataset_digest": dataset.digest,
        "evaluation": "verdict",
        "gate_sha256": gate.gate_sha256,
        **({"production_version": live.version.mlflow_model_version} if live else {}),
    }
    with (
        run_step(
            session,
            attempt,
            step="evaluation",
            run_type="evaluation",
            experiment_id=experiment_id,
            name=f"evaluation of {name}",
            tags=tags,
        ) as run,
        tempfile.TemporaryDirectory(prefix="modelyard-") as folder,
    ):
        check_columns(session.records, request, live)
        scored = _score(session, request, standing, run, folder=Path(folder), attempt=attempt, report=report)
        found = scored.found
        verdict = apply_gate(
            standing.limits, metrics=found.metrics, baselines=scored.baselines, production=found.production
        )
        verdict = refuse_unknown(verdict, found.metrics, declared=[metric.name for metric in request.scorer.metrics])
        report("evaluation", 0.9, "logging the report")
        log_evaluation(
            run,
            request,
            verdict,
            found,
            gate=gate,
            baselines=scored.baselines,
            sample=scored.sample,
            predictions=scored.predictions,
            production=standing.production,
        )
        return _record(session, request, standing, verdict, scored, attempt=attempt, run_id=run.run_id)


def _score(
    session: Session,
    request: EvaluationRequest,
    standing: Standing,
    run: ActiveRun,
    *,
    folder: Path,
    attempt: Attempt,
    report: Report,
) -> Scored:
    """Let the version and the live one answer the same rows; everything is verified before it is used."""
    dataset, live = request.dataset, standing.live
    report("evaluation", 0.02, "loading and verifying the model")
    candidate = load_verified(session, request.version)
    models = [candidate]
    if live is not None and live.version != request.version:
        models.append(load_verified(session, live.version))
    report("evaluation", 0.05, "loading and verifying the dataset")
    use_dataset(session, attempt, run, dataset, run_type="evaluation", context="evaluation")
    files = download_recorded(session, dataset, folder)
    left_out = find_left_out(session, request, files, models, report=report)
    predictions = folder / "predictions.parquet"
    found, sample = score_rows(request, files, models, left_out, compared=live is not None, path=predictions,
                                    report=report)  # fmt: skip
    report("evaluation", 0.85, "scoring naive answers")
    limits = standing.limits.list_limits(production=live is not None)
    baselines = find_baselines(request, files, left_out, limits=limits)
    return Scored(found=found, baselines=baselines, sample=sample, predictions=predictions)


def _record(
    session: Session,
    request: EvaluationRequest,
    standing: Standing,
    verdict: Verdict,
    scored: Scored,
    *,
    attempt: Attempt,
    run_id: str,
) -> evaluations.Evaluation:
    """One transaction: the verdict, and if it is a pass the policy version and the stage ``candidate``."""
    version, connection, found = request.version, session.records, scored.found
    production = {} if found.production is None else {PRODUCTION: found.production}
    with attempt.fenced(connection):
        recorded = evaluations.record_evaluation(
            connection,
            mlflow_model_name=version.mlflow_model_name,
            mlflow_model_version=version.mlflow_model_version,
            dataset_id=request.dataset.dataset_id,
            gate=standing.gate.gate,
            metrics=found.metrics,
            baselines=scored.baselines | production,
            limits=[asdict(outcome) for outcome in verdict.outcomes],
            reasons=verdict.reasons,
            mlflow_run_id=run_id,
            baseline_policy_version_id=standing.baseline_id,
            comparison={
                "rows": found.rows,
                "units": found.units,
                "resamples": found.resamples,
                "unseen_rows": request.unseen_rows,
                "intervals": [asdict(interval) for interval in found.intervals],
            },
            unseen_rows=request.unseen_rows,
            job_id=attempt.job_id,
        )
        if recorded.passed:
            policies.add_policy_version(
                connection,
                policy_id=standing.policy_id,
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
