"""People: each has a login of their own, in the groups that say what this person may do."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Literal, get_args

import psycopg
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import class_row

from modelyard.errors import PersonRefused, ServiceFailed

Role = Literal["viewer", "trainer", "promoter", "approver"]
ROLES: tuple[Role, ...] = get_args(Role)
PASSWORD_BYTES = 24  # of a new one, before they become text
_SERVICES = {"mlflow", "trainer", "evaluator", "reader", "backup", "application"}
_KEYWORDS = {"postgres", "public", "none", "all", "current_user", "current_role", "session_user", "user"}
_NAME_BYTES = 63
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]*")
_PASSWORD = re.compile(r"[!-~]{12,128}")
_MARK = "a person of modelyard"  # the comment on a login; it stays where every right was taken away
# so that a forgotten prompt holds no policy, and nobody takes every connection; a session may set others for itself
_SETTINGS = {"statement_timeout": "10min", "idle_in_transaction_session_timeout": "60s"}
_NB_CONNECTIONS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with a login, or who had one: ``removed`` is who may not log in any more."""

    name: str
    roles: list[Role]
    removed: bool


def name_person(name: str) -> str:
    """The database role of an operating system user: the same name, unless it stands for something else there."""
    name = name.replace("/", "_")  # it is also part of a file's name
    plain = name.lower()  # "Trainer" would be another login, and look like that one
    taken = plain in _SERVICES | _KEYWORDS or plain.startswith(("pg_", "modelyard", "mlflow"))
    while len(name.encode()) > _NAME_BYTES - len("_person"):
        name, taken = name[:-1], True
    return f"{name}_person" if taken else name


def check_name(name: str) -> None:
    """Raises:
    PersonRefused: no person can be called so.
    """
    if not _NAME.fullmatch(name):
        raise PersonRefused(
            f"{name!r} is no name of a login; it begins with a letter and has letters, digits and . _ @ - only"
        )
    if name_person(name) != name:
        raise PersonRefused(f"{name} means something else to the database, or is too long; choose another name")


def read_password(path: Path) -> str:
    """The password in a file: its one line.

    Raises:
        PersonRefused: it is not there, or holds no password of 12 to 128 letters, digits and signs.
    """
    try:
        text = path.read_text(encoding="ascii").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no plain text"
        raise PersonRefused(f"the password in {path} cannot be read: {reason}") from None
    if not _PASSWORD.fullmatch(text):
        raise PersonRefused(
            f"{path} must hold a password alone: one line of 12 to 128 letters, digits and signs, no blanks"
        )
    return text


def make_password() -> str:
    """A new one that nobody can guess."""
    return token_urlsafe(PASSWORD_BYTES)


def list_people(connection: psycopg.Connection[Any]) -> list[Person]:
    """Everybody with a login, and who had one, by name; anybody who may connect may ask."""
    return _list_people(connection, None)


def add_person(connection: psycopg.Connection[Any], *, name: str, roles: Collection[Role], password: str) -> Person:
    """Make a login; ``connection`` is the administrator's.

    Raises:
        PersonRefused: the name cannot be used, or is somebody's already.
        ServiceFailed: PostgreSQL refused it.
    """
    check_name(name)
    with _changing(connection, name):
        if found := _list_people(connection, name):
            state = (
                "was removed"
                if found[0].removed
                else f"is there already, as {' and '.join(found[0].roles) or 'nothing'}"
            )
            raise PersonRefused(
                f"the login {name} {state}; user change {name} --role ROLE gives the same person other roles, "
                "and another person needs another name"
            )
        if exists(connection, name):
            raise PersonRefused(f"the login {name} is there already and not Modelyard's; choose another name")
        _create(connection, name, roles=roles)
        set_password(connection, name, password)
        return _list_people(connection, name)[0]


def change_person(
    connection: psycopg.Connection[Any], *, name: str, roles: Collection[Role] = (), password: str | None = None
) -> Person:
    """Give a person exactly these roles (none named: as they are) and a new password, where one is given.

    Who was removed may log in again, with the roles that are named. Rights that are taken away are gone at once, in
    open sessions too.

    Raises:
        PersonRefused: there is no such person, somebody else than the administrator made the login or granted what is
            to be taken, or no role is named for who was removed.
        ServiceFailed: PostgreSQL refused it.
    """
    with _changing(connection, name):
        person = _get(connection, name)
        if person.removed and not roles:
            raise PersonRefused(f"{name} was removed and has no rights; say with --role what {name} may do from now on")
        _set_roles(connection, person, roles or person.roles)
        connection.execute(sql.SQL("ALTER ROLE {} LOGIN").format(sql.Identifier(name)))
        if password is not None:
            set_password(connection, name, password)
        return _list_people(connection, name)[0]


def remove_person(connection: psycopg.Connection[Any], *, name: str) -> Person:
    """Take a login away: its rights, its password and the right to log in.

    The name stays taken, so that nobody else can have it: facts on record name it.

    Raises:
        PersonRefused: there is no such person, or somebody else than the administrator made the login or granted a
            role.
        ServiceFailed: PostgreSQL refused it.
    """
    with _changing(connection, name):
        _set_roles(connection, _get(connection, name), ())
        connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(sql.Identifier(name)))
        return _list_people(connection, name)[0]


