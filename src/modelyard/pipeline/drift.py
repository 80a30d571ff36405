"""Dataset and current rows → drift report: every column measured, recorded, and shown as a run of MLflow."""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modelyard.data.dataset import DatasetTables
from modelyard.data.dataset_reader import DatasetFiles
from modelyard.data.dataset_writer import write_dataset
from modelyard.data.drift import ColumnDrift, DriftedColumn, compare_rows, open_rows
from modelyard.pages.drift import render_drift
from modelyard.pipeline.attempt import Attempt, recording, run_step
from modelyard.pipeline.datasets import open_recorded, use_dataset
from modelyard.pipeline.drift_request import DriftRequest, RawCurrent, name_side
from modelyard.pipeline.drift_request import read_drift as read_drift
from modelyard.pipeline.raw import fetch_raw
from modelyard.pipeline.request import describe_origin
from modelyard.pipeline.results import DriftResult
from modelyard.pipeline.rows import process_rows
from modelyard.pipeline.session import Report, Session
from modelyard.store import attempts
from modelyard.store.drift_reports import DriftReport, find_drift_report, record_drift_report
from modelyard.tracking.runs import ActiveRun, find_run, is_left_open
from modelyard.tracking.server import get_or_create_experiment

_NAME_LENGTH = 200  # of a column in a metric's name; MLflow takes 250 characters in all


def measure_drift(session: Session, request: DriftRequest, *, attempt: Attempt | None, report: Report) -> DriftResult:
    """Compare current rows with the training rows of a dataset, once per job, and record what was found.

    Args:
        session: open connections, as the evaluator.
        request: what is compared.
        attempt: the job whose work it is, or None.
        report: told how far it is.

    Raises:
        StepFailed: it could not be measured, which is never the answer that nothing has drifted; the cause says why.
        AttemptLost: the job was taken over or cancelled.
    """
    experiment_id = get_or_create_experiment(session.mlflow, request.workload.spec.mlflow_experiment)
    found = find_drift_report(session.records, job_id=attempt.job_id) if attempt else None
    recorded = found or _measure(session, request, attempt=attempt, report=report, experiment_id=experiment_id)
    if is_left_open(find_run(session.mlflow, recorded.mlflow_run_id)):
        session.mlflow.set_terminated(recorded.mlflow_run_id, "FINISHED")
    return DriftResult(
        drift_report_id=str(recorded.drift_report_id),
        run_id=recorded.mlflow_run_id,
        run_url=session.pages.run(experiment_id, recorded.mlflow_run_id),
        reference=name_side(request.reference),
        reference_rows=request.reference.split_counts["train"],
        current=name_side(request.current),
        current_rows=recorded.current_rows,
        drifted=recorded.drifted,
        limits=recorded.limits,
        columns=tuple(ColumnDrift(**{**column, "reasons": tuple(column["reasons"])}) for column in recorded.columns),
    )


def _measure(
    session: Session, request: DriftRequest, *, attempt: Attempt | None, report: Report, experiment_id: str
) -> DriftReport:
    reference, current = request.reference, request.current
    logged = None if isinstance(current, RawCurrent) else current
    tags = describe_origin(request.workload, request.code, user=session.user, command="drift") | {
        "evaluation": "drift",
        "dataset_version": reference.version,
        "dataset_digest": reference.digest,
    }
    with (
        run_step(
            session,
            attempt,
            step="drift",
            run_type="evaluation",
            experiment_id=experiment_id,
            name=f"drift of {name_side(current)} from {name_side(reference)}",
            tags=tags,
        ) as run,
        tempfile.TemporaryDirectory(prefix="modelyard-") as scratch,
    ):
        report("drift", 0.0, "loading and verifying the reference")
        use_dataset(session, attempt, run, reference, run_type="evaluation", context="reference")
        files = open_recorded(session, reference, folder=_make_folder(scratch, "reference"))
        report("drift", 0.2, "loading and verifying the current rows")
        if logged is not None:
            use_dataset(session, attempt, run, logged, run_type="evaluation", context="current")
        digest, current_files = _load_current(session, request, folder=_make_folder(scratch, "current"))
        expected = open_rows(files.path("X"), files.path("y"), split=files.path("split"))
        found = open_rows(current_files.path("X"), current_files.path("y"))
        columns = compare_rows(
            expected,
            found,
            limits=request.limits,
            report=lambda share, name: report("drift", 0.4 + 0.5 * share, f"comparing {name}"),
        )
        report("drift", 0.9, "logging the report")
        facts: dict[str, Any] = {
            "dataset_id": reference.dataset_id,
            "current_dataset_id": logged.dataset_id if logged else None,
            "current_digest": digest,
            "current_raw_digest": current.raw["digest"] if isinstance(current, RawCurrent) else current.raw_digest,
            "current_rows": found.num_rows,
            "columns": [asdict(column.drift) for column in columns],
            "limits": request.limits.describe(),
            "drifted": any(column.drift.drifted for column in columns),
        }
        _log(run, request, columns, facts, reference_rows=expected.num_rows)
        connection = session.records
        with recording(connection, attempt):
            recorded = record_drift_report(
                connection, **facts, mlflow_run_id=run.run_id, job_id=attempt.job_id if attempt else None
            )
            if attempt is not None:
                result = {"drift_report_id": str(recorded.drift_report_id)}
                attempts.keep_result(connection, job_id=attempt.job_id, attempt=attempt.number, result=result)
    return recorded


