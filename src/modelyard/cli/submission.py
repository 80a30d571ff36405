"""A job that a command asks for: queued and followed, or done in this process."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import typer
from psycopg.errors import InsufficientPrivilege
from rich.console import Console

from modelyard.cli.following import JobFollower, explain_no_worker
from modelyard.cli.outcome import ANSWER_IS_NO, OutcomePrinter, is_no
from modelyard.cli.output import StepProgress, print_json
from modelyard.cli.worker import build_config
from modelyard.errors import BadInput, JobFailed, SecretMissing, WorkHeld
from modelyard.pipeline.raw import HashedData, RawData, store_raw
from modelyard.pipeline.request import TrainingRequest
from modelyard.pipeline.results import JobStarted
from modelyard.pipeline.selection import Selection, select_dataset
from modelyard.pipeline.workload_file import store_workload
from modelyard.settings import Settings, find_current_run, name_program
from modelyard.stack.addresses import Addresses
from modelyard.stack.current import get_stack
from modelyard.store import jobs
from modelyard.store.connections import connect
from modelyard.store.datasets import Dataset
from modelyard.store.following import count_workers
from modelyard.store.promotions import submit_evaluation
from modelyard.store.rights import needed_right
from modelyard.workers.config import Role
from modelyard.workloads.contract import WorkloadSpec
from modelyard.workloads.own import find_own

_DATA = ("raw", "dataset_fallback", "dataset_id", "data_source")  # arguments of a training that name what it is done on


def check_way(*, inline: bool, no_wait: bool, queue: str | None = None) -> None:
    """Refuse two ways to do a job at once, and what is no queue.

    Raises:
        BadInput: two of them, or the queue's name.
    """
    if inline and queue is not None:
        raise BadInput("--inline does the work here and --queue gives it to certain workers; give one of them")
    if queue is not None:
        jobs.check_queue(queue)
    if inline and no_wait:
        raise BadInput("--inline does the work here and --no-wait leaves it to a worker; give one of them")


def bring_up(console: Console, settings: Settings) -> Addresses:
    """Start the stack or find it running, and tell where it is."""
    addresses = get_stack().up(settings, lambda text: console.print(f"stack    {text}"))
    where = f"{addresses.home}, " if addresses.home else ""
    console.print(f"stack    {where}MLflow at {addresses.ui_url}")
    return addresses


class Submission:
    """A job for a stack that runs; ``submit`` comes first, then ``finish``."""

    job_id: UUID

    def __init__(
        self, console: Console, settings: Settings, addresses: Addresses, *, spec: WorkloadSpec | None
    ) -> None:
        self._console, self._settings, self._addresses = console, settings, addresses
        self._kind: jobs.JobKind = "process"
        self._raw: RawData | None = None
        self._printer = OutcomePrinter(console, spec)

    @property
    def dsn(self) -> str:
        """How to reach the database as the person who asks."""
        return self._addresses.dsn(self._addresses.person)

    def select(self, request: TrainingRequest, **named: Any) -> Selection:
        """Choose the dataset of a training, print which and why; takes and raises what ``select_dataset`` does."""
        from modelyard.tracking.runs import find_run

        current = find_current_run()
        active = find_run(self._connect_mlflow(), current) if current else None
        with connect(self.dsn) as connection:
            selection = select_dataset(connection, request, mlflow=self._connect_mlflow, active_run=active, **named)
        if selection.dataset is None:
            text = f"none: {selection.why}; a file is read, and --strict would refuse that"
            self._console.print(f"dataset  {text}", style="bold yellow")
        else:
            chosen = selection.dataset
            made_up = ", made-up data" if selection.data_source == "sample" else ""
            self._console.print(f"dataset  {chosen.name} {chosen.version}: {selection.why}{made_up}")
        if selection.note:
            self._console.print(f"note     {selection.note}", style="yellow")
        return selection

    def give_run(self, request: TrainingRequest, run_id: str) -> TrainingRequest:
        """The request as it is done in an MLflow run that is there; takes and raises what ``check_given_run`` does."""
        from modelyard.pipeline.given_run import check_given_run

        experiment = check_given_run(self._connect_mlflow(), run_id)
        if experiment != request.mlflow_experiment:
            self._console.print(
                f"note     run {run_id} is in the MLflow experiment {experiment}, not {request.mlflow_experiment}, and "
                "MLflow cannot move it; mlflow run --experiment-name names one",
                style="yellow",
            )
        return replace(request, mlflow_experiment=experiment)

    def find_begun(self, arguments: Mapping[str, Any], dataset: Dataset) -> Mapping[str, Any] | None:
        """The arguments of an unfinished training that has made this dataset itself and is asked for once more.

        It found no dataset when it was asked for, so it named a file; now it would find its own.
        """
        if dataset.job_id is None:
            return None
        with connect(self.dsn) as connection:
            job = jobs.get_job(connection, job_id=dataset.job_id)
        same = {**job.arguments, **dict.fromkeys(_DATA)} == {**arguments, **dict.fromkeys(_DATA)}
        return job.arguments if same and job.kind == "train" and not job.ended else None

    def _connect_mlflow(self) -> Any:
        from modelyard.tracking import server  # MLflow takes a second to import, and few requests need it

        return server.connect(self._addresses.tracking_uri)

    def store(self, hashed: HashedData) -> RawData:
        """Store raw data by content, for a job to name."""
        self._raw = store_raw(hashed, raw_uri=self._addresses.raw_uri)
        self._printer(self._raw)
        return self._raw

    def submit(
        self, kind: jobs.JobKind, arguments: Mapping[str, Any], *, inline: bool, queue: str | None = None
    ) -> None:
        """Record the job, which is done here where ``inline``; the same request again is the job that is unfinished.

        ``queue`` names the workers that are to take it; without it ``store.jobs.submit_job`` says which do.

        Raises:
            BadInput: it is to be done here, where the trainer's and the evaluator's secrets are not.
        """
        if inline:
            self._check_roles()
        own = find_own(str(arguments["workload"]), arguments.get("workload_file"))
        if own is not None:
            store_workload(own, raw_uri=self._addresses.raw_uri)
            self._console.print(
                f"workload {own.spec.name}.py, stored by its content: sha256 {arguments['workload_file']}"
            )
        self._kind, self._inline, asked = kind, inline, uuid4()
        with connect(self.dsn) as connection, needed_right(connection, group="trainer", to=kind):
            try:
                self.job_id = jobs.submit_job(
                    connection, kind=kind, arguments=arguments, job_id=asked, inline=inline, queue=queue
                )
            except InsufficientPrivilege:  # who may promote may ask for evaluations, and for nothing else
                if kind != "evaluate" or inline:
                    raise
                self.job_id = submit_evaluation(connection, arguments=arguments, job_id=asked)
        if self.job_id != asked:
            self._console.print(f"job      {self.job_id} is the same request and has not ended; going on with it")

    def _check_roles(self) -> None:
        try:
            for role in ("trainer", "evaluator"):
                self._addresses.dsn(role)
        except SecretMissing:
            raise BadInput(
                "--inline works as trainer and as evaluator, and this container has the secrets of neither; "
                "leave it out, and the stack's workers do it"
            ) from None

    def finish(self, *, no_wait: bool, json_output: bool, show: Callable[[dict[str, Any]], None] | None = None) -> None:
        """Tell the job's number, or do as ``achieve``; print what came of it as JSON and with ``show`` too.

        Raises:
            JobFailed, WorkHeld, StepFailed: as ``achieve`` does.
            Exit: with ``ANSWER_IS_NO``.
        """
        outcome: dict[str, Any]
        if no_wait:
            outcome = {"job_id": str(self.job_id)}
            self._console.print(f"job      {self.job_id}")
            self._warn_alone()
            self._console.print(f"next     {name_program()} jobs follow {self.job_id}")
        else:
            outcome = self.achieve()
        if json_output:
            print_json(outcome)
        if show is not None:
            show(outcome)
        if is_no(outcome):
            raise typer.Exit(ANSWER_IS_NO)

    def achieve(self) -> dict[str, Any]:
        """Follow or do the job to its end, and tell what came of it.

        Raises:
            JobFailed: it failed or was cancelled.
            WorkHeld: it is to be done here, and a worker or another process does it now.
            StepFailed: a step failed.
        """
        follower = JobFollower(self._console, self.dsn)
        outcome = self._run_inline() if self._inline else follower.follow(self.job_id)
        self._print_end(outcome)
        return outcome

    def _warn_alone(self) -> None:
        """Say that nobody is there to do the job, to whoever does not wait until it is seen."""
        role = jobs.name_worker_role(self._kind)
        with connect(self.dsn) as connection:
            queue = jobs.get_job(connection, job_id=self.job_id).queue
            if queue != jobs.DEFAULT_QUEUE and count_workers(connection, role=role, queue=queue) == 0:
                self._console.print(f"job      {explain_no_worker(role, queue)}", style="yellow")

    def _run_inline(self) -> dict[str, Any]:
        """Do the job here, and the evaluation that a training queues; return what they achieved."""
        outcome = {"raw": self._raw.reference()} if self._raw else {}
        outcome |= self._run_one(self.job_id, jobs.name_worker_role(self._kind))
        evaluation = outcome.get("registration", {}).get("evaluation_job_id")
        if evaluation is not None:
            try:
                done = self._run_one(UUID(evaluation), "evaluator")
            except WorkHeld:  # this process was away for so long that an evaluator has begun
                done = JobFollower(self._console, self.dsn).follow(UUID(evaluation))
            done["evaluation_job"] = done.pop("job")
            outcome |= done
        return outcome

    def _run_one(self, job_id: UUID, role: Role) -> dict[str, Any]:
        from modelyard.workers.inline import run_inline

        progress = StepProgress(self._console)
        with connect(self.dsn, application_name="modelyard inline") as connection:
            job = jobs.get_job(connection, job_id=job_id)
            if not job.ended:
                with progress.shown():
                    run_inline(
                        build_config(role, self._addresses, self._settings),
                        connection,
                        job_id=job_id,
                        started=lambda n: self._printer(JobStarted(job_id=str(job_id), attempt=n, kind=job.kind)),
                        emit=self._printer,
                        report=progress,
                    )
                job = jobs.get_job(connection, job_id=job_id)
        if job.state != "succeeded":
            raise JobFailed(f"job {job_id} {job.state}: {job.error}")
        return {"job": {"job_id": str(job_id), "attempt": job.attempt}, **job.result}

    def _print_end(self, outcome: dict[str, Any]) -> None:
        """Say once more that data was made up, and what makes sense now."""
        if self._raw is not None and self._raw.source == "sample":
            self._console.print(f"data     {self._raw.why}", style="bold yellow")
        if "evaluation" in outcome:
            self._printer.print_next(outcome["evaluation"])
