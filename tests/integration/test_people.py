"""People: a login each, what it may do by its roles, and how it goes."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from modelyard.errors import ModelyardError, PersonRefused, ServiceFailed
from modelyard.stack.people import (
    ROLES,
    Person,
    add_person,
    change_person,
    check_name,
    list_people,
    make_password,
    provide_person,
    read_password,
    remove_person,
)
from modelyard.store.connections import connect, find_value
from tests.integration.conftest import ADMIN, Cluster, Database
from tests.integration.trainings import Ended, environment_of, run_command

PASSWORD = "correct-horse-battery"  # noqa: S105  of nobody
NUMBERS = count(1)
Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def admin(shared_database: Database) -> psycopg.Connection[dict[str, Any]]:
    """The connection of who owns the database and may make roles; no superuser."""
    return shared_database.connect(ADMIN)


@pytest.fixture
def name(cluster: Cluster) -> Iterator[str]:
    """The name of nobody yet; roles belong to the server, so it is nobody's again afterwards."""
    name = f"grace{next(NUMBERS)}"
    yield name
    cluster.run(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def find(connection: psycopg.Connection[Any], name: str) -> Person | None:
    return next((person for person in list_people(connection) if person.name == name), None)


def may(database: Database, name: str, statement: str) -> bool:
    """Whether the database lets a login do something; nothing of it stays."""
    with closing(connect(database.dsn(name))) as connection:
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(statement.encode())
        except InsufficientPrivilege:
            return False
        except psycopg.errors.IntegrityError:  # let in, and then refused for another reason
            return True
    return True


READ = "TABLE exp.policies"
SUBMIT = "SELECT exp.submit_job('train', '{}', repeat('a', 64), gen_random_uuid())"
PROMOTE = "SELECT exp.promote('houses_policy', 1, 0)"
ROLL_BACK = "SELECT exp.rollback('houses_policy', NULL, 0, 'x')"
ARCHIVE = "SELECT exp.archive_version('houses_policy', 1, 'x')"
ADD = """
    INSERT INTO exp.policy_versions (policy_id, version, mlflow_model_name, mlflow_model_version)
    VALUES ('houses_policy', 2, 'houses_model', '1')"""
DECLARE_GATE = "SELECT exp.declare_gate('houses_model', '{}', repeat('a', 64), 'x')"
APPROVE = "SELECT exp.approve('houses_policy', 1, 0)"
REQUIRE = "SELECT exp.require_approval('houses_policy', true, 'x')"
FORGE = "UPDATE exp.policies SET live_policy_version_id = NULL"
FORGE_LOG = """
    INSERT INTO exp.promotions (policy_id, kind, policy_version_id, version, reason, request_id, arguments, occurred_at)
    SELECT policy_id, 'rollback', policy_version_id, 1, 'x', gen_random_uuid(), '{}', now() FROM exp.policy_versions"""
RULES = {
    "viewer": {READ},
    "trainer": {READ, SUBMIT},
    "promoter": {READ, PROMOTE, ROLL_BACK, ARCHIVE, ADD, DECLARE_GATE},
    "approver": {READ, APPROVE, REQUIRE, DECLARE_GATE},
}


@pytest.mark.parametrize("role", ROLES)
def test_a_person_may_do_what_the_role_says_and_nothing_else(
    admin: psycopg.Connection[Any], shared_database: Database, name: str, role: Any
) -> None:
    add_person(admin, name=name, roles=[role], password=PASSWORD)
    tried = {READ, SUBMIT, PROMOTE, ROLL_BACK, ARCHIVE, ADD, DECLARE_GATE, APPROVE, REQUIRE, FORGE, FORGE_LOG}
    assert {statement for statement in tried if may(shared_database, name, statement)} == RULES[role]


def test_what_a_person_does_is_on_record_under_their_name(
    admin: psycopg.Connection[Any], shared_database: Database, name: str
) -> None:
    add_person(admin, name=name, roles=["trainer"], password=PASSWORD)
    with closing(connect(shared_database.dsn(name))) as connection, connection.transaction(force_rollback=True):
        job_id = find_value(connection, SUBMIT)
        query = "SELECT created_by FROM exp.jobs WHERE job_id = %(job_id)s"
        assert find_value(connection, query, {"job_id": job_id}) == name


def test_the_password_opens_the_login_and_no_other_does(empty_cluster: Cluster) -> None:
    server = empty_cluster.server
    rules = server.home.config / "pg_hba.conf"
    with closing(connect(server.dsn(role=ADMIN))) as admin:
        for role in ROLES:
            admin.execute(f"CREATE ROLE modelyard_{role}".encode())
        add_person(admin, name="grace", roles=["viewer"], password=PASSWORD)
        rules.write_text(f"local all grace scram-sha-256\n{rules.read_text()}")
        empty_cluster.run("SELECT pg_reload_conf()")

        def opens(password: str) -> bool:
            dsn = f"{server.dsn(role='grace')} password={password}"
            try:
                connect(dsn).close()
            except ServiceFailed as error:
                assert "password authentication failed" in str(error)
                return False
            return True

        assert opens(PASSWORD)
        assert not opens("wrong")
        other = make_password()
        change_person(admin, name="grace", password=other)
        assert (opens(PASSWORD), opens(other)) == (False, True)
        remove_person(admin, name="grace")
        assert not opens(other)
        change_person(admin, name="grace", roles=["viewer"], password=PASSWORD)
        assert (opens(other), opens(PASSWORD)) == (False, True)
    with closing(connect(server.dsn())) as superuser:
        kept = find_value(superuser, "SELECT rolpassword FROM pg_authid WHERE rolname = 'grace'")
    assert kept.startswith("SCRAM-SHA-256$")


def test_roles_are_those_that_are_named_and_an_open_session_loses_them_at_once(
    admin: psycopg.Connection[Any], shared_database: Database, name: str
) -> None:
    added = add_person(admin, name=name, roles=["trainer", "promoter"], password=PASSWORD)
    assert (sorted(added.roles), added.removed) == (["promoter", "trainer"], False)
    with closing(connect(shared_database.dsn(name))) as session:
        session.execute(READ)
        assert change_person(admin, name=name, roles=["viewer"]).roles == ["viewer"]
        with pytest.raises(InsufficientPrivilege):
            session.execute(SUBMIT)
        session.execute(READ)
        assert remove_person(admin, name=name).roles == []
        with pytest.raises(InsufficientPrivilege):
            session.execute(READ)


def test_a_removed_name_goes_to_nobody_else_and_back_to_the_same_person(
    admin: psycopg.Connection[Any], shared_database: Database, name: str
) -> None:
    add_person(admin, name=name, roles=["approver"], password=PASSWORD)
    assert remove_person(admin, name=name) == Person(name=name, roles=[], removed=True)
    with pytest.raises(ServiceFailed, match=r"not permitted to log in|permission denied"):
        connect(shared_database.dsn(name))
    with pytest.raises(PersonRefused, match=r"was removed; user change .* another person needs another name"):
        add_person(admin, name=name, roles=["viewer"], password=PASSWORD)
    assert change_person(admin, name=name, roles=["viewer"]) == Person(name=name, roles=["viewer"], removed=False)
    connect(shared_database.dsn(name)).close()


def test_a_new_password_alone_gives_nobody_a_login_that_opens_nothing(
    admin: psycopg.Connection[Any], name: str
) -> None:
    add_person(admin, name=name, roles=["viewer"], password=PASSWORD)
    removed = remove_person(admin, name=name)
    with pytest.raises(PersonRefused, match=rf"say with --role what {name} may do from now on"):
        change_person(admin, name=name, password=make_password())
    assert find(admin, name) == removed


def test_a_login_that_is_there_is_not_made_again(admin: psycopg.Connection[Any], name: str, cluster: Cluster) -> None:
    add_person(admin, name=name, roles=["viewer"], password=PASSWORD)
    with pytest.raises(PersonRefused, match=r"is there already, as viewer"):
        add_person(admin, name=name, roles=["promoter"], password=PASSWORD)
    assert find(admin, name) == Person(name=name, roles=["viewer"], removed=False)
    cluster.run(f"CREATE ROLE x{name} LOGIN")
    try:
        for refuse in (
            lambda: add_person(admin, name=f"x{name}", roles=["viewer"], password=PASSWORD),
            lambda: provide_person(admin, f"x{name}"),
        ):
            with pytest.raises(ModelyardError, match=r"is there already and not Modelyard's"):
                refuse()
        with pytest.raises(PersonRefused, match=rf"there is no person 'x{name}'.*{name}"):
            remove_person(admin, name=f"x{name}")
    finally:
        cluster.run(f"DROP ROLE x{name}")


def test_a_start_of_the_stack_gives_nobody_a_right_back(admin: psycopg.Connection[Any], name: str) -> None:
    provide_person(admin, name)
    assert sorted(find(admin, name).roles) == sorted(ROLES)
    change_person(admin, name=name, roles=["viewer"])
    provide_person(admin, name)
    assert find(admin, name).roles == ["viewer"]
    admin.execute(f"REVOKE modelyard_viewer FROM {name}".encode())
    provide_person(admin, name)
    assert find(admin, name).roles == []


def test_a_login_that_somebody_else_made_keeps_no_start_from_going_on(
    admin: psycopg.Connection[Any], name: str, cluster: Cluster
) -> None:
    cluster.run(f"CREATE ROLE {name} LOGIN")
    cluster.run(f"GRANT modelyard_viewer TO {name}")
    provide_person(admin, name)
    assert find(admin, name) == Person(name=name, roles=["viewer"], removed=False)
    for refuse in (
        lambda: change_person(admin, name=name, roles=["promoter"]),
        lambda: remove_person(admin, name=name),
    ):
        with pytest.raises(PersonRefused, match=rf"{name} was not made by modelyard's administrator; who made it must"):
            refuse()
    assert find(admin, name) == Person(name=name, roles=["viewer"], removed=False)


@pytest.mark.parametrize("made", ["now", "by an earlier release"])
def test_a_forgotten_prompt_holds_no_policy_and_nobody_takes_every_connection(
    admin: psycopg.Connection[Any], shared_database: Database, cluster: Cluster, name: str, made: str
) -> None:
    if made == "now":
        add_person(admin, name=name, roles=["viewer"], password=PASSWORD)
    else:
        admin.execute(f"CREATE ROLE {name} LOGIN".encode())
        admin.execute(f"GRANT modelyard_viewer TO {name}".encode())
        provide_person(admin, name)
    with closing(connect(shared_database.dsn(name))) as session:
        bounds = {
            setting: find_value(session, "SELECT current_setting(%(name)s)", {"name": setting})
            for setting in ("idle_in_transaction_session_timeout", "statement_timeout")
        }
    assert bounds == {"idle_in_transaction_session_timeout": "1min", "statement_timeout": "10min"}
    assert 0 < find_value(admin, "SELECT rolconnlimit FROM pg_roles WHERE rolname = %(name)s", {"name": name}) < 200


def test_a_role_that_somebody_else_granted_is_told_and_nothing_changes(
    admin: psycopg.Connection[Any], name: str, cluster: Cluster
) -> None:
    add_person(admin, name=name, roles=["viewer"], password=PASSWORD)
    cluster.run(f"GRANT modelyard_promoter TO {name} GRANTED BY postgres")
    for refuse in (lambda: remove_person(admin, name=name), lambda: change_person(admin, name=name, roles=["trainer"])):
        with pytest.raises(PersonRefused, match="is still promoter: somebody else"):
            refuse()
    assert find(admin, name) == Person(name=name, roles=["promoter", "viewer"], removed=False)


@pytest.mark.parametrize(
    "bad",
    ["", "trainer", "Trainer", "EVALUATOR", "Postgres", "MLflow", "PG_monitor",
     "postgres", "modelyard_viewer", "pg_read_all_data", "public", "ann ", "9lives", "a/b", "-x",
     'ann"; DROP ROLE trainer; --', "ann'x", "ann\nroot", "ünal", "x" * 60],
)  # fmt: skip
def test_a_name_that_means_something_else_or_could_hurt_is_refused(bad: str) -> None:
    with pytest.raises(PersonRefused):
        check_name(bad)


@pytest.mark.parametrize("good", ["grace", "Grace.Hopper", "g_h-2", "ann@example.org"])
def test_a_name_as_people_have_it_works_to_the_end(
    admin: psycopg.Connection[Any], shared_database: Database, cluster: Cluster, good: str
) -> None:
    check_name(good)
    try:
        add_person(admin, name=good, roles=["viewer"], password=PASSWORD)
        assert may(shared_database, f"'{good}'", READ)
    finally:
        cluster.run(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(good)))


