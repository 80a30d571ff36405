"""Drift reports: what was measured between a dataset and current rows, recorded once and never changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from modelyard.errors import RecordNotFound
from modelyard.store.connections import Connection, find_row, refusals

_REFUSALS = {
    "drift_reports_dataset_id_fkey": (RecordNotFound, "the reference is no recorded dataset"),
    "drift_reports_current_dataset_id_fkey": (RecordNotFound, "the current dataset is not recorded"),
    "drift_reports_job_id_fkey": (RecordNotFound, "the job of this report is not recorded"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """A row of ``exp.drift_reports``: ``dataset_id`` is the reference."""

    drift_report_id: UUID
    dataset_id: UUID
    current_dataset_id: UUID | None
    current_digest: str
    current_raw_digest: str | None
    current_rows: int
    columns: list[dict[str, Any]]
    limits: dict[str, Any]
    drifted: bool
    mlflow_run_id: str
    job_id: UUID | None
    created_by: str
    created_at: datetime


def record_drift_report(
    connection: Connection,
    *,
    dataset_id: UUID,
    current_dataset_id: UUID | None,
    current_digest: str,
    current_raw_digest: str | None,
    current_rows: int,
    columns: Sequence[Mapping[str, Any]],
    limits: Mapping[str, Any],
    drifted: bool,
    mlflow_run_id: str,
    job_id: UUID | None,
) -> DriftReport:
    """Record a drift report.

    Args:
        connection: as the evaluator.
        dataset_id: the reference.
        current_dataset_id: what was held against it, if that is a dataset on record.
        current_digest: sha256 of its content; ``current_raw_digest`` of the raw data, if it was processed for this.
        current_rows: how many rows it has.
        columns: what was measured of each column, finite JSON values, the worst first.
        limits: as declared, JSON values.
        drifted: whether any column is beyond a limit.
        mlflow_run_id: the run that shows it.
        job_id: the job that measured it, if one.

    Raises:
        RecordNotFound: a dataset or the job is not recorded.
    """
    values = {
        "dataset_id": dataset_id,
        "current_dataset_id": current_dataset_id,
        "current_digest": current_digest,
        "current_raw_digest": current_raw_digest,
        "current_rows": current_rows,
        "columns": Jsonb([dict(column) for column in columns]),
        "limits": Jsonb(dict(limits)),
        "drifted": drifted,
        "mlflow_run_id": mlflow_run_id,
        "job_id": job_id,
    }
    with refusals(_REFUSALS):
        report = find_row(
            connection,
            """
            INSERT INTO exp.drift_reports (
                dataset_id, current_dataset_id, current_digest, current_raw_digest, current_rows, columns, limits,
                drifted, mlflow_run_id, job_id
            ) VALUES (
                %(dataset_id)s, %(current_dataset_id)s, %(current_digest)s, %(current_raw_digest)s, %(current_rows)s,
                %(columns)s, %(limits)s, %(drifted)s, %(mlflow_run_id)s, %(job_id)s
            ) RETURNING {columns}
            """,
            values,
            row=DriftReport,
        )
    assert report is not None  # noqa: S101  an insert either returns its row or raises
    return report


def find_drift_report(connection: Connection, *, job_id: UUID) -> DriftReport | None:
    """The report that a job has recorded."""
    query = "SELECT {columns} FROM exp.drift_reports WHERE job_id = %(job_id)s"
    return find_row(connection, query, {"job_id": job_id}, row=DriftReport)
