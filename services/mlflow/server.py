"""Starts MLflow's server, with the flags that the embedded stack uses too.

The password goes from its file into another that only this user may read, as libpq wants it: it is in no argument and
in no variable.
"""

import os
import sys
from pathlib import Path

ROLE = "mlflow"
PASSWORDS = Path("/tmp/pgpass")  # noqa: S108  memory: it goes with the container


def main() -> None:
    """Become the server."""
    environment = os.environ
    host, port = environment["MODELYARD_DATABASE_HOST"], environment["MODELYARD_DATABASE_PORT"]
    database = environment["MODELYARD_DATABASE"]
    password = Path(environment["MODELYARD_SECRETS"], f"{ROLE}.password").read_text(encoding="ascii").strip()
    if not password:
        sys.exit(f"modelyard: the secret {ROLE}.password is empty; remove it, then make down and make up")
    PASSWORDS.unlink(missing_ok=True)
    PASSWORDS.touch(mode=0o600)
    PASSWORDS.write_text("*:*:*:*:" + password.replace("\\", "\\\\").replace(":", "\\:") + "\n", encoding="ascii")
    command = ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000"]  # noqa: S104
    command += ["--workers", environment["MODELYARD_MLFLOW_WORKERS"]]
    command += ["--backend-store-uri", f"postgresql+psycopg2://{ROLE}@{host}:{port}/{database}"]
    # clients read and write the object store themselves; the server only shows what is in it
    command += ["--no-serve-artifacts", "--default-artifact-root", environment["MODELYARD_ARTIFACT_ROOT"]]
    # with several workers uvicorn's own loop answers each call 44 ms late
    command += ["--uvicorn-opts", "--loop uvloop --http httptools --log-level warning"]
    os.execvpe(command[0], command, {**environment, "PGPASSFILE": str(PASSWORDS)})  # noqa: S606


main()
