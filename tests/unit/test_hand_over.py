"""Which commands become the launcher's, where the stack is in containers."""

import typer

from modelyard.cli.app import app
from modelyard.cli.main import _ON_STACK

HERE = {"container", "digest", "worker", "workloads"}  # they need no stack, or run inside it


def test_every_command_that_needs_a_stack_is_handed_to_the_launcher():
    commands = set(typer.main.get_command(app).commands)
    assert commands - HERE == set(_ON_STACK)
