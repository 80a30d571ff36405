"""``modelyard policy``: what an application asks for by name, its versions and its rules."""

import json
import math
import re
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from modelyard.cli.change import name_version, project
from modelyard.cli.output import MAX_INTEGER, make_console, print_json, show_config, tell_of_older
from modelyard.cli.promotion import PolicyName, Reason
from modelyard.cli.stack import JsonOption
from modelyard.errors import InvalidParameter
from modelyard.settings import name_program
from modelyard.stack.current import get_addresses
from modelyard.store.connections import connect
from modelyard.store.policies import Policy, PolicyVersion, Stage

_ZERO_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # as JSON writes it
_HALF_LETTER = re.compile("[\ud800-\udfff]")
app = typer.Typer(help="Policies, their versions and their rules.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def add(
    policy: PolicyName,
    model: Annotated[str, typer.Option(metavar="MODEL/VERSION", help="A version that has passed its evaluation.")],
    config: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A default of the configuration; a JSON value, else text. Repeatable."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Give a policy its next version: a model version with a configuration. The same again is the version it has."""
    from modelyard.pipeline.promotion import add_version

    console, addresses, values = make_console(json=json_output), get_addresses(), _read_config(config or [])
    with connect(addresses.dsn(addresses.person), application_name="modelyard policy add") as connection:
        added, new = add_version(connection, policy_id=policy, model=model, config_defaults=values)
    console.print(f"policy   {policy} {name_version(added)}{'' if new else ', which it had'}")
    if added.config_defaults:
        console.print(f"config   {show_config(added.config_defaults)}")
    shown = project(console, addresses, added.mlflow_model_name)
    console.print(f"next     {name_program()} promote {policy} --version {added.version}")
    if json_output:
        print_json(asdict(added) | {"new": new, "mlflow_shows_it": shown})


@app.command()
def show(
    policy: PolicyName,
    limit: Annotated[int, typer.Option(min=1, max=MAX_INTEGER, help="How many versions, the newest first.")] = 50,
    json_output: JsonOption = False,
) -> None:
    """Show what is live for a policy, its versions with their stages, and whether another person must approve."""
    from modelyard.pipeline.promotion import find_live, get_policy, list_stages

    addresses = get_addresses()
    with connect(addresses.dsn(addresses.person), application_name="modelyard policy show") as connection:
        found = get_policy(connection, policy)
        live = find_live(connection, found)
        versions = list_stages(connection, found, nb_versions=limit)
    console = make_console(json=json_output)
    if json_output:
        listed = [asdict(version) | {"stage": stage} for version, stage in versions]
        print_json(asdict(found) | {"live_version": live.version if live else None, "versions": listed})
    else:
        _show_policy(console, found, live, versions)
    if versions and versions[0][0].version > 1:
        tell_of_older(console, f"policy show {policy}", limit)


@app.command()
def require_approval(
    policy: PolicyName,
    reason: Reason,
    off: Annotated[bool, typer.Option("--off", help="No approval is needed any more.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Say that each promotion of a policy needs the approval of another person (modelyard approve)."""
    from modelyard.pipeline import promotion

    console, addresses = make_console(json=json_output), get_addresses()
    with connect(addresses.dsn(addresses.person), application_name="modelyard policy") as connection:
        promotion.get_policy(connection, policy)
        found = promotion.require_approval(connection, policy_id=policy, required=not off, reason=reason)
    needs = "needs" if found.requires_approval else "does not need"
    console.print(f"policy   {policy}: a promotion {needs} the approval of another person")
    if json_output:
        print_json(asdict(found))


def _show_policy(
    console: Console, policy: Policy, live: PolicyVersion | None, versions: list[tuple[PolicyVersion, Stage]]
) -> None:
    console.print(f"policy   {policy.policy_id}, of model {policy.mlflow_model_name}")
    console.print(f"live     {name_version(live) if live else 'nothing'}")
    rule = "another person must approve each promotion" if policy.requires_approval else "promotions need no approval"
    console.print(f"rule     {rule}")
    table = Table("version", "model version", "its stage", "config", "added by", "at", box=SIMPLE_HEAD, pad_edge=False)
    for version, stage in reversed(versions):
        mark = " (live)" if live and version.version == live.version else ""
        table.add_row(
            f"{version.version}{mark}",
            version.mlflow_model_version,
            stage,
            show_config(version.config_defaults),
            version.created_by,
            f"{version.created_at:%Y-%m-%d %H:%M}",
        )
    console.print(table)


def _read_config(texts: list[str]) -> dict[str, Any]:
    """``NAME=VALUE`` each; what is no JSON value is text.

    Raises:
        InvalidParameter: with every one that cannot be read.
    """
    values: dict[str, Any] = {}
    problems = []
    for text in texts:
        name, given, value = text.partition("=")
        name = name.strip()
        if not given or not name:
            problems.append(f"--config {text!r} is not NAME=VALUE, e.g. temperature=0.7")
        elif name in values:
            problems.append(f"--config {name} is given twice")
        else:
            try:
                values[name] = json.loads(value, parse_constant=_read_number, parse_float=_read_number)
            except _NoNumber:
                problems.append(f"--config {name}={value}: JSON has no such number; write text in quotes")
            except (ValueError, RecursionError):
                values[name] = value
            if name in values and not _is_plain({name: values[name]}):
                problems.append(f"--config {text!r} holds a sign that is no text: a zero byte, or half of a letter")
    if problems:
        raise InvalidParameter(problems)
    return values


class _NoNumber(Exception):
    """NaN, an infinity, or what is too large for a number."""


def _read_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _NoNumber
    return number


def _is_plain(values: dict[str, Any]) -> bool:
    """Whether PostgreSQL takes every text in it."""
    written = json.dumps(values, ensure_ascii=False)
    return not (_ZERO_BYTE.search(written) or _HALF_LETTER.search(written))
