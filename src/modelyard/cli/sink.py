"""Where a command writes rows: a file that appears whole or not at all, or stdout."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import typer

from modelyard.data.export import whole_file


@contextmanager
def open_sink(output: Path | None, *, replace: bool, option: str, replacing: str) -> Iterator[BinaryIO]:
    """A stream into the file ``output``, as ``whole_file`` has it, or without one to stdout.

    Raises:
        BadInput: the file is there and ``replace`` was not asked for, or it cannot be written.
        Exit: with 1, whoever read stdout has seen enough.
    """
    if output is not None:
        with whole_file(output, replace=replace, option=option, replacing=replacing) as file:
            yield file
        return
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
