"""What a new PostgreSQL needs before anybody works with it: our database, its tables and the person's login."""

from typing import Any

import psycopg
from psycopg import sql

from modelyard.errors import ServiceFailed
from modelyard.stack.accounts import Account
from modelyard.stack.addresses import DATABASE
from modelyard.stack.postgres import Postgres
from modelyard.store.migrations import migrate

ADMINISTRATOR = "modelyard_admin"
_GROUPS = ("modelyard_viewer", "modelyard_trainer", "modelyard_promoter", "modelyard_approver")
_SERVICES = {"mlflow", "trainer", "evaluator", "reader", "backup", "application"}
_KEYWORDS = {"postgres", "public", "none", "all", "current_user", "current_role", "session_user", "user"}
_NAME_BYTES = 63


def name_person(account: Account) -> str:
    """The database role of an operating system user: the same name, unless it stands for something else there."""
    name = account.name
    taken = name in _SERVICES | _KEYWORDS or name.startswith(("pg_", "modelyard", "mlflow"))
    while len(name.encode()) > _NAME_BYTES - len("_person"):
        name, taken = name[:-1], True
    return f"{name}_person" if taken else name


def bootstrap(server: Postgres, person: str) -> None:
    """Make the database, apply its migrations and give ``person`` a login; does nothing that is already done.

    Raises:
        MigrationRefused: the database was made by a newer release, or an applied migration was edited.
        ServiceFailed: PostgreSQL refused something.
    """
    try:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            _create_administrator(connection)
            _create_database(connection)
        dsn = server.dsn(role=ADMINISTRATOR, database=DATABASE)
        migrate(dsn)
        with psycopg.connect(dsn) as connection:
            _create_person(connection, person)
    except psycopg.Error as error:
        raise ServiceFailed(f"PostgreSQL refused to be set up: {' '.join(str(error).split())}") from error


def _exists(connection: psycopg.Connection[Any], role: str) -> bool:
    return connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None


def _create_administrator(connection: psycopg.Connection[Any]) -> None:
    role = sql.Identifier(ADMINISTRATOR)
    if not _exists(connection, ADMINISTRATOR):
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE").format(role))
    # so that migrations may hand it to the role that makes backups
    connection.execute(sql.SQL("GRANT pg_read_all_data TO {} WITH ADMIN TRUE, INHERIT FALSE").format(role))


def _create_database(connection: psycopg.Connection[Any]) -> None:
    if connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
        statement = sql.SQL("CREATE DATABASE {} OWNER {}")
        connection.execute(statement.format(sql.Identifier(DATABASE), sql.Identifier(ADMINISTRATOR)))


def _create_person(connection: psycopg.Connection[Any], person: str) -> None:
    role = sql.Identifier(person)
    if not _exists(connection, person):
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
    groups = sql.SQL(", ").join(map(sql.Identifier, _GROUPS))
    connection.execute(sql.SQL("GRANT {} TO {}").format(groups, role))
