"""``modelyard predict`` and ``modelyard download``: what a policy or a model version gives to files."""

import json
import sys
import tarfile
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from modelyard import api
from modelyard.cli.output import StepProgress, make_console
from modelyard.cli.sink import open_sink
from modelyard.cli.stack import JsonOption
from modelyard.data.export import BINARY_FORMATS, FORMATS
from modelyard.errors import BadInput, UnknownName
from modelyard.settings import load_settings

ModelArgument = Annotated[
    str, typer.Argument(metavar="POLICY[@VERSION]|MODEL/VERSION", help="A policy is its live version.")
]
# a format by its own name and by the ends of files' names
_FORMATS = {
    **dict.fromkeys(("parquet", "pq"), "parquet"),
    "csv": "csv",
    **dict.fromkeys(("arrow", "feather", "ipc"), "arrow"),
    **dict.fromkeys(("jsonl", "ndjson"), "jsonl"),
}


def predict(
    model: ModelArgument,
    source: Annotated[
        Path,
        typer.Option("--in", help="Rows: Parquet, CSV, JSON, Arrow, or a folder of Parquet. Column order is free."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--out", help="The file to write; it appears whole or not at all. Default: stdout."),
    ] = None,
    format_name: Annotated[
        str | None, typer.Option("--format", help=f"{', '.join(FORMATS)}. Default: as the name says, else parquet.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print what was written as JSON, on stderr where the rows go to stdout.")
    ] = False,
) -> None:
    """Predict a file of rows with a policy's model: a row out for each row in, with the policy's version."""
    form = _choose_format(output, format_name)
    if not source.exists():
        raise BadInput(f"there is no file {source}; name one that exists with --in")
    if overwrite and output is None:
        raise BadInput("leave out --overwrite, which replaces a file that --out names")
    if output is None and form in BINARY_FORMATS and sys.stdout.isatty():
        raise BadInput(f"{form} is nothing for a terminal; give --out FILE, or send it into a file or pipe")
    from modelyard.pipeline.prediction import predict_file
    from modelyard.pipeline.serving import load_served

    console = make_console(json=output is None)
    console.quiet = json_output
    progress = StepProgress(console)
    notes: list[str] = []
    with (
        open_sink(output, replace=overwrite, option="--out", replacing="--overwrite") as sink,
        api.connect("person", application_name="modelyard predict") as s,
    ):
        loaded = load_served(s, model, cache=load_settings().models_dir(), tell=notes.append)
        for note in notes:
            console.print(f"note     {note}", style="yellow")
        config = json.dumps(loaded.source.config_defaults, ensure_ascii=False)
        what = loaded.source
        console.print(f"model    {what.model}" + (f", of {what.name}, config {config}" if what.policy_id else ""))
        with progress.shown():
            written = predict_file(loaded, source, sink, format_name=form, report=progress)
    rate = written.num_rows / max(written.seconds, 1e-9)
    if json_output:
        told = asdict(written) | {"rows_per_s": rate, "output": output and str(output), "notes": notes}
        stream = sys.stderr if output is None else sys.stdout
        stream.write(f"{json.dumps(told, indent=2)}\n")
        return
    console.print(f"rows     {written.num_rows:,} predicted in {written.seconds:.1f} s, {rate:,.0f} rows/s")
    if written.nan_rows:
        console.print(f"note     {written.nan_rows:,} predictions are NaN or missing", style="yellow")
    if output is not None:
        console.print(f"file     {output}")


def download(
    model: ModelArgument,
    folder: Annotated[
        Path, typer.Argument(help="Is not there, or is empty. - writes a tar archive to stdout.", allow_dash=True)
    ],
    json_output: JsonOption = False,
) -> None:
    """Download the files of a model, each verified; all of them or none."""
    to_stdout = str(folder) == "-"
    if to_stdout and sys.stdout.isatty():
        raise BadInput("an archive is nothing for a terminal; name a folder, or send it into a file or pipe")
    from modelyard.pipeline.serving import download_files

    with (
        tempfile.TemporaryDirectory(prefix="modelyard-") as scratch,
        api.connect("person", application_name="modelyard download") as session,
    ):
        place = Path(scratch, "model") if to_stdout else folder
        source, files = download_files(session, model, place)
        if to_stdout:
            with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
                for file in files:
                    archive.add(place / file.path, arcname=file.path)
    if json_output:
        told = {"model": source.model, "policy_id": source.policy_id, "policy_version": source.policy_version}
        stream = sys.stderr if to_stdout else sys.stdout
        stream.write(f"{json.dumps(told | {'files': [asdict(file) for file in files]}, indent=2)}\n")
        return
    size = sum(file.size_bytes for file in files)
    console = make_console(json=to_stdout)
    console.print(f"model    {source.model}: {len(files)} files, {size:,} bytes, verified")
    if not to_stdout:
        console.print(f"folder   {folder}")


def _choose_format(output: Path | None, named: str | None) -> str:
    asked = named or (output.suffix[1:] if output is not None else "parquet")
    found = _FORMATS.get(asked.lower())
    if found is None:
        raise UnknownName("format", asked, _FORMATS, hint="--out ends in one, or --format names it.")
    return found
