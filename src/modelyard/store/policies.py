"""Policies, their versions, and the stage of a model version."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from modelyard.errors import BadInput, PolicyVersionRefused, RecordNotFound
from modelyard.store.connections import Connection, find_row, find_value, list_rows, refusals

Stage = Literal["none", "candidate", "production", "archived"]

_REFUSALS = {
    "policy_versions_insert_check": (PolicyVersionRefused, ""),
    "policies_policy_id_check": (
        BadInput,
        "a policy's name begins with a small letter and has small letters, digits and underscores only",
    ),
    "policies_mlflow_model_name_key": (PolicyVersionRefused, "another policy owns this model"),
    "policies_live_check": (RecordNotFound, ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A row of ``exp.policies``."""

    policy_id: str
    mlflow_model_name: str
    live_policy_version_id: UUID | None
    requires_approval: bool
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """A row of ``exp.policy_versions``."""

    policy_version_id: UUID
    policy_id: str
    version: int
    mlflow_model_name: str
    mlflow_model_version: str
    config_defaults: dict[str, Any]
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePolicy:
    """What an application is to load for a policy."""

    policy_version_id: UUID
    version: int
    mlflow_model_name: str
    mlflow_model_version: str
    mlflow_model_id: str
    config_defaults: dict[str, Any]


def add_policy_version(
    connection: Connection,
    *,
    policy_id: str,
    mlflow_model_name: str,
    mlflow_model_version: str,
    config_defaults: Mapping[str, Any] | None = None,
) -> PolicyVersion:
    """Give a policy its next version and make the model version a candidate; what is there already is returned.

    A policy that does not exist is made, and owns this registered model from then on.

    Raises:
        BadInput: no policy can be called so.
        PolicyVersionRefused: the policy has another model, or the model version has no passed evaluation.
    """
    values = {
        "policy_id": policy_id,
        "name": mlflow_model_name,
        "version": mlflow_model_version,
        "config": Jsonb(dict(config_defaults or {})),
    }
    with refusals(_REFUSALS):
        added = find_row(
            connection,
            "SELECT {columns} FROM exp.add_policy_version(%(policy_id)s, %(name)s, %(version)s, %(config)s)",
            values,
            row=PolicyVersion,
        )
    assert added is not None  # noqa: S101  the function returns one row or raises
    return added


def find_policy(connection: Connection, *, policy_id: str) -> Policy | None:
    """The policy with this id."""
    query = "SELECT {columns} FROM exp.policies WHERE policy_id = %(id)s"
    return find_row(connection, query, {"id": policy_id}, row=Policy)


def find_owner(connection: Connection, *, mlflow_model_name: str) -> Policy | None:
    """The policy that owns a registered model."""
    query = "SELECT {columns} FROM exp.policies WHERE mlflow_model_name = %(name)s"
    return find_row(connection, query, {"name": mlflow_model_name}, row=Policy)


def find_live_version(connection: Connection, *, mlflow_model_name: str) -> PolicyVersion | None:
    """The live version of the policy that owns a registered model."""
    query = """
        SELECT {columns} FROM exp.policy_versions
        WHERE policy_version_id = (
            SELECT live_policy_version_id FROM exp.policies WHERE mlflow_model_name = %(name)s
        )
    """
    return find_row(connection, query, {"name": mlflow_model_name}, row=PolicyVersion)


def list_policy_ids(connection: Connection) -> list[str]:
    """Every policy's name, in alphabetical order."""
    found: list[str] = find_value(
        connection, "SELECT coalesce(array_agg(policy_id ORDER BY policy_id), '{}') FROM exp.policies"
    )
    return found


def list_policy_versions(
    connection: Connection, *, policy_id: str, nb_versions: int | None = None
) -> list[PolicyVersion]:
    """The newest versions of a policy (None: all), oldest first."""
    query = """
        SELECT {columns} FROM (
            SELECT * FROM exp.policy_versions WHERE policy_id = %(id)s ORDER BY version DESC LIMIT %(nb)s
        ) AS newest
        ORDER BY version
    """
    return list_rows(connection, query, {"id": policy_id, "nb": nb_versions}, row=PolicyVersion)