def _load_current(session: Session, request: DriftRequest, *, folder: Path) -> tuple[str, DatasetFiles]:
    """The current rows as files in ``folder`` with the digest of their content: verified, or processed now."""
    current = request.current
    if not isinstance(current, RawCurrent):
        return current.digest, open_recorded(session, current, folder=folder)
    with tempfile.TemporaryDirectory(prefix="modelyard-") as scratch:
        hashed = fetch_raw(current.raw, raw_uri=session.raw_uri, folder=Path(scratch))
        parts = (
            DatasetTables(X=part.X, y=part.y, split=part.split, extra=part.extra)
            for part in process_rows(request.workload, hashed.located, parameters=current.parameters, trainable=False)
        )
        written = write_dataset(parts, folder=folder)
    return written.digest, DatasetFiles(folder)


def _log(
    run: ActiveRun,
    request: DriftRequest,
    columns: Sequence[DriftedColumn],
    facts: Mapping[str, Any],
    *,
    reference_rows: int,
) -> None:
    drifts = [column.drift for column in columns]
    nb_drifted = sum(drift.drifted for drift in drifts)
    metrics: dict[str, float] = {"nb_columns": len(drifts), "nb_drifted": nb_drifted}
    for drift, name in zip(drifts, name_metrics([drift.name for drift in drifts]), strict=True):
        values = {"psi": drift.psi, drift.test or "": drift.statistic, "p_value": drift.p_value}
        metrics |= {f"{measure}_{name}": value for measure, value in values.items() if value is not None}
    sides: dict[str, dict[str, Any]] = {
        "reference": {"name": name_side(request.reference), "digest": request.reference.digest, "rows": reference_rows},
        "current": {
            "name": name_side(request.current),
            "digest": facts["current_digest"],
            "raw_digest": facts["current_raw_digest"],
            "rows": facts["current_rows"],
        },
    }
    limits = {name: value for name, value in facts["limits"].items() if name != "ignored"}
    run.log(
        params={f"{side}_{key}": value for side, values in sides.items() for key, value in values.items()}
        | {f"limit_{name}": value for name, value in limits.items()},
        metrics=metrics,
        tags={"drifted": str(facts["drifted"]).lower()},
    )
    shown = [
        ("verdict", f"{nb_drifted:,} of {len(drifts):,} drifted" if nb_drifted else "no column drifted"),
        ("reference", sides["reference"]["name"]),
        ("its training rows", f"{reference_rows:,}"),
        ("current", sides["current"]["name"]),
        ("its rows", f"{facts['current_rows']:,}"),
        ("digest of the reference", request.reference.digest),
        ("digest of the current rows", facts["current_digest"]),
    ]
    page = render_drift(f"Drift of {name_side(request.current)}", facts=shown, columns=columns, limits=request.limits)
    content = sides | {name: facts[name] for name in ("drifted", "limits", "columns")}
    run.log_files({"drift/report.html": page, "drift/drift.json": json.dumps(content, indent=2, allow_nan=False)})


def name_metrics(columns: Sequence[str]) -> list[str]:
    """Columns as parts of names that MLflow takes: letters, digits and ``_ - . :`` and blanks; no two alike."""
    names: dict[str, None] = {}
    for column in columns:
        plain = re.sub(r"[^\w\-. :]", "_", column)[:_NAME_LENGTH]
        name, number = plain, 1
        while name in names:
            number += 1
            name = f"{plain}_{number}"
        names[name] = None
    return list(names)


def _make_folder(parent: str, name: str) -> Path:
    folder = Path(parent, name)
    folder.mkdir()
    return folder
