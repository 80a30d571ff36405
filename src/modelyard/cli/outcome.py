"""How the results of the flow look, each printed when it is there."""

from collections.abc import Iterable, Mapping
from functools import singledispatchmethod
from typing import Any

from rich.console import Console
from rich.table import Table

from modelyard.cli.output import show_metric
from modelyard.data.drift import ColumnDrift
from modelyard.pipeline.raw import RawData
from modelyard.pipeline.results import (
    BlendResult,
    DatasetResult,
    DriftResult,
    EvaluationResult,
    JobStarted,
    Notice,
    RegistrationResult,
    ReproductionResult,
    TrainingResult,
)
from modelyard.settings import name_program
from modelyard.workloads.contract import SPLITS, WorkloadSpec

ANSWER_IS_NO = 3  # exit code: all is done that was asked for, and the answer is no
SHOWN_COLUMNS = 40  # of a drift report, the worst first; the run has all of them


def is_no(outcome: Mapping[str, Any]) -> bool:
    """Whether a job's answer is no: refused by the gate, drift found, not reproduced."""
    return not (
        outcome.get("evaluation", {"passed": True})["passed"]
        and not outcome.get("drift", {"drifted": False})["drifted"]
        and outcome.get("reproduction", {"equal": True})["equal"]
    )


class OutcomePrinter:
    """Call it with a result, and it is printed; ``spec`` is of the workload, None where that is not known here."""

    def __init__(self, console: Console, spec: WorkloadSpec | None) -> None:
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
        if n := dataset.violations:
            text = f"INVALID: {n} broken expectation{'' if n == 1 else 's'}, as allowed; datasets show lists them"
            self._say("", text, style="bold yellow")
        self._say("", dataset.run_url)

    @__call__.register
    def _(self, training: TrainingResult) -> None:
        known = ", finished by an earlier attempt" if training.resumed else ""
        self._say("run", f"{training.run_id} ({training.model_type}{known})")
        self._say("", training.run_url)
        # of somebody's own workload, whose file is not run here, the units are not known
        units = {metric.name: metric.unit for metric in self._spec.metrics} if self._spec else {}
        names = units or [name.removeprefix("test_") for name in training.metrics if name.startswith("test_")]
        splits = [split for split in SPLITS if all(f"{split}_{name}" in training.metrics for name in names)]
        baselines = [name for name in (self._spec or training).baselines if name in training.baselines]
        rows = [
            [name, units.get(name, "")]
            + [show_metric(training.metrics[f"{split}_{name}"]) for split in splits]
            + [show_metric(training.baselines[of][name]) for of in baselines]
            for name in names
        ]
        self._print_table(["metric", "unit"], [*splits, *(f"{name} (baseline, test)" for name in baselines)], rows)

    @__call__.register
    def _(self, blend: BlendResult) -> None:
        known = ", finished by an earlier attempt" if blend.resumed else ""
        self._say("run", f"{blend.run_id} (blend by {blend.weights}{known})")
        self._say("", blend.run_url)
        names = [name for name in blend.metrics if name in blend.members[0].metrics]
        if self._spec is not None:
            names = [f"{split}_{self._spec.primary_metric.name}" for split in ("validation", "test")]
        rows = [
            [f"{member.model_type} {member.run_id}", f"{member.weight:.3f}"]
            + [show_metric(member.metrics[name]) for name in names]
            for member in blend.members
        ]
        rows.append(["the blend", "", *(show_metric(blend.metrics[name]) for name in names)])
        self._print_table(["member"], ["weight", *names], rows)

    @__call__.register
    def _(self, registration: RegistrationResult) -> None:
        self._say("model", f"{registration.model_name} version {registration.version}")
        self._say("", registration.url)
        if registration.not_evaluated:
            self._say("note", f"it is not evaluated: {registration.not_evaluated}", style="yellow")

    @__call__.register
    def _(self, evaluation: EvaluationResult) -> None:
        if evaluation.model:
            self._say("evaluate", f"{evaluation.model} on {_describe_rows(evaluation)}")
            self._say("against", evaluation.production or "nothing: no version is live")
        rows = [
            [
                limit.limit,
                *map(show_metric, (limit.found, limit.bound)),
                "held" if limit.held else "NOT HELD",
            ]
            for limit in evaluation.limits
        ]
        if evaluation.intervals:
            compared = [
                [interval.metric]
                + [show_metric(x) for x in (interval.candidate, interval.production, interval.difference)]
                + [f"{show_metric(interval.low)} to {show_metric(interval.high)}"]
                for interval in evaluation.intervals
            ]
            self._print_table(["metric"], ["candidate", "production", "difference", "95 % of it"], compared)
        self._print_table(["limit"], ["found", "bound", "verdict"], rows)
        known = ", as it was told before" if evaluation.resumed and evaluation.model else ""
        verdict, style = ("PASSED", "bold green") if evaluation.passed else ("REFUSED", "bold red")
        self._say("verdict", f"{verdict} on the test rows{known}", style=style)
        for reason in evaluation.reasons:
            self._say("", reason)
        if evaluation.note:
            self._say("note", evaluation.note, style="yellow")
        self._say("", evaluation.run_url)
        if evaluation.policy_version is not None:
            self._say("policy", f"{evaluation.policy_id} version {evaluation.policy_version}, stage {evaluation.stage}")

    @__call__.register
    def _(self, reproduction: ReproductionResult) -> None:
        self._say("model", f"{reproduction.model}, trained anew on {reproduction.dataset}")
        self._say("", reproduction.run_url)
        rows = [
            [name, *("none" if x is None else f"{x:.6g}" for x in (change.then, change.now, change.difference))]
            for name, change in sorted(reproduction.metrics.items())
        ]
        self._print_table(["metric"], ["then", "now", "difference"], rows)
        for change in reproduction.differences:
            then, now = (_show_value(value) for value in (change.then, change.now))
            self._say("differs", f"{change.what}: then {then}, now {now}")
        if not reproduction.environment_recorded:
            text = "packages, processor and threads were not recorded by the release that trained it"
            self._say("note", text, style="yellow")
        elif not reproduction.differences:
            self._say("differs", "nothing of what is on record: code, packages, processor, threads")
        if reproduction.equal:
            text = f"EQUAL: all {reproduction.rows:,} test rows are predicted as then, bit for bit"
            self._say("verdict", text, style="bold green")
            return
        self._say("verdict", f"NOT EQUAL: {_describe_inequality(reproduction)}", style="bold red")

    @__call__.register
    def _(self, drift: DriftResult) -> None:
        self._say(
            "drift", f"{drift.current}: {drift.current_rows:,} rows against {drift.reference_rows:,} training rows"
        )
        self._say("", f"of {drift.reference}")
        table = Table("column")
        for name in (f"PSI (≤ {drift.limits['psi']:g})", f"KS (≤ {drift.limits['ks']:g})", "χ²", "p value"):
            table.add_column(name, justify="right")
        table.add_column("verdict")
        for column in drift.columns[:SHOWN_COLUMNS]:
            table.add_row(column.name, *_show_measures(column), _describe_drift(column))
        self._console.print(table)
        if len(drift.columns) > SHOWN_COLUMNS:
            self._say("", f"and {len(drift.columns) - SHOWN_COLUMNS:,} more columns, none of them worse")
        nb_drifted = sum(column.drifted for column in drift.columns)
        if drift.drifted:
            text = f"DRIFTED: {nb_drifted:,} of {len(drift.columns):,} columns"
            self._say("verdict", text, style="bold red")
        else:
            self._say("verdict", f"no column of {len(drift.columns):,} has drifted", style="bold green")
        self._say("", drift.run_url)

    def print_next(self, evaluation: Mapping[str, Any]) -> None:
        """The command that makes sense after a verdict, an ``EvaluationResult`` as JSON."""
        if evaluation["passed"]:
            if evaluation["stage"] == "candidate":
                version = f"--version {evaluation['policy_version']}"
                text = f"promote {evaluation['policy_id']} {version}      # puts it in production"
                self._say("next", f"{name_program()} {text}")
        elif self._spec is not None:
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


