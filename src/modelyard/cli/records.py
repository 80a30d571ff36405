"""The records, as the person who gives the command sees them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from modelyard.stack.addresses import Addresses
from modelyard.stack.current import get_running
from modelyard.store.connections import Connection, connect


@contextmanager
def open_records(find: Callable[[], Addresses] = get_running) -> Iterator[tuple[Addresses, Connection]]:
    """Where the stack is, and a connection to its database; ``find`` is ``get_addresses`` where MLflow may be away.

    Raises:
        StackNotRunning: it does not run.
        ServiceFailed: the database does not answer.
    """
    addresses = find()
    with connect(addresses.dsn(addresses.person)) as connection:
        yield addresses, connection
