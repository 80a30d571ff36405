"""Where the services of a running stack are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelyard.errors import SecretMissing

DATABASE = "modelyard"
PORT = 5432  # embedded it names the socket's file, and nothing listens on the network


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Addresses of a running stack.

    Attributes:
        stack: which kind of stack this is.
        home: the folder that everything of an embedded stack lives in; None elsewhere.
        tracking_uri: MLflow for programs, e.g. ``http://127.0.0.1:5000``.
        ui_url: MLflow for people, e.g. ``http://localhost:5000``.
        raw_uri: where raw data is stored by content, a ``file://`` or ``s3://`` address.
        person: database role of the person who asks.
        database_host: folder of PostgreSQL's Unix socket, or its name on the network.
        secrets: folder with a file ``<role>.password`` for each role that may be used here; None where the operating
            system says who connects.
        password_file: file with the person's password, where it is not among the secrets.
    """

    stack: Literal["embedded", "compose"] = "embedded"
    home: Path | None = None
    tracking_uri: str
    ui_url: str
    raw_uri: str
    person: str
    database_host: str
    database_port: int = PORT
    database: str = DATABASE
    secrets: Path | None = None
    password_file: Path | None = None

    def run_page(self, run_id: str) -> str:
        """MLflow's page of a run, in whatever MLflow experiment it is."""
        return f"{self.ui_url}/#/runs/{run_id}?workflowType=machine_learning"

    def dsn(self, role: str, *, database: str | None = None) -> str:
        """How libpq connects to our database as ``role``, e.g. ``trainer`` or ``addresses.person``.

        Raises:
            SecretMissing: this place has no password of that role.
        """
        password = "" if self.secrets is None else f" password={_quote(self.password(role))}"
        return (
            f"host={_quote(self.database_host)} port={self.database_port} dbname={_quote(database or self.database)} "
            f"user={_quote(role)}{password}"
        )

    def password(self, role: str) -> str:
        """The password of a role.

        Raises:
            SecretMissing: this place has none.
        """
        assert self.secrets is not None  # noqa: S101  an embedded stack has no passwords
        path = self.secrets / f"{role}.password"
        if role == self.person and self.password_file is not None:
            return read_secret(self.password_file, hint="MODELYARD_PASSWORD_FILE names a file with the password alone")
        people = sorted(file.name.removesuffix(".password") for file in self.secrets.glob("*.password"))
        if role == self.person and people and role not in people:
            raise SecretMissing(
                path,
                hint=f"MODELYARD_PASSWORD_FILE names the file with your password, after somebody made the login "
                f"(modelyard user add {role} --role ROLE); or be {' or '.join(people)}, with MODELYARD_PERSON",
            )
        return read_secret(path)

    def environment(self) -> dict[str, str]:
        """Variables that let MLflow's client, ``psql`` and Modelyard find an embedded stack."""
        return {
            "MODELYARD_HOME": str(self.home),
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            # MLflow's own defaults try a server that is gone for about four minutes
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
            "PGHOST": self.database_host,
            "PGPORT": str(self.database_port),
            "PGDATABASE": self.database,
            "PGUSER": self.person,
        }


def read_secret(path: Path, *, hint: str = "") -> str:
    """The one line of a secret's file; ``hint`` says what to do where there is none.

    Raises:
        SecretMissing: it is not there, cannot be read, or is empty.
    """
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text:
        raise SecretMissing(path, hint=hint)
    return text


def _quote(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
