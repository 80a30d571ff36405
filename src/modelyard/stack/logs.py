"""Log files of the services: kept bounded, and read for an error message."""

import os
from pathlib import Path

_LIMIT_BYTES = 10 * 2**20


def bound_log(log: Path) -> None:
    """Keep at most the last 10 MiB in ``log`` and as much before it in ``<log>.1``.

    Services append to the same file all the time, so it is emptied in place.
    """
    if log.exists() and log.stat().st_size > _LIMIT_BYTES:
        with log.open("rb+") as file:
            file.seek(-_LIMIT_BYTES, os.SEEK_END)
            log.with_name(f"{log.name}.1").write_bytes(file.read())
            file.truncate(0)


def read_log_tail(log: Path, *, nb_lines: int = 5) -> str:
    """The last lines of a log in one line, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return "nothing"
    return " | ".join([line.strip() for line in lines if line.strip()][-nb_lines:]) or "nothing"
