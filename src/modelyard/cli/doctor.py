"""``modelyard doctor``: is everything here that the stack needs?"""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from modelyard.cli.output import make_console, print_json
from modelyard.settings import load_container_settings, load_settings


def doctor(json_output: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False) -> None:
    """Check the surroundings and say what is wrong and what to do."""
    if load_container_settings() is None:
        from modelyard.stack.doctor import run_checks
    else:
        from modelyard.stack.compose import run_checks

    checks = run_checks(load_settings())
    if json_output:
        print_json([asdict(check) for check in checks])
    else:
        table = Table("check", "state", "what was found", "what to do")
        for check in checks:
            style = {"ok": None, "warn": "yellow", "fail": "bold red"}[check.state]
            table.add_row(check.name, check.state, check.found, check.remedy, style=style)
        make_console(json=False).print(table)
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(2)
