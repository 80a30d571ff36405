"""MLflow runs: each has a type, a job and an attempt, and none is left RUNNING."""

import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from mlflow import MlflowClient, MlflowException
from mlflow.entities import LoggedModelStatus, Metric, Param, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.utils.time import get_current_time_millis

RunType = Literal["dataset", "training", "evaluation", "blend"]
RUN_TYPES: tuple[RunType, ...] = get_args(RunType)
JOB_TAG, ATTEMPT_TAG, ORPHAN_TAG = "modelyard.job_id", "modelyard.attempt", "modelyard.orphan"
TRACEBACK_PATH = "error/traceback.txt"


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that is being written."""

    client: MlflowClient
    run_id: str
    experiment_id: str

    def log(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        step: int = 0,
    ) -> None:
        """Log any of them in as few calls as MLflow allows (100 params, 1,000 metrics, 100 tags a call)."""
        now = get_current_time_millis()
        all_params = [Param(key, _param_text(value)) for key, value in (params or {}).items()]
        all_metrics = [Metric(key, float(value), now, step) for key, value in (metrics or {}).items()]
        all_tags = [RunTag(key, value) for key, value in (tags or {}).items()]
        while all_params or all_metrics or all_tags:
            self.client.log_batch(
                self.run_id, metrics=all_metrics[:800], params=all_params[:100], tags=all_tags[:100], synchronous=True
            )
            del all_params[:100], all_metrics[:800], all_tags[:100]

    def log_files(self, files: Mapping[str, "str | bytes | Path | Any"]) -> None:
        """Log artifacts: path in the run → text, bytes, a local file or a matplotlib figure."""
        with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
            for name, content in files.items():
                local = Path(folder, name)
                local.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, Path):
                    local = content
                elif isinstance(content, str):
                    local.write_text(content, encoding="utf-8")
                elif isinstance(content, bytes):
                    local.write_bytes(content)
                else:
                    content.savefig(local, dpi=120, bbox_inches="tight", metadata={"Software": None})
                parent = str(Path(name).parent)
                self.client.log_artifact(self.run_id, str(local), None if parent == "." else parent)


def _param_text(value: Any) -> str:
    return "none" if value is None else str(value)


@contextmanager
def start_run(
    client: MlflowClient,
    *,
    experiment_id: str,
    run_type: RunType,
    job_id: str | None,
    attempt: int | None,
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
    run_id: str | None = None,
) -> Iterator[ActiveRun]:
    """A run that ends FINISHED, FAILED (its traceback logged as an artifact) or, by Ctrl-C, KILLED.

    ``run_id`` names one of this experiment that is there already and is gone on with; else a new one is made.
    """
    all_tags = {**(tags or {}), "run_type": run_type}
    if job_id is not None:
        all_tags |= {JOB_TAG: job_id, ATTEMPT_TAG: str(attempt)}
    if run_id is None:
        run_id = client.create_run(experiment_id, run_name=name, tags=all_tags).info.run_id
    else:
        client.update_run(run_id, name=name)
        ActiveRun(client, run_id, experiment_id).log(tags=all_tags)
    run = ActiveRun(client, run_id, experiment_id)
    try:
        yield run
    except BaseException as error:
        try:
            if isinstance(error, Exception):
                run.log_files({TRACEBACK_PATH: traceback.format_exc()})
            client.set_terminated(run.run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
        except Exception as unreachable:  # the first error is the one to show; the next attempt ends the run
            error.add_note(f"run {run.run_id} could not be ended: {unreachable}")
        raise
    client.set_terminated(run.run_id, "FINISHED")


def list_job_runs(client: MlflowClient, *, job_id: str, experiment_names: Sequence[str]) -> list[MlflowRun]:
    """The runs that any attempt of a job has made, newest first."""
    ids = [e.experiment_id for e in map(client.get_experiment_by_name, experiment_names) if e is not None]
    if not ids:
        return []
    runs: list[MlflowRun] = []
    token = None
    while True:
        page = client.search_runs(ids, f"tags.`{JOB_TAG}` = '{job_id}'", max_results=100, page_token=token)
        runs.extend(page)
        token = page.token
        if not token:
            return runs


def is_left_open(run: MlflowRun | None) -> bool:
    """Whether a run's writer died after what it found was recorded; what is lost or deleted stays as it is."""
    return run is not None and run.info.lifecycle_stage == "active" and run.info.status != "FINISHED"


def list_training_inputs(run: MlflowRun) -> list[tuple[str, str]]:
    """Name and digest of each dataset that is an input of a run with context ``training``."""
    return [
        (entry.dataset.name, entry.dataset.digest)
        for entry in (run.inputs.dataset_inputs if run.inputs else [])
        if any(tag.key == "mlflow.data.context" and tag.value == "training" for tag in entry.tags)
    ]


def fail_orphan(client: MlflowClient, run_id: str, *, reason: str) -> None:
    """End a run whose writer died, with the reason as a tag, and the models that it was logging."""
    outputs = client.get_run(run_id).outputs
    for output in outputs.model_outputs if outputs else []:
        if client.get_logged_model(output.model_id).status == LoggedModelStatus.PENDING:
            client.finalize_logged_model(output.model_id, LoggedModelStatus.FAILED)
    client.set_tag(run_id, ORPHAN_TAG, reason[:5000])
    client.set_terminated(run_id, "FAILED")


def find_run(client: MlflowClient, run_id: str) -> MlflowRun | None:
    """The run with this id, a deleted one too; None where MLflow has none, or it is no id."""
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None
