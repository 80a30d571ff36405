"""The whole flow in one process: raw data → dataset → training run → model version → evaluation → policy version."""

import time
from dataclasses import asdict, dataclass

from modelyard.pipeline.attempt import Attempt, begin_attempt
from modelyard.pipeline.evaluate import EvaluationResult, evaluate_model
from modelyard.pipeline.process import DatasetResult, log_dataset
from modelyard.pipeline.raw import RawData, store_raw
from modelyard.pipeline.request import CheckedData, TrainingRequest
from modelyard.pipeline.session import Emit, Report, Session
from modelyard.pipeline.train import RegistrationResult, TrainingResult, register_model, train_model
from modelyard.store import jobs

SECONDS_BETWEEN_RECORDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted:
    """A job was begun; ``attempt`` above 1 takes up what an earlier one left."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything a training led to, JSON values only."""

    job: JobStarted
    raw: RawData
    dataset: DatasetResult
    training: TrainingResult
    registration: RegistrationResult
    evaluation: EvaluationResult


def _record_progress(session: Session, attempt: Attempt, report: Report) -> Report:
    """Tell ``report``, and about once a second the job; an attempt that was taken over ends there."""
    told_at_s = 0.0

    def tell(step: str, share: float | None, message: str, /) -> None:
        nonlocal told_at_s
        report(step, share, message)
        if time.monotonic() - told_at_s >= SECONDS_BETWEEN_RECORDS:
            told_at_s = time.monotonic()
            jobs.report_progress(
                session.trainer,
                job_id=attempt.job_id,
                attempt=attempt.number,
                share=share or 0.0,
                message=f"{step}: {message}",
            )

    return tell


def run_training(
    session: Session, request: TrainingRequest, checked: CheckedData, *, emit: Emit, report: Report
) -> Outcome:
    """Run a checked request to its verdict, or take up the unfinished job of the same request.

    Args:
        session: open connections.
        request: what to train.
        checked: its data.
        emit: told each result when it is there.
        report: told how far each step is.

    Raises:
        StepFailed: the training or evaluation failed.
        WorkHeld: another process is working on the same request.
        ContractNotMet: the run cannot be registered.
    """
    raw = store_raw(checked.hashed, raw_uri=session.raw_uri)
    emit(raw)
    with begin_attempt(session, request, raw_digest=raw.digest) as attempt:
        started = JobStarted(job_id=str(attempt.job_id), attempt=attempt.number)
        emit(started)
        report = _record_progress(session, attempt, report)
        report("processing", 0.0, "computing the digest")
        dataset, dataset_result = log_dataset(session, request, checked, raw, attempt=attempt, report=report)
        emit(dataset_result)
        training = train_model(session, request, checked, raw, dataset=dataset, attempt=attempt, report=report)
        emit(training)
        version, registration = register_model(
            session, request, dataset=dataset, run_id=training.run_id, attempt=attempt
        )
        emit(registration)
        evaluation = evaluate_model(session, request, dataset=dataset, version=version, attempt=attempt, report=report)
        emit(evaluation)
        outcome = Outcome(
            job=started,
            raw=raw,
            dataset=dataset_result,
            training=training,
            registration=registration,
            evaluation=evaluation,
        )
        jobs.finish_job(
            session.trainer, job_id=attempt.job_id, attempt=attempt.number, state="succeeded", result=asdict(outcome)
        )
    return outcome
