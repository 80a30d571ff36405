"""Numbered SQL files, applied in order, once each; what was applied is in ``exp.schema_migrations``."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from modelyard.errors import MigrationRefused, ServiceFailed
from modelyard.store.connections import connect, find_value, list_rows
from modelyard.store.migration_files import Migration, find_sql_folder, list_migrations
from modelyard.store.queue_schema import install_queue
from modelyard.store.statements import locate_position, split_statements

_LOCK = "SELECT pg_advisory_lock(hashtextextended('modelyard migrations', 0))"

# Made by the runner in the first migration's transaction; 0002 gives both to modelyard_owner.
_BOOKKEEPING = """
CREATE SCHEMA IF NOT EXISTS exp;
CREATE TABLE IF NOT EXISTS exp.schema_migrations (
    version integer NOT NULL CONSTRAINT schema_migrations_pkey PRIMARY KEY,
    name text NOT NULL CONSTRAINT schema_migrations_name_key UNIQUE,
    sha256 text NOT NULL CONSTRAINT schema_migrations_sha256_check CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by text NOT NULL DEFAULT session_user
);
"""


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """A row of ``exp.schema_migrations``."""

    version: int
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """File names by what has become of them; ``newer`` are applied and unknown to this release."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    edited: tuple[str, ...]
    newer: tuple[str, ...]

    @property
    def current(self) -> bool:
        return not (self.pending or self.edited or self.newer)


def migrate(dsn: str, *, folder: Path | None = None) -> list[Migration]:
    """Apply what is pending, each file in a transaction of its own, then the queue library's own tables.

    Callers at the same time wait for each other.

    Args:
        dsn: a login that owns the database and has CREATEROLE; a superuser works too.
        folder: of the migrations; default: those of this release.

    Returns:
        The migrations that this call applied.

    Raises:
        MigrationRefused: an applied file was edited, an applied version is unknown to this release, a pending one
            comes before an applied one, or a file failed; of a failing file nothing stays.
        ServiceFailed: the database cannot be reached.
    """
    migrations = list_migrations(folder or find_sql_folder())
    with connect(dsn, application_name="modelyard migrate") as connection:
        connection.execute("SET statement_timeout = 0")
        connection.execute(_LOCK)
        applied = _list_applied(connection)
        _refuse_surprises(migrations, applied)
        pending = migrations[len(applied) :]
        for migration in pending:
            _apply(connection, migration)
        install_queue(connection)
        return pending


def check_migrations(dsn: str, *, folder: Path | None = None) -> MigrationStatus:
    """Compare the database with this release's migrations; changes nothing.

    Raises:
        ServiceFailed: the database cannot be reached.
    """
    migrations = list_migrations(folder or find_sql_folder())
    with connect(dsn, application_name="modelyard migrate") as connection:
        connection.execute("SET default_transaction_read_only = on")
        applied = _list_applied(connection)
    known = {migration.version: migration for migration in migrations}
    done = {row.version for row in applied}
    return MigrationStatus(
        applied=tuple(row.name for row in applied),
        pending=tuple(m.name for m in migrations if m.version not in done),
        edited=tuple(r.name for r in applied if r.version in known and known[r.version].sha256 != r.sha256),
        newer=tuple(r.name for r in applied if r.version not in known),
    )


def _list_applied(connection: psycopg.Connection[dict[str, object]]) -> list[AppliedMigration]:
    if find_value(connection, "SELECT to_regclass('exp.schema_migrations')") is None:
        return []
    query = "SELECT {columns} FROM exp.schema_migrations ORDER BY version"
    return list_rows(connection, query, row=AppliedMigration)


def _refuse_surprises(migrations: list[Migration], applied: list[AppliedMigration]) -> None:
    known = {migration.version: migration for migration in migrations}
    newer = [row.name for row in applied if row.version not in known]
    if newer:
        raise MigrationRefused(
            f"this database was made by a newer release of modelyard, which applied {', '.join(newer)}; "
            "install that release or a later one. Nothing was changed"
        )
    edited = [row.name for row in applied if known[row.version].sha256 != row.sha256]
    if edited:
        raise MigrationRefused(
            f"{', '.join(edited)} was edited after it had been applied; put the file back as it was, "
            "and write the change as a new migration. Nothing was changed"
        )
    done = {row.version for row in applied}
    late = [m.name for m in migrations if m.version not in done and done and m.version < max(done)]
    if late:
        raise MigrationRefused(f"{', '.join(late)} comes before what is applied; give it the next free number")


def _apply(connection: psycopg.Connection[dict[str, object]], migration: Migration) -> None:
    with connection.transaction():
        if migration.version == 1:
            connection.execute(_BOOKKEEPING)
        for line, statement in split_statements(migration.text):
            with _named(migration.name, line, statement):
                # without parameters the text goes to the server as it is
                connection.execute(sql.SQL(statement))
        connection.execute(
            "INSERT INTO exp.schema_migrations (version, name, sha256) VALUES (%s, %s, %s)",
            [migration.version, migration.name, migration.sha256],
        )


@contextmanager
def _named(name: str, line: int, statement: str) -> Iterator[None]:
    try:
        yield
    except psycopg.OperationalError as error:
        if error.sqlstate is not None and not error.sqlstate.startswith(("08", "57")):
            raise _failure(error, name, line, statement) from error
        raise ServiceFailed(f"the connection was lost in migration {name}; run the migrations again") from error
    except psycopg.Error as error:
        raise _failure(error, name, line, statement) from error


def _failure(error: psycopg.Error, name: str, line: int, statement: str) -> MigrationRefused:
    at = line + locate_position(statement, error.diag.statement_position)
    hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
    first = " ".join(statement.split())[:60]
    return MigrationRefused(
        f"migration {name}, line {at}, failed: {error.diag.message_primary or error}{hint}; "
        f"nothing of this file was kept. Statement: {first}…"
    )
