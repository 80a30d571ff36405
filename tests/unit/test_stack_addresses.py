from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from modelyard.errors import SecretMissing
from modelyard.stack.addresses import Addresses
from modelyard.stack.people import name_person

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


def test_a_person_without_a_password_here_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "alice.password").write_text("of-alice-alone\n")
    alice = replace(ADDRESSES, secrets=tmp_path)
    assert alice.password("alice") == "of-alice-alone"
    grace = replace(alice, person="grace")
    with pytest.raises(SecretMissing, match=r"user add grace --role ROLE.*or be alice, with MODELYARD_PERSON"):
        grace.password("grace")
    (tmp_path / "hers").write_text("of-grace-alone\n")
    grace = replace(grace, password_file=tmp_path / "hers")
    assert grace.password("grace") == "of-grace-alone"
    assert conninfo_to_dict(grace.dsn("grace"))["password"] == "of-grace-alone"  # noqa: S105
    assert grace.password("alice") == "of-alice-alone"
    (tmp_path / "hers").write_text("")
    with pytest.raises(SecretMissing, match="MODELYARD_PASSWORD_FILE names a file"):
        grace.password("grace")


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
