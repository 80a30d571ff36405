"""The graph of what was made from what: its nodes and edges, and how our rows fill it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, LiteralString
from uuid import UUID

from psycopg.rows import dict_row

from modelyard.store.connections import Connection

NodeKind = Literal[
    "raw file",
    "raw data",
    "dataset",
    "run",
    "model version",
    "evaluation",
    "policy version",
    "reproduction",
    "drift report",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Something on record.

    Attributes:
        node_id: its kind and its key, e.g. ``dataset:5e…`` or ``model:houses_model/3``.
        name: as people name it, e.g. ``houses 1.0.0``.
        facts: the rest of its row.
    """

    node_id: str
    kind: NodeKind
    name: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Edge:
    """``target`` was made from ``source``, or with it: ids of nodes."""

    source: str
    target: str


@dataclass(slots=True, kw_only=True)
class Lineage:
    """A graph without circles; ``starts`` are the ids of what was asked about. Edges are in order, each once."""

    starts: list[str] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[Edge, None] = field(default_factory=dict)
    run_ids: set[str] = field(default_factory=set)  # of the nodes that have an MLflow run

    def add(self, node_id: str, kind: NodeKind, name: str, facts: Mapping[str, Any]) -> None:
        self.nodes.setdefault(node_id, Node(node_id=node_id, kind=kind, name=name, facts=facts))
        if kind != "dataset" and "mlflow_run_id" in facts:
            self.run_ids.add(facts["mlflow_run_id"])

    def link(self, source: str, target: str) -> None:
        """Nothing where either is not there."""
        if source in self.nodes and target in self.nodes:
            self.edges[Edge(source, target)] = None


def read_rows(
    connection: Connection,
    lineage: Lineage,
    *,
    datasets: Sequence[UUID],
    family: Sequence[UUID],
    model: Mapping[str, str] | None = None,
) -> None:
    """Fill a graph: ``datasets`` themselves, whatever used those of ``family``, and the one model version."""
    asked: dict[str, Any] = {"datasets": datasets, "family": family, "name": None, "version": None, **(model or {})}
    steps: tuple[tuple[LiteralString, Callable[[Lineage, dict[str, Any]], None]], ...] = (
        (_DATASETS, _add_dataset),
        (_MODELS, _add_model),
        (_EVALUATIONS, _add_evaluation),
        (_POLICIES, _add_policy),
        (_REPRODUCTIONS, _add_reproduction),
        (_DRIFT, _add_drift),
        (_USES, _add_use),
    )
    for query, add in steps:
        models = [node.facts for node in lineage.nodes.values() if node.kind == "model version"]
        asked["names"] = [facts["mlflow_model_name"] for facts in models]
        asked["versions"] = [facts["mlflow_model_version"] for facts in models]
        asked["raw_digests"] = [node_id.removeprefix("raw:") for node_id in lineage.nodes if node_id.startswith("raw:")]
        for row in list_dicts(connection, query, asked):
            add(lineage, row)
    for node in list(lineage.nodes.values()):
        if parent := node.facts.get("parent_dataset_id"):
            lineage.link(f"dataset:{parent}", node.node_id)


_DATASETS: LiteralString = """
    SELECT
        dataset_id, name, version, workload, digest, num_rows, split_counts, parameters, code_version, data_source,
        location, mlflow_run_id, raw_digest, raw_files, parent_dataset_id, created_by, created_at, removed_at,
        removed_by, removal_reason
    FROM exp.datasets WHERE dataset_id = ANY(%(datasets)s) ORDER BY created_at
"""
_MODELS: LiteralString = """
    SELECT
        v.mlflow_model_name, v.mlflow_model_version, v.mlflow_run_id, v.mlflow_model_id, v.workload, v.task,
        v.model_type, v.dataset_id, v.job_id, v.parameters, v.code_version, v.metrics, v.created_by, v.created_at,
        s.stage, array(SELECT u.dataset_id FROM exp.dataset_uses AS u WHERE u.mlflow_run_id = v.mlflow_run_id) AS used
    FROM exp.model_versions AS v INNER JOIN exp.stages AS s USING (mlflow_model_name, mlflow_model_version)
    WHERE (v.mlflow_model_name = %(name)s AND v.mlflow_model_version = %(version)s)
        OR v.dataset_id = ANY(%(family)s)
        OR v.mlflow_model_id IN (
            SELECT jsonb_path_query(b.parameters, '$.members[*].model_id') #>> '{}' FROM exp.model_versions AS b
            WHERE b.mlflow_model_name = %(name)s AND b.mlflow_model_version = %(version)s
        )
        OR v.mlflow_run_id IN (SELECT u.mlflow_run_id FROM exp.dataset_uses AS u WHERE u.dataset_id = ANY(%(family)s))
    ORDER BY v.created_at
"""
_EVALUATIONS: LiteralString = """
    SELECT
        e.evaluation_id, e.mlflow_model_name, e.mlflow_model_version, e.dataset_id, e.passed, e.reasons, e.metrics,
        e.mlflow_run_id, e.created_by, e.created_at, d.name || ' ' || d.version AS dataset
    FROM exp.evaluations AS e INNER JOIN exp.datasets AS d USING (dataset_id)
    WHERE e.dataset_id = ANY(%(family)s) OR (e.mlflow_model_name, e.mlflow_model_version) IN (
        SELECT m.name, m.version FROM unnest(%(names)s::text[], %(versions)s::text[]) AS m (name, version)
    )
    ORDER BY e.created_at
"""
_POLICIES: LiteralString = """
    SELECT
        v.policy_version_id, v.policy_id, v.version, v.mlflow_model_name, v.mlflow_model_version, v.config_defaults,
        p.live_policy_version_id IS NOT DISTINCT FROM v.policy_version_id AS live, v.created_by, v.created_at
    FROM unnest(%(names)s::text[], %(versions)s::text[]) AS m (name, version)
    INNER JOIN exp.policy_versions AS v ON v.mlflow_model_name = m.name AND v.mlflow_model_version = m.version
    INNER JOIN exp.policies AS p USING (policy_id)
    ORDER BY v.created_at
"""
_REPRODUCTIONS: LiteralString = """
    SELECT
        r.reproduction_id, r.mlflow_model_name, r.mlflow_model_version, r.equal_predictions, r.metrics, r.differences,
        r.code_version, r.mlflow_run_id, r.created_by, r.created_at
    FROM unnest(%(names)s::text[], %(versions)s::text[]) AS m (name, version)
    INNER JOIN exp.reproductions AS r ON r.mlflow_model_name = m.name AND r.mlflow_model_version = m.version
    ORDER BY r.created_at
"""
_DRIFT: LiteralString = """
    SELECT
        drift_report_id, dataset_id, current_dataset_id, current_digest, current_raw_digest, current_rows, drifted,
        mlflow_run_id, created_by, created_at
    FROM exp.drift_reports
    WHERE dataset_id = ANY(%(datasets)s) OR current_dataset_id = ANY(%(datasets)s)
        OR (%(name)s::text IS NULL AND current_raw_digest = ANY(%(raw_digests)s))
    ORDER BY created_at
"""
_USES: LiteralString = """
    SELECT dataset_id, mlflow_run_id, run_type, context, created_by, created_at
    FROM exp.dataset_uses WHERE dataset_id = ANY(%(family)s) ORDER BY created_at
"""


