"""``modelyard up | down | status | env | psql``: the stack that everything runs on."""

import os
import shlex
import sys
from dataclasses import asdict, replace
from typing import Annotated

import psycopg
import typer
from rich.table import Table

from modelyard.cli.output import make_console, print_json
from modelyard.errors import ModelyardError, StackRefused
from modelyard.settings import load_settings
from modelyard.stack.current import get_running, get_stack
from modelyard.stack.losses import REMEDY, describe_losses, find_losses

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def up(
    trainers: Annotated[
        int | None,
        typer.Option(metavar="N", help="How many trainers there are from now on. Default: as last time, or 1."),
    ] = None,
) -> None:
    """Start PostgreSQL, MLflow, trainers and an evaluator, or find them running."""
    console = make_console(json=False)
    addresses = get_stack().up(load_settings(), lambda text: console.print(f"stack    {text}"), trainers=trainers)
    console.print(f"MLflow   {addresses.ui_url}")


def down() -> None:
    """Stop the workers, MLflow and PostgreSQL; nothing is lost."""
    console = make_console(json=False)
    get_stack().down(load_settings(), lambda text: console.print(f"stack    {text}"))


def status(json_output: JsonOption = False) -> None:
    """Say what runs, where, and how much memory it takes; exit code 1 if anything is down."""
    found = get_stack().status(load_settings())
    lost = _list_losses()
    if json_output:
        print_json(asdict(found) | {"lost": lost})
    else:
        console = make_console(json=False)
        table = Table("service", "state", "pid", "address", "memory", "since")
        for service in found.services:
            memory = f"{service.memory_bytes / 2**20:,.0f} MiB" if service.memory_bytes else ""
            table.add_row(
                service.name,
                "running" if service.running else "down",
                str(service.pid or ""),
                service.address or "",
                memory,
                f"{service.since:%Y-%m-%d %H:%M:%S %Z}" if service.since else "",
            )
        console.print(table)
        console.print(f"folder   {found.home}" if found.home else f"stack    {found.stack}: {found.reason}")
        if lost:
            console.print(f"LOST     MLflow has lost {describe_losses(lost)}; {REMEDY}", style="bold red")
    if not all(service.running for service in found.services):
        raise typer.Exit(1)


def _list_losses() -> list[str]:
    running = get_stack().find_running(load_settings())
    try:
        return (find_losses(running) or []) if running else []
    except (ModelyardError, psycopg.Error):
        return []  # what does not answer is in the table


def env() -> None:
    """Print settings for a shell or a notebook: eval "$(modelyard env)"."""
    addresses = get_running()
    if addresses.stack != "embedded":
        raise StackRefused("this is a container; give the command where Docker is: make -s env")
    for name, value in addresses.environment().items():
        print(f"export {name}={shlex.quote(value)}")


def psql(
    sql: Annotated[
        str | None, typer.Option(help="Print the bare rows of this query instead of opening a prompt.")
    ] = None,
) -> None:
    """Open a prompt on the database as yourself."""
    addresses = get_running()
    program = get_stack().psql_path(load_settings())
    rows = [] if sql is None else ["--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=1", "--command", sql]
    sys.stdout.flush()
    environment = dict(os.environ)
    if addresses.secrets is not None:  # not as an argument, which everybody may read
        environment["PGPASSWORD"] = addresses.password(addresses.person)
    address = replace(addresses, secrets=None).dsn(addresses.person)
    os.execve(program, [str(program), "--no-psqlrc", *rows, address], environment)  # noqa: S606
