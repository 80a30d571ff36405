"""Logged models that somebody has deleted in MLflow: its API neither shows them nor takes them back, its tables do."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from modelyard.store.connections import Connection, list_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedModel:
    """A logged model among the deleted ones.

    Attributes:
        mlflow_run_id: the run that made it; empty where none did.
        artifact_uri: where its files are.
        ours: whether that run is one of Modelyard's.
    """

    mlflow_model_id: str
    name: str
    mlflow_run_id: str
    artifact_uri: str
    deleted_at: datetime
    ours: bool


def list_deleted_models(connection: Connection, *, run_types: Collection[str]) -> list[DeletedModel]:
    """All of them, the oldest deletion first; ``connection`` is MLflow's, ``run_types`` are those of our runs."""
    query = """
        SELECT {columns} FROM (
            SELECT
                model_id AS mlflow_model_id, name, coalesce(source_run_id, '') AS mlflow_run_id,
                artifact_location AS artifact_uri, to_timestamp(last_updated_timestamp_ms / 1000.0) AS deleted_at,
                EXISTS (
                    SELECT FROM mlflow.tags AS workload INNER JOIN mlflow.tags AS run_type USING (run_uuid)
                    WHERE workload.run_uuid = source_run_id AND workload.key = 'workload'
                        AND run_type.key = 'run_type' AND run_type.value = ANY(%(run_types)s)
                ) AS ours
            FROM mlflow.logged_models WHERE lifecycle_stage = 'deleted'
        ) AS deleted
        ORDER BY deleted_at, mlflow_model_id
    """
    return list_rows(connection, query, {"run_types": list(run_types)}, row=DeletedModel)


def restore_model(connection: Connection, *, mlflow_model_id: str) -> None:
    """Take a logged model out of the deleted ones; ``connection`` is MLflow's."""
    connection.execute(
        "UPDATE mlflow.logged_models SET lifecycle_stage = 'active' WHERE model_id = %(id)s", {"id": mlflow_model_id}
    )