def exists(connection: psycopg.Connection[Any], role: str) -> bool:
    """Whether the server has a role of this name."""
    return connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None


def provide_person(connection: psycopg.Connection[Any], name: str) -> None:
    """Give whoever made the stack a login in every role; one that is there keeps the rights that it has.

    Raises:
        ServiceFailed: the login is there and not Modelyard's.
    """
    if not exists(connection, name):
        _create(connection, name, roles=ROLES)
    elif not _list_people(connection, name):
        raise ServiceFailed(f"the login {name} is there already and not Modelyard's; MODELYARD_PERSON names another")
    else:
        # a login that somebody else made is theirs to change
        with suppress(InsufficientPrivilege), connection.transaction():
            _prepare(connection, name)


def set_password(connection: psycopg.Connection[Any], role: str, password: str) -> None:
    """Set it as the verifier that PostgreSQL keeps, so that no log of a server ever holds a password."""
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))


@contextmanager
def _changing(connection: psycopg.Connection[Any], name: str) -> Iterator[None]:
    """One transaction that changes a login, one of its kind at a time."""
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('modelyard people', 0))")
            yield
    except InsufficientPrivilege:
        raise PersonRefused(
            f"the login {name} was not made by modelyard's administrator; who made it must change it"
        ) from None
    except psycopg.Error as error:
        raise ServiceFailed(f"PostgreSQL refused to change a login: {' '.join(str(error).split())}") from error


def _list_people(connection: psycopg.Connection[Any], name: str | None) -> list[Person]:
    # whoever makes roles is a member of those that they made, and no person for that
    query = """
        SELECT r.rolname AS name, NOT r.rolcanlogin AS removed,
            coalesce(array_agg(DISTINCT substr(g.rolname, 11)) FILTER (WHERE g.oid IS NOT NULL), '{}') AS roles
        FROM pg_roles AS r
        LEFT JOIN pg_auth_members AS m ON m.member = r.oid AND m.inherit_option
        LEFT JOIN pg_roles AS g ON g.oid = m.roleid AND g.rolname = ANY(%(groups)s)
        WHERE %(name)s::text IS NULL OR r.rolname = %(name)s
        GROUP BY r.oid, r.rolname, r.rolcanlogin, r.rolcreaterole
        HAVING shobj_description(r.oid, 'pg_authid') = %(mark)s
            OR count(g.oid) > 0 AND r.rolcanlogin AND NOT r.rolcreaterole
        ORDER BY r.rolname
    """
    values = {"groups": [f"modelyard_{role}" for role in ROLES], "name": name, "mark": _MARK}
    with connection.cursor(row_factory=class_row(Person)) as cursor:
        return cursor.execute(query, values).fetchall()


def _get(connection: psycopg.Connection[Any], name: str) -> Person:
    found = _list_people(connection, name)
    if not found:
        known = ", ".join(person.name for person in list_people(connection)) or "none"
        raise PersonRefused(f"there is no person {name!r}. Known: {known}. user add {name} --role ROLE makes a login")
    return found[0]


def _set_roles(connection: psycopg.Connection[Any], person: Person, roles: Collection[Role]) -> None:
    _prepare(connection, person.name)
    role = sql.Identifier(person.name)
    if lost := set(person.roles) - set(roles):
        connection.execute(sql.SQL("REVOKE {} FROM {}").format(_groups(lost), role))
    if roles:
        connection.execute(sql.SQL("GRANT {} TO {}").format(_groups(roles), role))
    if left := lost & set(_list_people(connection, person.name)[0].roles):
        raise PersonRefused(
            f"{person.name} is still {' and '.join(sorted(left))}: somebody else than the administrator granted that, "
            "and must take it away"
        )


def _create(connection: psycopg.Connection[Any], name: str, *, roles: Collection[Role]) -> None:
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    _prepare(connection, name)
    connection.execute(sql.SQL("GRANT {} TO {}").format(_groups(roles), sql.Identifier(name)))


def _prepare(connection: psycopg.Connection[Any], name: str) -> None:
    """Mark a login as a person's and bound what it may take, unless that is done."""
    done = """
        SELECT FROM pg_roles
        WHERE rolname = %s AND shobj_description(oid, 'pg_authid') = %s AND rolconnlimit <> -1
    """
    if connection.execute(done, [name, _MARK]).fetchone() is not None:
        return
    role = sql.Identifier(name)
    connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(role, sql.Literal(_MARK)))
    connection.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(role, sql.Literal(_NB_CONNECTIONS)))
    for setting, value in _SETTINGS.items():
        change = sql.SQL("ALTER ROLE {} SET {} = {}")
        connection.execute(change.format(role, sql.Identifier(setting), sql.Literal(value)))


def _groups(roles: Collection[Role]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(f"modelyard_{role}") for role in sorted(roles))
