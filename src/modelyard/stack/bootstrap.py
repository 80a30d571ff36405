"""What a new PostgreSQL needs before anybody works with it: our database, its tables and the person's login."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import psycopg
from psycopg import sql

from modelyard.errors import ServiceFailed
from modelyard.stack.addresses import DATABASE
from modelyard.stack.people import exists, provide_person, set_password
from modelyard.stack.postgres import SUPERUSER
from modelyard.store.migrations import migrate

ADMINISTRATOR = "modelyard_admin"
_LOCK = "SELECT pg_advisory_lock(hashtextextended('modelyard bootstrap', 0))"


def bootstrap(
    dsn: Callable[[str, str], str],
    *,
    people: Collection[str],
    passwords: Mapping[str, str] | None = None,
    database: str = DATABASE,
    owner: str | None = None,
) -> None:
    """Make the database, apply its migrations and give ``people`` logins; does nothing that is already done.

    Args:
        dsn: how to connect as a role (first) to a database (second); as ``postgres`` that is a superuser.
        people: database roles of who uses the stack. A new one may do everything; who is there keeps the rights that
            they have, also where some were taken away.
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
                    set_password(connection, ADMINISTRATOR, passwords.pop(ADMINISTRATOR))
                _create_database(connection, database)
            migrate(administrator)
            with psycopg.connect(administrator) as own:
                for person in people:
                    provide_person(own, person)
                for role, password in passwords.items():
                    set_password(own, role, password)
    except psycopg.Error as error:
        raise ServiceFailed(f"PostgreSQL refused to be set up: {' '.join(str(error).split())}") from error


def _create_administrator(connection: psycopg.Connection[Any]) -> None:
    role = sql.Identifier(ADMINISTRATOR)
    if not exists(connection, ADMINISTRATOR):
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE").format(role))
    # so that migrations may hand it to the role that makes backups
    connection.execute(sql.SQL("GRANT pg_read_all_data TO {} WITH ADMIN TRUE, INHERIT FALSE").format(role))


def _create_database(connection: psycopg.Connection[Any], database: str) -> None:
    if connection.execute("SELECT FROM pg_database WHERE datname = %s", [database]).fetchone() is None:
        statement = sql.SQL("CREATE DATABASE {} OWNER {}")
        connection.execute(statement.format(sql.Identifier(database), sql.Identifier(ADMINISTRATOR)))
