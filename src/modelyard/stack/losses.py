"""What MLflow has lost of what PostgreSQL needs, as the newest reconciliation found it."""

import psycopg

from modelyard.errors import ModelyardError
from modelyard.stack.addresses import Addresses
from modelyard.stack.checks import Check
from modelyard.store.connections import connect
from modelyard.store.projections import list_model_names
from modelyard.store.reconciliations import find_newest_reconciliation

REMEDY = "modelyard reconcile says of each what to do"
_NAMED = 5


def find_losses(addresses: Addresses) -> list[str] | None:
    """What is lost, by name; None where a model is on record and nobody has looked yet.

    Raises:
        ServiceFailed: PostgreSQL does not answer.
        SecretMissing: this place has no login of the person.
    """
    with connect(addresses.dsn(addresses.person), connect_timeout_s=5) as connection:
        try:
            newest = find_newest_reconciliation(connection)
        except psycopg.errors.UndefinedTable:  # of a release before there were any
            return []
        if newest is None:
            return None if list_model_names(connection) else []
    return [finding["subject"] for finding in newest.lost]


def check_losses(addresses: Addresses, *, name: str = "losses") -> Check:
    """Whether MLflow has all that the records need."""
    try:
        lost = find_losses(addresses)
    except (ModelyardError, psycopg.Error) as error:
        found, _, remedy = " ".join(str(error).split()).partition("; ")
        return Check(name, "fail", found, remedy or "make up")
    if lost is None:
        remedy = "modelyard reconcile looks now, the evaluator once a minute"
        return Check(name, "warn", "nobody has looked yet whether MLflow has all that the records need", remedy)
    if not lost:
        return Check(name, "ok", "no loss is on record of what MLflow must have")
    return Check(name, "fail", f"MLflow has lost {describe_losses(lost)}", REMEDY)


def describe_losses(lost: list[str]) -> str:
    """Some of them by name, the rest as a number."""
    more = f" and {len(lost) - _NAMED:,} more" if len(lost) > _NAMED else ""
    return ", ".join(lost[:_NAMED]) + more
