"""How a sweep looks: one table of all its trainings while they run, then the ranking and what failed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from modelyard.cli.output import one_line, show_metric
from modelyard.pipeline.sweep import Ranking, find_score
from modelyard.settings import name_program
from modelyard.store.jobs import Job
from modelyard.workloads.contract import WorkloadSpec

SHOWN_PLACES = 20  # of a ranking; --json has all of them
_LINES_AROUND = 7  # of the terminal, beside the rows of the table
_ORDER = ("running", "queued", "failed", "cancelled", "succeeded")
_STATES = {"queued": "waits", "running": "runs", "succeeded": "done"}
_STYLES = {"failed": "red", "cancelled": "red", "running": "bold"}


class SweepTable:
    """A table that changes in place on a terminal, else a line for each training that begins or ends."""

    def __init__(self, console: Console, spec: WorkloadSpec) -> None:
        self._console, self._spec = console, spec
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._told: dict[UUID, tuple[str, int]] = {}

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table while the block runs; lines printed meanwhile appear above it."""
        if not self._console.is_terminal:
            yield
            return
        with self._live:
            yield

    def __call__(self, jobs: Sequence[Job]) -> None:
        """Show how far the trainings are."""
        if self._console.is_terminal:
            self._live.update(self._build(jobs), refresh=True)
            return
        nb_ended = sum(job.ended for job in jobs)
        for job in jobs:
            now = (job.state, job.attempt)
            if now != self._told.get(job.job_id, ("queued", 0)):
                self._told[job.job_id] = now
                self._console.print(f"  [{nb_ended}/{len(jobs)}] {name_training(job)}: {self._describe(job)}")

    def _build(self, jobs: Sequence[Job]) -> Table:
        counts = {state: sum(job.state == state for job in jobs) for state in _ORDER}
        title = ", ".join(f"{n} {_STATES.get(state, state)}" for state, n in counts.items() if n)
        table = Table("training", "state", "how far", box=SIMPLE_HEAD, title=f"{len(jobs)} trainings: {title}")
        room = max(5, self._console.height - _LINES_AROUND)
        ordered = sorted(jobs, key=lambda job: _ORDER.index(job.state))
        for job in ordered[:room]:
            state = _STATES.get(job.state, job.state)
            attempt = f", attempt {job.attempt}" if job.attempt > 1 else ""
            far = self._describe(job) if job.ended else _describe_progress(job)
            table.add_row(name_training(job), f"{state}{attempt}", far, style=_STYLES.get(job.state, ""))
        if len(ordered) > room:
            table.caption = f"and {len(ordered) - room} more"
        return table

    def _describe(self, job: Job) -> str:
        if job.state == "succeeded":
            name, value = find_score(self._spec, job)
            return f"{name} {show_metric(value)}"
        error = f": {one_line(job.error)}" if job.error and job.state != "running" else ""
        if job.state == "queued":
            return f"waits for attempt {job.attempt + 1}{error}"
        attempt = f", attempt {job.attempt}" if job.attempt > 1 else ""
        return f"{_STATES.get(job.state, job.state)}{attempt}{error}"


def name_training(job: Job) -> str:
    """What a training of a sweep is called: its model type and what was varied."""
    return one_line(str(job.arguments["run_name"]))


def _describe_progress(job: Job) -> str:
    if job.state != "running" or not job.progress_step:
        return one_line(job.error or "")
    return f"{job.progress_step} {job.progress_share:.0%} {one_line(job.progress_message)}"


def print_ranking(console: Console, ranking: Ranking) -> None:
    """The best trainings with the pages of their runs, and a warning where test rows have ranked them."""
    if not ranking.places:
        return
    metric = ranking.metric
    direction = "highest" if metric.higher_is_better else "lowest"
    unit = f", {metric.unit}" if metric.unit else ""
    console.print(f"ranking  by {ranking.logged_as}{unit}, the {direction} first")
    for number, place in enumerate(ranking.places[:SHOWN_PLACES], start=1):
        style = "bold green" if number == 1 else None
        console.print(f"{number:>6}   {show_metric(place.value):<10} {name_training(place.job)}", style=style)
        console.print(f"         {place.run_url}")
    if len(ranking.places) > SHOWN_PLACES:
        console.print(f"         and {len(ranking.places) - SHOWN_PLACES} more: --json has all of them")
    if ranking.rows == "test":
        text = (
            f"not every training has logged validation_{metric.name}, so test rows have ranked them: what was chosen "
            "on test rows looks better there than it is, and the evaluation scores it on the same rows"
        )
        console.print(f"note     {text}", style="yellow")


def print_failed(console: Console, failed: Sequence[Job]) -> None:
    """The trainings that did not succeed, each with its error."""
    for job in failed:
        console.print(f"{job.state:<9}{name_training(job)}: {one_line(job.error or '')}", style="red")
        console.print(f"         every attempt: {name_program()} jobs show {job.job_id}")