def _describe_rows(evaluation: EvaluationResult) -> str:
    """Which rows were scored; ``rows`` is not known of an evaluation by an earlier release."""
    rows = "the test rows" if evaluation.rows is None else f"{evaluation.rows:,} test rows"
    unseen = " that no model has seen" if evaluation.unseen_rows else ""
    return f"{rows} of {evaluation.dataset}{unseen}"


def _show_measures(column: ColumnDrift) -> list[str]:
    by_test = {column.test: column.statistic}
    values = (column.psi, by_test.get("ks"), by_test.get("chi2"), column.p_value)
    return ["–" if value is None else f"{value:.4g}" for value in values]


def _describe_drift(column: ColumnDrift) -> str:
    if not column.compared:
        return "ignored"
    return f"DRIFTED: {'; '.join(column.reasons)}" if column.drifted else "held"


def _show_value(value: object) -> str:
    """A value of a list of differences, short enough for a line; the run has all of it."""
    if isinstance(value, list):
        return f"{', '.join(map(str, value[:8]))}{f' and {len(value) - 8} more' if len(value) > 8 else ''}" or "none"
    return "none" if value is None else str(value)


def _describe_inequality(reproduction: ReproductionResult) -> str:
    if reproduction.differing_rows == 0:
        return "the stored model and the new one agree, and both differ from what was predicted at its training"
    text = f"{reproduction.differing_rows:,} of {reproduction.rows:,} test rows are predicted differently"
    largest = reproduction.largest_difference
    return text if largest is None else f"{text}, by at most {largest:.3g}"
