"""What an evaluation leaves in its MLflow run: numbers, the verdict, every answer, and a page for people."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modelyard.data.answers import count_errors
from modelyard.pages.evaluation import ShownLimit, ShownMetric, render_evaluation
from modelyard.pipeline.evaluation_request import EvaluationRequest
from modelyard.pipeline.gate import Verdict
from modelyard.pipeline.scorer import Metrics
from modelyard.pipeline.tally import Findings
from modelyard.store.gates import DeclaredGate
from modelyard.tracking.runs import ActiveRun
from modelyard.workloads.rules import PRODUCTION

FOLDER = "evaluation"  # of the run; verdict.json stands beside it, as in releases before 0.2


def log_evaluation(
    run: ActiveRun,
    request: EvaluationRequest,
    verdict: Verdict,
    found: Findings,
    *,
    gate: DeclaredGate,
    baselines: Mapping[str, Metrics],
    sample: Mapping[str, Any],
    predictions: Path,
    production: str | None,
) -> None:
    """Log all of it.

    Args:
        run: the evaluation's run.
        request: what was asked for.
        verdict: what the gate says.
        found: on the scored rows.
        gate: that was applied.
        baselines: metrics of naive answers.
        sample: truth and answers of some rows.
        predictions: the file of all answers.
        production: the live version's name for people, None where none is.
    """
    dataset = request.dataset
    live = {} if found.production is None else {PRODUCTION: found.production}
    metrics = {
        **found.metrics,
        **{f"baseline_{n}_{metric}": value for n, of in baselines.items() for metric, value in of.items()},
        **{f"{PRODUCTION}_{metric}": value for of in live.values() for metric, value in of.items()},
        **{
            f"difference_{interval.metric}{end}": value
            for interval in found.intervals
            for end, value in (("", interval.difference), ("_low", interval.low), ("_high", interval.high))
            if value is not None
        },
    }
    run.log(
        params={
            "model": request.version.label,
            "dataset_name": dataset.name,
            "dataset_version": dataset.version,
            "dataset_digest": dataset.digest,
            "unseen_rows": request.unseen_rows,
            "rows": found.rows,
            "units": found.units,
            "resamples": found.resamples,
            "production": production,
        },
        metrics=_name_for_mlflow(metrics),
        tags={"passed": str(verdict.passed).lower()},
    )
    run.log_files(
        {
            "verdict.json": json.dumps(asdict(verdict), indent=2),
            f"{FOLDER}/report.html": _render(request, verdict, found, gate, baselines, sample, production),
            f"{FOLDER}/{predictions.name}": predictions,
        }
    )


def _name_for_mlflow(metrics: Mapping[str, float]) -> dict[str, float]:
    """MLflow takes letters, digits and few signs: ``ndcg@10`` is ``ndcg_10`` there."""
    return {re.sub(r"[^\w\-. :/]", "_", name): value for name, value in metrics.items()}


def _render(
    request: EvaluationRequest,
    verdict: Verdict,
    found: Findings,
    gate: DeclaredGate,
    baselines: Mapping[str, Metrics],
    sample: Mapping[str, Any],
    production: str | None,
) -> str:
    dataset = request.dataset
    answers = {name: values for name, values in sample.items() if name != "truth"}
    test_rows = dataset.split_counts["test"]
    return render_evaluation(
        f"Evaluation of {request.version.label}",
        facts=[
            ("verdict", "passed" if verdict.passed else "refused"),
            ("production", production or "none: this is a first version"),
            ("dataset", f"{dataset.name} {dataset.version}"),
            ("test rows", f"{test_rows:,}"),
            ("of which scored", f"{found.rows:,}" + (", those that no model has seen" * request.unseen_rows)),
            ("gate declared by", f"{gate.declared_by}, {gate.declared_at:%Y-%m-%d}"),
            ("digest of the dataset", dataset.digest),
            ("hash of the gate", gate.gate_sha256),
        ],
        limits=[
            ShownLimit(limit=limit.limit, found=limit.found, bound=limit.bound, reason=limit.reason)
            for limit in verdict.outcomes
        ],
        reasons=verdict.reasons,
        metrics=[
            ShownMetric(
                name=metric.name,
                unit=metric.unit,
                higher_is_better=metric.higher_is_better,
                value=found.metrics.get(metric.name),
            )
            for metric in request.scorer.metrics
        ],
        production=found.production,
        baselines=baselines,
        intervals=found.intervals,
        resamples=found.resamples,
        errors=count_errors(sample["truth"], answers, classes=request.scorer.task == "classification"),
    )
