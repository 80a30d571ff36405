"""``modelyard reconcile``: MLflow shows what is on record again, and what it lost is told."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from modelyard import api
from modelyard.cli.output import make_console, print_json
from modelyard.cli.stack import JsonOption
from modelyard.errors import ModelyardError

if TYPE_CHECKING:
    from modelyard.pipeline.projection import Finding

SHOWN = 40  # of what was found


def reconcile(json_output: JsonOption = False) -> None:
    """Let MLflow show stages and aliases as they are on record, and look for what it lost; exit code 1 if anything is.

    The evaluator does the same every minute.
    """
    from modelyard.pipeline.reconcile import reconcile as reconcile_all

    console, found = make_console(json=json_output), list["Finding"]()
    with api.connect("person", application_name="modelyard reconcile") as session:
        try:
            done = reconcile_all(session, tell=found.append)
        except ModelyardError:
            _show(console, found)  # what was done before it ended
            raise
    _show(console, found)
    for name in done.held:
        console.print(f"held        {name}: another process projects it in this moment; reconcile again")
    if not found and not done.held:
        console.print("MLflow      shows what is on record, and has all that the records need")
    if json_output:
        print_json({"findings": [asdict(one) for one in done.findings], "nb_lost": len(done.lost)})
    if done.lost:
        raise typer.Exit(1)


def _show(console: Console, findings: list["Finding"]) -> None:
    # what only a person can put right comes first
    for one in sorted(findings, key=lambda found: found.kind != "lost")[:SHOWN]:
        style = "bold red" if one.kind == "lost" else None
        console.print(f"{one.kind:<10}  {one.subject}: {one.found}", style=style)
        if one.remedy:
            console.print(f"            {one.remedy}")
    if len(findings) > SHOWN:
        console.print(f"            and {len(findings) - SHOWN:,} more; --json has all of them")
    nb_lost = sum(found.kind == "lost" for found in findings)
    if nb_lost:
        console.print(f"LOST        {nb_lost:,}: PostgreSQL needs what MLflow does not have any more")
