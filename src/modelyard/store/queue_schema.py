"""The tables of the queue library in the schema ``queue``: made once, then kept up with its releases."""

from importlib.resources import files

from psycopg import sql

from modelyard.errors import MigrationRefused
from modelyard.store.connections import Connection


def install_queue(connection: Connection) -> None:
    """Make the library's tables, or apply those of its migrations that are new; nothing if there are none.

    ``exp.queue_migrations`` has the names of what is applied.

    Raises:
        MigrationRefused: the tables were made by a newer release of the library.
    """
    folder = files("procrastinate") / "sql"
    shipped = sorted(file.name for file in (folder / "migrations").iterdir() if file.name.endswith(".sql"))
    query = "SELECT name FROM exp.queue_migrations ORDER BY name"
    applied = [row["name"] for row in connection.execute(query).fetchall()]
    newer = sorted(set(applied) - set(shipped))
    if newer:
        raise MigrationRefused(
            f"the queue's tables were made by a newer release of procrastinate, which applied {', '.join(newer)}; "
            "install the release of modelyard that brought it, or a later one. Nothing was changed"
        )
    pending = [name for name in shipped if name not in applied]
    if not pending:
        return
    texts = [folder / "migrations" / name for name in pending] if applied else [folder / "schema.sql"]
    with connection.transaction():
        connection.execute("SET LOCAL ROLE modelyard_owner")
        connection.execute("SET LOCAL search_path = queue")
        for text in texts:
            # without parameters the text goes to the server as it is
            connection.execute(sql.SQL(text.read_text(encoding="utf-8")))
        connection.cursor().executemany(
            "INSERT INTO exp.queue_migrations (name) VALUES (%s)", [[name] for name in pending]
        )
