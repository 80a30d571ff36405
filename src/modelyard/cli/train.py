"""``modelyard train``: from raw data to a policy version."""

import json
import shlex
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from modelyard.cli.output import StepProgress, make_console
from modelyard.errors import InvalidParameter
from modelyard.settings import load_settings
from modelyard.stack.choice import choose_stack

REFUSED = 3  # exit code: training and evaluation are done, and the gate says no


def train(
    workload: Annotated[str, typer.Argument(help="Which workload, e.g. california_housing.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Raw data; with it nothing else is tried. Default: data folder, download, sample."),
    ] = None,
    model_type: Annotated[str | None, typer.Option(help="One of the workload's model types.")] = None,
    params: Annotated[str, typer.Option(help="Parameters in one text: 'max_depth=6 learning_rate=0.1'.")] = "",
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="One parameter; may be repeated.")
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="A YAML file of parameters, or the name of one that ships with the workload.")
    ] = None,
    run_name: Annotated[str | None, typer.Option(help="Name of the MLflow run.")] = None,
    experiment_name: Annotated[str | None, typer.Option(help="MLflow experiment; default: the workload's.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON on stdout.")] = False,
) -> None:
    """Train and evaluate a workload, from raw data to a policy version."""
    from modelyard.pipeline.request import build_request, check_data, parse_assignments

    settings = load_settings()
    console = make_console(json=json_output)
    request = build_request(
        workload,
        model_type=model_type,
        values=parse_assignments([*_split(params), *(assignments or [])]),
        config=config,
        run_name=run_name,
        mlflow_experiment=experiment_name,
    )
    choice = choose_stack(settings)
    console.print(f"stack    {choice.stack}: {choice.why}")
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        checked = check_data(
            request,
            data=data,
            data_dir=settings.data_dir,
            folder=Path(folder),
            report=lambda text: console.print(f"data     {text}"),
        )
        if checked.located.source == "sample":
            console.print(f"data     {checked.located.why}", style="bold yellow")
        passed = _run(console, request, checked, json_output=json_output)
    if not passed:
        raise typer.Exit(REFUSED)


def _split(params: str) -> list[str]:
    try:
        return shlex.split(params)
    except ValueError as error:
        raise InvalidParameter([f"--params {params!r} cannot be read: {error}"]) from None


def _run(console: Console, request: Any, checked: Any, *, json_output: bool) -> bool:
    """Bring the stack up, run the request, print what it led to."""
    from modelyard.pipeline.flow import run_training
    from modelyard.pipeline.session import open_session
    from modelyard.stack import embedded

    settings = load_settings()
    addresses = embedded.up(settings, lambda text: console.print(f"stack    {text}"))
    console.print(f"stack    {addresses.home}, MLflow at {addresses.ui_url}")
    progress = StepProgress(console)
    printer = OutcomePrinter(console, request)
    with (
        open_session(
            tracking_uri=addresses.tracking_uri,
            ui_url=addresses.ui_url,
            raw_uri=addresses.raw_uri,
            person=addresses.person,
            dsn=addresses.dsn,
        ) as session,
        progress.shown(),
    ):
        outcome = run_training(session, request, checked, emit=printer, report=progress)
    if outcome.raw.source == "sample":
        console.print(f"data     {outcome.raw.why}", style="bold yellow")
    printer.print_next(outcome.evaluation.passed)
    if json_output:
        json.dump(asdict(outcome), sys.stdout, indent=2)
        print()
    return outcome.evaluation.passed


class OutcomePrinter:
    """Prints each result of the flow when it is there."""

    def __init__(self, console: Console, request: Any) -> None:
        self._console, self._request = console, request

    def __call__(self, result: object) -> None:
        getattr(self, f"_print_{type(result).__name__}")(result)

    def _say(self, what: str, text: str, *, style: str | None = None) -> None:
        self._console.print(f"{what:<9}{text}", style=style)

    def _print_RawData(self, raw: Any) -> None:  # noqa: N802  named after the result
        why = "the built-in sample" if raw.source == "sample" else raw.why
        for file in raw.files:
            self._say("data", f"{file.name}, {file.size_bytes:,} bytes ({why})")
            self._say("", f"sha256 {file.sha256}")

    def _print_JobStarted(self, job: Any) -> None:  # noqa: N802
        again = f", attempt {job.attempt}: goes on with what the last one left" if job.attempt > 1 else ""
        self._say("job", f"{job.job_id}{again}")

    def _print_DatasetResult(self, dataset: Any) -> None:  # noqa: N802
        known = ", logged before" if dataset.reused else ""
        splits = " + ".join(f"{count:,} {name}" for name, count in dataset.split_counts.items())
        self._say("dataset", f"{dataset.name} {dataset.version}{known}: {dataset.num_rows:,} rows ({splits})")
        self._say("", f"digest {dataset.digest}")
        self._say("", dataset.run_url)

    def _print_TrainingResult(self, training: Any) -> None:  # noqa: N802
        known = ", finished by an earlier attempt" if training.resumed else ""
        self._say("run", f"{training.run_id} ({training.model_type}{known})")
        self._say("", training.run_url)
        spec = self._request.workload.spec
        splits = [s for s in ("train", "validation", "test") if f"{s}_{spec.primary_metric.name}" in training.metrics]
        table = Table("metric", "unit", *splits, *(f"{name} (baseline, test)" for name in training.baselines))
        for column in table.columns[2:]:
            column.justify = "right"
        for metric in spec.metrics:
            values = [training.metrics[f"{split}_{metric.name}"] for split in splits]
            values += [baseline[metric.name] for baseline in training.baselines.values()]
            table.add_row(metric.name, metric.unit, *(f"{value:.4f}" for value in values))
        self._console.print(table)

    def _print_RegistrationResult(self, registration: Any) -> None:  # noqa: N802
        self._say("model", f"{registration.model_name} version {registration.version}")
        self._say("", registration.url)

    def _print_EvaluationResult(self, evaluation: Any) -> None:  # noqa: N802
        table = Table("limit", "found", "bound", "verdict")
        table.columns[1].justify = table.columns[2].justify = "right"
        for limit in evaluation.limits:
            numbers = (f"{value:.4f}" if value is not None else "none" for value in (limit.found, limit.bound))
            table.add_row(limit.limit, *numbers, "held" if limit.held else "NOT HELD")
        self._console.print(table)
        verdict = "PASSED" if evaluation.passed else "REFUSED"
        self._say("verdict", f"{verdict} on the test rows", style="bold green" if evaluation.passed else "bold red")
        for reason in evaluation.reasons:
            self._say("", reason)
        self._say("", evaluation.run_url)
        if evaluation.policy_version is not None:
            self._say("policy", f"{evaluation.policy_id} version {evaluation.policy_version}, stage {evaluation.stage}")

    def print_next(self, passed: bool) -> None:
        """The command that makes sense now."""
        name = self._request.workload.spec.name
        if passed:
            self._say("next", 'make psql SQL="select * from exp.stages"      # every model version with its stage')
        else:
            configs = ", ".join(self._request.workload.spec.configs) or "parameters of your own"
            self._say("next", f"modelyard train {name} --config NAME      # try another configuration: {configs}")
