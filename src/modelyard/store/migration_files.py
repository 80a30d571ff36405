"""The migrations of this release: files ``NNNN_verb_object.sql``."""

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from modelyard.errors import MigrationRefused

_FILE_NAME = re.compile(r"(?P<version>\d{4})_[a-z]+(_[a-z0-9]+)+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file ``NNNN_verb_object.sql``."""

    version: int
    name: str
    sha256: str
    text: str


def find_sql_folder() -> Path:
    """The folder of the migrations: inside the installed package, else ``sql/`` of the clone.

    Raises:
        MigrationRefused: neither is there.
    """
    package = Path(str(files("modelyard")))
    for folder in (package / "sql", package.parents[1] / "sql"):
        if any(folder.glob("*.sql")):
            return folder
    raise MigrationRefused(f"there are no migrations in {package / 'sql'}; install modelyard again")


def list_migrations(folder: Path) -> list[Migration]:
    """The migrations of a folder in order.

    Raises:
        MigrationRefused: a file with another kind of name, or two with one number.
    """
    migrations: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationRefused(f"{path} is no migration: name it NNNN_verb_object.sql, e.g. 0007_create_drafts.sql")
        content = path.read_bytes()
        migration = Migration(int(match["version"]), path.name, sha256(content).hexdigest(), content.decode())
        if migrations and migrations[-1].version == migration.version:
            raise MigrationRefused(
                f"{migrations[-1].name} and {path.name} have the same number; renumber the newer one"
            )
        migrations.append(migration)
    return migrations
