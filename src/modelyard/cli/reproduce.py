"""``modelyard reproduce``: a model version, trained once more."""

import json
import sys
from typing import Annotated, Any

import typer

from modelyard.cli.output import make_console
from modelyard.cli.submission import Submission
from modelyard.cli.train import Inline, JsonOutput, NoWait
from modelyard.errors import BadInput
from modelyard.settings import load_settings, name_program
from modelyard.stack.choice import choose_stack
from modelyard.stack.current import get_stack
from modelyard.store.connections import connect

NOT_EQUAL = 3  # exit code: it was trained anew, and something else came out


def reproduce(
    model: Annotated[str, typer.Argument(metavar="MODEL/VERSION", help="Which one, e.g. california_housing_model/3.")],
    no_wait: NoWait = False,
    inline: Inline = False,
    json_output: JsonOutput = False,
) -> None:
    """Train a model version anew, and say whether it comes out equal and what differs.

    From its dataset, its parameters and its seed; nothing is registered. Exit code 3 if it is not equal.
    """
    from modelyard.pipeline.reproduce import build_arguments, read_reproduction
    from modelyard.store.models import resolve_model_version

    console = make_console(json=json_output)
    if inline and no_wait:
        raise BadInput("--inline does the work here and --no-wait leaves it to a worker; give one of them")
    settings = load_settings()
    choice = choose_stack(settings)
    console.print(f"stack    {choice.stack}: {choice.why}")
    addresses = get_stack().up(settings, lambda text: console.print(f"stack    {text}"))
    with connect(addresses.dsn(addresses.person)) as connection:
        request = read_reproduction(connection, build_arguments(resolve_model_version(connection, model)))
    submission = Submission(console, settings, spec=request.workload.spec)
    submission.submit("reproduce", build_arguments(request.version), inline=inline)
    outcome: dict[str, Any]
    if no_wait:
        outcome = {"job_id": str(submission.job_id)}
        console.print(f"job      {submission.job_id}")
        console.print(f"next     {name_program()} jobs follow {submission.job_id}")
    else:
        outcome = submission.run_inline() if inline else submission.follow()
    if json_output:
        json.dump(outcome, sys.stdout, indent=2)
        print()
    if not outcome.get("reproduction", {"equal": True})["equal"]:
        raise typer.Exit(NOT_EQUAL)
