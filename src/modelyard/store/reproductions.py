"""Reproductions: model versions that were trained anew, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from modelyard.errors import RecordNotFound
from modelyard.store.connections import Connection, find_row, refusals

_REFUSALS = {
    "reproductions_model_version_fkey": (RecordNotFound, "this model version was not registered by modelyard"),
    "reproductions_job_id_fkey": (RecordNotFound, "the job of this reproduction is not recorded"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """A row of ``exp.reproductions``; ``metrics`` are name → ``then``, ``now`` and ``difference``."""

    reproduction_id: UUID
    mlflow_model_name: str
    mlflow_model_version: str
    equal_predictions: bool
    metrics: dict[str, dict[str, float | None]]
    differences: list[dict[str, Any]]
    code_version: dict[str, Any]
    environment: dict[str, Any]
    mlflow_run_id: str
    job_id: UUID | None
    created_by: str
    created_at: datetime


def record_reproduction(
    connection: Connection,
    *,
    mlflow_model_name: str,
    mlflow_model_version: str,
    equal_predictions: bool,
    metrics: Mapping[str, Mapping[str, float | None]],
    differences: Sequence[Mapping[str, Any]],
    code_version: Mapping[str, Any],
    environment: Mapping[str, Any],
    mlflow_run_id: str,
    job_id: UUID | None = None,
) -> Reproduction:
    """Record that a model version was trained anew.

    Args:
        connection: as the trainer.
        mlflow_model_name: name of the registered model that was reproduced.
        mlflow_model_version: its version.
        equal_predictions: whether all predictions on the test rows came out as they were, bit for bit.
        metrics: name → ``then``, ``now``, ``difference``; a number that is missing is None.
        differences: ``what``, ``then``, ``now`` of each thing that is not as it was.
        code_version: of the code that trained it now.
        environment: what that ran in.
        mlflow_run_id: the run of the reproduction.
        job_id: its job.

    Raises:
        RecordNotFound: no such model version or job is recorded.
    """
    values = {
        "mlflow_model_name": mlflow_model_name,
        "mlflow_model_version": mlflow_model_version,
        "equal_predictions": equal_predictions,
        "metrics": Jsonb(dict(metrics)),
        "differences": Jsonb(list(differences)),
        "code_version": Jsonb(dict(code_version)),
        "environment": Jsonb(dict(environment)),
        "mlflow_run_id": mlflow_run_id,
        "job_id": job_id,
    }
    with refusals(_REFUSALS):
        recorded = find_row(
            connection,
            """
            INSERT INTO exp.reproductions (
                mlflow_model_name, mlflow_model_version, equal_predictions, metrics, differences, code_version,
                environment, mlflow_run_id, job_id
            ) VALUES (
                %(mlflow_model_name)s, %(mlflow_model_version)s, %(equal_predictions)s, %(metrics)s, %(differences)s,
                %(code_version)s, %(environment)s, %(mlflow_run_id)s, %(job_id)s
            ) RETURNING {columns}
            """,
            values,
            row=Reproduction,
        )
    assert recorded is not None  # noqa: S101  an insert either returns its row or raises
    return recorded
