"""``modelyard reproduce``: a model version, trained once more."""

from typing import Annotated

import typer

from modelyard.cli.output import make_console
from modelyard.cli.submission import Submission, bring_up, check_way
from modelyard.cli.train import Inline, JsonOutput, NoWait
from modelyard.settings import load_settings
from modelyard.stack.choice import choose_stack
from modelyard.store.connections import connect
from modelyard.workloads.registry import find_spec


def reproduce(
    model: Annotated[str, typer.Argument(metavar="MODEL/VERSION", help="Which one, e.g. california_housing_model/3.")],
    no_wait: NoWait = False,
    inline: Inline = False,
    json_output: JsonOutput = False,
) -> None:
    """Train a model version anew, and say whether it comes out equal and what differs.

    From its dataset, its parameters and its seed; nothing is registered. Exit code 3 if it is not equal.
    """
    from modelyard.pipeline.reproduce import build_arguments
    from modelyard.store.models import resolve_model_version

    console = make_console(json=json_output)
    check_way(inline=inline, no_wait=no_wait)
    settings = load_settings()
    choice = choose_stack(settings)
    console.print(f"stack    {choice.stack}: {choice.why}")
    addresses = bring_up(console, settings)
    with connect(addresses.dsn(addresses.person)) as connection:
        version = resolve_model_version(connection, model)
        arguments = build_arguments(connection, version)
    submission = Submission(console, settings, addresses, spec=find_spec(version.workload, version.workload_file))
    submission.submit("reproduce", arguments, inline=inline)
    submission.finish(no_wait=no_wait, json_output=json_output)
