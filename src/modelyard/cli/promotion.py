"""``modelyard promote | rollback | approve | archive``: which version of a policy is live, and who says so."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from uuid import UUID, uuid4

import psycopg
import typer
from rich.console import Console

from modelyard.cli.change import finish, name_version, project, show_live
from modelyard.cli.output import MAX_INTEGER, make_console, one_line, print_json
from modelyard.cli.stack import JsonOption
from modelyard.errors import AnswerLost, BadInput, PromotionRefused, ServiceFailed
from modelyard.settings import name_program
from modelyard.stack.addresses import Addresses
from modelyard.stack.current import get_addresses
from modelyard.store.connections import Connection, connect
from modelyard.store.policies import PolicyVersion

if TYPE_CHECKING:
    from modelyard.pipeline.promotion import Change

PolicyName = Annotated[str, typer.Argument(metavar="POLICY", help="Which policy, e.g. california_housing_policy.")]
Expected = Annotated[
    int | None,
    typer.Option(
        metavar="M",
        min=0,
        max=MAX_INTEGER,
        help="The version that must be live now, 0 for none. Default: the one that is.",
    ),
]
RequestId = Annotated[
    UUID | None, typer.Option(metavar="UUID", help="The same id again is the same request: its first result is told.")
]
Version = Annotated[int | None, typer.Option(min=1, max=MAX_INTEGER, help="Default: the newest candidate.")]
Reason = Annotated[str, typer.Option(help="Why; it stays on record.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be, and change nothing.")]


def promote(
    policy: PolicyName,
    version: Version = None,
    reason: Reason = "",
    expected: Expected = None,
    request_id: RequestId = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Where an evaluation is missing or out of date, do it first.")
    ] = False,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME[@VERSION]", help="With --evaluate: its test rows. Default: the training's dataset."),
    ] = None,
    dry_run: DryRun = False,
    json_output: JsonOption = False,
) -> None:
    """Put a version of a policy in production; the one that was live is archived.

    Exit code 3 where the gate, an approval or an archiving stands against it, 2 where another version is live.
    """
    from modelyard.pipeline import promotion

    if dataset is not None and not evaluate:
        raise BadInput("--dataset says what is evaluated on; give it with --evaluate")
    if evaluate and dry_run:
        raise BadInput("--evaluate does an evaluation and --dry-run does nothing; give one of them")
    console, addresses = make_console(json=json_output), get_addresses()
    request_id = request_id or uuid4()
    with connect(addresses.dsn(addresses.person), application_name="modelyard promote") as connection:
        known = promotion.find_change(connection, request_id)
        found = promotion.get_policy(connection, policy)
        live = promotion.find_live(connection, found)
        chosen = promotion.choose_version(connection, found, version or (known.put_live.version if known else None))
        show_live(console, found, live)

        def ask(*, dry_run: bool = dry_run) -> "Change":
            return promotion.promote(
                connection,
                policy_id=policy,
                version=chosen.version,
                expected=_choose_expected(expected, known, live),
                reason=reason or (known.promotion.reason if known else ""),
                request_id=request_id,
                dry_run=dry_run,
            )

        if evaluate:
            try:
                ask(dry_run=True)
            except PromotionRefused as refused:
                if not refused.evaluation_helps:
                    raise
                console.print(f"evaluate {one_line(str(refused))}")
                _evaluate(console, addresses, connection, chosen, dataset)
        change = _settle(ask, addresses, request_id)
    finish(console, addresses, change, dry_run=dry_run, json_output=json_output)


def rollback(
    policy: PolicyName,
    to: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=MAX_INTEGER, help="A version that has been live. Default: the one before."
        ),
    ] = None,
    reason: Reason = "",
    expected: Expected = None,
    request_id: RequestId = None,
    dry_run: DryRun = False,
    json_output: JsonOption = False,
) -> None:
    """Put back what was live before, at once: no evaluation and no approval is asked for.

    Given again it goes one more step back.
    """
    from modelyard.pipeline import promotion

    console, addresses = make_console(json=json_output), get_addresses()
    request_id = request_id or uuid4()
    with connect(addresses.dsn(addresses.person), application_name="modelyard rollback") as connection:
        known = promotion.find_change(connection, request_id)
        found = promotion.get_policy(connection, policy)
        live = promotion.find_live(connection, found)
        if to is not None:
            promotion.get_version(connection, found, to)
        show_live(console, found, live)

        def ask() -> "Change":
            return promotion.roll_back(
                connection,
                policy_id=policy,
                version=to,
                expected=_choose_expected(expected, known, live),
                reason=reason,
                request_id=request_id,
                dry_run=dry_run,
            )

        change = _settle(ask, addresses, request_id)
    finish(console, addresses, change, dry_run=dry_run, json_output=json_output)


def approve(
    policy: PolicyName,
    version: Version = None,
    reason: Reason = "",
    expected: Expected = None,
    json_output: JsonOption = False,
) -> None:
    """Approve that a version replaces what is live now; it holds for one promotion.

    Refused for whoever has added the version or asked for its training.
    """
    from modelyard.pipeline import promotion

    console, addresses = make_console(json=json_output), get_addresses()
    with connect(addresses.dsn(addresses.person), application_name="modelyard approve") as connection:
        found = promotion.get_policy(connection, policy)
        live = promotion.find_live(connection, found)
        chosen = promotion.choose_version(connection, found, version)
        show_live(console, found, live)
        approval = promotion.approve(
            connection,
            policy_id=policy,
            version=chosen.version,
            expected=_choose_expected(expected, None, live),
            reason=reason,
        )
    replaces = f"it may replace {name_version(live)}" if live else "it may be the first one live"
    console.print(f"approved {name_version(chosen)} by {approval.created_by}: {replaces}, once")
    console.print(f"next     {name_program()} promote {policy} --version {chosen.version}")
    if json_output:
        print_json(asdict(approval))


def archive(
    policy: PolicyName,
    version: Annotated[int, typer.Option(min=1, max=MAX_INTEGER, help="Which version; it must not be live.")],
    reason: Reason,
    undo: Annotated[bool, typer.Option("--undo", help="Make it a candidate again.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Say that a candidate will not be used; it cannot be promoted until that is undone."""
    from modelyard.pipeline import promotion

    console, addresses = make_console(json=json_output), get_addresses()
    with connect(addresses.dsn(addresses.person), application_name="modelyard archive") as connection:
        found = promotion.get_policy(connection, policy)
        chosen = promotion.get_version(connection, found, version)
        promotion.archive(connection, chosen, reason=reason, undo=undo)
    console.print(f"{'restored' if undo else 'archived'} {name_version(chosen)}")
    shown = project(console, addresses, chosen.mlflow_model_name)
    if json_output:
        print_json(asdict(chosen) | {"archived": not undo, "mlflow_shows_it": shown})


