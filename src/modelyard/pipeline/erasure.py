"""What somebody has deleted in MLflow: ``mlflow gc`` takes it for good where no record names it, else it comes back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from modelyard.pipeline.garbage import Collected, Garbage, MlflowStore
from modelyard.pipeline.session import Session
from modelyard.store.catalogue import find_by_run
from modelyard.store.connections import connect
from modelyard.store.deleted_models import DeletedModel, list_deleted_models, restore_model
from modelyard.store.projections import NeededRun, list_needed_runs
from modelyard.tracking import projection
from modelyard.tracking.deletion import (
    delete_artifacts,
    is_registered,
    list_deleted_runs,
    measure_artifacts,
    name_for_gc,
)
from modelyard.tracking.runs import RUN_TYPES, find_run

_AT_ONCE = 200  # of one call of mlflow gc, which takes seconds to start
_WHY = "somebody has deleted it in MLflow, and nothing on record names it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restorable:
    """A run or logged model that was deleted in MLflow although a record names it.

    Attributes:
        mlflow_id: of the run or of the logged model.
        name: of what names it, e.g. ``houses@1.0.0``.
    """

    kind: Literal["run", "model"]
    mlflow_id: str
    name: str


def list_restorable(session: Session, store: MlflowStore) -> list[Restorable]:
    """What records name of all that is deleted in MLflow; changes nothing."""
    needed = list_needed_runs(session.records)
    deleted = projection.list_deleted_runs(session.mlflow, [run.mlflow_run_id for run in needed])
    models = {model.mlflow_model_id for model in _list_models(store)}
    found: dict[str, Restorable] = {}
    for run in needed:
        if run.mlflow_run_id in deleted:
            found[run.mlflow_run_id] = Restorable(kind="run", mlflow_id=run.mlflow_run_id, name=run.name)
        if run.mlflow_model_id in models:
            found[run.mlflow_model_id] = Restorable(kind="model", mlflow_id=run.mlflow_model_id, name=run.name)
    return list(found.values())


def restore_needed(session: Session, store: MlflowStore) -> None:
    """Take out of MLflow's deleted ones what records name, so that no ``mlflow gc`` finds it there."""
    found = list_restorable(session, store)
    with connect(store.dsn, application_name="modelyard gc") as connection:
        for one in found:
            if one.kind == "model":
                restore_model(connection, mlflow_model_id=one.mlflow_id)
    runs = [one.mlflow_id for one in found if one.kind == "run"]
    projection.restore_runs(session.mlflow, projection.list_deleted_runs(session.mlflow, runs))


def plan_deleted(session: Session, store: MlflowStore, *, unused_for: timedelta) -> Iterator[Garbage]:
    """Runs and logged models of ours among those that MLflow keeps of deleted ones, where nothing needs them."""
    latest = datetime.now(UTC) - unused_for
    needed = list_needed_runs(session.records)
    models = _list_models(store)
    going = [
        model
        for model in models
        if model.ours and model.deleted_at <= latest and _find_reason(session, needed, model) is None
    ]
    for model in going:
        yield Garbage(
            kind="deleted model",
            name=model.name,
            mlflow_run_id=model.mlflow_run_id,
            mlflow_model_id=model.mlflow_model_id,
            size_bytes=measure_artifacts(model.artifact_uri) or 0,
            since=model.deleted_at,
            why=_WHY,
        )
    # only its run says of a logged model that it is ours
    held = {model.mlflow_run_id for model in models if model not in going}
    for run_type in RUN_TYPES:
        for run in list_deleted_runs(session.mlflow, run_type=run_type):
            run_id = run.info.run_id
            since = datetime.fromtimestamp((run.info.end_time or run.info.start_time) / 1000, UTC)
            # without a workload it is none of ours: a server that was adopted may have runs of these types
            if since > latest or run_id in held or "workload" not in run.data.tags:
                continue
            if _find_reason(session, needed, run_id) is None:
                yield Garbage(
                    kind="deleted run",
                    name=run.info.run_name or run_id,
                    mlflow_run_id=run_id,
                    size_bytes=measure_artifacts(run.info.artifact_uri) or 0,
                    since=since,
                    why=_WHY,
                )


def erase(session: Session, store: MlflowStore, plan: Sequence[Garbage]) -> Iterator[Collected]:
    """Have ``mlflow gc`` take what a plan names of deleted runs and logged models, each if it still may go.

    Raises:
        ServiceFailed: MLflow, or where artifacts are stored, does not answer or refuses.
    """
    for start in range(0, len(plan), _AT_ONCE):
        batch = [(garbage, _prepare(session, store, garbage)) for garbage in plan[start : start + _AT_ONCE]]
        going = [garbage for garbage, kept in batch if kept is None]
        if going:
            words = name_for_gc(
                session.mlflow,
                run_ids=[garbage.mlflow_run_id for garbage in going if garbage.mlflow_model_id is None],
                model_ids=[garbage.mlflow_model_id for garbage in going if garbage.mlflow_model_id is not None],
            )
            store.run_gc(words)
        for garbage, kept in batch:
            yield Collected(garbage=garbage, kept=kept)


def _prepare(session: Session, store: MlflowStore, garbage: Garbage) -> str | None:
    """Delete the files, whose deletion ``mlflow gc`` does not check; or say why it stays after all."""
    found: DeletedModel | str
    if garbage.mlflow_model_id is None:
        run = find_run(session.mlflow, garbage.mlflow_run_id)
        if run is None:
            return "MLflow has forgotten it"
        if run.info.lifecycle_stage != "deleted":
            return "it is not among the deleted runs any more"
        found, artifact_uri = garbage.mlflow_run_id, run.info.artifact_uri
    else:
        models = {model.mlflow_model_id: model for model in _list_models(store)}
        if garbage.mlflow_model_id not in models:
            return "it is not among the deleted logged models any more"
        found = models[garbage.mlflow_model_id]
        artifact_uri = found.artifact_uri
    reason = _find_reason(session, list_needed_runs(session.records), found)
    if reason is None:
        delete_artifacts(artifact_uri)
    return reason


def _find_reason(session: Session, needed: list[NeededRun], found: DeletedModel | str) -> str | None:
    """Why a deleted logged model or run stays; None where it may go."""
    run_id = found if isinstance(found, str) else found.mlflow_run_id
    if isinstance(found, DeletedModel):
        if any(run.mlflow_model_id == found.mlflow_model_id for run in needed):
            return "it is on record"
    # of a dataset whose content was removed the row stays, and names its run
    elif any(run.mlflow_run_id == run_id for run in needed) or find_by_run(session.records, mlflow_run_id=run_id):
        return "it is on record"
    return "a version in MLflow's registry comes from it" if is_registered(session.mlflow, run_id) else None


def _list_models(store: MlflowStore) -> list[DeletedModel]:
    with connect(store.dsn, application_name="modelyard gc") as connection:
        return list_deleted_models(connection, run_types=RUN_TYPES)
