"""What the command line prints obeys nobody but us: names out of data are shown, and do nothing to a terminal."""

import io
import sys

import pytest
from rich.console import Console
from rich.table import Table

from modelyard.cli.outcome import OutcomePrinter
from modelyard.cli.output import StepProgress, make_console, one_line
from modelyard.workloads.registry import get_workload


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def console(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    return make_console(json=False)


def test_a_name_cannot_colour_a_line_or_a_cell(console):
    table = Table("column")
    table.add_row("cell\x1b]0;title\x07")
    console.print("name\x1b[31mred", style="bold")
    console.print(table)
    printed = console.file.getvalue()
    assert "name [31mred" in printed and "cell ]0;title" in printed
    assert "\x1b[31m" not in printed and "\x1b]" not in printed
    assert "\x1b[1m" in printed, "our own colours stay"


def test_progress_shows_any_name_as_it_is(console):
    with StepProgress(console).shown() as progress:
        progress("drift", 0.5, "comparing X.[/red]\x1b[31m")
    assert "comparing X.[/red] [31m" in console.file.getvalue()


def test_one_line_is_one():
    assert one_line("a\nb\r\x1bc") == "a b  c"


@pytest.mark.parametrize(
    ("passed", "stage", "said"),
    [(True, "candidate", "promote houses_policy --version 2"), (True, "production", ""), (False, "none", "train")],
)
def test_what_to_do_next_is_told_where_there_is_something_to_do(passed, stage, said):
    stream = io.StringIO()
    printer = OutcomePrinter(Console(file=stream, width=200), get_workload("california_housing").spec)
    evaluation = {"passed": passed, "stage": stage, "policy_id": "houses_policy", "policy_version": 2}
    printer.print_next(evaluation)
    assert said in stream.getvalue()
    assert bool(said) == bool(stream.getvalue())
