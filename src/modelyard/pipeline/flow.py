"""What a job of each kind does, from its arguments to its end; the same in a worker and inline."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelyard.errors import BadInput
from modelyard.pipeline.attempt import Attempt, prepare
from modelyard.pipeline.dataset_request import describe_new
from modelyard.pipeline.evaluate import evaluate_model
from modelyard.pipeline.evaluation_request import build_arguments, read_evaluation
from modelyard.pipeline.examination import record_run
from modelyard.pipeline.given_run import claim_given_run
from modelyard.pipeline.process import log_dataset
from modelyard.pipeline.raw import fetch_raw
from modelyard.pipeline.register import Registration, register_model
from modelyard.pipeline.request import TrainingRequest, read_request
from modelyard.pipeline.results import Notice, RegistrationResult, Result, encode_result
from modelyard.pipeline.rows import process_rows, streams
from modelyard.pipeline.run_request import read_run_request
from modelyard.pipeline.scorer import explain_unscored
from modelyard.pipeline.session import Emit, Report, Session
from modelyard.pipeline.sweep import UNREGISTERED
from modelyard.pipeline.train import describe_training, train_model
from modelyard.pipeline.training_data import (
    DataSource,
    TrainingData,
    describe_loaded,
    describe_processed,
    load_training_data,
)
from modelyard.pipeline.workload_file import load_recorded_workload
from modelyard.store import attempts, jobs
from modelyard.store.connections import Connection
from modelyard.store.datasets import Dataset
from modelyard.store.models import ModelVersion, get_model_version

SECONDS_BETWEEN_REPORTS = 0.5  # of a step that moves slowly,
SHARE_BETWEEN_REPORTS = 0.05  # and of one that moves quickly: what comes last before a silence is told


def run_job(session: Session, attempt: Attempt, *, emit: Emit, report: Report, reserve_s: float = 0) -> None:
    """Do a job's work and record how it ended well.

    Args:
        session: open connections, as the role whose work the job is.
        attempt: the job, and the right to work on it.
        emit: told each result when it is there and recorded.
        report: told how far each step is.
        reserve_s: for so many seconds no worker takes the evaluation that a training queues.

    Raises:
        StepFailed: a step failed; its MLflow run is FAILED.
        AttemptLost: the job was taken over or cancelled.
        BadInput: this release does not take the job's arguments.
    """
    prepare(session, attempt)
    arguments = attempt.job.arguments
    if "into_run" in arguments:
        claim_given_run(session, attempt, arguments["into_run"])
    if attempt.job.kind == "evaluate":
        _load_evaluated(session, arguments)
    elif "workload_file" in arguments:
        load_recorded_workload(arguments["workload"], arguments, raw_uri=session.raw_uri)
    work = _Work(session, attempt, emit=emit, report=report)
    match attempt.job.kind:
        case "process":
            work.process()
            work.finish(session.records)
        case "train":
            work.train(reserve_s=reserve_s)
        case "blend":
            work.blend(reserve_s=reserve_s)
        case "register":
            work.register(reserve_s=reserve_s)
        case "evaluate":
            work.evaluate()
            work.finish(session.records)
        case "drift":
            work.measure_drift()
            work.finish(session.records)
        case "reproduce":
            work.reproduce()
            work.finish(session.records)
        case other:
            raise BadInput(f"no worker of this release does {other} jobs")


def _load_evaluated(session: Session, arguments: Mapping[str, Any]) -> None:
    """Load the file that made the version on record, whatever the job names: who may promote may ask for it too."""
    version = get_model_version(
        session.records,
        mlflow_model_name=arguments["model_name"],
        mlflow_model_version=arguments["model_version"],
    )
    if version.workload_file is not None:
        load_recorded_workload(version.workload, version.code_version, raw_uri=session.raw_uri)


class _Work:
    """The work of one attempt; what it has achieved is the job's result."""

    def __init__(self, session: Session, attempt: Attempt, *, emit: Emit, report: Report) -> None:
        self._session, self._attempt = session, attempt
        self._emit, self._report = emit, report
        self._done: dict[str, Any] = {}
        self._reported_at_s, self._reported_step, self._reported_share = 0.0, "", 0.0

    def process(self) -> tuple[TrainingRequest, TrainingData | None]:
        """Make a dataset of raw data; its rows are returned where the workload works in memory."""
        request = self._read_request()
        arguments, session = self._attempt.job.arguments, self._session
        with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
            self._progress("processing", 0.0, "reading the raw data")
            hashed = fetch_raw(arguments["raw"], raw_uri=session.raw_uri, folder=Path(folder))
            rows = process_rows(request.workload, hashed.located, parameters=request.processing)
            kept = None if streams(request.workload) else next(rows)
            dataset, result = log_dataset(
                session,
                describe_new(request, hashed.raw, arguments, user=session.user, command=self._attempt.job.kind),
                rows if kept is None else [kept],
                attempt=self._attempt,
                report=self._progress,
            )
        self._tell(result)
        if kept is None:
            return request, None
        return request, describe_processed(
            dataset,
            kept,
            dvc_md5=hashed.raw.dvc_md5,
            raw_source=hashed.raw.source,
            fallback=arguments.get("dataset_fallback"),
        )

    def _read_request(self) -> TrainingRequest:
        arguments = self._attempt.job.arguments
        request = read_request(arguments)
        if request.code.workload_sha256 != arguments.get("workload_sha256"):
            self._tell(Notice(text="the workload's code has changed since this was asked for; what it is now is used"))
        return request

    def _provide(self) -> tuple[TrainingRequest, TrainingData]:
        """What a training is done on: the dataset that was chosen, else one of raw data."""
        chosen = self._attempt.job.arguments.get("dataset_id")
        if chosen is None:
            request, data = self.process()
            if data is not None:
                return request, data
            return request, self._load_streamed()
        request = self._read_request()
        self._progress("loading", None, "loading and verifying the dataset")
        source = self._attempt.job.arguments.get("data_source", "mlflow_dataset")
        data = load_training_data(self._session, chosen, data_source=source)
        self._tell(describe_loaded(self._session, data.dataset))
        return request, data

    def _load_streamed(self) -> TrainingData:
        """The rows have streamed through; a training takes them from what was logged."""
        arguments = self._attempt.job.arguments
        raw, dataset_id = arguments["raw"], self._done["dataset"]["dataset_id"]
        self._progress("loading", None, "loading and verifying the dataset")
        source: DataSource = "sample" if raw["source"] == "sample" else "file_path"
        data = load_training_data(self._session, dataset_id, data_source=source)
        return replace(
            data,
            loaded=False,
            raw_source=raw["source"],
            dvc_md5=raw["dvc_md5"],
            fallback=arguments.get("dataset_fallback"),
        )

    def train(self, *, reserve_s: float) -> None:
        """Up to the registration; in its transaction the evaluation is queued, and the job has succeeded.

        A training of a sweep ends with its run: only the best one is registered, by a job of its own.
        """
        request, data = self._provide()
        dataset = data.dataset
        training = train_model(self._session, request, data, attempt=self._attempt, report=self._progress)
        self._tell(training)
        if self._attempt.job.arguments.get(UNREGISTERED):
            self.finish(self._session.records)
            return
        self._progress("training", 0.97, "registering the model")
        self._register(
            describe_training(request, dataset), dataset=dataset, run_id=training.run_id, reserve_s=reserve_s
        )

    def blend(self, *, reserve_s: float) -> None:
        """Finished trainings as one model, up to its registration, as of a training."""
        from modelyard.pipeline.blend import blend_models, describe_blend
        from modelyard.pipeline.blend_request import read_blend

        request = read_blend(self._session.records, self._attempt.job.arguments)
        blend = blend_models(self._session, request, attempt=self._attempt, report=self._progress)
        self._tell(blend)
        self._progress("blending", 0.97, "registering the model")
        registration = describe_blend(self._session, request, run_id=blend.run_id)
        self._register(registration, dataset=request.dataset, run_id=blend.run_id, reserve_s=reserve_s)

    def register(self, *, reserve_s: float) -> None:
        """A run that other tools, or a job that died, have left: checked, its files on record, then as above."""
        request = read_run_request(self._session, self._attempt.job.arguments)
        registration, dataset = record_run(self._session, request, attempt=self._attempt, report=self._progress)
        self._register(registration, dataset=dataset, run_id=request.run_id, reserve_s=reserve_s)

    def _register(self, registration: Registration, *, dataset: Dataset, run_id: str, reserve_s: float) -> None:
        session, attempt = self._session, self._attempt
        told: list[Result] = []

        def conclude(connection: Connection, version: ModelVersion) -> None:
            name, number = version.mlflow_model_name, version.mlflow_model_version
            evaluation_id, why = None, explain_unscored(version, dataset)
            if why is None:
                evaluation_id = jobs.submit_job(
                    connection,
                    kind="evaluate",
                    arguments=build_arguments(version, dataset, mlflow_experiment=registration.mlflow_experiment),
                    parent_job_id=attempt.job_id,
                    delay_s=reserve_s,
                )
            result = RegistrationResult(
                model_name=name,
                version=number,
                url=session.pages.model_version(name, number),
                evaluation_job_id=str(evaluation_id) if evaluation_id else None,
                not_evaluated=why,
            )
            self._record(connection, result)
            self.finish(connection)
            told.append(result)

        register_model(session, registration, dataset=dataset, run_id=run_id, attempt=attempt, conclude=conclude)
        self._emit(told[0])

    def evaluate(self) -> None:
        request = read_evaluation(self._session.records, self._attempt.job.arguments)
        self._tell(evaluate_model(self._session, request, attempt=self._attempt, report=self._progress))

    def measure_drift(self) -> None:
        from modelyard.pipeline.drift import measure_drift, read_drift

        request = read_drift(self._session.records, self._attempt.job.arguments)
        self._tell(measure_drift(self._session, request, attempt=self._attempt, report=self._progress))

    def reproduce(self) -> None:
        from modelyard.pipeline.reproduce import read_reproduction, reproduce_model

        request = read_reproduction(self._session.records, self._attempt.job.arguments)
        self._tell(reproduce_model(self._session, request, attempt=self._attempt, report=self._progress))

    def finish(self, connection: Connection) -> None:
        job_id, number = self._attempt.job_id, self._attempt.number
        attempts.finish_job(connection, job_id=job_id, attempt=number, state="succeeded", result=self._done)

    def _tell(self, result: Result) -> None:
        self._record(self._session.records, result)
        self._emit(result)

    def _record(self, connection: Connection, result: Result) -> None:
        name, value = encode_result(result)
        self._done[name] = value
        attempts.report_result(
            connection, job_id=self._attempt.job_id, attempt=self._attempt.number, name=name, value=value
        )

    def _progress(self, step: str, share: float | None, message: str, /) -> None:
        """Tell the caller, and the job what is new enough; an attempt that was taken over ends there."""
        self._report(step, share, message)
        now_s, known_share = time.monotonic(), share or 0.0
        moved = abs(known_share - self._reported_share) >= SHARE_BETWEEN_REPORTS
        if step == self._reported_step and not moved and now_s - self._reported_at_s < SECONDS_BETWEEN_REPORTS:
            return
        self._reported_at_s, self._reported_step, self._reported_share = now_s, step, known_share
        attempts.report_progress(
            self._session.records,
            job_id=self._attempt.job_id,
            attempt=self._attempt.number,
            step=step,
            share=known_share,
            message=message,
        )
