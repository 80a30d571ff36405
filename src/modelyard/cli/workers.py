"""``modelyard workers``: workers with further packages, each with a queue of its own."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from modelyard.cli.output import make_console
from modelyard.errors import StackRefused
from modelyard.settings import Settings, load_container_settings, load_settings

app = typer.Typer(
    no_args_is_help=True, help="Add, list and remove workers with further packages.", rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(help="Of the workers and of their queue, e.g. vision.")]


@app.command()
def add(
    name: Name,
    requirements: Annotated[Path, typer.Option(metavar="FILE", help="The packages, as pip reads them.")],
) -> None:
    """Make and start a trainer and an evaluator with further packages; they take the jobs of their queue only."""
    from modelyard.stack.own_workers import add_workers

    console = make_console(json=False)
    add_workers(_load_settings(), lambda text: console.print(f"stack    {text}"), name=name, requirements=requirements)
    console.print(f"workers  {name}: a trainer and an evaluator take the jobs of the queue {name}")
    console.print(f"next     make train QUEUE={name} (--queue {name})")


@app.command()
def remove(name: Name) -> None:
    """Stop the workers of a queue and remove their packages; jobs of that queue wait."""
    from modelyard.stack.own_workers import remove_workers

    console = make_console(json=False)
    remove_workers(_load_settings(), lambda text: console.print(f"stack    {text}"), name=name)
    console.print(f"workers  {name}: removed")


@app.command("list")
def list_() -> None:
    """List the workers with further packages."""
    from modelyard.stack.own_workers import list_own_workers

    table = Table("workers", "state", "requirements")
    for own in list_own_workers(_load_settings()):
        table.add_row(own.name, {2: "running", 0: "down"}.get(own.running, "one is down"), str(own.requirements))
    make_console(json=False).print(table)


def _load_settings() -> Settings:
    if load_container_settings() is not None:
        raise StackRefused("this is a container, which makes no workers; give the command where Docker is: make worker")
    return load_settings()
