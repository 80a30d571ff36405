"""What a new PostgreSQL needs before anybody works with it: our database, its tables and the person's login."""

from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from psycopg import sql

from modelyard.errors import ServiceFailed
from modelyard.stack.addresses import DATABASE
from modelyard.stack.postgres import SUPERUSER
from modelyard.store.migrations import migrate

ADMINISTRATOR = "modelyard_admin"
_LOCK = "SELECT pg_advisory_lock(hashtextextended('modelyard bootstrap', 0))"
_GROUPS = ("modelyard_viewer", "modelyard_trainer", "modelyard_promoter", "modelyard_approver")
_SERVICES = {"mlflow", "trainer", "evaluator", "reader", "backup", "application"}
_KEYWORDS = {"postgres", "public", "none", "all", "current_user", "current_role", "session_user", "user"}
_NAME_BYTES = 63


def name_person(name: str) -> str:
    """The database role of an operating system user: the same name, unless it stands for something else there."""
    name = name.replace("/", "_")  # it is also part of a file's name
    taken = name in _SERVICES | _KEYWORDS or name.startswith(("pg_", "modelyard", "mlflow"))
    while len(name.encode()) > _NAME_BYTES - len("_person"):
        name, taken = name[:-1], True
    return f"{name}_person" if taken else name


def bootstrap(
    dsn: Callable[[str, str], str],
    *,
    person: str,
    passwords: Mapping[str, str] | None = None,
    database: str = DATABASE,
    owner: str | None = None,
) -> None:
    """Make the database, apply its migrations and give ``person`` a login; does nothing that is already done.

    Args:
        dsn: how to connect as a role (first) to a database (second); as ``postgres`` that is a superuser.
        person: the database role of who uses the stack.
        passwords: role → password, set each time; None where the operating system says who connects.
        database: its name.
        owner: on somebody else's PostgreSQL the login that owns the database and has CREATEROLE; no superuser is
            used then, and the database must be there.

    Raises:
        MigrationRefused: the database was made by a newer release, or an applied migration was edited.
        ServiceFailed: PostgreSQL refused something.
    """
    passwords = dict(passwords or {})
    administrator = dsn(owner or ADMINISTRATOR, database)
    first = administrator if owner else dsn(SUPERUSER, "postgres")
    try:
        with psycopg.connect(first, autocommit=True) as connection:
            connection.execute(_LOCK)  # until the connection ends: two may be doing this at once
            if owner is None:
                _create_administrator(connection)
                if ADMINISTRATOR in passwords:
                    _set_password(connection, ADMINISTRATOR, passwords.pop(ADMINISTRATOR))
                _create_database(connection, database)
            migrate(administrator)
            with psycopg.connect(administrator) as own:
                _create_person(own, person)
                for role, password in passwords.items():
                    _set_password(own, role, password)
    except psycopg.Error as error:
        raise ServiceFailed(f"PostgreSQL refused to be set up: {' '.join(str(error).split())}") from error


def _set_password(connection: psycopg.Connection[Any], role: str, password: str) -> None:
    """Set it as the verifier that PostgreSQL keeps, so that no log of a server ever holds a password."""
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))


def _exists(connection: psycopg.Connection[Any], role: str) -> bool:
    return connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None


def _is_member(connection: psycopg.Connection[Any], person: str) -> bool:
    query = "SELECT FROM pg_auth_members WHERE member = %s::regrole AND roleid = 'modelyard_viewer'::regrole"
    return connection.execute(query, [sql.Identifier(person).as_string(connection)]).fetchone() is not None


def _create_administrator(connection: psycopg.Connection[Any]) -> None:
    role = sql.Identifier(ADMINISTRATOR)
    if not _exists(connection, ADMINISTRATOR):
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE").format(role))
    # so that migrations may hand it to the role that makes backups
    connection.execute(sql.SQL("GRANT pg_read_all_data TO {} WITH ADMIN TRUE, INHERIT FALSE").format(role))


def _create_database(connection: psycopg.Connection[Any], database: str) -> None:
    if connection.execute("SELECT FROM pg_database WHERE datname = %s", [database]).fetchone() is None:
        statement = sql.SQL("CREATE DATABASE {} OWNER {}")
        connection.execute(statement.format(sql.Identifier(database), sql.Identifier(ADMINISTRATOR)))


def _create_person(connection: psycopg.Connection[Any], person: str) -> None:
    role = sql.Identifier(person)
    if not _exists(connection, person):
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
    elif not _is_member(connection, person):
        raise ServiceFailed(f"the login {person} is there already and not Modelyard's; MODELYARD_PERSON names another")
    groups = sql.SQL(", ").join(map(sql.Identifier, _GROUPS))
    connection.execute(sql.SQL("GRANT {} TO {}").format(groups, role))
