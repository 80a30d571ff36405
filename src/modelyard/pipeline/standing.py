"""What a verdict is held against: the gate and the live version as they are when an evaluation begins."""

from dataclasses import dataclass
from itertools import chain, count
from uuid import UUID

from modelyard.pipeline.evaluation_request import EvaluationRequest, Live, find_live
from modelyard.pipeline.session import Session
from modelyard.store import policies
from modelyard.store.connections import Connection
from modelyard.store.gates import DeclaredGate, declare_gate
from modelyard.workloads.rules import Gate, describe_gate, read_gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The gate and its limits, what is live (None: nothing), and the policy of the model."""

    gate: DeclaredGate
    limits: Gate
    live: Live | None
    policy_id: str

    @property
    def baseline_id(self) -> UUID | None:
        return self.live.policy_version.policy_version_id if self.live else None

    @property
    def production(self) -> str | None:
        """What is live, for people."""
        if self.live is None:
            return None
        return f"{self.policy_id}@{self.live.policy_version.version} ({self.live.version.label})"


def find_standing(session: Session, request: EvaluationRequest) -> Standing:
    """Read it; the gate that ships is declared, unless a person has declared one.

    Raises:
        InvalidRules: a gate was declared that cannot be read.
    """
    connection, name = session.records, request.version.mlflow_model_name
    owner = policies.find_owner(connection, mlflow_model_name=name)
    gate = declare_gate(connection, mlflow_model_name=name, gate=describe_gate(request.scorer.gate))
    return Standing(
        gate=gate,
        limits=read_gate(gate.gate, source=f"the gate of {name}"),
        live=find_live(connection, name),
        policy_id=owner.policy_id if owner else _find_free_name(connection, request.scorer.policy_id),
    )


def _find_free_name(connection: Connection, wanted: str) -> str:
    """``houses_policy``, or ``houses_2_policy`` where the policy of another model is called so."""
    others = (f"{wanted.removesuffix('_policy')[:90]}_{number}_policy" for number in count(2))
    return next(name for name in chain([wanted], others) if policies.find_policy(connection, policy_id=name) is None)
