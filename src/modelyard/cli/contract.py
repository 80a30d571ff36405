"""``modelyard contract check | register``: runs of any tool become model versions, or it is said why not."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from modelyard import api
from modelyard.cli.outcome import ANSWER_IS_NO
from modelyard.cli.output import StepProgress, make_console, print_json
from modelyard.cli.stack import JsonOption
from modelyard.cli.submission import Submission, check_way
from modelyard.cli.train import Inline, JsonOutput, NoWait
from modelyard.errors import BadInput, ContractNotMet
from modelyard.settings import load_settings, name_program
from modelyard.stack.current import get_running

if TYPE_CHECKING:
    from modelyard.pipeline.examination import Examined
    from modelyard.pipeline.run_request import RunRequest
    from modelyard.pipeline.session import Session
    from modelyard.workloads.rules import Rules

app = typer.Typer(no_args_is_help=True, help="What a training run must have logged.", rich_markup_mode=None)

RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="The MLflow run, by the id that its page shows.")]
Model = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Name of the registered model, e.g. houses_model. Default: by the run's tags."),
]
Task = Annotated[
    str | None,
    typer.Option(help="By which rules: regression, classification, ranking, … Default: as the run's tags say."),
]
RulesFile = Annotated[
    str | None, typer.Option("--rules", metavar="FILE", help="Rules of your own, in place of those of the task.")
]


@app.command()
def check(
    run_id: RunId, model: Model = None, task: Task = None, rules: RulesFile = None, json_output: JsonOption = False
) -> None:
    """Say what a run must have logged, and whether it has. Nothing is written; exit code 3 if anything is missing."""
    read = _read_rules(task, rules)
    console = make_console(json=json_output)
    with api.connect("person", application_name="modelyard contract check") as session:
        request, examined = _examine(session, console, run_id, model=model, task=task, rules=read)
    _show(console, request, examined)
    if not examined.missing:
        asked = {"--model": model, "--task": task, "--rules": rules}
        options = "".join(f" {name} {shlex.quote(value)}" for name, value in asked.items() if value is not None)
        console.print(f"next     {name_program()} register {run_id}{options}      # as {request.model_name}")
    if json_output:
        print_json(_encode(request, examined))
    if examined.missing:
        raise typer.Exit(ANSWER_IS_NO)


def register(
    run_id: RunId,
    model: Model = None,
    task: Task = None,
    rules: RulesFile = None,
    no_wait: NoWait = False,
    inline: Inline = False,
    json_output: JsonOutput = False,
) -> None:
    """Register the model of a run of any tool, once, and evaluate it. Exit code 3 if contract or gate say no."""
    from modelyard.pipeline.register import check_known
    from modelyard.pipeline.run_request import build_run_request, find_queue
    from modelyard.store.models import find_model_version_by_run

    check_way(inline=inline, no_wait=no_wait)
    read = _read_rules(task, rules)
    console = make_console(json=json_output)
    with api.connect("person", application_name="modelyard register") as session:
        known = find_model_version_by_run(session.records, mlflow_run_id=run_id)
        if known is not None:
            console.print(f"model    run {run_id} is registered as {known.label}, by {known.created_by}")
            check_known(session, known, model or known.mlflow_model_name)
            if task not in (None, known.workload):
                raise BadInput(f"run {run_id} is registered by the rules of {known.workload}; leave --task {task} out")
            if rules is not None:
                console.print("note     --rules is for a registration, and this run has one", style="yellow")
            request = build_run_request(session, run_id, model_name=known.mlflow_model_name, task=known.workload)
        else:
            request, examined = _examine(session, console, run_id, model=model, task=task, rules=read)
            if examined.missing:
                _show(console, request, examined)
                if json_output:
                    print_json(_encode(request, examined))
                raise ContractNotMet(run_id, examined.missing)
        queue = find_queue(session, run_id)
    spec = request.workload.spec if request.workload else None
    submission = Submission(console, load_settings(), get_running(), spec=spec)
    submission.submit("register", request.arguments(), inline=inline, queue=queue)
    submission.finish(no_wait=no_wait, json_output=json_output)


def _read_rules(task: str | None, path: str | None) -> "Rules | None":
    from modelyard.workloads.rules import parse_rules

    if path is None:
        return None
    if task is not None:
        raise BadInput("--rules names a file of rules and --task those that ship for a task; give one of them")
    try:
        return parse_rules(Path(path).read_text(encoding="utf-8"), source=path)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the rules file {path} cannot be read: {error}") from None


def _examine(
    session: "Session", console: Console, run_id: str, *, model: str | None, task: str | None, rules: "Rules | None"
) -> "tuple[RunRequest, Examined]":
    from modelyard.pipeline.examination import examine_run
    from modelyard.pipeline.run_request import build_run_request

    request = build_run_request(session, run_id, model_name=model, task=task, rules=rules)
    progress = StepProgress(console)
    with progress.shown():
        return request, examine_run(session, request, report=progress)


def _show(console: Console, request: "RunRequest", examined: "Examined") -> None:
    console.print(f"run      {request.run_id}, as {request.model_name} by the rules of {request.name}")
    table = Table("demand", "verdict", "found", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for demand in examined.demands:
        table.add_row(demand.what, "met" if demand.met else "MISSING", demand.found)
    console.print(table)
    nb_missing, nb_demands = len(examined.missing), len(examined.demands)
    if nb_missing:
        console.print(f"verdict  NOT MET: {nb_missing} of {nb_demands} demands", style="bold red")
    else:
        console.print(f"verdict  MET: all {nb_demands} demands", style="bold green")


def _encode(request: "RunRequest", examined: "Examined") -> dict[str, Any]:
    return {
        "run_id": request.run_id,
        "model_name": request.model_name,
        "rules": request.name,
        "met": not examined.missing,
        "demands": [asdict(demand) for demand in examined.demands],
    }
