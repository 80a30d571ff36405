"""``modelyard workloads``: which there are, and a new one of your own."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from modelyard.cli.output import make_console, print_json
from modelyard.cli.train import JsonOutput
from modelyard.settings import load_settings, name_program

app = typer.Typer(help="Which workloads there are, and a new one of your own.", invoke_without_command=True)


@app.callback()
def list_all(context: typer.Context, json_output: JsonOutput = False) -> None:
    """List every workload with its task, primary metric, model types, data and where it comes from."""
    if context.invoked_subcommand is not None:
        return
    from modelyard.pipeline.workload_list import list_workloads

    settings = load_settings()
    found = list_workloads(places=settings.workload_places(), data_dir=settings.data_dir)
    if json_output:
        print_json([asdict(one) for one in found])
        return
    table = Table("workload", "task", "metric", "model types", "data", "from", box=SIMPLE_HEAD, pad_edge=False)
    for one in found:
        metric = f"{one.metric}\n{one.unit}"
        data = "\n".join(one.files) or "download or sample"
        table.add_row(one.name, one.task, metric, "\n".join(one.model_types), data, one.path or "ships")
    make_console(json=False).print(table)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Its name: lower-case letters, digits and _.")],
    output: Annotated[
        str | None, typer.Option(metavar="FILE.py", help="Where it is written; - is stdout. Default: NAME.py here.")
    ] = None,
) -> None:
    """Write a small complete workload to start from; a file that is there already is not touched."""
    from modelyard.pipeline.workload_list import fill_template, write_new

    text = fill_template(name)
    if output == "-":
        sys.stdout.write(text)
        return
    path = Path(output or f"{name}.py")
    write_new(path, text)
    console = make_console(json=False)
    console.print(f"workload {path}")
    console.print(f"next     {name_program()} train {path}")
