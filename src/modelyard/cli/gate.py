"""``modelyard gate``: what the versions of a model must reach."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.output import make_console, one_line, print_json
from modelyard.cli.promotion import Reason
from modelyard.cli.stack import JsonOption
from modelyard.errors import BadInput
from modelyard.stack.current import get_addresses
from modelyard.store.connections import connect
from modelyard.store.gates import DeclaredGate

app = typer.Typer(help="What the versions of a model must reach.", no_args_is_help=True, rich_markup_mode=None)

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A registered model, e.g. california_housing_model.")]
_HEADINGS = {
    "always": "always",
    "against_production": "where a version is live, on the same rows",
    "first_version": "where none is live",
}


@app.command()
def show(model: ModelName, json_output: JsonOption = False) -> None:
    """Show the gate of a model as it is declared now, who declared it, when and why."""
    from modelyard.pipeline.gates import get_gate

    addresses = get_addresses()
    with connect(addresses.dsn(addresses.person), application_name="modelyard gate show") as connection:
        gate = get_gate(connection, model)
    _show(gate, json_output=json_output)


@app.command("set")
def set_gate(
    model: ModelName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A rules file with a gate (docs/rules.md).")],
    reason: Reason,
    json_output: JsonOption = False,
) -> None:
    """Declare the gate of a model: it holds for promotions from now on, and for evaluations to come.

    Versions that have passed another gate must be evaluated again before they are promoted.
    """
    from modelyard.pipeline.gates import set_gate

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from None
    addresses = get_addresses()
    with connect(addresses.dsn(addresses.person), application_name="modelyard gate set") as connection:
        gate = set_gate(connection, model, text=text, source=str(file), reason=reason)
    _show(gate, json_output=json_output)


def _show(gate: DeclaredGate, *, json_output: bool) -> None:
    if json_output:
        print_json(asdict(gate))
        return
    console = make_console(json=False)
    console.print(f"gate     {gate.mlflow_model_name}, sha256 {gate.gate_sha256[:12]}")
    for name, heading in _HEADINGS.items():
        for number, limit in enumerate(gate.gate.get(name, [])):
            console.print(f"         {one_line(str(limit)):<42}{heading if not number else ''}".rstrip())
    console.print(f"by       {gate.declared_by} at {gate.declared_at:%Y-%m-%d %H:%M:%S} UTC")
    console.print(f"reason   {one_line(gate.reason)}")
