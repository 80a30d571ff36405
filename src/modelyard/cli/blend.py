"""``modelyard blend``: finished trainings on one dataset as one model, and whether it is still good."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from modelyard.cli.outcome import ANSWER_IS_NO
from modelyard.cli.output import make_console, print_json, show_metric
from modelyard.cli.submission import Submission, bring_up, check_way
from modelyard.cli.train import Inline, JsonOutput, NoWait, Workload
from modelyard.errors import BadInput
from modelyard.settings import load_settings, name_program
from modelyard.stack.choice import choose_stack
from modelyard.store.connections import connect
from modelyard.workloads.contract import WorkloadSpec
from modelyard.workloads.registry import locate_workload

if TYPE_CHECKING:
    from mlflow import MlflowClient


def blend(
    workload: Workload,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[@VERSION]|DIGEST",
            help="What the members were trained on. Default: the newest with two trainings. With --check the rows "
            "to score; default: the newest.",
        ),
    ] = None,
    candidates: Annotated[
        str | None,
        typer.Option(
            metavar="N|RUN_ID,RUN_ID", help="The N best runs, or these. Default: the best run of each model type."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="inverse_mae (the default) or nnls.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Make none: score the live or else the newest blend on test rows.")
    ] = False,
    limit: Annotated[
        float | None,
        typer.Option(help="With --check: so many times its error of then may the error be. Default: 1.1."),
    ] = None,
    no_wait: NoWait = False,
    inline: Inline = False,
    json_output: JsonOutput = False,
) -> None:
    """Blend finished trainings on one dataset into one model, weighted on its validation rows, and evaluate it.

    With --check: exit code 3 if the blend's error has grown past the limit.
    """
    from modelyard.pipeline.blend_request import build_blend, check_blends
    from modelyard.pipeline.reselection import LIMIT
    from modelyard.tracking import server

    console = make_console(json=json_output)
    check_way(inline=inline, no_wait=no_wait)
    if check and (candidates is not None or weights is not None or no_wait):
        raise BadInput(
            "--check makes no blend, so --candidates and --weights mean nothing, and it waits; leave them out"
        )
    if limit is not None and not check:
        raise BadInput("--limit is of --check; add that, or leave it out")
    settings = load_settings()
    chosen = locate_workload(workload, places=settings.workload_places())
    spec = chosen.spec
    check_blends(spec)
    choice = choose_stack(settings)
    console.print(f"stack    {choice.stack}: {choice.why}")
    addresses = bring_up(console, settings)
    submission = Submission(console, settings, addresses, spec=spec)
    client = server.connect(addresses.tracking_uri)
    if check:
        asked = LIMIT if limit is None else limit
        _check(console, submission, client, spec, dataset=dataset, limit=asked, inline=inline, json_output=json_output)
        return
    with connect(submission.dsn) as connection:
        found = build_blend(
            connection, client, chosen, dataset=dataset, candidates=candidates, weights=weights or "inverse_mae"
        )
    used = found.request.dataset
    made_up = ", made-up data" if used.data_source == "sample" else ""
    console.print(f"dataset  {used.name} {used.version}{made_up}")
    for member in found.members:
        score = f"validation {spec.primary_metric.name} {show_metric(member.score)} {spec.primary_metric.unit}"
        console.print(f"member   {member.run_id} ({member.model_type}): {score}")
    console.print(f"         {found.why}")
    submission.submit("blend", found.request.arguments(), inline=inline)
    submission.finish(no_wait=no_wait, json_output=json_output)


def _check(
    console: Console,
    submission: Submission,
    client: "MlflowClient",
    spec: WorkloadSpec,
    *,
    dataset: str | None,
    limit: float,
    inline: bool,
    json_output: bool,
) -> None:
    """Evaluate the blend, and hold its error against the one of then."""
    from modelyard.pipeline.reselection import build_check, judge_blend

    with connect(submission.dsn) as connection:
        request = build_check(connection, spec, dataset=dataset, limit=limit)
    submission.submit("evaluate", request.arguments(), inline=inline)
    outcome = submission.achieve()
    metric = spec.primary_metric.name
    found = judge_blend(client, request, metric=metric, now=outcome["evaluation"]["metrics"][metric], limit=limit)
    grown = f"{found.metric} {show_metric(found.now)} on {found.dataset}, {show_metric(found.then)} when it was made"
    console.print(f"blend    {found.model}: {grown}")
    if found.needs_reselection:
        console.print(f"verdict  NEEDS RESELECTION: more than {limit:g} times as large", style="bold red")
        console.print(f"next     {name_program()} blend {spec.name}      # after trainings on newer data")
    else:
        console.print(f"verdict  no reselection needed: at most {limit:g} times as large", style="bold green")
    if json_output:
        print_json(outcome | {"reselection": asdict(found)})
    if found.needs_reselection:
        raise typer.Exit(ANSWER_IS_NO)
