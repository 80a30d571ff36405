"""``modelyard datasets delete``: a dataset's content goes, its record stays."""

import sys
from typing import Annotated

import typer

from modelyard import api
from modelyard.cli.output import make_console, print_json
from modelyard.cli.stack import JsonOption
from modelyard.errors import BadInput

Yes = Annotated[bool, typer.Option("--yes", help="Delete without being asked.")]


def delete(
    dataset: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="Which dataset, e.g. houses@1.2.0.")],
    reason: Annotated[str, typer.Option(help="Why; it stays on record.")],
    yes: Yes = False,
    json_output: JsonOption = False,
) -> None:
    """Delete a dataset's files, unless something on record uses it; its row, version and raw data stay."""
    from modelyard.pipeline.removal import check_removal, find_version, remove_dataset

    console = make_console(json=json_output)
    with api.connect("person", application_name="modelyard datasets delete") as session:
        found = find_version(session, dataset)
        check_removal(session, found, reason=reason)
        if found.removed_at is None:
            confirm(f"Delete dataset {found.name}@{found.version}, {found.num_rows:,} rows?", yes=yes)
        removed = remove_dataset(session, found, reason=reason)
    name = f"{removed.name}@{removed.version}"
    again = "was deleted before," if found.removed_at else "deleted"
    console.print(f"dataset  {name} {again} by {removed.removed_by} at {removed.removed_at:%Y-%m-%d %H:%M:%S} UTC")
    console.print(f"reason   {removed.removal_reason}")
    console.print("kept     its row and version, the runs and lineage that name it, its raw data")
    if json_output:
        told = ("dataset_id", "name", "version", "digest", "removed_at", "removed_by", "removal_reason")
        values = {field: getattr(removed, field) for field in told}
        print_json(values | {"deleted_before": found.removed_at is not None})


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if somebody says so, by ``--yes`` or at the terminal.

    Raises:
        BadInput: nobody did, and nothing was deleted.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput("nobody is there to ask, and nothing was deleted; --yes deletes it unasked")
    if not typer.confirm(question, err=True):
        raise BadInput("nothing was deleted")
