"""``modelyard datasets list | show | diff | verify | export | delete``: the catalogue of what was logged."""

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console

from modelyard import api
from modelyard.cli.datasets_delete import delete
from modelyard.cli.datasets_export import export
from modelyard.cli.output import MAX_INTEGER, StepProgress, make_console, one_line, print_json
from modelyard.cli.records import open_records
from modelyard.cli.stack import JsonOption
from modelyard.data.difference import Change, Difference, compare_datasets
from modelyard.errors import BadInput
from modelyard.settings import name_program
from modelyard.store import datasets as store
from modelyard.store import usage
from modelyard.store.catalogue import resolve_dataset

app = typer.Typer(
    no_args_is_help=True, help="List, show, compare, verify, export and delete logged datasets.", rich_markup_mode=None
)

BAD = 1  # exit code: a dataset is not what was recorded
_SHIFTS = 40  # lines of shifted statistics that people see; JSON has all
_SHORT = 12  # digits of a digest in a list
_AT = "%Y-%m-%d %H:%M"

DatasetArgument = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION]|DIGEST", help="A dataset; without a version the newest.")
]


@app.command("list")
def list_(
    workload: Annotated[str | None, typer.Option(help="Only datasets of this workload.")] = None,
    name: Annotated[str | None, typer.Option(help="Only versions of this dataset.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_INTEGER, help="How many, the newest first.")] = 50,
    json_output: JsonOption = False,
) -> None:
    """List logged datasets, the newest first."""
    with open_records() as (_, connection):
        found = usage.list_summaries(connection, workload=workload, name=name, limit=limit + 1)
    shown = found[:limit]
    if json_output:
        print_json([asdict(one) for one in shown])
        return
    console = make_console(json=False)
    rows = []
    for one in shown:
        notes = ["deleted"] if one.removed_at else []
        notes += [f"{n} violation{'' if n == 1 else 's'}"] if (n := one.nb_violations) else []
        counts = (f"{one.num_rows:,}", one.digest[:_SHORT], one.data_source, str(one.nb_model_versions))
        logged = (one.created_by, f"{one.created_at:{_AT}}", ", ".join(notes))
        rows.append((one.name, one.version, *counts, *logged))
    _print_rows(console, ("name", "version", "rows", "digest", "source", "models", "logged by", "at (UTC)", ""), rows)
    if len(found) > limit:
        options = [("--workload", workload), ("--name", name), ("--limit", str(10 * limit))]
        same = shlex.join(word for option, value in options if value is not None for word in (option, value))
        console.print(f"and older ones: {name_program()} datasets list {same}")


@app.command()
def show(dataset: DatasetArgument, json_output: JsonOption = False) -> None:
    """Show all that is on record of a dataset, a deleted one too."""
    with open_records() as (addresses, connection):
        found = usage.resolve_even_removed(connection, dataset)
        files = store.list_dataset_files(connection, dataset_id=found.dataset_id)
        uses = usage.list_uses(connection, dataset_id=found.dataset_id)
        parent_id = found.parent_dataset_id
        parent = store.get_dataset(connection, dataset_id=parent_id) if parent_id else None
    page = f"{addresses.ui_url}/#/runs/{found.mlflow_run_id}?workflowType=machine_learning"
    if json_output:
        told = {"name": parent.name, "version": parent.version, "digest": parent.digest} if parent else None
        more = {"files": [asdict(file) for file in files], "uses": [asdict(use) for use in uses]}
        print_json(asdict(found) | more | {"parent": told, "page": page})
        return
    console = make_console(json=False)
    _print_facts(console, found, parent, page)
    _print_rows(console, ("file", "bytes", "sha256"), [(one.path, f"{one.size_bytes:,}", one.sha256) for one in files])
    _print_columns(console, found)
    if uses:
        rows = [
            (
                use.mlflow_run_id,
                use.run_type,
                use.context,
                use.model_version or "",
                use.created_by,
                f"{use.created_at:{_AT}}",
            )
            for use in uses
        ]
        _print_rows(console, ("used by run", "type", "as", "model version", "by", "at (UTC)"), rows)
    console.print(f"\nlineage  {name_program()} lineage {found.name}@{found.version}")


@app.command()
def diff(
    first: DatasetArgument,
    second: Annotated[str, typer.Argument(metavar="NAME[@VERSION]|DIGEST", help="What it is compared with.")],
    json_output: JsonOption = False,
) -> None:
    """Say how a second dataset differs from a first: columns, rows, statistics, how it was made."""
    with open_records() as (_, connection):
        one, other = (usage.resolve_even_removed(connection, text) for text in (first, second))
    found = compare_datasets(one, other)
    if json_output:
        sides = {
            key: {"name": side.name, "version": side.version, "digest": side.digest}
            for key, side in (("first", one), ("second", other))
        }
        print_json(sides | asdict(found))
        return
    console = make_console(json=False)
    for side in (one, other):
        console.print(f"{side.name} {side.version}  {side.num_rows:,} rows, digest {side.digest}")
    _print_difference(console, found)


@app.command()
def verify(
    datasets: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME[@VERSION]|DIGEST...", help="Which datasets.", show_default=False),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every dataset that was not deleted.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Load datasets to see that every byte is the recorded one; exit code 1 if any is not."""
    if all_ == bool(datasets):
        raise BadInput("name the datasets to verify, or give --all; not both")
    from modelyard.pipeline.verification import verify_datasets

    console = make_console(json=json_output)
    with api.connect("person", application_name="modelyard datasets verify") as session:
        if all_:
            asked = [one.dataset_id for one in usage.list_summaries(session.records) if one.removed_at is None]
        else:
            asked = [resolve_dataset(session.records, text).dataset_id for text in datasets or ()]
        progress, found = StepProgress(console), []
        with progress.shown():
            for one in verify_datasets(session, asked, report=progress):
                found.append(one)
                style = {"ok": "green", "mismatch": "bold red", "lost": "bold red"}[one.state]
                size = f"{one.nb_files} files, {one.size_bytes:,} bytes"
                word = one.state if one.state == "ok" else one.state.upper()
                console.print(f"{word:<9}{one.name} {one.version} ({size})", style=style)
                if one.what:
                    console.print(f"{'':<9}{one.what}")
                if one.expected:
                    console.print(f"{'':<9}expected sha256 {one.expected}")
                    console.print(f"{'':<9}found    {'' if one.state == 'lost' else 'sha256 '}{one.found}")
    bad = sum(one.state != "ok" for one in found)
    console.print(f"verified {len(found)}, {bad} bad" if bad else f"verified {len(found)}, all as recorded")
    if json_output:
        print_json([asdict(one) for one in found])
    if bad:
        raise typer.Exit(BAD)


app.command("export")(export)
app.command("delete")(delete)


def _print_facts(console: Console, dataset: store.Dataset, parent: store.Dataset | None, page: str) -> None:
    from modelyard.data.validation import Violation

    removed, counts = dataset.removed_at, dataset.split_counts
    splits = sorted(counts, key=lambda split: -counts[split])
    lines: list[tuple[str, Any]] = [
        ("dataset", f"{dataset.name} {dataset.version}, of workload {dataset.workload}"),
        ("deleted", removed and f"by {dataset.removed_by}, {removed:%Y-%m-%d %H:%M:%S} UTC: {dataset.removal_reason}"),
        ("digest", dataset.digest),
        ("logged", f"by {dataset.created_by}, {dataset.created_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("rows", f"{dataset.num_rows:,} ({', '.join(f'{counts[split]:,} {split}' for split in splits)})"),
        ("cells", f"{dataset.num_elements:,}"),
        ("targets", ", ".join(dataset.targets)),
        ("source", dataset.data_source),
        ("made from", parent and f"dataset {parent.name} {parent.version}, digest {parent.digest}"),
        *(
            ("made from", f"{file['name']}, {file['size_bytes']:,} bytes, sha256 {file['sha256']}")
            for file in dataset.raw_files
        ),
        ("with", _values(dataset.parameters)),
        ("pipeline", dataset.preprocessing_hash and f"hash {dataset.preprocessing_hash}"),
        ("code", _values(dataset.code_version)),
        ("notes", _values(dataset.notes)),
        *(("violation", str(Violation.read(violation))) for violation in dataset.violations),
        ("MLflow", page),
    ]
    for name, value in lines:
        if value:
            console.print(one_line(f"{name:<11}{value}"))


def _print_columns(console: Console, dataset: store.Dataset) -> None:
    """A line for each column; what an older release did not keep is left empty."""
    statistics = {column["name"]: column for column in dataset.profile.get("columns", ())}
    rows = []
    for column in dataset.schema:
        known = statistics.get(column["name"], {})
        distinct = known.get("distinct")
        about = "" if distinct is None or known.get("distinct_exact", True) else "about "
        cells = [known.get("mean"), known.get("std"), known.get("min"), _median(known), known.get("max")]
        counts = (_number(known.get("nulls")), about + _number(distinct))
        rows.append((column["name"], str(column.get("type", "")), *counts, *map(_number, cells)))
    names = ("column", "type", "nulls", "distinct", "mean", "std", "min", "median", "max")
    _print_rows(console, names, rows)


def _median(column: Mapping[str, Any]) -> Any:
    return (column.get("quantiles") or {}).get("0.5")


def _print_difference(console: Console, found: Difference) -> None:
    if found.same_content:
        console.print("same content: the digests are equal", style="bold green")
    elif not found.profiled:
        console.print("statistics not known: one of them was logged without a profile")
    elif not (found.added or found.removed or found.retyped or found.moved or found.rows or found.shifts):
        console.print("content    the digests differ, and no column and no statistic of one does: rows in another")
        console.print("           order or in other splits, or values that change no statistic")
    for title, names in (("added", found.added), ("removed", found.removed), ("moved", found.moved)):
        for name in names:
            console.print(one_line(f"{title:<11}{name}"))
    groups: tuple[tuple[str, tuple[Change, ...], Callable[[Any], str]], ...] = (
        ("type", found.retyped, str),
        ("rows", found.rows, _number),
        ("parameter", found.parameters, _text),
    )
    for title, changes, form in groups:
        for change in changes:
            text = f"{title:<11}{change.name}: {form(change.first)} → {form(change.second)}"
            console.print(one_line(text))
    if found.preprocessing_changed:
        console.print("pipeline   the unfitted preprocessing is another one")
    if found.preprocessing_changed is None:
        console.print("pipeline   not known: an older release logged one of them")
    if found.shifts:
        rows = [
            (one.column, one.statistic, _number(one.first), _number(one.second), _number(one.size))
            for one in found.shifts[:_SHIFTS]
        ]
        _print_rows(console, ("column", "statistic", "first", "second", "shift"), rows)
        console.print("shift: values in units of the first one's std, shares as they differ, counts as a share")
        if len(found.shifts) > _SHIFTS:
            console.print(f"and {len(found.shifts) - _SHIFTS:,} smaller ones: --json has all")


def _print_rows(console: Console, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table that cuts nothing, so that a digest can be copied out of it."""
    lines = [tuple(header), *(tuple(map(one_line, row)) for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
    console.print()
    for number, line in enumerate(lines):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        console.print(text.rstrip(), style="bold" if number == 0 else None)


def _values(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_text(values[name])}" for name in sorted(values))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _text(value) if value else ""
