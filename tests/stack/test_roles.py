"""Who may do what in the database, each rule tried with the service's own password from its own volume."""

import pytest
from psycopg.errors import InsufficientPrivilege

from tests.integration.test_roles import ALLOWED, FORBIDDEN, HASHES, SERVICES
from tests.stack.project import PERSON

CONNECT = """
import sys, psycopg
for role, password in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        psycopg.connect(host="postgres", dbname="modelyard", user=role, password=password, connect_timeout=5).close()
        print("let in")
    except psycopg.OperationalError as error:
        print("refused" if "password" in str(error) else error)
"""


def of_a_live_stack(cases, role):
    """Those statements that hold whatever the stack has on record; others name the rows of the matrix' own database."""
    return [statement for who, statement in cases if who == role and "WHERE kind =" not in statement]


@pytest.mark.parametrize("role", SERVICES)
def test_a_service_may_do_nothing_but_its_work(project, outcome, role):
    with project.connect(role) as connection:
        for statement in of_a_live_stack(FORBIDDEN, role):
            with pytest.raises(InsufficientPrivilege, match=r"permission denied|must be owner"):
                attempt(connection, statement)
                pytest.fail(f"{role} may: {statement}")


@pytest.mark.parametrize("role", SERVICES)
def test_a_service_may_read_what_it_needs(project, outcome, role):
    readings = [s for s in of_a_live_stack(ALLOWED, role) if s.startswith("TABLE") or s == HASHES]
    with project.connect(role) as connection:
        for statement in readings:
            attempt(connection, statement)


def test_a_person_may_queue_work_and_write_nothing_directly(project, outcome):
    trained_job = outcome["job"]["job_id"]
    with project.connect(PERSON) as connection:
        assert connection.execute("SELECT session_user").fetchone() == {"session_user": PERSON}
        attempt(connection, "SELECT exp.submit_job('train', '{}', repeat('a', 64), gen_random_uuid())")
        for statement in (
            "INSERT INTO exp.jobs (kind, arguments, fingerprint) VALUES ('train', '{}', '')",
            f"UPDATE exp.jobs SET state = 'succeeded' WHERE job_id = '{trained_job}'",
            "DELETE FROM exp.evaluations",
            "UPDATE exp.policies SET live_policy_version_id = NULL",
            f"SELECT exp.begin_attempt('{trained_job}', 'w', 60)",
            "SELECT exp.put_live(NULL)",
            "CREATE TABLE exp.mine ()",
            "CREATE TEMPORARY TABLE mine ()",
            "SET ROLE modelyard_owner",
        ):
            with pytest.raises(InsufficientPrivilege):
                attempt(connection, statement)
                pytest.fail(f"{PERSON} may: {statement}")


def test_a_worker_cannot_take_the_others_job(project, outcome):
    training, evaluation = outcome["job"]["job_id"], outcome["evaluation_job"]["job_id"]
    for role, job_id in (("evaluator", training), ("trainer", evaluation)):
        with project.connect(role) as connection, pytest.raises(InsufficientPrivilege):
            attempt(connection, f"SELECT exp.begin_attempt('{job_id}', 'w', 60)")


def test_nobody_is_let_in_without_the_right_password(project):
    logins = (*SERVICES, PERSON, "modelyard_admin", "postgres")
    wrong = [word for login in logins for password in ("", "wrong", login) for word in (login, password)]
    told = project.execute("evaluator", "python", "-c", CONNECT, *wrong).checked().stdout.splitlines()
    assert told == ["refused"] * (3 * len(logins))


def test_a_role_is_opened_by_its_own_password_only(project):
    passwords = {role: project.password(role) for role in (*SERVICES, PERSON, "modelyard_admin", "postgres")}
    assert len(set(passwords.values())) == len(passwords)
    tried = [(role, password) for role in passwords for password in passwords.values()]
    words = [word for pair in tried for word in pair]
    told = project.execute("trainer", "python", "-c", CONNECT, *words).checked().stdout.splitlines()
    opened = [role for (role, password), answer in zip(tried, told, strict=True) if answer == "let in"]
    assert opened == list(passwords)
    assert set(told) == {"let in", "refused"}


def test_who_has_a_login_and_what_a_login_is(project, outcome):
    logins = project.rows(
        "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls "
        "FROM pg_roles WHERE rolcanlogin ORDER BY rolname"
    )
    assert {row["rolname"] for row in logins} == {*SERVICES, PERSON, "modelyard_admin", "postgres"}
    powers = {row["rolname"]: {name for name, value in row.items() if value is True} for row in logins}
    assert {role for role, found in powers.items() if found} == {"postgres", "modelyard_admin"}
    assert powers["modelyard_admin"] == {"rolcreaterole"}


def attempt(connection, statement):
    """Run a statement and take it back."""
    with connection.transaction(force_rollback=True):
        connection.execute(statement)
