"""How the results of the flow look, each printed when it is there."""

from collections.abc import Iterable
from functools import singledispatchmethod

from rich.console import Console
from rich.table import Table

from modelyard.pipeline.raw import RawData
from modelyard.pipeline.results import (
    DatasetResult,
    EvaluationResult,
    JobStarted,
    Notice,
    RegistrationResult,
    TrainingResult,
)
from modelyard.settings import name_program
from modelyard.workloads.contract import SPLITS, WorkloadSpec

STAGES_QUERY = "select * from exp.stages"


class OutcomePrinter:
    """Call it with a result, and it is printed."""

    def __init__(self, console: Console, spec: WorkloadSpec) -> None:
        self._console, self._spec = console, spec

    @singledispatchmethod
    def __call__(self, result: object) -> None:
        raise TypeError(f"{type(result).__name__} is no result of the flow")

    @__call__.register
    def _(self, raw: RawData) -> None:
        why = "the built-in sample" if raw.source == "sample" else raw.why
        for file in raw.files:
            self._say("data", f"{file.name}, {file.size_bytes:,} bytes ({why})")
            self._say("", f"sha256 {file.sha256}")

    @__call__.register
    def _(self, job: JobStarted) -> None:
        again = f", attempt {job.attempt}: goes on with what the last one left" if job.attempt > 1 else ""
        self._say("job", f"{job.job_id} ({job.kind}{again})")

    @__call__.register
    def _(self, notice: Notice) -> None:
        self._say("note", notice.text, style="yellow")

    @__call__.register
    def _(self, dataset: DatasetResult) -> None:
        known = ", logged before" if dataset.reused else ""
        counts = [(name, dataset.split_counts[name]) for name in SPLITS if name in dataset.split_counts]
        splits = " + ".join(f"{count:,} {name}" for name, count in counts)
        self._say("dataset", f"{dataset.name} {dataset.version}{known}: {dataset.num_rows:,} rows ({splits})")
        self._say("", f"digest {dataset.digest}")
        self._say("", dataset.run_url)

    @__call__.register
    def _(self, training: TrainingResult) -> None:
        known = ", finished by an earlier attempt" if training.resumed else ""
        self._say("run", f"{training.run_id} ({training.model_type}{known})")
        self._say("", training.run_url)
        splits = [split for split in SPLITS if f"{split}_{self._spec.primary_metric.name}" in training.metrics]
        baselines = [name for name in self._spec.baselines if name in training.baselines]
        rows = [
            [metric.name, metric.unit]
            + [f"{training.metrics[f'{split}_{metric.name}']:.4f}" for split in splits]
            + [f"{training.baselines[name][metric.name]:.4f}" for name in baselines]
            for metric in self._spec.metrics
        ]
        self._print_table(["metric", "unit"], [*splits, *(f"{name} (baseline, test)" for name in baselines)], rows)

    @__call__.register
    def _(self, registration: RegistrationResult) -> None:
        self._say("model", f"{registration.model_name} version {registration.version}")
        self._say("", registration.url)

    @__call__.register
    def _(self, evaluation: EvaluationResult) -> None:
        rows = [
            [
                limit.limit,
                *("none" if value is None else f"{value:.4f}" for value in (limit.found, limit.bound)),
                "held" if limit.held else "NOT HELD",
            ]
            for limit in evaluation.limits
        ]
        self._print_table(["limit"], ["found", "bound", "verdict"], rows)
        verdict, style = ("PASSED", "bold green") if evaluation.passed else ("REFUSED", "bold red")
        self._say("verdict", f"{verdict} on the test rows", style=style)
        for reason in evaluation.reasons:
            self._say("", reason)
        self._say("", evaluation.run_url)
        if evaluation.policy_version is not None:
            self._say("policy", f"{evaluation.policy_id} version {evaluation.policy_version}, stage {evaluation.stage}")

    def print_next(self, *, passed: bool) -> None:
        """The command that makes sense now."""
        if passed:
            self._say("next", f"{name_program()} psql --sql '{STAGES_QUERY}'      # each version with its stage")
        else:
            configs = ", ".join(self._spec.configs) or "none ships with it"
            self._say(
                "next",
                f"{name_program()} train {self._spec.name} --config NAME      # another configuration: {configs}",
            )

    def _say(self, what: str, text: str, *, style: str | None = None) -> None:
        self._console.print(f"{what:<9}{text}", style=style)

    def _print_table(self, left: list[str], right: list[str], rows: Iterable[list[str]]) -> None:
        table = Table(*left)
        for name in right:
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(*row)
        self._console.print(table)
