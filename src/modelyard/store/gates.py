"""Gates: what the versions of a registered model must reach, as declared from time to time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from modelyard.errors import GateRefused
from modelyard.store.canonical import hash_json
from modelyard.store.connections import Connection, find_row, refusals

_REFUSALS = {
    "gates_approver_check": (GateRefused, ""),
    "gates_reason_check": (GateRefused, "a change of the gate needs a reason"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredGate:
    """A row of ``exp.gates``; ``gate`` is the JSON that ``gate_sha256`` is of."""

    gate_id: int
    mlflow_model_name: str
    gate: dict[str, Any]
    gate_sha256: str
    reason: str
    declared_by: str
    declared_at: datetime


def declare_gate(
    connection: Connection, *, mlflow_model_name: str, gate: dict[str, Any], reason: str = "shipped with this release"
) -> DeclaredGate:
    """Make this the gate of a model and return the one that holds from now on.

    What is declared already is not declared again. Where a person has declared one, the evaluator changes nothing.

    Raises:
        GateRefused: no reason is given, or the model's policy requires approvals and who asks is no approver.
    """
    values = {"name": mlflow_model_name, "gate": Jsonb(gate), "sha256": hash_json(gate), "reason": reason}
    with refusals(_REFUSALS):
        declared = find_row(
            connection,
            "SELECT {columns} FROM exp.declare_gate(%(name)s, %(gate)s, %(sha256)s, %(reason)s)",
            values,
            row=DeclaredGate,
        )
    assert declared is not None  # noqa: S101  the function returns one row or raises
    return declared


def find_gate(connection: Connection, *, mlflow_model_name: str) -> DeclaredGate | None:
    """The gate of a model as it is declared now, or None."""
    query = "SELECT {columns} FROM exp.current_gates WHERE mlflow_model_name = %(name)s"
    return find_row(connection, query, {"name": mlflow_model_name}, row=DeclaredGate)