@pytest.mark.parametrize("text", ["", "short", "two words of it", f"{PASSWORD}\nand more", "x" * 129, "päss" * 5])
def test_a_file_that_holds_no_password_alone_is_refused_without_its_content(tmp_path: Path, text: str) -> None:
    file = tmp_path / "password"
    file.write_text(text)
    with pytest.raises(PersonRefused) as refused:
        read_password(file)
    assert str(file) in str(refused.value)
    assert not text or text[:5] not in str(refused.value)
    file.write_text(f"{PASSWORD}\n")
    assert read_password(file) == PASSWORD


# commands


@pytest.fixture
def run(shared_database: Database, tmp_path: Path) -> Run:
    """Run ``modelyard user …`` as in the Compose stack's container that may make logins; ``ada`` made the stack."""
    server = shared_database.cluster.server
    folders = tmp_path / "secrets", tmp_path / "admin"
    for folder, login in zip(folders, ("ada", ADMIN), strict=True):
        folder.mkdir()
        (folder / f"{login}.password").write_text("the-server-asks-for-none\n")
    environment = {
        "MODELYARD_SECRETS": str(folders[0]),
        "MODELYARD_ADMIN_SECRETS": str(folders[1]),
        "MODELYARD_DATABASE_HOST": str(server.socket),
        "MODELYARD_DATABASE": shared_database.name,
        "MODELYARD_DATABASE_OWNER": ADMIN,
        "MODELYARD_TRACKING_URI": "http://127.0.0.1:1",
        "MODELYARD_UI_URL": "http://127.0.0.1:1",
        "MODELYARD_S3_ENDPOINT": "http://127.0.0.1:1",
        "MODELYARD_PERSON": "ada",
    }

    def run(*words: str, **changes: str) -> Ended:
        return run_command(["user", *words], environment=environment | changes, folder=tmp_path)

    return run


