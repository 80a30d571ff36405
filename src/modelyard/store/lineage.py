"""Lineage: what a model, a dataset or raw data was made from, and what came of it. Read from our rows alone."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import LiteralString
from uuid import UUID

from modelyard.errors import BadInput, UnknownName
from modelyard.store.catalogue import DIGEST, find_named
from modelyard.store.connections import Connection
from modelyard.store.lineage_graph import Lineage, list_dicts, read_rows
from modelyard.store.models import ModelVersion, find_model_version

_NB_KNOWN = 200  # names that an error looks through for the nearest


def trace(connection: Connection, text: str) -> Lineage:
    """The lineage of ``MODEL/VERSION``, of a dataset (``NAME``, ``NAME@VERSION``, digest) or of raw data (digest).

    A model version: what it was made from, and what judged, reproduced and serves it. A dataset or raw data: also every
    run, model version and policy version that came of it. A digest may be cut to its first 8 digits or more.

    Raises:
        BadInput: nothing on record is called this, or several digests begin like this.
    """
    name, _, number = text.rpartition("/")
    if model := find_model_version(connection, mlflow_model_name=name, mlflow_model_version=number):
        return _trace_model(connection, model)
    name, at, version = text.partition("@")
    if (version or not at) and (dataset := find_named(connection, name=name, version=version or None)):
        return _trace_datasets(connection, [dataset.dataset_id])
    if not at and DIGEST.fullmatch(text) and (lineage := _trace_digest(connection, text.lower())):
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


def _trace_model(connection: Connection, model: ModelVersion) -> Lineage:
    key = {"name": model.mlflow_model_name, "version": model.mlflow_model_version}
    query: LiteralString = "SELECT dataset_id FROM exp.dataset_uses WHERE mlflow_run_id = %(run_id)s"
    used = list_dicts(connection, query, {"run_id": model.mlflow_run_id})
    above = _walk(connection, _UP, [model.dataset_id, *(row["dataset_id"] for row in used)])
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
    asked = {"digest": digest}
    found = list_dicts(connection, _BY_DIGEST, asked) or list_dicts(connection, _BY_JOB, asked)
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
# raw data that held what was on record already: the dataset names the files it was made from first
_BY_JOB: LiteralString = """
    SELECT DISTINCT (j.result #>> '{dataset,dataset_id}')::uuid AS dataset_id, d.digest, true AS is_dataset
    FROM exp.jobs AS j
    CROSS JOIN LATERAL (
        SELECT j.arguments #>> '{raw,digest}'
        UNION
        SELECT f.file ->> 'sha256' FROM jsonb_array_elements(j.arguments #> '{raw,files}') AS f (file)
    ) AS d (digest)
    WHERE starts_with(d.digest, %(digest)s) AND j.result #>> '{dataset,dataset_id}' IS NOT NULL
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
