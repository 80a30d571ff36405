"""How things look: a console for people, and progress while something takes long."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from json import dump, dumps
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from modelyard.pages.numbers import show_number
from modelyard.settings import name_program

SECONDS_BETWEEN_LINES = 2.0  # of one step's progress where the output is no terminal
MAX_INTEGER = 2**31 - 1  # that PostgreSQL takes
WIDTH = 110  # of tables and lines where the output is no terminal


class _PlainConsole(Console):
    """A console that takes text as it is, and whose reader may go away without ending the work.

    What is no letter, sign or blank is shown as a blank: names and values come out of data, and a terminal obeys some.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(_as_print(text), **options)

    def on_broken_pipe(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())


def one_line(text: str) -> str:
    """Text of which nothing but letters, signs and blanks is left, so that no name looks like a line of ours."""
    return _as_print(text.replace("\n", " "))


def _as_print(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def make_console(*, json: bool) -> Console:
    """The console for people: stdout, or stderr when stdout is for a program."""
    stream = sys.stderr if json else sys.stdout
    width = None if stream.isatty() else WIDTH
    return _PlainConsole(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True, width=width)


def print_json(value: Any) -> None:
    """Write what a program reads to stdout; times and ids as text."""
    dump(value, sys.stdout, indent=2, default=str)
    print()


def show_config(values: Mapping[str, Any]) -> str:
    """A configuration on one line, each value as JSON."""
    return one_line(", ".join(f"{name}={dumps(value, ensure_ascii=False)}" for name, value in sorted(values.items())))


def show_metric(value: float | None) -> str:
    """A measured number with five digits that count."""
    return "none" if value is None else show_number(value)


def tell_of_older(console: Console, command: str, limit: int) -> None:
    """Say how to see more of what is listed, the newest first, after ``limit`` of them."""
    console.print(f"and older ones: {name_program()} {command} --limit {min(10 * limit, MAX_INTEGER)}")


class _RateColumn(ProgressColumn):
    """How fast a step moves."""

    def render(self, task: Task) -> Text:
        return Text(f"{100 * task.speed:.1f} %/s" if task.speed else "")


class StepProgress:
    """Shows how far each step is: a bar on a terminal, else a line when a step says something new."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("  {task.description:<12}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            _RateColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[message]}", markup=False),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._step = ""
        self._printed, self._printed_at = ("", ""), 0.0  # without a terminal: the last line, and when it was

    def __call__(self, step: str, share: float | None, message: str, /) -> None:
        message = one_line(message)
        if not self._console.is_terminal:
            now = time.monotonic()
            new = (step, message) != self._printed and now - self._printed_at >= SECONDS_BETWEEN_LINES
            if new or step != self._printed[0]:
                percent = "" if share is None else f" {share:.0%}"
                self._console.print(f"  {step}{percent}: {message}", style="dim")
                self._printed, self._printed_at = (step, message), now
            return
        if step != self._step or self._task is None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(step, total=None if share is None else 1.0, message=message)
            self._step = step
        self._bar.update(self._task, completed=share or 0.0, message=message)

    @contextmanager
    def shown(self) -> Iterator["StepProgress"]:
        """Show the bar while the block runs; lines printed meanwhile appear above it."""
        if not self._console.is_terminal:
            yield self
            return
        with self._bar:
            yield self
