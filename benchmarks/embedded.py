"""An embedded stack of a benchmark's own: in a folder that is gone afterwards, with no workers."""

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelyard.settings import load_settings
from modelyard.stack import embedded
from modelyard.stack.addresses import Addresses


@contextmanager
def run_embedded(folder: Path | None = None) -> Iterator[tuple[Path, Addresses]]:
    """Start it, and yield a folder for files and where the stack is; this process and its children then use it.

    ``folder`` is where both are made, default: the system's one for temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="modelyard-bench-", dir=folder) as name:
        scratch = Path(name)
        scratch.chmod(0o711)  # as root PostgreSQL runs as another user
        for variable in [name for name in os.environ if name.startswith(("MODELYARD_", "MLFLOW_", "PG"))]:
            del os.environ[variable]
        home, files = scratch / "home", scratch / "files"
        files.mkdir()
        os.environ |= {"MODELYARD_STACK": "embedded", "MODELYARD_HOME": str(home), "TMPDIR": str(files)}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            os.environ["MODELYARD_MLFLOW_PORT"] = str(probe.getsockname()[1])
        tempfile.tempdir = None  # so that it reads TMPDIR again
        settings = load_settings()
        try:
            yield files, embedded.up(settings, say, trainers=0)
        finally:
            embedded.down(settings, say)


def say(text: str) -> None:
    """Show progress where it does not mix with the table."""
    print(text, file=sys.stderr, flush=True)
