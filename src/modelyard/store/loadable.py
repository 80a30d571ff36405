"""What an application names to load a model: a policy, one of its versions, or a model version."""

import json
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from uuid import UUID

import psycopg

from modelyard.errors import BadInput, NothingLive, UnknownName
from modelyard.store.connections import Connection, find_row

_NAMES_SHOWN = 20
_KINDS = {
    "loadable_policy_check": ("policy", "A policy, POLICY@VERSION or MODEL/VERSION can be named."),
    "loadable_version_check": ("policy version", ""),
    "loadable_model_check": ("model version", "A policy, POLICY@VERSION or MODEL/VERSION can be named."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loadable:
    """A model version, and the policy version that was asked for; the first three are None where none was.

    Attributes:
        mlflow_model_id: the logged model (m-…) that holds its files.
        config_defaults: of the policy version; empty without one.
        schema: the columns of the dataset that it was trained on, as recorded.
        targets: the columns that it predicts.
    """

    policy_id: str | None
    policy_version_id: UUID | None
    policy_version: int | None
    mlflow_model_name: str
    mlflow_model_version: str
    mlflow_model_id: str
    config_defaults: dict[str, Any]
    workload: str
    task: str
    dataset_name: str
    dataset_version: str
    schema: list[dict[str, Any]]
    targets: list[str]

    @property
    def model(self) -> str:
        """The model version as commands take it, e.g. ``houses_model/4``."""
        return f"{self.mlflow_model_name}/{self.mlflow_model_version}"

    @property
    def name(self) -> str:
        """The policy version, e.g. ``houses_policy@4``; the model version where there is none."""
        return self.model if self.policy_id is None else f"{self.policy_id}@{self.policy_version}"


def resolve_loadable(connection: Connection, text: str) -> Loadable:
    """What ``POLICY`` (its live version), ``POLICY@VERSION`` or ``MODEL/VERSION`` stands for now.

    Raises:
        BadInput: it is none of these.
        UnknownName: there is no such thing; the nearest that there is, is named.
        NothingLive: the policy has no live version.
    """
    model, slash, model_version = text.rpartition("/")
    policy, at, policy_version = text.partition("@")
    if at and not slash and not (policy_version.isascii() and policy_version.isdigit() and len(policy_version) < 10):
        raise BadInput(f"{text!r} is no policy version; write POLICY@VERSION with its version as a number")
    if slash:
        query = "SELECT {columns} FROM exp.resolve_model_version(%(model)s, %(version)s)"
        values: dict[str, Any] = {"model": model, "version": model_version}
    else:
        query = "SELECT {columns} FROM exp.resolve_policy_version(%(policy)s, %(version)s)"
        values = {"policy": policy, "version": int(policy_version) if at else None}
    try:
        found = find_row(connection, query, values, row=Loadable)
    except psycopg.errors.NoDataFound as error:
        raise _explain(error, text, policy) from None
    assert found is not None  # noqa: S101  the function returns one row or raises
    return found


def _explain(error: psycopg.Error, text: str, policy: str) -> UnknownName | NothingLive:
    kind, hint = _KINDS.get(error.diag.constraint_name or "", (None, ""))
    if kind is None:
        return NothingLive(policy)
    known = [str(name) for name in json.loads(error.diag.message_detail or "[]")]
    if kind == "policy version":
        known = [f"{policy}@{version}" for version in known]
    return UnknownName(kind, text, get_close_matches(text, known, n=_NAMES_SHOWN, cutoff=0.0), hint=hint)
