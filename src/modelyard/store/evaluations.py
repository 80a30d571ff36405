"""Evaluations: stored verdicts on model versions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from modelyard.errors import RecordLost, RecordNotFound
from modelyard.store.canonical import hash_json
from modelyard.store.connections import Connection, find_row, refusals

_REFUSALS = {
    "evaluations_removed_check": (RecordLost, ""),
    "evaluations_model_version_fkey": (RecordNotFound, "this model version was not registered by modelyard"),
    "evaluations_dataset_id_fkey": (RecordNotFound, "the dataset of this evaluation is not recorded"),
    "evaluations_baseline_policy_version_id_fkey": (RecordNotFound, "the baseline is no policy version"),
    "evaluations_job_id_fkey": (RecordNotFound, "the job of this evaluation is not recorded"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A row of ``exp.evaluations``; a metric of None was missing or not finite.

    Attributes:
        comparison: rows, units of resampling and an interval per metric; None in rows of releases before 0.2.
        unseen_rows: whether rows that a model was trained on were left out.
    """

    evaluation_id: UUID
    mlflow_model_name: str
    mlflow_model_version: str
    dataset_id: UUID
    gate: Any
    gate_sha256: str
    baseline_policy_version_id: UUID | None
    metrics: dict[str, float | None]
    baselines: dict[str, Any]
    limits: list[Any]
    reasons: list[str]
    passed: bool
    mlflow_run_id: str
    job_id: UUID | None
    comparison: dict[str, Any] | None
    unseen_rows: bool
    created_by: str
    created_at: datetime


def record_evaluation(
    connection: Connection,
    *,
    mlflow_model_name: str,
    mlflow_model_version: str,
    dataset_id: UUID,
    gate: Any,
    metrics: Mapping[str, float | None],
    baselines: Mapping[str, Mapping[str, float | None]],
    limits: Sequence[Any],
    reasons: Sequence[str],
    mlflow_run_id: str,
    baseline_policy_version_id: UUID | None = None,
    comparison: Mapping[str, Any] | None = None,
    unseen_rows: bool = False,
    job_id: UUID | None = None,
) -> Evaluation:
    """Record a verdict, or return the one that this model version has on these rows, under this gate and baseline.

    Args:
        gate: the limits as declared, a JSON value.
        metrics: name → number; a number that is not finite is stored as null.
        baselines: baseline → its metrics, likewise.
        limits: the outcome of each limit.
        reasons: why it is refused; the model version has passed exactly if there are none.
        baseline_policy_version_id: the policy version that it was compared with, if any.
        comparison: on what it was compared and how sure that is, a JSON value.
        unseen_rows: test rows that a model was trained on were left out.
        job_id: whose work it is.

    Raises:
        RecordNotFound: the model version, dataset, job or baseline is not recorded.
    """
    values: dict[str, Any] = {
        "mlflow_model_name": mlflow_model_name,
        "mlflow_model_version": mlflow_model_version,
        "dataset_id": dataset_id,
        "gate": Jsonb(gate),
        "gate_sha256": hash_json(gate),
        "baseline_policy_version_id": baseline_policy_version_id,
        "metrics": Jsonb({name: _finite(value) for name, value in metrics.items()}),
        "baselines": Jsonb({name: {m: _finite(v) for m, v in values.items()} for name, values in baselines.items()}),
        "limits": Jsonb(list(limits)),
        "reasons": Jsonb(list(reasons)),
        "passed": not reasons,
        "mlflow_run_id": mlflow_run_id,
        "job_id": job_id,
        "comparison": None if comparison is None else Jsonb(dict(comparison)),
        "unseen_rows": unseen_rows,
    }
    with refusals(_REFUSALS):
        inserted = find_row(
            connection,
            """
            INSERT INTO exp.evaluations (
                mlflow_model_name, mlflow_model_version, dataset_id, gate, gate_sha256, baseline_policy_version_id,
                metrics, baselines, limits, reasons, passed, mlflow_run_id, job_id,
                comparison, unseen_rows
            ) VALUES (
                %(mlflow_model_name)s, %(mlflow_model_version)s, %(dataset_id)s, %(gate)s, %(gate_sha256)s,
                %(baseline_policy_version_id)s, %(metrics)s, %(baselines)s, %(limits)s, %(reasons)s, %(passed)s,
                %(mlflow_run_id)s, %(job_id)s, %(comparison)s, %(unseen_rows)s
            ) ON CONFLICT ON CONSTRAINT evaluations_verdict_key DO NOTHING
            RETURNING {columns}
            """,
            values,
            row=Evaluation,
        )
    evaluation = inserted or find_evaluation(
        connection,
        mlflow_model_name=mlflow_model_name,
        mlflow_model_version=mlflow_model_version,
        dataset_id=dataset_id,
        gate=gate,
        baseline_policy_version_id=baseline_policy_version_id,
        unseen_rows=unseen_rows,
    )
    assert evaluation is not None  # noqa: S101  rows are never deleted, so what was in the way is there
    return evaluation


def find_evaluation(
    connection: Connection,
    *,
    mlflow_model_name: str,
    mlflow_model_version: str,
    dataset_id: UUID,
    gate: Any,
    baseline_policy_version_id: UUID | None = None,
    unseen_rows: bool = False,
) -> Evaluation | None:
    """The verdict on a model version, on these rows of this dataset, under this gate, against this baseline."""
    return find_row(
        connection,
        """
        SELECT {columns} FROM exp.evaluations
        WHERE mlflow_model_name = %(name)s AND mlflow_model_version = %(version)s AND dataset_id = %(dataset_id)s
            AND gate_sha256 = %(gate_sha256)s AND baseline_policy_version_id IS NOT DISTINCT FROM %(baseline)s::uuid
            AND unseen_rows = %(unseen_rows)s
        """,
        {
            "name": mlflow_model_name,
            "version": mlflow_model_version,
            "dataset_id": dataset_id,
            "gate_sha256": hash_json(gate),
            "baseline": baseline_policy_version_id,
            "unseen_rows": unseen_rows,
        },
        row=Evaluation,
    )


def get_evaluation(connection: Connection, *, evaluation_id: UUID) -> Evaluation:
    """The verdict with this id.

    Raises:
        RecordNotFound: there is none.
    """
    query = "SELECT {columns} FROM exp.evaluations WHERE evaluation_id = %(id)s"
    found = find_row(connection, query, {"id": evaluation_id}, row=Evaluation)
    if found is None:
        raise RecordNotFound(f"there is no evaluation {evaluation_id}")
    return found


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
