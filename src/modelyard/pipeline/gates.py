"""The gate of a registered model: read, and declared by a person."""

from modelyard.errors import BadInput, UnknownName
from modelyard.pipeline.promotion import check_reason
from modelyard.store import gates
from modelyard.store.connections import Connection
from modelyard.store.projections import list_model_names
from modelyard.store.rights import needed_right
from modelyard.workloads.rules import describe_gate, parse_rules


def get_gate(connection: Connection, model_name: str) -> gates.DeclaredGate:
    """The gate of a model as it is declared now.

    Raises:
        UnknownName: no version of such a model is on record.
        BadInput: none was declared: its first evaluation does, or a person.
    """
    found = gates.find_gate(connection, mlflow_model_name=model_name)
    if found is None:
        _check_name(connection, model_name)
        raise BadInput(
            f"{model_name} has no gate yet: its next evaluation declares the one that ships with its workload or task, "
            "or modelyard gate set declares another"
        )
    return found


def set_gate(connection: Connection, model_name: str, *, text: str, source: str, reason: str) -> gates.DeclaredGate:
    """Declare the gate of a rules file (its ``text``, named ``source`` in errors) for a model.

    Raises:
        BadInput: the reason says nothing.
        InvalidRules: the file cannot be read; with every problem.
        UnknownName: no version of such a model is on record.
        GateRefused: the model's policy requires approvals, and who asks is no approver.
        RightMissing: who asks is neither promoter nor approver.
    """
    check_reason(reason)
    gate = parse_rules(text, source=source).gate
    _check_name(connection, model_name)
    with needed_right(connection, group="promoter", to="declare a gate"):
        return gates.declare_gate(connection, mlflow_model_name=model_name, gate=describe_gate(gate), reason=reason)


def _check_name(connection: Connection, model_name: str) -> None:
    known = list_model_names(connection)
    if model_name not in known:
        raise UnknownName("registered model", model_name, known, hint="A gate belongs to a model, not to a policy.")
