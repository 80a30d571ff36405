from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from modelyard.stack.addresses import Addresses
from modelyard.stack.bootstrap import name_person

ADDRESSES = Addresses(
    home=Path("/srv/yard"),
    tracking_uri="http://127.0.0.1:5000",
    ui_url="http://localhost:5000",
    raw_uri="file:///srv/yard/raw",
    person="alice",
    database_host="/srv/yard/socket",
)


def test_dsn_names_socket_database_and_role_whatever_the_role_is_called() -> None:
    assert conninfo_to_dict(ADDRESSES.dsn("o'neil \\ x")) == {
        "host": "/srv/yard/socket",
        "port": "5432",
        "dbname": "modelyard",
        "user": "o'neil \\ x",
    }


def test_environment_lets_every_client_find_the_stack_and_bounds_retries() -> None:
    environment = ADDRESSES.environment()
    assert environment["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5000"
    assert (environment["PGHOST"], environment["PGDATABASE"]) == ("/srv/yard/socket", "modelyard")
    assert environment["PGUSER"] == "alice"
    assert environment["MODELYARD_HOME"] == "/srv/yard"
    assert int(environment["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) <= 3


def test_person_is_called_as_the_user_is_unless_the_name_means_something_else() -> None:
    names = {name: name_person(name) for name in ("alice", "root", "trainer", "postgres", "pg_monitor")}
    assert names == {
        "alice": "alice",
        "root": "root",
        "trainer": "trainer_person",
        "postgres": "postgres_person",
        "pg_monitor": "pg_monitor_person",
    }
    assert len(name_person("x" * 80).encode()) <= 63