def find_policy_version(connection: Connection, *, policy_id: str, version: int) -> PolicyVersion | None:
    """The version of a policy with this number."""
    query = "SELECT {columns} FROM exp.policy_versions WHERE policy_id = %(id)s AND version = %(version)s"
    return find_row(connection, query, {"id": policy_id, "version": version}, row=PolicyVersion)


def find_configured_version(
    connection: Connection,
    *,
    policy_id: str,
    mlflow_model_name: str,
    mlflow_model_version: str,
    config_defaults: Mapping[str, Any],
) -> PolicyVersion | None:
    """The version that a policy has of a model version with exactly this configuration."""
    query = """
        SELECT {columns} FROM exp.policy_versions
        WHERE policy_id = %(id)s AND mlflow_model_name = %(name)s AND mlflow_model_version = %(version)s
            AND config_defaults = %(config)s
    """
    values = {
        "id": policy_id,
        "name": mlflow_model_name,
        "version": mlflow_model_version,
        "config": Jsonb(dict(config_defaults)),
    }
    return find_row(connection, query, values, row=PolicyVersion)


def map_policy_versions(connection: Connection, ids: Collection[UUID]) -> dict[UUID, PolicyVersion]:
    """Id → policy version, of those that are there."""
    query = "SELECT {columns} FROM exp.policy_versions WHERE policy_version_id = ANY(%(ids)s)"
    rows = list_rows(connection, query, {"ids": list(ids)}, row=PolicyVersion)
    return {row.policy_version_id: row for row in rows}


def resolve_policy(connection: Connection, *, policy_id: str) -> LivePolicy:
    """The live version of a policy.

    Raises:
        RecordNotFound: there is no such policy, or none of its versions is live.
    """
    with refusals(_REFUSALS):
        query = "SELECT {columns} FROM exp.resolve_policy(%(id)s)"
        live = find_row(connection, query, {"id": policy_id}, row=LivePolicy)
    assert live is not None  # noqa: S101  the function returns one row or raises
    return live


def find_newest_candidate(connection: Connection, *, policy_id: str) -> PolicyVersion | None:
    """The newest version of a policy that is newer than what is live, never was live and is not archived, or None."""
    query = """
        SELECT {columns} FROM exp.policy_versions AS pv
        WHERE policy_id = %(id)s
            AND version > coalesce((SELECT l.version FROM exp.live_policies AS l WHERE l.policy_id = %(id)s), 0)
            AND NOT EXISTS (SELECT FROM exp.promotions AS p WHERE p.policy_version_id = pv.policy_version_id)
            AND EXISTS (
                SELECT FROM exp.stages AS s
                WHERE s.mlflow_model_name = pv.mlflow_model_name AND s.mlflow_model_version = pv.mlflow_model_version
                    AND s.stage IN ('candidate', 'production')
            )
        ORDER BY version DESC LIMIT 1
    """
    return find_row(connection, query, {"id": policy_id}, row=PolicyVersion)


def map_stages(
    connection: Connection, *, mlflow_model_name: str, mlflow_model_versions: Collection[str]
) -> dict[str, Stage]:
    """Version → stage, of these versions of a registered model."""
    query = """
        SELECT {columns} FROM exp.stages
        WHERE mlflow_model_name = %(name)s AND mlflow_model_version = ANY(%(versions)s)
    """
    values = {"name": mlflow_model_name, "versions": list(mlflow_model_versions)}
    rows = list_rows(connection, query, values, row=_Staged)
    return {row.mlflow_model_version: row.stage for row in rows}


@dataclass(frozen=True, slots=True)
class _Staged:
    mlflow_model_version: str
    stage: Stage


def get_stage(connection: Connection, *, mlflow_model_name: str, mlflow_model_version: str) -> Stage:
    """The stage of a model version.

    Raises:
        RecordNotFound: it was not registered by modelyard.
    """
    stage: Stage | None = find_value(
        connection,
        "SELECT stage FROM exp.stages WHERE mlflow_model_name = %(name)s AND mlflow_model_version = %(version)s",
        {"name": mlflow_model_name, "version": mlflow_model_version},
    )
    if stage is None:
        raise RecordNotFound(f"{mlflow_model_name} version {mlflow_model_version} was not registered by modelyard")
    return stage
