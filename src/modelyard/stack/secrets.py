"""The secrets of the Compose stack: made where one is missing, each in a folder that only its service sees."""

import configparser
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelyard.errors import SecretMissing
from modelyard.stack.addresses import read_secret
from modelyard.stack.bootstrap import ADMINISTRATOR
from modelyard.stack.postgres import SUPERUSER

S3_CREDENTIALS = "s3_credentials"
NOTEBOOK_CREDENTIALS = "notebook_credentials"
_PASSWORD = ".password"  # noqa: S105  the end of a file's name
_FOUNDERS = "founders"  # who made the stack, a name a line: a password that is removed is made anew for the same person
_KEY_LENGTH = 3  # MinIO takes no shorter names
_READABLE = 0o444  # by whoever mounts the volume, which is one service
_SECRET = re.compile(r"[!-~]{12,128}")


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret's place, ``<service>/<name>``, and whom it is for: a database role, or a user of the object store."""

    service: str
    name: str
    s3_user: str | None = None
    role: str | None = None

    def path(self, folder: Path) -> Path:
        return folder / self.service / self.name


def find_people(folder: Path) -> list[str]:
    """The database roles of who made the stack, whose passwords are among the secrets."""
    founders = folder / "cli" / _FOUNDERS
    if founders.exists():
        return founders.read_text(encoding="utf-8").splitlines()
    return sorted(path.name.removesuffix(_PASSWORD) for path in (folder / "cli").glob(f"*{_PASSWORD}"))


def list_secrets(*people: str) -> list[Secret]:
    """Every secret of a stack; ``people`` are the database roles of who made it."""
    roles = {
        "postgres": [SUPERUSER],
        "init": [ADMINISTRATOR],
        "mlflow": ["mlflow"],
        "trainer": ["trainer"],
        "evaluator": ["evaluator"],
        "cli": people,
        "operator": ["reader", "backup", "application"],
    }
    users = {
        "mlflow": {"mlflow": S3_CREDENTIALS},
        "trainer": {"trainer": S3_CREDENTIALS},
        "evaluator": {"evaluator": S3_CREDENTIALS},
        "cli": {"client": S3_CREDENTIALS, "notebook": NOTEBOOK_CREDENTIALS},
        "gc": {"gc": S3_CREDENTIALS},
        "operator": {"backup": "backup_credentials"},
    }
    return [
        *(Secret(service, f"{role}{_PASSWORD}", role=role) for service, names in roles.items() for role in names),
        *(Secret(service, name, s3_user=user) for service, named in users.items() for user, name in named.items()),
        Secret("minio", "root_user"),
        Secret("minio", "root_password"),
    ]


def provide_secrets(folder: Path, *, person: str, report: Callable[[str], None]) -> None:
    """Make what is missing under ``folder``; what is there is checked and never changed. Safe twice at once.

    Who is first gets a password; for ``person`` after them an administrator makes a login (``modelyard user add``).

    Raises:
        SecretMissing: a file is damaged; the text says how to have it made anew.
    """
    people = find_people(folder)
    for secret in list_secrets(*people):
        _check(secret, secret.path(folder))
    _write(folder / "cli" / _FOUNDERS, "".join(f"{name}\n" for name in people or [person]))
    # read again: of two at once, the one who was quicker made the stack
    missing = [secret for secret in list_secrets(*find_people(folder)) if not secret.path(folder).exists()]
    made = [secret for secret in missing if _make(secret, secret.path(folder))]
    if made:
        report(f"made {len(made)} secrets: {', '.join(f'{secret.service}/{secret.name}' for secret in made)}")


def read_s3_credentials(path: Path) -> tuple[str, str]:
    """Access key and secret key of an AWS credentials file.

    Raises:
        SecretMissing: it is not there, or is no such file.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="ascii"))
        profile = parser["default"]
        key, secret = profile["aws_access_key_id"], profile["aws_secret_access_key"]
    except (OSError, ValueError, KeyError, configparser.Error):
        raise SecretMissing(path) from None
    if not (key and secret):
        raise SecretMissing(path)
    return key, secret


def _make(secret: Secret, path: Path) -> bool:
    """Write a new one; False if another process was quicker, whose secret counts."""
    value = secrets.token_urlsafe(32)
    if secret.s3_user:
        key = secret.s3_user if len(secret.s3_user) >= _KEY_LENGTH else f"{secret.s3_user}-user"
        text = f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {value}\n"
    else:
        text = (f"root-{value[:8]}" if secret.name == "root_user" else value) + "\n"
    return _write(path, text)


def _write(path: Path, text: str) -> bool:
    """Make a file; False where it is there."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        part.write_text(text, encoding="utf-8")
        part.chmod(_READABLE)
        os.link(part, path)
    except FileExistsError:
        return False
    finally:
        part.unlink(missing_ok=True)
    return True


def _check(secret: Secret, path: Path) -> None:
    if not path.exists():
        return
    again = f"docker compose run --rm --no-deps --entrypoint rm secrets -f {path}; then make down and make up"
    try:
        if secret.s3_user:
            if not _SECRET.fullmatch(read_s3_credentials(path)[1]):
                raise SecretMissing(path)
        elif not _SECRET.fullmatch(read_secret(path)):
            raise SecretMissing(path)
    except SecretMissing:
        raise SecretMissing(path, hint=f"have it made anew: {again}") from None
