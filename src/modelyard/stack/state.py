"""What runs, as ``state.json`` in the stack's folder remembers it between two commands."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from modelyard.stack.processes import ProcessMark


@dataclass(slots=True, kw_only=True)
class State:
    """Attributes:
    home: where the folder was when this was written; another place now means that it was moved or copied.
    database_host: folder of PostgreSQL's socket.
    mlflow_port: of MLflow on 127.0.0.1, also of the last time.
    postgres, mlflow, supervisor: what was started last, or None after a stop.
    versions: of PostgreSQL and MLflow; ``schema``: our newest migration that is applied; ``mlflow_schema``: the MLflow
        that last upgraded its tables.
    """

    home: str
    database_host: str = ""
    mlflow_port: int = 0
    postgres: ProcessMark | None = None
    mlflow: ProcessMark | None = None
    supervisor: ProcessMark | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the file; a reader sees all of it or the one before."""
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        unfinished.write_text(json.dumps(asdict(self), indent=2) + "\n")
        unfinished.chmod(0o600)
        unfinished.replace(path)


def load_state(path: Path) -> State | None:
    """Read the file; None if it is missing or damaged, for what runs can be found without it."""
    try:
        values = json.loads(path.read_text())
        for name in ("postgres", "mlflow", "supervisor"):
            values[name] = ProcessMark(**values[name]) if values.get(name) else None  # an older file lacks the last
        return State(**values)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
