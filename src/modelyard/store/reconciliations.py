"""What was found when MLflow was compared with the records: a row for each change of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from modelyard.store.connections import Connection, find_row
from modelyard.store.rights import needed_right

LOST = "lost"  # the kind of a finding that only a person can put right


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """A row of ``exp.reconciliations``; each finding has ``kind``, ``subject``, ``found`` and ``remedy``."""

    reconciliation_id: int
    findings: list[dict[str, Any]]
    created_by: str
    created_at: datetime

    @property
    def lost(self) -> list[dict[str, Any]]:
        return [finding for finding in self.findings if finding["kind"] == LOST]


def record_reconciliation(connection: Connection, *, findings: Sequence[Mapping[str, Any]]) -> bool:
    """Record what was found, if it is not what the newest row says or nothing is; returns whether it was recorded.

    The caller holds the lock of reconciliations.

    Raises:
        RightMissing: who asks may not.
    """
    found = [dict(finding) for finding in findings]
    newest = find_newest_reconciliation(connection)
    if newest is not None and newest.findings == found:
        return False
    with needed_right(connection, group="promoter", to="reconcile"):
        connection.execute("INSERT INTO exp.reconciliations (findings) VALUES (%s)", [Jsonb(found)])
    return True


def find_newest_reconciliation(connection: Connection) -> Reconciliation | None:
    """What was found last; None where nothing ever was."""
    query = "SELECT {columns} FROM exp.reconciliations ORDER BY reconciliation_id DESC LIMIT 1"
    return find_row(connection, query, row=Reconciliation)