def test_a_login_is_made_and_its_password_shown_once(run: Run, admin: psycopg.Connection[Any], name: str) -> None:
    ended = run("add", name, "--role", "viewer", "--role", "promoter", "--json")
    assert ended.code == 0, ended.printed
    outcome = json.loads(ended.printed[ended.printed.index("\n{") :])
    assert (outcome["name"], sorted(outcome["roles"])) == (name, ["promoter", "viewer"])
    assert ended.printed.count(outcome["password"]) == 1
    assert f"MODELYARD_PERSON={name} MODELYARD_PASSWORD_FILE=FILE" in ended.printed
    assert sorted(find(admin, name).roles) == ["promoter", "viewer"]


def test_a_password_from_a_file_is_never_printed(run: Run, tmp_path: Path, name: str) -> None:
    file = tmp_path / "hers"
    file.write_text(f"{PASSWORD}\n")
    ended = run("add", name, "--role", "trainer", "--password-file", str(file))
    assert ended.code == 0, ended.printed
    assert PASSWORD not in ended.printed
    assert f"login    {name}: trainer" in ended.printed
    changed = run("change", name, "--role", "approver", "--password-file", str(file))
    assert (changed.code, f"{name}: approver" in changed.printed) == (0, True), changed.printed
    removed = run("remove", name)
    assert (removed.code, f"{name} may not log in any more" in removed.printed) == (0, True), removed.printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "NAME"), "say what NAME may do with --role"),
        (("add", "NAME", "--role", "promotor"), "did you mean 'promoter'?"),
        (("add", "trainer", "--role", "viewer"), "trainer means something else"),
        (("add", "NAME", "--role", "viewer"), "this is no terminal: give --password-file"),
        (("add", "NAME", "--role", "viewer", "--password-file", "/none"), "the password in /none cannot be read"),
        (("add", ADMIN, "--role", "viewer", "--json"), "administers the database"),
        (("change", "NAME"), "say what is to change"),
        (("change", "NAME", "--role", "viewer"), "there is no person 'NAME'"),
        (("remove", "NAME"), "there is no person 'NAME'"),
        (("remove", "ada"), "would have the login again at its next start"),
        (("change", "ada", "--new-password", "--json"), "the password of ada is a secret of the stack"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line_and_nothing_is_made(
    run: Run, admin: psycopg.Connection[Any], name: str, words: tuple[str, ...], said: str
) -> None:
    before = list_people(admin)
    ended = run(*(name if word == "NAME" else word for word in words))
    assert ended.code == 2, ended.printed
    assert ended.printed.startswith("modelyard: ") and ended.printed.count("\n") == 1
    assert said.replace("NAME", name) in ended.printed
    assert list_people(admin) == before


def test_only_the_container_for_it_makes_logins(run: Run, name: str) -> None:
    ended = run("add", name, "--role", "viewer", "--json", MODELYARD_ADMIN_SECRETS="")
    assert (ended.code, "this container may not make logins" in ended.printed) == (2, True), ended.printed


def test_the_embedded_stack_is_one_persons_and_says_so(stack: Any, stack_settings: Any, tmp_path: Path) -> None:
    environment = environment_of(stack, stack_settings.mlflow_port)
    listed = run_command(["user", "list", "--json"], environment=environment, folder=tmp_path)
    [owner] = json.loads(listed.printed)
    assert (owner["name"], sorted(owner["roles"]), owner["you"]) == (stack.person, sorted(ROLES), True)
    refused = run_command(["user", "add", "bob", "--role", "viewer"], environment=environment, folder=tmp_path)
    assert (refused.code, "the embedded stack is one person's" in refused.printed) == (2, True), refused.printed
