"""How things look: a console for people, and progress while something takes long."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

SECONDS_BETWEEN_LINES = 2.0  # of one step's progress where the output is no terminal
WIDTH = 110  # of tables and lines where the output is no terminal


class _PlainConsole(Console):
    """A console that takes text as it is, and whose reader may go away without ending the work."""

    def on_broken_pipe(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())


def make_console(*, json: bool) -> Console:
    """The console for people: stdout, or stderr when stdout is for a program."""
    stream = sys.stderr if json else sys.stdout
    width = None if stream.isatty() else WIDTH
    return _PlainConsole(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True, width=width)


class StepProgress:
    """Shows how far each step is: a bar on a terminal, else a line when a step says something new."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("  {task.description:<12}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._step = ""
        self._printed_at = 0.0

    def __call__(self, step: str, share: float | None, message: str, /) -> None:
        if not self._console.is_terminal:
            now = time.monotonic()
            if step != self._step or now - self._printed_at >= SECONDS_BETWEEN_LINES:
                self._console.print(f"  {step}: {message}", style="dim")
                self._printed_at = now
            self._step = step
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
