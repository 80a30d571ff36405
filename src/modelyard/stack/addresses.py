"""Where the services of a running stack are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DATABASE = "modelyard"
PORT = 5432  # names the socket's file; nothing listens on the network


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Addresses of a running stack.

    Attributes:
        stack: which kind of stack this is.
        home: the folder that everything lives in.
        tracking_uri: MLflow for programs, e.g. ``http://127.0.0.1:5000``.
        ui_url: MLflow for people, e.g. ``http://localhost:5000``.
        raw_uri: where raw data is stored by content, a ``file://`` address.
        person: database role of the operating system's user who asks.
        database_host: folder of PostgreSQL's Unix socket.
    """

    stack: Literal["embedded"] = "embedded"
    home: Path
    tracking_uri: str
    ui_url: str
    raw_uri: str
    person: str
    database_host: str

    def dsn(self, role: str) -> str:
        """How libpq connects to our database as ``role``, e.g. ``trainer`` or ``addresses.person``."""
        return f"host={_quote(self.database_host)} port={PORT} dbname={DATABASE} user={_quote(role)}"

    def environment(self) -> dict[str, str]:
        """Variables that let MLflow's client, ``psql`` and Modelyard find this stack."""
        return {
            "MODELYARD_HOME": str(self.home),
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            # MLflow's own defaults try a server that is gone for about four minutes
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
            "PGHOST": self.database_host,
            "PGPORT": str(PORT),
            "PGDATABASE": DATABASE,
            "PGUSER": self.person,
        }


def _quote(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
