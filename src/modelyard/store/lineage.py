"""Lineage: what a model, a dataset or raw data was made from, and what came of it. Read from our rows alone."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, LiteralString
from uuid import UUID

from modelyard.errors import BadInput, UnknownName
from modelyard.store.catalogue import list_datasets
from modelyard.store.connections import Connection
from modelyard.store.lineage_graph import Lineage, list_dicts, read_rows
from modelyard.store.usage import resolve_even_removed

_MODEL = re.compile("(.+)/([0-9]{1,9})")
_DIGEST = re.compile("[0-9a-f]{8,64}")
_NB_KNOWN = 200  # names that an error looks through for the nearest


def trace(connection: Connection, text: str) -> Lineage:
    """The lineage of ``MODEL/VERSION``, of a dataset (``NAME``, ``NAME@VERSION``, digest) or of raw data (digest).

    A model version: what it was made from, and what judged, reproduced and serves it. A dataset or raw data: also every
    run, model version and policy version that came of it. A digest may be cut to its first 8 digits or more.

    Raises:
        BadInput: nothing on record is called this, or several digests begin like this.
    """
    if model := _MODEL.fullmatch(text):
        key = {"name": model[1], "version": str(int(model[2]))}
        found = list_dicts(
            connection,
            "SELECT dataset_id, mlflow_run_id FROM exp.model_versions"
            " WHERE mlflow_model_name = %(name)s AND mlflow_model_version = %(version)s",
            key,
        )
        if found:
            return _trace_model(connection, key, found[0])
    name, at, version = text.partition("@")
    if name and list_datasets(connection, name=name, version=version or None):
        return _trace_datasets(connection, [resolve_even_removed(connection, text).dataset_id])
    if not at and _DIGEST.fullmatch(text) and (lineage := _trace_digest(connection, text)):
        return lineage
    known = [row["name"] for row in list_dicts(connection, _KNOWN, {"nb": _NB_KNOWN})]
    raise UnknownName(
        "model version, dataset or digest",
        text,
        get_close_matches(text, known, n=5, cutoff=0.5) or known[:10],
        hint="A model version is written NAME/VERSION, a dataset NAME@VERSION.",
    )


_KNOWN: LiteralString = """
    (SELECT mlflow_model_name || '/' || mlflow_model_version AS name FROM exp.model_versions
    ORDER BY created_at DESC LIMIT %(nb)s)
    UNION ALL
    (SELECT name || '@' || version FROM exp.datasets ORDER BY created_at DESC LIMIT %(nb)s)
"""


def _trace_model(connection: Connection, key: Mapping[str, str], model: Mapping[str, Any]) -> Lineage:
    used = list_dicts(
        connection, "SELECT dataset_id FROM exp.dataset_uses WHERE mlflow_run_id = %(mlflow_run_id)s", model
    )
    above = _walk(connection, _UP, [model["dataset_id"], *(row["dataset_id"] for row in used)])
    lineage = Lineage(starts=[f"model:{key['name']}/{key['version']}"])
    read_rows(connection, lineage, datasets=above, family=[], model=key)
    return lineage


def _trace_datasets(connection: Connection, ids: Sequence[UUID]) -> Lineage:
    lineage = Lineage()
    family = _walk(connection, _DOWN, ids)
    read_rows(connection, lineage, datasets=_walk(connection, _UP, family), family=family)
    asked = {f"dataset:{dataset_id}" for dataset_id in ids}
    lineage.starts = [node_id for node_id in lineage.nodes if node_id in asked]
    return lineage


def _trace_digest(connection: Connection, digest: str) -> Lineage | None:
    """Of the datasets or the raw data with this digest; None if there are none."""
    found = list_dicts(connection, _BY_DIGEST, {"digest": digest})
    if len({row["digest"] for row in found}) > 1:
        raise BadInput(f"several digests begin with {digest}; give more of it")
    same = [row["dataset_id"] for row in found if row["is_dataset"]]
    if same or not found:
        return _trace_datasets(connection, same) if same else None
    family = _walk(connection, _DOWN, [row["dataset_id"] for row in found])
    lineage = Lineage(starts=[f"raw:{found[0]['digest']}"])
    read_rows(connection, lineage, datasets=_walk(connection, _UP, family), family=family)
    return lineage


_BY_DIGEST: LiteralString = """
    SELECT dataset_id, digest, true AS is_dataset FROM exp.datasets WHERE starts_with(digest, %(digest)s)
    UNION
    SELECT dataset_id, raw_digest, false FROM exp.datasets WHERE starts_with(raw_digest, %(digest)s)
    UNION
    SELECT d.dataset_id, f.file ->> 'sha256', false
    FROM exp.datasets AS d CROSS JOIN LATERAL jsonb_array_elements(d.raw_files) AS f (file)
    WHERE starts_with(f.file ->> 'sha256', %(digest)s)
"""
_UP: LiteralString = """
    WITH RECURSIVE walked AS (
        SELECT dataset_id, parent_dataset_id FROM exp.datasets WHERE dataset_id = ANY(%(ids)s)
        UNION
        SELECT d.dataset_id, d.parent_dataset_id
        FROM exp.datasets AS d INNER JOIN walked ON d.dataset_id = walked.parent_dataset_id
    )
    SELECT dataset_id FROM walked
"""
_DOWN: LiteralString = """
    WITH RECURSIVE walked AS (
        SELECT dataset_id FROM exp.datasets WHERE dataset_id = ANY(%(ids)s)
        UNION
        SELECT d.dataset_id FROM exp.datasets AS d INNER JOIN walked ON d.parent_dataset_id = walked.dataset_id
    )
    SELECT dataset_id FROM walked
"""


def _walk(connection: Connection, query: LiteralString, ids: Iterable[UUID]) -> list[UUID]:
    return [row["dataset_id"] for row in list_dicts(connection, query, {"ids": list(ids)})]
