"""``modelyard train | process``: from raw data to a policy version, or to a dataset."""

import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from modelyard.cli.output import make_console
from modelyard.cli.submission import Submission
from modelyard.errors import BadInput, InvalidParameter
from modelyard.settings import load_settings, name_program
from modelyard.stack.choice import choose_stack

REFUSED = 3  # exit code: training and evaluation are done, and the gate says no

Workload = Annotated[str, typer.Argument(help="Which workload, e.g. california_housing.")]
Data = Annotated[
    Path | None,
    typer.Option(help="Raw data; with it nothing else is tried. Default: data folder, download, sample."),
]
ModelType = Annotated[str | None, typer.Option(help="One of the workload's model types.")]
Params = Annotated[str, typer.Option(help="Parameters in one text: 'max_depth=6 learning_rate=0.1'.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="One parameter; may be repeated.")
]
Config = Annotated[
    str | None, typer.Option(help="A YAML file of parameters, or the name of one that ships with the workload.")
]
RunName = Annotated[str | None, typer.Option(help="Name of the MLflow run.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Print the job's number and return.")]
Inline = Annotated[bool, typer.Option("--inline", help="Do the work in this process, without the queue.")]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON on stdout.")]


def train(
    workload: Workload,
    data: Data = None,
    model_type: ModelType = None,
    params: Params = "",
    assignments: Assignments = None,
    config: Config = None,
    run_name: RunName = None,
    experiment_name: Annotated[str | None, typer.Option(help="MLflow experiment; default: the workload's.")] = None,
    no_wait: NoWait = False,
    inline: Inline = False,
    json_output: JsonOutput = False,
) -> None:
    """Train and evaluate a workload, from raw data to a policy version."""
    _ask(
        "train",
        workload=workload,
        data=data,
        model_type=model_type,
        params=params,
        assignments=assignments,
        config=config,
        run_name=run_name,
        experiment_name=experiment_name,
        no_wait=no_wait,
        inline=inline,
        json_output=json_output,
    )


def process(
    workload: Workload,
    data: Data = None,
    params: Params = "",
    assignments: Assignments = None,
    config: Config = None,
    no_wait: NoWait = False,
    inline: Inline = False,
    json_output: JsonOutput = False,
) -> None:
    """Make a dataset from raw data and log it, without training on it."""
    _ask(
        "process",
        workload=workload,
        data=data,
        params=params,
        assignments=assignments,
        config=config,
        no_wait=no_wait,
        inline=inline,
        json_output=json_output,
    )


def _split(params: str) -> list[str]:
    try:
        return shlex.split(params)
    except ValueError as error:
        raise InvalidParameter([f"--params {params!r} cannot be read: {error}"]) from None


def _ask(
    kind: Literal["train", "process"],
    *,
    workload: str,
    data: Path | None,
    params: str,
    assignments: list[str] | None,
    config: str | None,
    no_wait: bool,
    inline: bool,
    json_output: bool,
    model_type: str | None = None,
    run_name: str | None = None,
    experiment_name: str | None = None,
) -> None:
    """Check everything, bring the stack up, store the raw data, queue the job; then what was asked for."""
    from modelyard.pipeline.request import build_request, check_data, parse_assignments

    console = make_console(json=json_output)
    values = [*_split(params), *(assignments or [])]
    if inline and no_wait:
        raise BadInput("--inline does the work here and --no-wait leaves it to a worker; give one of them")
    settings = load_settings()
    request = build_request(
        workload,
        model_type=model_type,
        values=parse_assignments(values),
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
        raw = checked.hashed.raw
        if raw.source == "sample":
            console.print(f"data     {raw.why}", style="bold yellow")
        submission = Submission(console, settings, workload=request.workload)
        submission.submit(kind, request, checked.hashed, inline=inline)
    _end(submission, console, no_wait=no_wait, inline=inline, json_output=json_output)


def _end(submission: Submission, console: Console, *, no_wait: bool, inline: bool, json_output: bool) -> None:
    outcome: dict[str, Any]
    if no_wait:
        outcome = {"job_id": str(submission.job_id)}
        console.print(f"job      {submission.job_id}")
        console.print(f"next     {name_program()} jobs follow {submission.job_id}")
    else:
        outcome = submission.run_inline() if inline else submission.follow()
        submission.print_end(outcome)
    if json_output:
        json.dump(outcome, sys.stdout, indent=2)
        print()
    if not outcome.get("evaluation", {"passed": True})["passed"]:
        raise typer.Exit(REFUSED)
