"""Connections to our database, and rows as frozen dataclasses."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from typing import Any, LiteralString, TypeAlias, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, class_row, dict_row, tuple_row

from modelyard.errors import ModelyardError, ServiceFailed, WorkHeld

Connection: TypeAlias = psycopg.Connection[Any]
Row = TypeVar("Row")


def connect(
    dsn: str, *, application_name: str = "modelyard", connect_timeout_s: int = 10
) -> psycopg.Connection[DictRow]:
    """Open a connection in autocommit mode; every function of the store brings its own transaction.

    Rows of plain queries are dicts.

    Raises:
        ServiceFailed: no answer within ``connect_timeout_s``, or the login was refused.
    """
    try:
        return psycopg.connect(
            dsn,
            autocommit=True,
            row_factory=dict_row,
            application_name=application_name,
            connect_timeout=connect_timeout_s,
            options="-c timezone=UTC",  # somebody else's server may have another
        )
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split())
        raise ServiceFailed(f"PostgreSQL cannot be reached: {reason}; modelyard status shows the stack") from None


class Reconnecting:
    """A connection that is made anew where the server has ended it; a context manager that closes it."""

    def __init__(self, dsn: str, *, application_name: str, wait_s: float = 60) -> None:
        self.dsn, self._application_name, self._wait_s = dsn, application_name, wait_s
        self._connection: Connection | None = None

    def __enter__(self) -> "Reconnecting":
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def get(self) -> Connection:
        """A connection that answers now.

        Raises:
            ServiceFailed: there is none for ``wait_s`` seconds.
        """
        if self._connection is not None:
            with suppress(psycopg.OperationalError):
                self._connection.execute("SELECT 1")
                return self._connection
            self._connection.close()
        give_up_s = time.monotonic() + self._wait_s
        while True:
            try:
                self._connection = connect(self.dsn, application_name=self._application_name)
                return self._connection
            except ServiceFailed:
                if time.monotonic() >= give_up_s:
                    raise
                time.sleep(0.5)


def find_row(
    connection: Connection, query: LiteralString, values: Mapping[str, Any] | None = None, *, row: type[Row]
) -> Row | None:
    """The first row of a query, or None; ``{columns}`` in it stands for the fields of ``row``."""
    with connection.cursor(row_factory=class_row(row)) as cursor:
        return cursor.execute(_with_columns(query, row), values).fetchone()


def list_rows(
    connection: Connection, query: LiteralString, values: Mapping[str, Any] | None = None, *, row: type[Row]
) -> list[Row]:
    """All rows of a query; ``{columns}`` in it stands for the fields of ``row``."""
    with connection.cursor(row_factory=class_row(row)) as cursor:
        return cursor.execute(_with_columns(query, row), values).fetchall()


def find_value(connection: Connection, query: LiteralString, values: Mapping[str, Any] | None = None) -> Any:
    """The first column of a query's first row, or None."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        found = cursor.execute(query, values).fetchone()
    return found[0] if found else None


def lock(connection: Connection, name: str) -> None:
    """Wait for the advisory lock ``name`` and hold it until the end of the transaction that is open."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


@contextmanager
def hold_lock(
    connection: Connection, name: str, *, what: str, wait_s: float, tell: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold the advisory lock ``name`` for the block; it belongs to the session, so a holder that dies frees it.

    ``tell`` is called once where somebody else holds it.

    Raises:
        WorkHeld: somebody else still holds it after ``wait_s`` seconds; ``what`` is named in the text.
    """
    values = {"name": name}
    give_up_s, told = time.monotonic() + wait_s, False
    while not find_value(connection, "SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 0))", values):
        if time.monotonic() >= give_up_s:
            raise WorkHeld(f"{what} is in the hands of another process; wait for it, or stop it first")
        if not told:
            tell()
            told = True
        time.sleep(0.1)  # not a waiting lock: the role's statement_timeout would end that
    try:
        yield
    finally:
        # a session that cannot say so frees it when it ends, and the error that broke it is the one to show
        with suppress(psycopg.Error):
            find_value(connection, "SELECT pg_advisory_unlock(hashtextextended(%(name)s, 0))", values)


@contextmanager
def refusals(errors: Mapping[str, tuple[type[ModelyardError], str]]) -> Iterator[None]:
    """Turn a violated constraint into a domain error: constraint name → class and text; others pass as they are.

    With an empty text the server's message is the text: our own triggers and functions give the reason.
    """
    try:
        yield
    except psycopg.Error as error:
        known, text = errors.get(error.diag.constraint_name or "", (None, ""))
        if known is None:
            raise
        key = "" if isinstance(error, psycopg.errors.CheckViolation) else error.diag.message_detail
        raise known((f"{text}: {key}" if key else text) or error.diag.message_primary) from None


def _with_columns(query: LiteralString, row: type[Any]) -> sql.Composed:
    return sql.SQL(query).format(columns=sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(row)))