def _add_dataset(lineage: Lineage, row: dict[str, Any]) -> None:
    files = row["raw_files"]
    dataset = f"dataset:{row['dataset_id']}"
    lineage.add(dataset, "dataset", f"{row['name']} {row['version']}", row)
    if row["raw_digest"] is None:
        return
    made_from = dataset
    if [file["sha256"] for file in files] != [row["raw_digest"]]:
        made_from = f"raw:{row['raw_digest']}"
        lineage.add(made_from, "raw data", f"{len(files)} files", {"digest": row["raw_digest"]})
        lineage.link(made_from, dataset)
    for file in files:
        lineage.add(f"raw:{file['sha256']}", "raw file", file["name"], file)
        lineage.link(f"raw:{file['sha256']}", made_from)


def _add_model(lineage: Lineage, row: dict[str, Any]) -> None:
    run, model = f"run:{row['mlflow_run_id']}", _model_id(row)
    facts = {key: row[key] for key in ("mlflow_run_id", "model_type", "parameters", "code_version", "metrics")}
    members = row["parameters"].get("members")
    is_blend = row["model_type"] == "blend" and isinstance(members, list)  # of another tool it may be anything
    run_type = "blend" if is_blend else "training"
    about = {"run_type": run_type, "job_id": row["job_id"], "created_by": row["created_by"]}
    lineage.add(run, "run", row["mlflow_run_id"], facts | about)
    lineage.add(model, "model version", model.removeprefix("model:"), row)
    for dataset_id in {row["dataset_id"]: None, **dict.fromkeys(row.pop("used"))}:
        lineage.link(f"dataset:{dataset_id}", run)
    lineage.link(run, model)
    blended = {member["model_id"] for member in members} if is_blend else set()
    for node in lineage.nodes.values():
        if node.facts.get("mlflow_model_id") in blended:
            lineage.link(node.node_id, run)


def _add_evaluation(lineage: Lineage, row: dict[str, Any]) -> None:
    evaluation = f"evaluation:{row['evaluation_id']}"
    lineage.add(evaluation, "evaluation", str(row["evaluation_id"]), row)
    model = lineage.nodes.get(_model_id(row))
    if model is not None:
        lineage.link(model.node_id, evaluation)
    if model is None or model.facts["dataset_id"] != row["dataset_id"]:
        lineage.link(f"dataset:{row['dataset_id']}", evaluation)


def _add_policy(lineage: Lineage, row: dict[str, Any]) -> None:
    policy = f"policy:{row['policy_id']}/{row['version']}"
    lineage.add(policy, "policy version", f"{row['policy_id']} version {row['version']}", row)
    lineage.link(_model_id(row), policy)


def _add_reproduction(lineage: Lineage, row: dict[str, Any]) -> None:
    reproduction = f"reproduction:{row['reproduction_id']}"
    lineage.add(reproduction, "reproduction", str(row["reproduction_id"]), row)
    lineage.link(_model_id(row), reproduction)


def _add_drift(lineage: Lineage, row: dict[str, Any]) -> None:
    report = f"drift:{row['drift_report_id']}"
    lineage.add(report, "drift report", str(row["drift_report_id"]), row)
    for source in (f"dataset:{row['dataset_id']}", f"dataset:{row['current_dataset_id']}"):
        lineage.link(source, report)
    if row["current_dataset_id"] is None:
        lineage.link(f"raw:{row['current_raw_digest']}", report)


def _add_use(lineage: Lineage, row: dict[str, Any]) -> None:
    """What stands there under its own kind (an evaluation, say) is not told twice."""
    run = f"run:{row['mlflow_run_id']}"
    if row["mlflow_run_id"] not in lineage.run_ids:
        lineage.add(run, "run", row["mlflow_run_id"], row)
    lineage.link(f"dataset:{row['dataset_id']}", run)


def _model_id(row: Mapping[str, Any]) -> str:
    return f"model:{row['mlflow_model_name']}/{row['mlflow_model_version']}"


def list_dicts(connection: Connection, query: LiteralString, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All rows of a query, each by the names of its columns."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, values).fetchall()
