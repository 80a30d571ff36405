"""A change of what is live, as the commands that make one show it, and the copy of it in MLflow."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import psycopg
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from modelyard.cli.output import one_line, print_json
from modelyard.errors import ModelyardError
from modelyard.settings import name_program
from modelyard.stack.addresses import Addresses
from modelyard.store.policies import Policy, PolicyVersion

if TYPE_CHECKING:
    from modelyard.pipeline.promotion import Change


def project(console: Console, addresses: Addresses, model_name: str) -> bool:
    """Let MLflow show what is on record of a model; what keeps it from that is told, and is no failure."""
    from modelyard.pipeline.projection import project_model
    from modelyard.pipeline.session import open_session

    who = addresses.person
    try:
        dsn, name = addresses.dsn(who), "modelyard projection"
        with open_session(addresses, dsn=dsn, application_name=name, user=who) as session:
            for found in project_model(session, model_name):
                if found.kind in ("edited", "lost"):
                    console.print(f"MLflow   {found}", style="yellow")
    except (ModelyardError, psycopg.Error, KeyboardInterrupt) as error:
        why = one_line(str(error)) or "interrupted; the evaluator shows it within a minute, modelyard reconcile now"
        console.print(f"MLflow   {why}", style="yellow")
        return False
    console.print(f"MLflow   {addresses.ui_url}/#/models/{model_name} shows it")
    return True


def show_live(console: Console, policy: Policy, live: PolicyVersion | None) -> None:
    console.print(f"policy   {policy.policy_id}")
    console.print(f"live     {name_version(live) if live else 'nothing'}")


def finish(console: Console, addresses: Addresses, change: "Change", *, dry_run: bool, json_output: bool) -> None:
    """Show a change and let MLflow show it; of a dry run, what would be."""
    row, shown = change.promotion, None
    _show_change(console, addresses, change)
    if dry_run:
        console.print("note     this was a dry run: nothing was changed", style="yellow")
    else:
        shown = project(console, addresses, change.put_live.mlflow_model_name)
        _show_next(console, change)
    if json_output:
        told = {"metrics": change.metrics, "repeated": change.repeated, "mlflow_shows_it": shown, "dry_run": dry_run}
        print_json(asdict(row) | told)


def _show_next(console: Console, change: "Change") -> None:
    """How to undo it."""
    row = change.promotion
    if change.repeated or change.replaced is None:
        return
    to = f" --to {change.replaced.version}" if row.kind == "rollback" else ""
    undo = f"{name_program()} rollback {row.policy_id}{to} --reason …"
    console.print(f"next     {undo} puts version {change.replaced.version} back")


def _show_change(console: Console, addresses: Addresses, change: "Change") -> None:
    row, old = change.promotion, change.replaced
    verb = ("rollback" if row.kind == "rollback" else "promoted") if row.occurred_at else "would be"
    instead = f"in place of {name_version(old)}" if old else "the first one live"
    console.print(f"{verb} {name_version(change.put_live)}, {instead}", style="bold")
    if row.occurred_at:
        again = "this request was done before, " if change.repeated else ""
        console.print(f"by       {again}{row.actor} at {row.occurred_at:%Y-%m-%d %H:%M:%S} UTC")
    if row.reason:
        console.print(f"reason   {one_line(row.reason)}")
    console.print(f"verdict  evaluation {change.evaluation.evaluation_id}: passed")
    console.print(f"         {addresses.run_page(change.evaluation.mlflow_run_id)}")
    if change.metrics:
        _show_metrics(console, change)


def _show_metrics(console: Console, change: "Change") -> None:
    """Both versions on the same rows, where the verdict has compared two."""
    table = Table("metric", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"version {change.put_live.version}", justify="right")
    if change.compared is not None:
        table.add_column(f"version {change.compared.version}, on the same rows", justify="right")
    for metric, values in change.metrics.items():
        shown = ["none" if value is None else f"{value:.6g}" for value in values.values()]
        table.add_row(one_line(metric), *shown[: len(table.columns) - 1])
    console.print(table)


def name_version(version: PolicyVersion) -> str:
    """A version of a policy, for people."""
    return f"version {version.version} ({version.mlflow_model_name}/{version.mlflow_model_version})"
