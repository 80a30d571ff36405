"""Runs side by side: what each was, its datasets, its params, its metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlflow.entities import Run

from modelyard.errors import BadInput
from modelyard.pipeline.session import Session
from modelyard.store.models import find_model_version_by_run, resolve_model_version
from modelyard.store.usage import list_input_names
from modelyard.tracking.runs import find_run

MAX_RUNS = 8


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that runs can have: its value of each, None where a run has none."""

    name: str
    values: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        return len(set(map(repr, self.values))) > 1  # NaN is as NaN


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Runs in the order in which they were named; rows by name."""

    run_ids: tuple[str, ...]
    facts: tuple[Row, ...]
    datasets: tuple[Row, ...]
    params: tuple[Row, ...]
    metrics: tuple[Row, ...]


def compare_runs(session: Session, names: Sequence[str]) -> Comparison:
    """Two to eight runs, each named by its id or as the model version ``MODEL/VERSION`` that came of it.

    Raises:
        BadInput: too few or too many, one twice, or MLflow has no such run.
        UnknownName: there is no such model version.
    """
    if not 2 <= len(names) <= MAX_RUNS:
        raise BadInput(f"{len(names)} runs cannot be compared; name 2 to {MAX_RUNS}")
    runs = [_find(session, name) for name in names]
    ids = tuple(str(run.info.run_id) for run in runs)
    if len(set(ids)) < len(ids):
        raise BadInput("the same run is named twice")
    return Comparison(
        run_ids=ids,
        facts=_align([_describe(session, run) for run in runs]),
        datasets=_align([_list_datasets(session, run) for run in runs]),
        params=_align([run.data.params for run in runs]),
        metrics=_align([run.data.metrics for run in runs]),
    )


def _find(session: Session, name: str) -> Run:
    run_id = resolve_model_version(session.records, name).mlflow_run_id if "/" in name else name
    found = find_run(session.mlflow, run_id)
    if found is None:
        raise BadInput(f"MLflow has no run {run_id}; modelyard runs shows those there are, MODEL/VERSION names its run")
    return found


def _describe(session: Session, run: Run) -> dict[str, Any]:
    version = find_model_version_by_run(session.records, mlflow_run_id=run.info.run_id)
    ended, started = run.info.end_time, run.info.start_time
    facts = {
        "name": run.info.run_name,
        "type": run.data.tags.get("run_type"),
        "workload": run.data.tags.get("workload"),
        "model version": version.label if version else None,
        "model type": version.model_type if version else None,
        "status": run.info.status,
        "started (UTC)": f"{datetime.fromtimestamp(started / 1000, UTC):%Y-%m-%d %H:%M:%S}",
        "took (s)": round((ended - started) / 1000, 3) if ended else None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _list_datasets(session: Session, run: Run) -> dict[str, str]:
    """Context → dataset with its version and digest; as MLflow has it where it is not on record."""
    recorded = list_input_names(session.records, mlflow_run_id=run.info.run_id)
    if recorded:
        return recorded
    shown: dict[str, str] = {}
    for found in run.inputs.dataset_inputs if run.inputs else []:
        context = next((tag.value for tag in found.tags if tag.key == "mlflow.data.context"), "input")
        text = f"{found.dataset.name}, digest {found.dataset.digest} (not on record)"
        shown[context] = f"{shown[context]}; {text}" if context in shown else text
    return shown


def _align(found: Sequence[Mapping[str, Any]]) -> tuple[Row, ...]:
    names = dict.fromkeys(name for one in found for name in one)
    return tuple(Row(name, tuple(one.get(name) for one in found)) for name in names)
