"""``modelyard datasets export``: a dataset as a file, or its lineage for a data catalogue."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console

from modelyard import api
from modelyard.cli.output import make_console
from modelyard.cli.sink import open_sink
from modelyard.data.export import BINARY_FORMATS, FORMATS
from modelyard.errors import BadInput, UnknownName
from modelyard.store.catalogue import resolve_dataset

OPENLINEAGE = "openlineage"


def export(
    dataset: Annotated[
        str, typer.Argument(metavar="NAME[@VERSION]|DIGEST", help="A dataset; without a version the newest.")
    ],
    format_name: Annotated[
        str, typer.Option("--format", help=f"{', '.join(FORMATS)}; {OPENLINEAGE}: its lineage as events.")
    ] = "parquet",
    output: Annotated[
        Path | None, typer.Option(help="The file to write; it appears whole or not at all. Default: stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    full_names: Annotated[
        bool,
        typer.Option("--full-names", help="Columns X.NAME, y.NAME, …: the digest of the file is the dataset's."),
    ] = False,
    namespace: Annotated[
        str | None, typer.Option(help="Of the OpenLineage events; tells stacks apart. Default: modelyard.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print what was written as JSON, on stderr where the data goes to stdout.")
    ] = False,
) -> None:
    """Write a logged dataset's rows into a file, verified; or its lineage for a data catalogue."""
    if format_name not in (*FORMATS, OPENLINEAGE):
        raise UnknownName("format", format_name, (*FORMATS, OPENLINEAGE))
    lineage = format_name == OPENLINEAGE
    unused = {
        "--force, which replaces a file that --output names": force and output is None,
        f"--full-names, for which {OPENLINEAGE} has no columns": full_names and lineage,
        f"--namespace, which only {OPENLINEAGE} has": namespace is not None and not lineage,
    }
    for what, given in unused.items():
        if given:
            raise BadInput(f"leave out {what}")
    if output is None and format_name in BINARY_FORMATS and sys.stdout.isatty():
        raise BadInput(f"{format_name} is nothing for a terminal; give --output FILE, or send it into a file or pipe")
    console = make_console(json=True)
    with open_sink(output, replace=force, option="--output", replacing="--force") as sink:
        written = _write(dataset, sink, format_name=format_name, full_names=full_names, namespace=namespace)
    if json_output:
        stream = sys.stderr if output is None else sys.stdout
        stream.write(f"{json.dumps(written, indent=2)}\n")
    else:
        _tell(console, written, output)


def _write(
    dataset: str, sink: BinaryIO, *, format_name: str, full_names: bool, namespace: str | None
) -> dict[str, Any]:
    from modelyard.pipeline.export import export_dataset

    with api.connect("person", application_name="modelyard datasets export") as session:
        found = resolve_dataset(session.records, dataset)
        if format_name != OPENLINEAGE:
            return asdict(export_dataset(session, found, sink, format_name=format_name, full_names=full_names))
        from modelyard.pipeline.openlineage import NAMESPACE, write_events

        named = namespace or NAMESPACE
        count = write_events(session.records, found, sink, raw_uri=session.raw_uri, namespace=named)
    about = {"name": found.name, "version": found.version, "digest": found.digest}
    return about | {"format": OPENLINEAGE, "num_events": count}


def _tell(console: Console, written: dict[str, Any], output: Path | None) -> None:
    where = f" to {output}" if output else ""
    what = (
        f"{written['num_events']} event{'s'[: written['num_events'] != 1]}"
        if "num_events" in written
        else f"{written['num_rows']:,} rows × {written['num_columns']} columns, verified"
    )
    console.print(f"exported {written['name']} {written['version']} as {written['format']}{where}: {what}")
    if written.get("renamed"):
        console.print(f"renamed  {', '.join(written['renamed'])}: columns of X, y and extra share these names")
    if written.get("changed_types"):
        types = ", ".join(written["changed_types"])
        console.print(f"types    {written['format']} does not tell these: {types}; parquet and arrow do")
    if written["format"] in ("csv", "jsonl"):
        looks = "numbers or dates" if written["format"] == "csv" else "times"
        console.print(f"texts    whoever reads {written['format']} takes texts that all look like {looks} for those")
