"""Rights: a privilege that the database refuses, said in a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.errors import InsufficientPrivilege

from modelyard.errors import RightMissing
from modelyard.store.connections import Connection


@contextmanager
def needed_right(connection: Connection, *, group: str, to: str) -> Iterator[None]:
    """Say who may not do a thing, and which people may, where the database refuses it for want of a right.

    Args:
        connection: as the person who asks.
        group: the people who may: viewer, trainer, promoter, approver.
        to: what it is, e.g. ``promote``.

    Raises:
        RightMissing: the person may not.
    """
    try:
        yield
    except InsufficientPrivilege:
        raise RightMissing(
            f"{connection.info.user} may not {to}: a {group} may "
            f"(modelyard user change NAME or modelyard user add NAME, with --role {group})"
        ) from None
