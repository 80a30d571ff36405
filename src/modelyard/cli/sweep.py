"""``modelyard sweep``: many trainings of one workload on the same data, followed together and ranked."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console

from modelyard import api
from modelyard.cli.following import JobFollower, explain_no_worker
from modelyard.cli.outcome import ANSWER_IS_NO, OutcomePrinter, is_no
from modelyard.cli.output import make_console, print_json
from modelyard.cli.records import open_records
from modelyard.cli.submission import Submission, bring_up
from modelyard.cli.sweep_table import SweepTable, name_training, print_failed, print_ranking
from modelyard.cli.train import Data, Dataset, FromRun, JsonOutput, Queue, split_values
from modelyard.errors import BadInput, FollowingStopped, JobFailed
from modelyard.pipeline.raw import HashedData
from modelyard.pipeline.request import TrainingRequest
from modelyard.pipeline.sweep import Ranking, rank
from modelyard.settings import Settings, load_settings, name_program
from modelyard.stack.addresses import Addresses
from modelyard.stack.choice import choose_stack
from modelyard.store import jobs as store_jobs
from modelyard.store import sweeps
from modelyard.store.connections import connect
from modelyard.store.following import count_workers
from modelyard.store.jobs import Job
from modelyard.store.rights import needed_right
from modelyard.workloads.contract import WorkloadSpec
from modelyard.workloads.registry import locate_workload

_QUIET_S = 2.0


def sweep(
    workload: Annotated[str | None, typer.Argument(help="Which workload, e.g. california_housing.")] = None,
    model_type: Annotated[
        str | None, typer.Option(metavar="NAME,NAME…", help="Model types; default: the workload's first.")
    ] = None,
    params: Annotated[str, typer.Option(help="Values in one text: 'max_depth=4,6 learning_rate=0.1'.")] = "",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE,VALUE…", help="Values of one parameter; may be repeated."),
    ] = None,
    data: Data = None,
    dataset: Dataset = None,
    use_dataset_from_run: FromRun = None,
    best: Annotated[bool, typer.Option("--best", help="Register and evaluate the best model, and no other.")] = False,
    resume: Annotated[
        str | None, typer.Option(metavar="SWEEP_ID", help="Follow a sweep that was begun, and rank it.")
    ] = None,
    queue: Queue = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Print the sweep's id and return when its trainings are queued.")
    ] = False,
    json_output: JsonOutput = False,
) -> None:
    """Train every combination of model types and values on the same data, and rank them. Registers --best only."""
    console = make_console(json=json_output)
    if no_wait and best:
        raise BadInput("--best registers what comes first in the end, and --no-wait does not wait; give one of them")
    if (workload is None) == (resume is None):
        raise BadInput("name a workload, or with --resume a sweep that was begun")
    if resume is not None:
        given = (model_type, params or None, assignments, data, dataset, use_dataset_from_run, queue, no_wait or None)
        if any(one is not None for one in given):
            raise BadInput("a sweep that was begun has its trainings; with --resume give nothing but --best and --json")
        with open_records() as (addresses, connection):
            sweep_id = sweeps.get_sweep(connection, resume).sweep_id
    else:
        named = {"--data": data, "--dataset": dataset, "--use-dataset-from-run": use_dataset_from_run}
        if len(said := [option for option, value in named.items() if value is not None]) > 1:
            raise BadInput(f"{' and '.join(said)} each say what to train on; give one of them")
        asked = _Asked(
            console,
            load_settings(),
            workload=str(workload),
            model_types=[name.strip() for name in model_type.split(",")] if model_type else [],
            values=split_values(params, assignments),
            queue=queue,
        )
        addresses, sweep_id = asked.submit(data=data, dataset=dataset, run_id=use_dataset_from_run)
    if no_wait:
        console.print(f"next     {name_program()} sweep --resume {sweep_id}")
        if json_output:
            print_json({"sweep_id": sweep_id})
        return
    _finish(console, addresses, sweep_id, best=best, json_output=json_output)


class _Asked:
    """A sweep as it is asked for; checked as a whole when it is made."""

    def __init__(
        self,
        console: Console,
        settings: Settings,
        *,
        workload: str,
        model_types: Sequence[str],
        values: Sequence[str],
        queue: str | None,
    ) -> None:
        from modelyard.pipeline.sweep import build_trainings, group_by_processing, parse_values

        if queue is not None:
            store_jobs.check_queue(queue)
        parsed = parse_values(values)
        self._console, self._settings, self._queue = console, settings, queue
        self._workload = locate_workload(workload, places=settings.workload_places())
        requests = build_trainings(self._workload, model_types=model_types, values=parsed)
        self._groups = group_by_processing(requests)
        used = [*dict.fromkeys(request.model_type for request in requests)]
        self._arguments = {"model_types": used, "values": {name: [*given] for name, given in parsed.items()}}

    def submit(self, *, data: list[str] | None, dataset: str | None, run_id: str | None) -> tuple[Addresses, UUID]:
        """Choose or make the datasets, then queue the trainings; return where the stack is, and the sweep's id."""
        from modelyard.pipeline.sweep import UNREGISTERED, adopt_processing
        from modelyard.pipeline.workload_file import store_workload

        choice = choose_stack(self._settings)
        self._console.print(f"stack    {choice.stack}: {choice.why}")
        spec = self._workload.spec
        trainings: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
            hashed = self._check(self._groups, data=data, folder=Path(folder)) if data is not None else None
            addresses = bring_up(self._console, self._settings)
            submission = Submission(self._console, self._settings, addresses, spec=spec)
            lacking = self._groups
            if hashed is None:
                lacking = []
                for group in self._groups:
                    selection = submission.select(group[0], run_id=run_id, name=dataset, strict=False)
                    if selection.dataset is None:
                        lacking.append(group)
                        continue
                    chosen = {**selection.arguments(), UNREGISTERED: True}
                    adopted = [adopt_processing(one, selection.request.processing) for one in group]
                    trainings += [one.arguments(**chosen) for one in adopted]
                hashed = self._check(lacking, data=None, folder=Path(folder)) if lacking else None
            if hashed is not None:
                raw = submission.store(hashed)
                made = self._process(submission, [group[0].arguments(raw) for group in lacking])
                for group, chosen in zip(lacking, made, strict=True):
                    trainings += [one.arguments(**chosen, **{UNREGISTERED: True}) for one in group]
        store_workload(self._workload, raw_uri=addresses.raw_uri)
        dsn = addresses.dsn(addresses.person)
        with connect(dsn) as connection, needed_right(connection, group="trainer", to="sweep"):
            sweep_id, new = sweeps.submit_sweep(
                connection, workload=spec.name, arguments=self._arguments, trainings=trainings, queue=self._queue
            )
        how = f"{len(trainings)} trainings" if new else "the same request, which has not ended; going on with it"
        self._console.print(f"sweep    {sweep_id}: {how}")
        return addresses, sweep_id

    def _check(
        self, groups: Sequence[Sequence[TrainingRequest]], *, data: list[str] | None, folder: Path
    ) -> HashedData:
        """Find the raw data once, and check it with the processing parameters of each group."""
        from modelyard.pipeline.request import check_data
        from modelyard.pipeline.rows import check_rows

        def say(text: str) -> None:
            self._console.print(f"data     {text}")

        first, *others = (group[0] for group in groups)
        hashed = check_data(first, data=data, data_dir=self._settings.data_dir, folder=folder, report=say)
        for one in others:
            check_rows(
                one.workload,
                hashed.located,
                parameters=one.processing,
                expectations=one.workload.spec.expectations,
                report=say,
            )
        if hashed.raw.source == "sample":
            self._console.print(f"data     {hashed.raw.why}", style="bold yellow")
        return hashed

    def _process(self, submission: Submission, asked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Make a dataset for each; return what the trainings on it are told of it."""
        job_ids = []
        for arguments in asked:
            submission.submit("process", arguments, inline=False, queue=self._queue)
            job_ids.append(submission.job_id)
        made = []
        for job_id in job_ids:
            try:
                dataset = JobFollower(self._console, submission.dsn).follow(job_id)["dataset"]
            except FollowingStopped as stopped:
                raise FollowingStopped(f"{stopped}. No training is queued yet: give the same command again") from None
            source = "sample" if dataset["data_source"] == "sample" else "mlflow_dataset"
            made.append({"dataset_id": dataset["dataset_id"], "data_source": source})
        return made


def _finish(console: Console, addresses: Addresses, sweep_id: UUID, *, best: bool, json_output: bool) -> None:
    """Follow a sweep to its end, and print what came of it.

    Raises:
        FollowingStopped: by Ctrl-C; the trainings go on.
        JobFailed: a training has not succeeded.
        Exit: with ``ANSWER_IS_NO``.
    """
    from modelyard.pipeline.workload_file import load_recorded_workload

    dsn = addresses.dsn(addresses.person)
    with connect(dsn) as connection:
        [first, *_] = sweeps.list_sweep_jobs(connection, sweep_id=sweep_id)
    spec = load_recorded_workload(first.arguments["workload"], first.arguments, raw_uri=addresses.raw_uri).spec
    try:
        jobs = _follow(console, dsn, sweep_id, spec)
    except KeyboardInterrupt:
        raise FollowingStopped(
            f"sweep {sweep_id} goes on without you; follow it: {name_program()} sweep --resume {sweep_id}"
        ) from None
    ranking, failed = rank(spec, jobs), [job for job in jobs if job.state != "succeeded"]
    print_ranking(console, ranking)
    outcome = _encode(sweep_id, ranking, failed)
    if ranking.places:
        outcome |= _conclude(console, addresses, spec, ranking, best=best)
    print_failed(console, failed)
    if json_output:
        print_json(outcome)
    if failed:
        raise JobFailed(
            f"{len(failed)} of {len(jobs)} trainings have not succeeded; once more: {name_program()} jobs retry JOB "
            f"for each, then {name_program()} sweep --resume {sweep_id}"
        )
    if is_no(outcome.get("best", {})):
        raise typer.Exit(ANSWER_IS_NO)


def _follow(console: Console, dsn: str, sweep_id: UUID, spec: WorkloadSpec) -> list[Job]:
    table = SweepTable(console, spec)

    def say(text: str) -> None:
        console.print(f"sweep    {text}", style="yellow")

    jobs: list[Job] = []
    with table.shown():
        for news in sweeps.follow_sweep(dsn, sweep_id=sweep_id, tell=say, quiet_s=_QUIET_S):
            if news is not None:
                jobs = news
                table(jobs)
            elif all(job.state == "queued" for job in jobs if not job.ended):
                with connect(dsn) as connection:
                    queue = next(job.queue for job in jobs if not job.ended)
                    if count_workers(connection, role="trainer", queue=queue) == 0:
                        say(explain_no_worker("trainer", queue))
    return jobs


def _conclude(
    console: Console, addresses: Addresses, spec: WorkloadSpec, ranking: Ranking, *, best: bool
) -> dict[str, Any]:
    """Show where the runs are side by side, and register the best one or say how."""
    from modelyard.pipeline.run_request import build_run_request

    first = ranking.places[0]
    with api.connect("person", application_name="modelyard sweep") as session:
        experiment_id = session.mlflow.get_run(first.run_id).info.experiment_id
        compare_url = session.pages.compare(experiment_id, [place.run_id for place in ranking.places])
        console.print(f"compare  {compare_url}")
        if not best:
            console.print(f"next     {name_program()} register {first.run_id}      # registers and evaluates the best")
            return {"compare_url": compare_url}
        request = build_run_request(session, first.run_id)
    console.print(f"best     {name_training(first.job)}: registering run {first.run_id}")
    submission = Submission(console, load_settings(), addresses, spec=spec)
    submission.submit("register", request.arguments(), inline=False, queue=first.job.queue)
    registered = JobFollower(console, submission.dsn).follow(submission.job_id)
    if "evaluation" in registered:
        OutcomePrinter(console, spec).print_next(registered["evaluation"])
    return {"compare_url": compare_url, "best": registered}


def _encode(sweep_id: UUID, ranking: Ranking, failed: Sequence[Job]) -> dict[str, Any]:
    def describe(job: Job) -> dict[str, Any]:
        return {
            "job_id": job.job_id,
            "name": job.arguments["run_name"],
            "model_type": job.arguments["model_type"],
            "parameters": job.arguments["parameters"],
        }

    return {
        "sweep_id": sweep_id,
        "metric": ranking.logged_as,
        "higher_is_better": ranking.metric.higher_is_better,
        "ranking": [
            {**describe(place.job), "value": place.value, "run_id": place.run_id, "run_url": place.run_url}
            for place in ranking.places
        ],
        "failed": [{**describe(job), "state": job.state, "error": job.error} for job in failed],
    }
