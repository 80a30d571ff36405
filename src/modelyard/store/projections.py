"""What MLflow is to show of the model versions on record, and what must be there for them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from modelyard.store.connections import Connection, find_value, list_rows
from modelyard.store.policies import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedVersion:
    """A model version on record with its stage.

    Attributes:
        policy_id: the policy that has a version of it, None where none has.
        policy_version: the live version of that policy where this is live, else the newest of this model version.
    """

    mlflow_model_name: str
    mlflow_model_version: str
    mlflow_run_id: str
    stage: Stage
    stage_since_at: datetime
    policy_id: str | None
    policy_version: int | None

    @property
    def name(self) -> str:
        return f"{self.mlflow_model_name}/{self.mlflow_model_version}"

    @property
    def since(self) -> str | None:
        """Stage, time and policy version in words, None before it has moved; other words mean that it moved since."""
        if self.stage == "none":
            return None
        at = f"{self.stage_since_at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC"
        as_version = "" if self.policy_version is None else f" as policy version {self.policy_version}"
        return f"{self.stage} since {at}{as_version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededRun:
    """An MLflow run that a row names, and the logged model of it where that row is a model version."""

    mlflow_run_id: str
    mlflow_model_id: str | None
    kind: Literal["training", "dataset", "evaluation"]
    name: str


def list_staged_versions(connection: Connection, *, mlflow_model_name: str) -> list[StagedVersion]:
    """Every version of a registered model that is on record, the oldest first."""
    query = """
        SELECT {columns} FROM (
            SELECT
                v.mlflow_model_name, v.mlflow_model_version, v.mlflow_run_id, s.stage, s.stage_since_at, pv.policy_id,
                coalesce(pv.live_version, pv.newest_version) AS policy_version
            FROM exp.model_versions AS v
            INNER JOIN exp.stages AS s USING (mlflow_model_name, mlflow_model_version)
            LEFT JOIN LATERAL (
                SELECT
                    max(of_model.policy_id) AS policy_id,
                    max(of_model.version) AS newest_version,
                    max(of_model.version) FILTER (WHERE p.policy_id IS NOT NULL) AS live_version
                FROM exp.policy_versions AS of_model
                LEFT JOIN exp.policies AS p ON p.live_policy_version_id = of_model.policy_version_id
                WHERE of_model.mlflow_model_name = v.mlflow_model_name
                    AND of_model.mlflow_model_version = v.mlflow_model_version
            ) AS pv ON true
            WHERE v.mlflow_model_name = %(name)s
        ) AS staged
        ORDER BY mlflow_model_version::integer
    """
    return list_rows(connection, query, {"name": mlflow_model_name}, row=StagedVersion)


def list_model_names(connection: Connection) -> list[str]:
    """The registered models of which a version is on record, by name."""
    found: list[str] | None = find_value(
        connection,
        "SELECT array_agg(DISTINCT mlflow_model_name ORDER BY mlflow_model_name) FROM exp.model_versions",
    )
    return found or []


def list_needed_runs(connection: Connection) -> list[NeededRun]:
    """The runs that model versions, datasets whose content is there, verdicts and reports name."""
    query = """
        SELECT {columns} FROM (
            SELECT
                mlflow_run_id, mlflow_model_id, 'training' AS kind,
                mlflow_model_name || '/' || mlflow_model_version AS name, created_at
            FROM exp.model_versions
            UNION ALL
            SELECT mlflow_run_id, NULL, 'dataset', name || '@' || version, created_at
            FROM exp.datasets WHERE removed_at IS NULL
            UNION ALL
            SELECT mlflow_run_id, NULL, 'evaluation', mlflow_model_name || '/' || mlflow_model_version, created_at
            FROM exp.evaluations
            UNION ALL
            SELECT mlflow_run_id, NULL, 'evaluation', mlflow_model_name || '/' || mlflow_model_version, created_at
            FROM exp.reproductions
            UNION ALL
            SELECT r.mlflow_run_id, NULL, 'evaluation', d.name || '@' || d.version, r.created_at
            FROM exp.drift_reports AS r INNER JOIN exp.datasets AS d USING (dataset_id)
        ) AS needed
        ORDER BY created_at, mlflow_run_id
    """
    return list_rows(connection, query, row=NeededRun)
