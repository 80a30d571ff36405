"""The past and the present of policies: what was changed, what served when, what there is now."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from modelyard.store.connections import Connection, find_row, list_rows
from modelyard.store.policies import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A row of ``exp.promotion_history``: a change of what is live for a policy.

    ``restored_at`` is, of a rollback, the moment whose state it restored.
    """

    promotion_id: int
    occurred_at: datetime
    policy_id: str
    kind: str
    version: int
    mlflow_model_name: str
    mlflow_model_version: str
    config_defaults: dict[str, Any]
    replaced_version: int | None
    replaced_model_version: str | None
    actor: str
    reason: str
    approved_by: str | None
    evaluation_id: UUID | None
    metrics: dict[str, float] | None
    dataset_name: str | None
    dataset_version: str | None
    dataset_digest: str | None
    gate_sha256: str | None
    evaluation_run_id: str | None
    restored_at: datetime | None
    request_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A row of ``exp.served``: what was live from when until when (None: until now)."""

    policy_id: str
    version: int
    mlflow_model_name: str
    mlflow_model_version: str
    config_defaults: dict[str, Any]
    from_at: datetime
    until_at: datetime | None
    kind: str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOverview:
    """A row of ``exp.policy_overview``: a policy, what is live and what is newest; None where nothing is."""

    policy_id: str
    mlflow_model_name: str
    requires_approval: bool
    live_version: int | None
    live_model_version: str | None
    live_since_at: datetime | None
    live_by: str | None
    live_reason: str | None
    newest_version: int | None
    newest_model_version: str | None
    newest_stage: Stage | None
    nb_changes: int
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStage:
    """A row of ``exp.stages``: a model version, its stage, since when, by whom and why."""

    mlflow_model_name: str
    mlflow_model_version: str
    stage: Stage
    policy_id: str | None
    stage_since_at: datetime
    actor: str
    reason: str | None


def list_changes(connection: Connection, *, policy_id: str, nb_changes: int | None = None) -> list[Change]:
    """The newest changes of what is live for a policy, the newest first; None: all of them."""
    query = """
        SELECT {columns} FROM exp.promotion_history WHERE policy_id = %(policy_id)s
        ORDER BY promotion_id DESC LIMIT %(nb)s
    """
    return list_rows(connection, query, {"policy_id": policy_id, "nb": nb_changes}, row=Change)


def list_served(connection: Connection, *, policy_id: str, nb_rows: int | None = None) -> list[Served]:
    """What was live for a policy from when until when, the newest first; None: all of it."""
    query = """
        SELECT {columns} FROM exp.served WHERE policy_id = %(policy_id)s ORDER BY promotion_id DESC LIMIT %(nb)s
    """
    return list_rows(connection, query, {"policy_id": policy_id, "nb": nb_rows}, row=Served)


def find_served(connection: Connection, *, policy_id: str, at: datetime) -> Served | None:
    """What was live for a policy at a moment (aware); None before its first promotion."""
    query = """
        SELECT {columns} FROM exp.served
        WHERE policy_id = %(policy_id)s AND from_at <= %(at)s AND (until_at > %(at)s OR until_at IS NULL)
        ORDER BY promotion_id DESC LIMIT 1
    """
    return find_row(connection, query, {"policy_id": policy_id, "at": at}, row=Served)


def list_overviews(connection: Connection) -> list[PolicyOverview]:
    """Every policy by name."""
    return list_rows(connection, "SELECT {columns} FROM exp.policy_overview ORDER BY policy_id", row=PolicyOverview)


def list_stages(
    connection: Connection, *, mlflow_model_name: str | None = None, nb_versions: int | None = None
) -> list[ModelStage]:
    """Model versions by name, the newest of each first, with their stages; None: of every model, or all of them."""
    query = """
        SELECT {columns} FROM exp.stages
        WHERE %(name)s::text IS NULL OR mlflow_model_name = %(name)s
        ORDER BY mlflow_model_name, mlflow_model_version::integer DESC LIMIT %(nb)s
    """
    return list_rows(connection, query, {"name": mlflow_model_name, "nb": nb_versions}, row=ModelStage)
