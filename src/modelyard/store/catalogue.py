"""The catalogue of datasets: found by name, version, digest, run or workload."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from psycopg.types.json import Jsonb

from modelyard.errors import BadInput, RecordLost, UnknownName
from modelyard.store.connections import Connection, find_row, find_value, list_rows
from modelyard.store.datasets import Dataset

DIGEST = re.compile("[0-9a-f]{8,64}", re.IGNORECASE)  # or its beginning


def find_newest(
    connection: Connection, *, workload: str, parameters: Mapping[str, Any] | None = None
) -> Dataset | None:
    """The dataset of a workload that was recorded last, of real data that meets its expectations.

    ``parameters``: it was processed with these.
    """
    query = """
        SELECT {columns} FROM exp.datasets
        WHERE workload = %(workload)s AND removed_at IS NULL AND data_source <> 'sample'
            AND parameters @> %(parameters)s AND violations = '[]'
        ORDER BY created_at DESC LIMIT 1
    """
    values = {"workload": workload, "parameters": Jsonb(dict(parameters or {}))}
    return find_row(connection, query, values, row=Dataset)


def find_by_run(connection: Connection, *, mlflow_run_id: str) -> Dataset | None:
    """The dataset that a processing run has logged."""
    query = "SELECT {columns} FROM exp.datasets WHERE mlflow_run_id = %(mlflow_run_id)s"
    return find_row(connection, query, {"mlflow_run_id": mlflow_run_id}, row=Dataset)


def find_named(connection: Connection, *, name: str, version: str | None = None) -> Dataset | None:
    """The dataset with this version, or the newest of the name; a deleted one where there is no other."""
    query = """
        SELECT {columns} FROM exp.datasets
        WHERE name = %(name)s AND (%(version)s::text IS NULL OR version = %(version)s)
        ORDER BY removed_at IS NOT NULL, created_at DESC LIMIT 1
    """
    return find_row(connection, query, {"name": name, "version": version}, row=Dataset)


def list_datasets(connection: Connection, *, name: str | None = None, digest: str | None = None) -> list[Dataset]:
    """Datasets, the newest first, deleted ones too: of this name, a digest that begins like this."""
    query = """
        SELECT {columns} FROM exp.datasets
        WHERE (%(name)s::text IS NULL OR name = %(name)s)
            AND (%(digest)s::text IS NULL OR starts_with(digest, %(digest)s))
        ORDER BY created_at DESC
    """
    return list_rows(connection, query, {"name": name, "digest": digest and digest.lower()}, row=Dataset)


def resolve_dataset(connection: Connection, text: str) -> Dataset:
    """The dataset that ``NAME`` (its newest version), ``NAME@VERSION`` or a digest (at least 8 of its digits) names.

    Raises:
        BadInput: none or several are meant; the text says which there are.
        RecordLost: its content was deleted; by whom, when and why is said.
    """
    name, at, version = text.partition("@")
    if at and not version:
        raise BadInput(f"{text!r} names no version; write NAME@VERSION, or NAME for the newest")
    found = find_named(connection, name=name, version=version or None)
    if found is None and not at and DIGEST.fullmatch(text):
        rows = list_datasets(connection, digest=text)
        if len({row.digest for row in rows}) > 1:
            raise BadInput(f"several datasets have digests that begin with {text}; give more of it")
        found = min(rows, key=lambda row: row.removed_at is not None, default=None)
    if found is None:
        hint = "modelyard datasets list has all of them."
        raise UnknownName("dataset", text, _list_nearest(connection, name), hint=hint)
    if found.removed_at is not None:
        raise RecordLost(
            f"dataset {found.name} {found.version} was deleted by {found.removed_by} at "
            f"{found.removed_at:%Y-%m-%d %H:%M} UTC: {found.removal_reason}"
        )
    return found


def _list_nearest(connection: Connection, name: str) -> list[str]:
    """``NAME@VERSION`` of the datasets whose names are nearest to one, else of any; the newest twenty of them."""
    query = "SELECT coalesce(array_agg(DISTINCT name), '{}') FROM exp.datasets WHERE removed_at IS NULL"
    names = find_value(connection, query)
    near = get_close_matches(name, names, n=3, cutoff=0.5) or names
    query = """
        SELECT coalesce(array_agg(called), '{}') FROM (
            SELECT name || '@' || version AS called FROM exp.datasets
            WHERE name = ANY(%(near)s) AND removed_at IS NULL ORDER BY created_at DESC LIMIT 20
        ) AS nearest
    """
    found: list[str] = find_value(connection, query, {"near": near})
    return found
