"""Promotions: every change of what is live for a policy, and the approvals that some of them need."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from modelyard.errors import ApprovalRefused, PromotionConflict, PromotionRefused, RecordNotFound, RequestReused
from modelyard.store.connections import Connection, find_row, find_value, list_rows, refusals
from modelyard.store.jobs import fingerprint_job
from modelyard.store.policies import Policy

_REFUSALS = {
    "promotions_expected_check": (PromotionConflict, ""),
    "promotions_refused_check": (PromotionRefused, ""),
    "promotions_request_id_key": (RequestReused, ""),
    "promotions_version_check": (RecordNotFound, ""),
    "approvals_refused_check": (ApprovalRefused, ""),
    "approval_rules_reason_check": (ApprovalRefused, "a change of the rule needs a reason"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A row of ``exp.promotions``; of a dry run ``promotion_id`` and ``occurred_at`` are None.

    ``restores_promotion_id`` is, of a rollback, the promotion whose state it restores.
    """

    promotion_id: int | None
    previous_promotion_id: int | None
    policy_id: str
    kind: str
    policy_version_id: UUID
    version: int
    replaced_policy_version_id: UUID | None
    replaced_version: int | None
    restores_promotion_id: int | None
    evaluation_id: UUID
    approval_id: int | None
    reason: str
    request_id: UUID
    actor: str
    occurred_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A row of ``exp.approvals``: consent that a version replaces another, None for none."""

    approval_id: int
    policy_id: str
    policy_version_id: UUID
    replaces_policy_version_id: UUID | None
    reason: str
    created_by: str
    created_at: datetime


def promote(
    connection: Connection,
    *,
    policy_id: str,
    version: int,
    expected: int,
    reason: str = "",
    request_id: UUID | None = None,
    dry_run: bool = False,
) -> Promotion:
    """Put a version of a policy in production, in place of the one that is expected to be live.

    Args:
        version: number of the policy version.
        expected: number of the version that is live now, 0 for none.
        request_id: the same id again returns what the first call did.
        dry_run: write nothing, and return what would be written.

    Raises:
        PromotionConflict: another version is live than was expected.
        PromotionRefused: with every reason: no passed evaluation against the live version under the gate as it is
            declared now, no approval, archived, live already.
        RequestReused: this request id was used with other arguments.
        RecordNotFound: there is no such policy or version.
    """
    query: LiteralString = """
        SELECT {columns} FROM exp.promote(
            %(policy_id)s, %(version)s, %(expected)s, %(reason)s, %(request_id)s, %(dry_run)s
        )
    """
    values = {"version": version, "expected": expected, "reason": reason, "dry_run": dry_run}
    return _change(connection, query, values | {"policy_id": policy_id, "request_id": request_id or uuid4()})


def rollback(
    connection: Connection,
    *,
    policy_id: str,
    expected: int,
    reason: str,
    version: int | None = None,
    request_id: UUID | None = None,
    dry_run: bool = False,
) -> Promotion:
    """Put back what was live before, or a version that was live once; repeated, it walks back through history.

    Takes and raises what ``promote`` does; ``version`` None is what was live before. Needs no evaluation or approval.
    """
    query: LiteralString = """
        SELECT {columns} FROM exp.rollback(
            %(policy_id)s, %(version)s, %(expected)s, %(reason)s, %(request_id)s, %(dry_run)s
        )
    """
    values = {"version": version, "expected": expected, "reason": reason, "dry_run": dry_run}
    return _change(connection, query, values | {"policy_id": policy_id, "request_id": request_id or uuid4()})


def archive_version(connection: Connection, *, policy_id: str, version: int, reason: str, undo: bool = False) -> None:
    """Mark a candidate as one that will not be used, or with ``undo`` as a candidate again.

    Raises:
        PromotionRefused: it is no candidate (with ``undo``: was not archived so), or no reason is given.
        RecordNotFound: there is no such policy or version.
    """
    values = {"policy_id": policy_id, "version": version, "reason": reason, "undo": undo}
    with refusals(_REFUSALS):
        find_value(
            connection, "SELECT exp.archive_version(%(policy_id)s, %(version)s, %(reason)s, %(undo)s)::text", values
        )


def approve(connection: Connection, *, policy_id: str, version: int, expected: int, reason: str = "") -> Approval:
    """Consent that a version replaces the one that is expected to be live; one promotion uses it up.

    Raises:
        ApprovalRefused: who asks has added the version or asked for its training, or it is live already.
        PromotionConflict: another version is live than was expected.
        RecordNotFound: there is no such policy or version.
    """
    values = {"policy_id": policy_id, "version": version, "expected": expected, "reason": reason}
    with refusals(_REFUSALS):
        given = find_row(
            connection,
            "SELECT {columns} FROM exp.approve(%(policy_id)s, %(version)s, %(expected)s, %(reason)s)",
            values,
            row=Approval,
        )
    assert given is not None  # noqa: S101  the function returns one row or raises
    return given


def require_approval(connection: Connection, *, policy_id: str, required: bool, reason: str) -> Policy:
    """Set whether promotions of a policy need an approval by another person; each change of it is kept.

    Raises:
        ApprovalRefused: no reason is given.
        RecordNotFound: there is no such policy.
    """
    values = {"policy_id": policy_id, "required": required, "reason": reason}
    with refusals(_REFUSALS):
        policy = find_row(
            connection,
            "SELECT {columns} FROM exp.require_approval(%(policy_id)s, %(required)s, %(reason)s)",
            values,
            row=Policy,
        )
    assert policy is not None  # noqa: S101  the function returns one row or raises
    return policy


def submit_evaluation(connection: Connection, *, arguments: Mapping[str, Any], job_id: UUID | None = None) -> UUID:
    """Queue an evaluation as who may promote; the same unfinished request is the same job. Returns the job's id."""
    values = {
        "arguments": Jsonb(dict(arguments)),
        "fingerprint": fingerprint_job("evaluate", arguments),
        "job_id": job_id or uuid4(),
    }
    query: LiteralString = "SELECT exp.submit_evaluation(%(arguments)s, %(fingerprint)s, %(job_id)s)"
    submitted: UUID = find_value(connection, query, values)
    return submitted


def find_promotion(connection: Connection, *, request_id: UUID) -> Promotion | None:
    """What the request with this id has done, or None."""
    query = "SELECT {columns} FROM exp.promotions WHERE request_id = %(request_id)s"
    return find_row(connection, query, {"request_id": request_id}, row=Promotion)


def list_promotions(connection: Connection, *, policy_id: str) -> list[Promotion]:
    """Every change of what is live for a policy, the newest first."""
    query: LiteralString = (
        "SELECT {columns} FROM exp.promotions WHERE policy_id = %(policy_id)s ORDER BY promotion_id DESC"
    )
    return list_rows(connection, query, {"policy_id": policy_id}, row=Promotion)


def _change(connection: Connection, query: LiteralString, values: Mapping[str, Any]) -> Promotion:
    with refusals(_REFUSALS):
        try:
            change = find_row(connection, query, values, row=Promotion)
        except psycopg.errors.IntegrityConstraintViolation as error:
            if error.diag.message_hint != "evaluate":
                raise
            raise PromotionRefused(error.diag.message_primary or "", evaluation_helps=True) from None
    assert change is not None  # noqa: S101  the function returns one row or raises
    return change
