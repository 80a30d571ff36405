"""The catalogue of datasets: found by name, version, digest, run or workload."""

import re
from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from modelyard.errors import BadInput, RecordLost, UnknownName
from modelyard.store.connections import Connection, find_row, list_rows
from modelyard.store.datasets import Dataset

_DIGEST = re.compile("[0-9a-f]{8,64}")


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


def list_datasets(
    connection: Connection, *, name: str | None = None, version: str | None = None, digest: str | None = None
) -> list[Dataset]:
    """Datasets, the newest first, deleted ones too: of this name, this version, a digest that begins like this."""
    query = """
        SELECT {columns} FROM exp.datasets
        WHERE (%(name)s::text IS NULL OR name = %(name)s) AND (%(version)s::text IS NULL OR version = %(version)s)
            AND (%(digest)s::text IS NULL OR starts_with(digest, %(digest)s))
        ORDER BY created_at DESC
    """
    return list_rows(connection, query, {"name": name, "version": version, "digest": digest}, row=Dataset)


def resolve_dataset(connection: Connection, text: str) -> Dataset:
    """The dataset that ``NAME`` (its newest version), ``NAME@VERSION`` or a digest (at least 8 of its digits) names.

    Raises:
        BadInput: none or several are meant; the text says which there are.
        RecordLost: its content was deleted; by whom, when and why is said.
    """
    name, at, version = text.partition("@")
    found = list_datasets(connection, name=name, version=version or None) if name else []
    if not found and not at and _DIGEST.fullmatch(text):
        found = list_datasets(connection, digest=text)
        if len({row.digest for row in found}) > 1:
            raise BadInput(f"several datasets have digests that begin with {text}; give more of it")
    if not found:
        known = [f"{row.name}@{row.version}" for row in list_datasets(connection)]
        raise UnknownName("dataset", text, known[:20], hint="modelyard datasets list has all of them.")
    there = [row for row in found if row.removed_at is None]
    if not there:
        gone = found[0]
        raise RecordLost(
            f"dataset {gone.name} {gone.version} was deleted by {gone.removed_by} at {gone.removed_at:%Y-%m-%d %H:%M} "
            f"UTC: {gone.removal_reason}"
        )
    return there[0]
