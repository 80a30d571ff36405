"""``modelyard train``: from raw data to a policy version."""

import json
import shlex
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from modelyard.cli.output import StepProgress, make_console
from modelyard.errors import InvalidParameter
from modelyard.settings import load_settings
from modelyard.stack.choice import choose_stack

if TYPE_CHECKING:  # MLflow takes 1.5 s to import, and a wrong option need not wait for it
    from modelyard.pipeline.request import CheckedData, TrainingRequest

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
        if checked.hashed.raw.source == "sample":
            console.print(f"data     {checked.hashed.raw.why}", style="bold yellow")
        passed = _run(console, request, checked, json_output=json_output)
    if not passed:
        raise typer.Exit(REFUSED)


def _split(params: str) -> list[str]:
    try:
        return shlex.split(params)
    except ValueError as error:
        raise InvalidParameter([f"--params {params!r} cannot be read: {error}"]) from None


def _run(console: Console, request: "TrainingRequest", checked: "CheckedData", *, json_output: bool) -> bool:
    """Bring the stack up, run the request, print what it led to."""
    from modelyard.cli.outcome import OutcomePrinter
    from modelyard.pipeline.flow import run_training
    from modelyard.pipeline.session import open_session
    from modelyard.stack import embedded

    settings = load_settings()
    addresses = embedded.up(settings, lambda text: console.print(f"stack    {text}"))
    console.print(f"stack    {addresses.home}, MLflow at {addresses.ui_url}")
    progress = StepProgress(console)
    printer = OutcomePrinter(console, request.workload.spec)
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
    printer.print_next(passed=outcome.evaluation.passed)
    if json_output:
        json.dump(asdict(outcome), sys.stdout, indent=2)
        print()
    return outcome.evaluation.passed
