"""What a notebook on a stack does: connect, log datasets of the workload's sample, have runs of its own."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

import modelyard
from modelyard.pipeline.dataset_request import describe_new
from modelyard.pipeline.process import log_dataset
from modelyard.pipeline.raw import LocatedData, hash_raw
from modelyard.pipeline.request import build_request
from modelyard.pipeline.rows import process_rows
from modelyard.pipeline.session import Session
from modelyard.settings import load_settings
from modelyard.store.datasets import Dataset
from modelyard.tracking.runs import ActiveRun, RunType, start_run
from modelyard.workloads.registry import get_workload

NAME = "california_housing"
Log = Callable[..., Dataset]


@contextmanager
def connected(environment: dict[str, str], role: Literal["trainer", "person"] = "trainer") -> Iterator[Session]:
    """A session on the stack that these variables name."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        load_settings.cache_clear()
        with modelyard.connect(role) as session:
            yield session
    load_settings.cache_clear()


def make_log(session: Session, folder: Path) -> Log:
    """A function that logs a dataset as a job does; another seed or file (a number) makes another one."""

    def log(seed: int, *, file: int = 0, source: Any = "file_path", **changes: Any) -> Dataset:
        request, place = build_request(NAME, values={"seed": seed}), folder / str(file)
        place.mkdir(exist_ok=True)
        [sample] = get_workload(NAME).sample(place, seed=file)
        hashed = hash_raw(LocatedData(files=(sample,), source=source, why="named"))
        asked = replace(describe_new(request, hashed.raw, {}, user=session.user, command="process"), **changes)
        rows = process_rows(request.workload, hashed.located, parameters=request.processing)
        return log_dataset(session, asked, rows, attempt=None, report=lambda *_: None)[0]

    return log


def own_run(session: Session, run_type: RunType = "training") -> AbstractContextManager[ActiveRun]:
    """A run of somebody's own, which goes on during the block."""
    tags = {"workload": NAME}
    return start_run(session.mlflow, experiment_id="0", run_type=run_type, job_id=None, attempt=None, tags=tags)


def show_input(session: Session, run: ActiveRun, dataset: Dataset) -> None:
    """Show a dataset as an input of a run, as MLflow shows it on the run that has logged it."""
    shown = session.mlflow.get_run(dataset.mlflow_run_id).inputs.dataset_inputs
    session.mlflow.log_inputs(run.run_id, datasets=shown)
