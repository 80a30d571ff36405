"""Policies and their versions in any number, for benchmarks: rows as the flow makes them, written by SQL at once."""

from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import psycopg

import modelyard

GATE = {"always": ["rmse <= 0.7"], "against_production": [], "first_version": []}


def log_dataset(session: Any) -> UUID:
    """A small dataset for the models to come from; its id."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(100, 3))).rename(columns="c{}".format)
    frame["split"] = np.where(np.arange(len(frame)) % 5, "train", "test")
    _, dataset = modelyard.log_dataset(session, frame, name="houses", targets=["c2"])
    return dataset.dataset_id


def add_policies(dsn: str, dataset_id: UUID, *, policies: int, versions: int) -> None:
    """``policy_1`` to ``policy_n`` of ``model_1`` to ``model_n``, each with so many versions; the first one is live.

    Args:
        dsn: as the superuser: rows that are known to be right need no triggers.
        dataset_id: what all models were trained on.
        policies: how many.
        versions: of each.
    """
    values = {"dataset_id": dataset_id, "policies": policies, "versions": versions}
    with psycopg.connect(dsn) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(
            """
            INSERT INTO exp.model_versions (
                mlflow_model_name, mlflow_model_version, mlflow_run_id, mlflow_model_id, workload, task, model_type,
                dataset_id, parameters, code_version, metrics
            )
            SELECT 'model_' || p, v::text, md5(p || '/' || v), 'm-' || md5(p || '/' || v), 'houses', 'regression',
                'ridge', %(dataset_id)s, '{"alpha": 1.0}', '{}', '{"rmse": 0.5}'
            FROM generate_series(1, %(policies)s) AS p, generate_series(1, %(versions)s) AS v
            """,
            values,
        )
        connection.execute(
            """
            INSERT INTO exp.policies (policy_id, mlflow_model_name)
            SELECT 'policy_' || p, 'model_' || p FROM generate_series(1, %(policies)s) AS p
            """,
            values,
        )
        connection.execute(
            """
            INSERT INTO exp.policy_versions (
                policy_id, version, mlflow_model_name, mlflow_model_version, config_defaults
            )
            SELECT 'policy_' || p, v, 'model_' || p, v::text, '{"temperature": 0.7}'
            FROM generate_series(1, %(policies)s) AS p, generate_series(1, %(versions)s) AS v
            """,
            values,
        )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")  # what autovacuum does within a minute


def pass_all(dsn: str, dataset_id: UUID, *, gate_sha256: str) -> None:
    """Every version has passed the gate as a first version and against each other version of its policy."""
    values = {"dataset_id": dataset_id, "sha256": gate_sha256, "gate": psycopg.types.json.Jsonb(GATE)}
    with psycopg.connect(dsn) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(
            """
            INSERT INTO exp.evaluations (
                mlflow_model_name, mlflow_model_version, dataset_id, gate, gate_sha256, baseline_policy_version_id,
                metrics, baselines, limits, reasons, passed, mlflow_run_id
            )
            SELECT pv.mlflow_model_name, pv.mlflow_model_version, %(dataset_id)s, %(gate)s, %(sha256)s,
                live.policy_version_id, '{"rmse": 0.5}', '{}', '[]', '[]', true, 'r1'
            FROM exp.policy_versions AS pv
            CROSS JOIN LATERAL (
                SELECT NULL::uuid AS policy_version_id
                UNION ALL
                SELECT other.policy_version_id FROM exp.policy_versions AS other
                WHERE other.policy_id = pv.policy_id AND other.version <> pv.version
            ) AS live
            """,
            values,
        )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
