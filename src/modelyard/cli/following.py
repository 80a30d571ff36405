"""How a job looks while somebody follows it: its results as they come, a bar, and how it ended."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from rich.console import Console

from modelyard.cli.outcome import OutcomePrinter
from modelyard.cli.output import StepProgress
from modelyard.errors import FollowingStopped, JobFailed, ServiceFailed, find_bad_input
from modelyard.pipeline.results import JobStarted, decode_result
from modelyard.settings import name_program
from modelyard.store.connections import connect
from modelyard.store.following import count_workers, follow_job
from modelyard.store.jobs import DEFAULT_QUEUE, Job, name_queue, name_worker_role
from modelyard.workloads.registry import find_spec

_QUIET_S = 2.0


@dataclass(slots=True)
class _Shown:
    """What of a job is on the screen already."""

    attempt: int = 0
    nb_results: int = 0
    told_failure: int = 0  # of which attempt


class JobFollower:
    """Shows jobs on a console; call ``follow`` with a job's id."""

    def __init__(self, console: Console, dsn: str) -> None:
        self._console, self._dsn = console, dsn
        self._progress = StepProgress(console)

    def follow(self, job_id: UUID) -> dict[str, Any]:
        """Show a job to its end, and then the evaluation that a training queued; return what they achieved.

        Raises:
            JobFailed: the job failed or was cancelled.
            FollowingStopped: by Ctrl-C; the job goes on.
        """
        outcome: dict[str, Any] = {}
        following: UUID | None = job_id
        try:
            with self._progress.shown():
                while following is not None:
                    job = self._follow_one(following)
                    key = "job" if following == job_id else "evaluation_job"
                    outcome[key] = {"job_id": str(following), "attempt": job.attempt}
                    if "raw" in job.arguments:
                        outcome["raw"] = job.arguments["raw"]
                    result = job.result or {}
                    outcome.update(result)
                    evaluation = result.get("registration", {}).get("evaluation_job_id")
                    following = UUID(evaluation) if evaluation else None
        except KeyboardInterrupt:
            program, following = name_program(), following or job_id
            raise FollowingStopped(
                f"job {following} goes on without you; follow it: {program} jobs follow {following}; "
                f"cancel it: {program} jobs cancel {following}"
            ) from None
        return outcome

    def _follow_one(self, job_id: UUID) -> Job:
        shown, last, printer = _Shown(), None, None
        for job in follow_job(self._dsn, job_id=job_id, tell=self._say, quiet_s=_QUIET_S):
            if job is None:
                self._explain_quiet(last)
                continue
            last = job
            if printer is None:
                spec = find_spec(str(job.arguments["workload"]), job.arguments.get("workload_file"))
                printer = OutcomePrinter(self._console, spec)
            self._show(job, shown, printer)
        assert last is not None  # noqa: S101  a job that is not there raises
        if last.state != "succeeded":
            if last.state == "failed" and (refused := find_bad_input(str(last.error))):
                raise JobFailed(f"{refused} (job {job_id})", bad_input=True)
            raise JobFailed(
                f"job {job_id} {_VERBS[last.state]}: {last.error}; every attempt: {name_program()} jobs show {job_id}; "
                f"once more: {name_program()} jobs retry {job_id}"
            )
        return last

    def _show(self, job: Job, shown: _Shown, printer: OutcomePrinter) -> None:
        if job.attempt > shown.attempt:
            shown.attempt, shown.nb_results = job.attempt, 0
            printer(JobStarted(job_id=str(job.job_id), attempt=job.attempt, kind=job.kind))
        for result in job.results[shown.nb_results :]:
            known = decode_result(result["name"], result["value"])
            if known is not None:
                printer(known)
        shown.nb_results = len(job.results)
        if job.state == "running" and job.progress_step:
            self._progress(job.progress_step, job.progress_share, job.progress_message)
        elif job.state == "queued" and job.error and shown.told_failure < job.attempt:
            shown.told_failure = job.attempt
            again = f"{job.due_at:%H:%M:%S} UTC" if job.due_at > job.created_at else "now"
            self._console.print(
                f"job      attempt {job.attempt} ended: {job.error}; the next one begins at {again}", style="yellow"
            )

    def _explain_quiet(self, job: Job | None) -> None:
        """Say why nothing happens, where nobody is there to do it."""
        if job is None or job.state != "queued" or job.due_at > datetime.now(UTC):
            return
        role = name_worker_role(job.kind)
        try:
            with connect(self._dsn) as connection:
                nb_workers = count_workers(connection, role=role, queue=job.queue)
        except (ServiceFailed, psycopg.Error):
            return  # away, which is said elsewhere
        if job.inline:
            self._say("it was asked for with --inline, and goes on when that command is given again")
        elif nb_workers == 0:
            self._say(explain_no_worker(role, job.queue))
        else:
            name = name_queue(role, job.queue)
            self._say(f"the job waits; {nb_workers} {name}{'s are' if nb_workers > 1 else ' is'} at work")

    def _say(self, text: str) -> None:
        self._console.print(f"job      {text}", style="yellow")


def explain_no_worker(role: str, queue: str) -> str:
    """What to do where no worker of a role and a queue is connected."""
    if queue == DEFAULT_QUEUE:
        return f"no {role} is connected; start one: {name_program()} up"
    return (
        f"no {role} of the queue {queue} is connected, and the job waits for one; make worker NAME={queue} "
        "REQUIREMENTS=FILE makes and starts it"
    )


_VERBS = {"failed": "failed", "cancelled": "was cancelled"}
