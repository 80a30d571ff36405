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
    """A row of ``exp.evaluations``; a metric of None was missing or not finite."""

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
    job_id: UUID | None = None,
) -> Evaluation:
    """Record a verdict, or return the one that this model version has on this dataset, gate and baseline.

    Args:
        gate: the limits as declared, a JSON value.
        metrics: name → number; a number that is not finite is stored as null.
        baselines: baseline → its metrics, likewise.
        limits: the outcome of each limit.
        reasons: why it is refused; the model version has passed exactly if there are none.
        baseline_policy_version_id: the policy version that it was compared with, if any.

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
    }
    with refusals(_REFUSALS):
        inserted = find_row(
            connection,
            """
            INSERT INTO exp.evaluations (
                mlflow_model_name, mlflow_model_version, dataset_id, gate, gate_sha256, baseline_policy_version_id,
                metrics, baselines, limits, reasons, passed, mlflow_run_id, job_id
            ) VALUES (
                %(mlflow_model_name)s, %(mlflow_model_version)s, %(dataset_id)s, %(gate)s, %(gate_sha256)s,
                %(baseline_policy_version_id)s, %(metrics)s, %(baselines)s, %(limits)s, %(reasons)s, %(passed)s,
                %(mlflow_run_id)s, %(job_id)s
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
) -> Evaluation | None:
    """The verdict on a model version, on this dataset, under this gate, against this baseline."""
    return find_row(
        connection,
        """
        SELECT {columns} FROM exp.evaluations
        WHERE mlflow_model_name = %(name)s AND mlflow_model_version = %(version)s AND dataset_id = %(dataset_id)s
            AND gate_sha256 = %(gate_sha256)s AND baseline_policy_version_id IS NOT DISTINCT FROM %(baseline)s::uuid
        """,
        {
            "name": mlflow_model_name,
            "version": mlflow_model_version,
            "dataset_id": dataset_id,
            "gate_sha256": hash_json(gate),
            "baseline": baseline_policy_version_id,
        },
        row=Evaluation,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
