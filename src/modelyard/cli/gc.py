"""``modelyard gc``: what nothing refers to is shown, and deleted when that is asked for."""

import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from modelyard import api
from modelyard.cli.output import make_console, print_json
from modelyard.cli.stack import JsonOption
from modelyard.errors import InvalidParameter
from modelyard.settings import load_settings, name_program
from modelyard.stack.current import get_stack

if TYPE_CHECKING:
    from modelyard.pipeline.erasure import Restorable
    from modelyard.pipeline.garbage import Collected, Garbage

_AGE = re.compile(r"(\d{1,5})([dh])")
_UNITS = {"d": "days", "h": "hours"}
SHOWN = 40  # of a plan


def gc(
    older_than: Annotated[
        str, typer.Option(metavar="AGE", help="What was recorded or used within so long stays: 30d, 12h.")
    ] = "30d",
    keep: Annotated[int, typer.Option(min=0, help="So many of the newest datasets of each name stay.")] = 1,
    yes: Annotated[bool, typer.Option("--yes/--dry-run", help="Delete what is shown; else it is only shown.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Show what nothing on record refers to, and with --yes delete it. Raw data is never deleted."""
    from modelyard.pipeline.erasure import list_restorable
    from modelyard.pipeline.gc import collect_garbage, plan_gc

    unused_for = _read_age(older_than)
    console = make_console(json=json_output)
    collected: list[Collected] = []
    with api.connect("person", application_name="modelyard gc") as session:
        store = get_stack().get_mlflow_store(load_settings())
        restorable = list_restorable(session, store)
        for one in restorable:
            _show_restorable(console, one)
        plan = plan_gc(session, store, unused_for=unused_for, nb_kept=keep)
        _show_plan(console, plan)
        if yes:
            collected = collect_garbage(session, store, plan, emit=lambda one: _show(console, one))
    if yes and plan:
        gone = [one.garbage for one in collected if one.kept is None]
        console.print(f"deleted  {len(gone)} of {len(plan)}, {_format_bytes(sum(one.size_bytes for one in gone))}")
    if yes and restorable:
        console.print(f"restored {len(restorable)}")
    if not yes and (plan or restorable):
        again = f"{name_program()} gc --older-than {older_than} --keep {keep} --yes"
        console.print(f"next     nothing was deleted; {again} deletes what is in such a plan then")
    if json_output:
        print_json(_encode(plan, collected, restorable))


def _read_age(text: str) -> timedelta:
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise InvalidParameter([f"--older-than {text!r} is no age; give days or hours, e.g. 30d or 12h"])
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _show_plan(console: Console, plan: "list[Garbage]") -> None:
    if not plan:
        console.print("plan     nothing to delete: all that is stored is recent, among the newest, or in use")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("what", "name", "size", "unused for", "why it may go"):
        table.add_column(name, justify="right" if name == "size" else "left", overflow="fold")
    for one in plan[:SHOWN]:
        table.add_row(one.kind, _name(one), _format_bytes(one.size_bytes), _format_age(one.since), one.why)
    console.print(table)
    if len(plan) > SHOWN:
        console.print(f"         and {len(plan) - SHOWN:,} more; --json has all of them")
    console.print(f"in all   {len(plan):,}, {_format_bytes(sum(one.size_bytes for one in plan))}")


def _show_restorable(console: Console, one: "Restorable") -> None:
    what = "run" if one.kind == "run" else "logged model"
    console.print(f"restore  {what} {one.mlflow_id}: deleted in MLflow, and {one.name} on record needs it")


def _show(console: Console, one: "Collected") -> None:
    what = f"{one.garbage.kind} {_name(one.garbage)}"
    console.print(f"deleted  {what}" if one.kept is None else f"kept     {what}: {one.kept}")


def _name(one: "Garbage") -> str:
    """As people find it; several runs may have one name."""
    return f"{one.name}, {one.mlflow_model_id or one.mlflow_run_id}" if one.dataset_id is None else one.name


def _encode(plan: "list[Garbage]", collected: "list[Collected]", restorable: "list[Restorable]") -> dict[str, Any]:
    return {
        "restore": [asdict(one) for one in restorable],
        "plan": [asdict(one) for one in plan],
        "total_bytes": sum(one.size_bytes for one in plan),
        "deleted": [asdict(one.garbage) for one in collected if one.kept is None],
        "kept": [asdict(one.garbage) | {"kept": one.kept} for one in collected if one.kept is not None],
    }


def _format_bytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes >= 100_000 else f"{size_bytes:,} bytes"


def _format_age(since: datetime) -> str:
    hours = (datetime.now(UTC) - since).total_seconds() / 3600
    return f"{hours / 24:,.0f} d" if hours >= 48 else f"{hours:,.1f} h"
