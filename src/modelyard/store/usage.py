"""Datasets as a listing shows them, and what has used them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from modelyard.errors import RecordLost
from modelyard.store.catalogue import find_named, list_datasets, resolve_dataset
from modelyard.store.connections import Connection, find_value, list_rows
from modelyard.store.datasets import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """A dataset without schema and profile; ``nb_model_versions`` were trained on it."""

    dataset_id: UUID
    name: str
    version: str
    workload: str
    digest: str
    num_rows: int
    data_source: str
    mlflow_run_id: str
    nb_model_versions: int
    nb_violations: int
    created_by: str
    created_at: datetime
    removed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetUse:
    """A run that has used a dataset, and the model version that was registered from it, as ``NAME/VERSION``."""

    mlflow_run_id: str
    run_type: str
    context: str
    model_version: str | None
    created_by: str
    created_at: datetime


def list_summaries(
    connection: Connection, *, workload: str | None = None, name: str | None = None, limit: int | None = None
) -> list[DatasetSummary]:
    """Datasets, the newest first, deleted ones too; ``limit``: that many, None for all."""
    query = """
        WITH listed AS (
            SELECT
                dataset_id, name, version, workload, digest, num_rows, data_source, mlflow_run_id,
                jsonb_array_length(violations) AS nb_violations, created_by, created_at, removed_at
            FROM exp.datasets
            WHERE (%(workload)s::text IS NULL OR workload = %(workload)s)
                AND (%(name)s::text IS NULL OR name = %(name)s)
            ORDER BY created_at DESC LIMIT %(limit)s
        ),
        counted AS (
            SELECT
                listed.*,
                (
                    SELECT count(*) FROM exp.model_versions AS v WHERE v.dataset_id = listed.dataset_id
                ) AS nb_model_versions
            FROM listed
        )
        SELECT {columns} FROM counted ORDER BY created_at DESC
    """
    return list_rows(connection, query, {"workload": workload, "name": name, "limit": limit}, row=DatasetSummary)


def list_uses(connection: Connection, *, dataset_id: UUID) -> list[DatasetUse]:
    """The runs that have used a dataset, the oldest first; trainings of releases that kept no uses are among them."""
    query = """
        WITH used AS (
            SELECT mlflow_run_id, run_type, context, created_by, created_at
            FROM exp.dataset_uses WHERE dataset_id = %(id)s
            UNION ALL
            SELECT v.mlflow_run_id, 'training', 'training', v.created_by, v.created_at
            FROM exp.model_versions AS v
            WHERE v.dataset_id = %(id)s AND NOT EXISTS (
                SELECT FROM exp.dataset_uses AS u
                WHERE u.dataset_id = v.dataset_id AND u.mlflow_run_id = v.mlflow_run_id
            )
        ),
        shown AS (
            SELECT used.*, v.mlflow_model_name || '/' || v.mlflow_model_version AS model_version
            FROM used LEFT JOIN exp.model_versions AS v ON used.mlflow_run_id = v.mlflow_run_id
        )
        SELECT {columns} FROM shown ORDER BY created_at, mlflow_run_id, context
    """
    return list_rows(connection, query, {"id": dataset_id}, row=DatasetUse)


def list_used(connection: Connection, *, mlflow_run_id: str, context: str) -> list[UUID]:
    """Ids of the datasets that a run has used in a context."""
    query = """
        SELECT coalesce(array_agg(dataset_id), '{}') FROM exp.dataset_uses
        WHERE mlflow_run_id = %(mlflow_run_id)s AND context = %(context)s
    """
    used: list[UUID] = find_value(connection, query, {"mlflow_run_id": mlflow_run_id, "context": context})
    return used


def list_input_names(connection: Connection, *, mlflow_run_id: str) -> dict[str, str]:
    """Context → the datasets on record that a run has used in it, or has logged, with version and digest."""
    query = """
        SELECT coalesce(jsonb_object_agg(context, datasets), '{}') FROM (
            SELECT u.context, string_agg(d.name || ' ' || d.version || ', digest ' || d.digest, '; ' ORDER BY d.name)
                AS datasets
            FROM (
                SELECT dataset_id, context FROM exp.dataset_uses WHERE mlflow_run_id = %(mlflow_run_id)s
                UNION
                SELECT dataset_id, 'logged' FROM exp.datasets WHERE mlflow_run_id = %(mlflow_run_id)s
            ) AS u
            INNER JOIN exp.datasets AS d ON u.dataset_id = d.dataset_id
            GROUP BY u.context
        ) AS by_context
    """
    found: dict[str, str] = find_value(connection, query, {"mlflow_run_id": mlflow_run_id})
    return found


def resolve_even_removed(connection: Connection, text: str) -> Dataset:
    """What ``resolve_dataset`` finds, and where its content was deleted the row that is left.

    Raises:
        BadInput: none or several are meant; the text says which there are.
    """
    try:
        return resolve_dataset(connection, text)
    except RecordLost:
        name, _, version = text.partition("@")
        found = find_named(connection, name=name, version=version or None)
        return found or list_datasets(connection, digest=text)[0]
