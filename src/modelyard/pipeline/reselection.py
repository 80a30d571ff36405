"""Whether the members of a blend are to be selected anew: its error on test rows now, and when it was made."""

import math
from dataclasses import dataclass

from mlflow import MlflowClient, MlflowException

from modelyard.errors import BadInput, ServiceFailed
from modelyard.pipeline.evaluation_request import EvaluationRequest, build_evaluation, find_live
from modelyard.store.catalogue import resolve_dataset
from modelyard.store.connections import Connection
from modelyard.store.models import ModelVersion, find_newest_version
from modelyard.store.usage import list_summaries
from modelyard.tracking.projection import write_tag
from modelyard.workloads.contract import WorkloadSpec
from modelyard.workloads.registry import BLEND

TAG = "needs_reselection"
LIMIT = 1.1  # where nobody gives another


@dataclass(frozen=True, slots=True, kw_only=True)
class Reselection:
    """A blend's primary metric, an error, on test rows: ``then`` at its making, ``now`` on ``dataset``, in its unit.

    ``needs_reselection`` where ``now`` is above ``limit`` times ``then``.
    """

    model: str
    dataset: str
    metric: str
    then: float
    now: float | None
    limit: float
    needs_reselection: bool


def build_check(connection: Connection, spec: WorkloadSpec, *, dataset: str | None, limit: float) -> EvaluationRequest:
    """The evaluation that a check of a blend needs: the live version if it is one, else the newest blend.

    Args:
        connection: as whoever asks.
        spec: of the workload.
        dataset: ``NAME[@VERSION]`` or a digest, whose test rows are scored; default: the workload's newest. Rows of
            another dataset than the blend's that a model was trained on are left out.
        limit: above 0.

    Raises:
        BadInput: there is no blend, the limit is no such number, or the dataset cannot be scored.
    """
    if not (math.isfinite(limit) and limit > 0):
        raise BadInput(f"--limit {limit} is no number above 0; 1.1 allows an error that is 10 % larger")
    version = _find_blend(connection, spec)
    if dataset is None:
        there = (row for row in list_summaries(connection, workload=spec.name) if row.removed_at is None)
        newest = next(there, None)
        if newest is None:
            raise BadInput(f"no dataset of {spec.name} is there to check {version.label} on; make one or name one")
        dataset = f"{newest.name}@{newest.version}"
    is_same = resolve_dataset(connection, dataset).dataset_id == version.dataset_id
    return build_evaluation(connection, version, dataset=dataset, unseen_rows=not is_same)


def _find_blend(connection: Connection, spec: WorkloadSpec) -> ModelVersion:
    live = find_live(connection, spec.model_name)
    if live is not None and live.version.model_type == BLEND:
        return live.version
    newest = find_newest_version(connection, mlflow_model_name=spec.model_name, model_type=BLEND)
    if newest is None:
        raise BadInput(f"{spec.name} has no blend to check; make one: modelyard blend {spec.name}")
    return newest


def judge_blend(
    client: MlflowClient, request: EvaluationRequest, *, metric: str, now: float | None, limit: float = LIMIT
) -> Reselection:
    """Hold what was found against what the blend's run has logged; MLflow shows it on the version and the run.

    Args:
        client: of MLflow.
        request: what was evaluated: a blend.
        metric: the primary one.
        now: what it is on the rows that were scored; None, where it is no finite number, is above any limit.
        limit: so many times as large as then it may be.

    Raises:
        ServiceFailed: MLflow does not answer, or has lost the version or the run.
    """
    version, dataset = request.version, request.dataset
    then = version.metrics[f"test_{metric}"]
    found = Reselection(
        model=version.label,
        dataset=f"{dataset.name}@{dataset.version}",
        metric=metric,
        then=then,
        now=now,
        limit=limit,
        needs_reselection=now is None or now > limit * then,
    )
    value = str(found.needs_reselection).lower()
    try:
        write_tag(client, version.mlflow_model_name, version.mlflow_model_version, tag=TAG, value=value)
        client.set_tag(version.mlflow_run_id, TAG, value)
    except MlflowException as error:
        reason = " ".join(str(error).split())[:300]
        raise ServiceFailed(f"MLflow cannot show {TAG}={value} of {version.label} and of its run: {reason}") from error
    return found
