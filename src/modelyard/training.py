"""A training that is asked for from Python."""

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from modelyard.errors import JobFailed
from modelyard.pipeline.raw import RawData, store_raw
from modelyard.pipeline.request import TrainingRequest, build_request, check_data
from modelyard.pipeline.selection import find_active_run, select_dataset
from modelyard.pipeline.session import Report, Session, say_nothing
from modelyard.pipeline.workload_file import store_workload
from modelyard.settings import load_settings
from modelyard.store import jobs
from modelyard.store.datasets import Dataset
from modelyard.store.following import count_workers, follow_job
from modelyard.workloads.registry import locate_workload

_QUIET_S = 5.0


def train(
    session: Session,
    workload: str,
    *,
    dataset: Dataset | str | None = None,
    run_id: str | None = None,
    strict: bool = False,
    model_type: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    run_name: str | None = None,
    mlflow_experiment: str | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Train a workload and evaluate its model: a job of the stack's workers, followed to its end.

    The first of these is trained on: the dataset logged in the MLflow run that is active here, ``dataset`` as a row (it
    is handed over), the one that the processing run ``run_id`` has logged, ``dataset`` as a text (``NAME``,
    ``NAME@VERSION`` or a digest), the newest dataset of the workload that fits, the configured file, with a warning.

    Args:
        session: as whoever may queue jobs.
        workload: its name, or a file of one's own; ``model_type`` and ``parameters``: as the command takes them.
        strict: no file is fallen back to.
        report: told which dataset was chosen and why, and how far the job is.

    Returns:
        What ``modelyard train --json`` prints.

    Raises:
        BadInput: something that was asked for cannot be done as asked; nothing was queued.
        DatasetRefused: the dataset cannot be trained on as asked, with the reason.
        JobFailed: the training or the evaluation failed.
    """
    report = report or say_nothing
    request = build_request(
        locate_workload(workload, places=load_settings().workload_places()),
        model_type=model_type,
        values=parameters,
        run_name=run_name,
        mlflow_experiment=mlflow_experiment,
    )
    named = {"name": dataset} if isinstance(dataset, str) else {"provided": dataset}
    selection = select_dataset(
        session.records,
        request,
        mlflow=lambda: session.mlflow,
        active_run=find_active_run(session.mlflow),
        run_id=run_id,
        strict=strict,
        **named,
    )
    raw = None
    if selection.dataset is None:
        warnings.warn(f"{selection.why}; a file is read, and strict=True would refuse that", stacklevel=2)
        raw = _store_configured(session, request, report)
    else:
        report("dataset", None, f"{selection.dataset.name} {selection.dataset.version}: {selection.why}")
    store_workload(request.workload, raw_uri=session.raw_uri)
    arguments = selection.request.arguments(raw, **selection.arguments())
    outcome: dict[str, Any] = {"raw": raw.reference()} if raw else {}
    training = _follow(
        session, jobs.submit_job(session.records, kind="train", arguments=arguments), report, role="trainer"
    )
    outcome |= {"job": {"job_id": str(training.job_id), "attempt": training.attempt}, **training.result}
    evaluation = _follow(session, UUID(training.result["registration"]["evaluation_job_id"]), report, role="evaluator")
    return outcome | {
        "evaluation_job": {"job_id": str(evaluation.job_id), "attempt": evaluation.attempt},
        **evaluation.result,
    }


def _store_configured(session: Session, request: TrainingRequest, report: Report) -> RawData:
    """The workload's raw data of the data folder, a download or the sample, checked and stored for a job."""
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        hashed = check_data(
            request,
            data=None,
            data_dir=load_settings().data_dir,
            folder=Path(folder),
            report=lambda text: report("data", None, text),
        )
        return store_raw(hashed, raw_uri=session.raw_uri)


def _follow(session: Session, job_id: UUID, report: Report, *, role: str) -> jobs.Job:
    """Follow a job to its end; warn where nobody is there to do it."""
    for job in follow_job(session.database.dsn, job_id=job_id, quiet_s=_QUIET_S):
        if job is None:
            if count_workers(session.records, role=role) == 0:
                warnings.warn(f"no {role} is connected, and job {job_id} waits; start one: modelyard up", stacklevel=3)
        elif job.progress_step:
            report(job.progress_step, job.progress_share, job.progress_message)
    ended = jobs.get_job(session.records, job_id=job_id)
    if ended.state != "succeeded":
        raise JobFailed(f"job {job_id} {ended.state}: {ended.error}")
    return ended
