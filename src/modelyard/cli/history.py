"""``modelyard history | served | policies | stages``: what was live when, who changed it and why, and what is now."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from modelyard.cli.outcome import ANSWER_IS_NO
from modelyard.cli.output import MAX_INTEGER, make_console, one_line, print_json, show_config, tell_of_older
from modelyard.cli.records import open_records
from modelyard.cli.stack import JsonOption
from modelyard.errors import BadInput, UnknownName
from modelyard.settings import name_program
from modelyard.stack.addresses import Addresses
from modelyard.stack.current import get_addresses
from modelyard.store import history as store

_EXACT = "%Y-%m-%d %H:%M:%S.%f"  # as served --at takes it: to the second would be before the change itself
_DIGITS = 12  # of a digest
PolicyArgument = Annotated[str, typer.Argument(metavar="POLICY", help="Which policy, e.g. houses_policy.")]
Limit = Annotated[int, typer.Option(min=1, max=MAX_INTEGER, help="How many, the newest first.")]


def history(policy: PolicyArgument, limit: Limit = 20, json_output: JsonOption = False) -> None:
    """Show every change of what is live: who, when, why, on what evaluation, and what was there before."""
    from modelyard.pipeline.promotion import get_policy

    with open_records(get_addresses) as (addresses, connection):
        get_policy(connection, policy)
        found = store.list_changes(connection, policy_id=policy, nb_changes=limit + 1)
    changes, console = found[:limit], make_console(json=json_output)
    if json_output:
        print_json([asdict(change) | {"evaluation_url": _page(addresses, change)} for change in changes])
    elif not changes:
        console.print(f"policy   {policy}: nothing was ever live; {name_program()} promote {policy} changes that")
    else:
        for change in changes:
            _show_change(console, addresses, change)
    if len(found) > limit:
        tell_of_older(console, f"history {policy}", limit)


def served(
    policy: PolicyArgument,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="A moment, e.g. 2026-03-03T14:05; UTC where it names no zone."),
    ] = None,
    limit: Limit = 20,
    json_output: JsonOption = False,
) -> None:
    """Show what was live from when until when, or with --at at a moment; exit code 3 if nothing was."""
    from modelyard.pipeline.promotion import get_policy

    moment = None if at is None else _read_time(at)
    with open_records(get_addresses) as (_, connection):
        get_policy(connection, policy)
        if moment is None:
            found = store.list_served(connection, policy_id=policy, nb_rows=limit + 1)
        else:
            row = store.find_served(connection, policy_id=policy, at=moment)
            found = [row] if row else []
    console, shown = make_console(json=json_output), found[:limit]
    if json_output:
        rows = [asdict(row) for row in shown]
        print_json(rows if moment is None else rows[0] if rows else None)
    elif found:
        _print_table(
            console,
            ("version", "model version", "from (UTC)", "until (UTC)", "put live by"),
            [
                (
                    str(row.version),
                    f"{row.mlflow_model_name}/{row.mlflow_model_version}",
                    f"{row.from_at:{_EXACT}}",
                    f"{row.until_at:{_EXACT}}" if row.until_at else "now",
                    row.actor,
                )
                for row in shown
            ],
        )
    if len(found) > limit:
        tell_of_older(console, f"served {policy}", limit)
    if not found:
        when = "ever live" if moment is None else f"live at {moment:%Y-%m-%d %H:%M:%S} UTC"
        console.print(f"policy   {policy}: nothing was {when}")
        raise typer.Exit(ANSWER_IS_NO)


def policies(json_output: JsonOption = False) -> None:
    """List every policy: what is live since when, put there by whom, and the newest version."""
    with open_records(get_addresses) as (_, connection):
        found = store.list_overviews(connection)
    if json_output:
        print_json([asdict(one) for one in found])
        return
    rows = [
        (
            one.policy_id,
            f"{one.live_version} ({one.mlflow_model_name}/{one.live_model_version})" if one.live_version else "nothing",
            f"{one.live_since_at:%Y-%m-%d %H:%M:%S}" if one.live_since_at else "",
            one.live_by or "",
            f"{one.newest_version} ({one.newest_stage})" if one.newest_version else "none",
            "needed" if one.requires_approval else "",
        )
        for one in found
    ]
    _print_table(make_console(json=False), ("policy", "live", "since (UTC)", "by", "newest", "approval"), rows)


def stages(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Only versions of this model.")] = None,
    limit: Limit = 50,
    json_output: JsonOption = False,
) -> None:
    """List model versions and their stages: none, candidate, production or archived."""
    with open_records(get_addresses) as (_, connection):
        found = store.list_stages(connection, mlflow_model_name=model, nb_versions=limit + 1)
        if model is not None and not found:
            known = {row.mlflow_model_name for row in store.list_stages(connection)}
            raise UnknownName("registered model", model, known)
    shown, console = found[:limit], make_console(json=json_output)
    rows = [
        (
            f"{row.mlflow_model_name}/{row.mlflow_model_version}",
            row.stage,
            f"{row.stage_since_at:%Y-%m-%d %H:%M:%S}",
            row.actor,
            row.reason or "",
        )
        for row in shown
    ]
    if json_output:
        print_json([asdict(row) for row in shown])
    else:
        _print_table(console, ("model version", "stage", "since (UTC)", "by", "reason"), rows)
    if len(found) > limit:
        tell_of_older(console, f"stages {model}" if model else "stages", limit)


def _read_time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadInput(
            f"--at {text!r} is no time; write it like 2026-03-03, 2026-03-03T14:05 or 2026-03-03T14:05:10+01:00"
        ) from None
    if moment > datetime.now(UTC):
        raise BadInput(f"--at {text!r} has not come yet (it is {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC)")
    return moment


def _show_change(console: Console, addresses: Addresses, change: store.Change) -> None:
    model = f"{change.mlflow_model_name}/{change.mlflow_model_version}"
    before = f"version {change.replaced_version} (…/{change.replaced_model_version})" if change.replaced_version else ""
    console.print(
        f"{change.occurred_at:{_EXACT}} UTC  {change.kind} to version {change.version} ({model})", style="bold"
    )
    say: Callable[[str, str], None] = lambda name, text: console.print(f"  {name:<9}{one_line(text)}")  # noqa: E731
    say("by", change.actor + (f", approved by {change.approved_by}" if change.approved_by else ""))
    say("before", before or "nothing was live")
    if change.restored_at:
        say("restores", f"{change.restored_at:{_EXACT}} UTC")
    if change.reason:
        say("why", change.reason)
    if change.config_defaults:
        say("config", show_config(change.config_defaults))
    if change.metrics is not None:
        metrics = " ".join(f"{name}={value:.6g}" for name, value in sorted(change.metrics.items()))
        digest = (change.dataset_digest or "")[:_DIGITS]
        say("verdict", f"{metrics} on {change.dataset_name} {change.dataset_version}, digest {digest}")
        say("", _page(addresses, change) or "")


def _page(addresses: Addresses, change: store.Change) -> str | None:
    """The evaluation's page."""
    return None if change.evaluation_run_id is None else addresses.run_page(change.evaluation_run_id)


def _print_table(console: Console, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """What is written last may take more lines than one; what is copied from a table stays whole."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in names[:-1]:
        table.add_column(name, no_wrap=True)
    table.add_column(names[-1], overflow="fold", min_width=len(names[-1]))
    for row in rows:
        table.add_row(*map(one_line, row))
    console.print(table)