def _settle(ask: Callable[[], "Change"], addresses: Addresses, request_id: UUID) -> "Change":
    """What ``ask`` has changed, also where it was cut off after the change was on record.

    Raises:
        AnswerLost: it is not on record, or nobody answers who knows.
    """
    from modelyard.pipeline.promotion import find_change

    try:
        return ask()
    except (KeyboardInterrupt, psycopg.OperationalError) as error:
        by_hand = isinstance(error, KeyboardInterrupt)
        why = "interrupted" if by_hand else f"PostgreSQL went away ({' '.join(str(error).split())})"
    try:
        with connect(addresses.dsn(addresses.person), application_name="modelyard request") as connection:
            change = find_change(connection, request_id)
        state = "nothing was changed so far"
    except (ServiceFailed, psycopg.OperationalError):
        change, state = None, "whether it was done is not known"
    if change is None:
        again = f"{name_program()} {shlex.join(sys.argv[1:])}"
        if "--request-id" not in again:
            again += f" --request-id {request_id}"
        raise AnswerLost(f"{why}; {state}. The same request again, which is done once: {again}", by_hand=by_hand)
    return change


def _choose_expected(asked: int | None, known: "Change | None", live: PolicyVersion | None) -> int:
    """What must be live: as asked, as in the request that is on record, else what is live now."""
    if asked is not None:
        return asked
    if known is not None:
        return known.promotion.replaced_version or 0
    return live.version if live else 0


def _evaluate(
    console: Console, addresses: Addresses, connection: Connection, chosen: PolicyVersion, dataset: str | None
) -> None:
    """Have the model version evaluated against what is live now, and follow it.

    Raises:
        Exit: with ``ANSWER_IS_NO``, the gate has refused it.
    """
    from modelyard.cli.following import JobFollower
    from modelyard.cli.outcome import ANSWER_IS_NO
    from modelyard.pipeline.promotion import ask_for_evaluation

    job_id = ask_for_evaluation(connection, chosen, dataset=dataset)
    outcome = JobFollower(console, addresses.dsn(addresses.person)).follow(job_id)
    if not outcome["evaluation"]["passed"]:
        raise typer.Exit(ANSWER_IS_NO)
