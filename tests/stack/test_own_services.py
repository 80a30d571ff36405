"""The stack on somebody else's PostgreSQL and S3, with no superuser and nothing administered there."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from uuid import UUID

import pytest

from tests.conftest import open_folder
from tests.integration import crew  # noqa: F401  it lets the assertions of outcomes show what they found
from tests.integration.outcomes import Outcome
from tests.stack.project import Project
from tests.stack.theirs import BUCKET, DATABASE, NO_BUCKET, OWNER, Theirs, open_theirs

OVERLAYS = ("infra/own-services.yml", "tests/stack/theirs.yml")


@dataclass(frozen=True)
class Lab:
    """A project on their servers."""

    project: Project
    theirs: Theirs


@pytest.fixture(scope="module")
def lab(open_another: Callable[..., AbstractContextManager[Project]]) -> Iterator[Lab]:
    with (
        open_folder() as folder,
        open_theirs(folder) as theirs,
        open_another(environment=theirs.environment, overlays=OVERLAYS) as project,
    ):
        yield Lab(project, theirs)


def check_refused(lab: Lab, *parts: str, **environment: str) -> None:
    """``up`` ends with one message of ``init`` that has these parts."""
    ended = lab.project.launch("up", **environment)
    messages = [line for line in ended.stderr.splitlines() if line.startswith("modelyard: ")]
    assert (ended.code, len(messages)) == (2, 1), f"{ended.code}\n{ended.stdout}\n{ended.stderr}"
    assert messages[0].startswith("modelyard: init did not start (Exited (2)): ")
    for part in parts:
        assert part in messages[0]
    assert lab.theirs.password not in ended.stderr


def test_a_wrong_password_of_the_database_is_named(lab: Lab) -> None:
    wrong = lab.theirs.write("wrong", "not-the-password")
    check_refused(
        lab,
        f"PostgreSQL does not take the password of {OWNER}",
        "MODELYARD_DATABASE_OWNER_PASSWORD_FILE",
        MODELYARD_DATABASE_OWNER_PASSWORD_FILE=wrong,
    )


def test_a_login_that_may_not_make_roles_is_named(lab: Lab) -> None:
    with lab.theirs.connect() as connection:
        connection.execute(f"ALTER ROLE {OWNER} NOCREATEROLE".encode())
        try:
            check_refused(lab, OWNER, "CREATEROLE")
        finally:
            connection.execute(f"ALTER ROLE {OWNER} CREATEROLE".encode())


def test_a_database_of_somebody_elses_is_named(lab: Lab) -> None:
    check_refused(lab, f"{OWNER} does not own the database postgres", MODELYARD_DATABASE="postgres")


@pytest.mark.parametrize(
    ("bucket", "said"),
    [
        (NO_BUCKET, "there is no bucket lab-nowhere at http://"),
        ("not-theirs", "is not there, or these keys have no right"),
    ],
    ids=["that they may use", "that they may not even see"],
)
def test_a_bucket_that_is_not_there_is_named(lab: Lab, bucket: str, said: str) -> None:
    check_refused(lab, said, bucket, "MODELYARD_BUCKET", MODELYARD_BUCKET=bucket)


def test_wrong_keys_of_the_object_store_are_named(lab: Lab) -> None:
    wrong = lab.theirs.write_keys("wrong_keys", "not-the-secret-of-that-key")
    check_refused(lab, f"the bucket {BUCKET} at http://", "keys", MODELYARD_S3_CREDENTIALS_FILE=wrong)


def test_a_variable_that_is_missing_is_named_before_anything_starts(lab: Lab) -> None:
    ended = lab.project.launch("up", MODELYARD_DATABASE_OWNER="")
    assert ended.code == 2
    assert "name the login that owns the database and has CREATEROLE" in ended.stderr


def test_a_training_reaches_its_verdict_on_their_services(lab: Lab) -> None:
    trained = lab.project.launch("train", "california_housing", "--json").checked().outcome
    assert {name.rsplit("-", 1)[0] for name in lab.project.inspect()} == {
        "secrets", "init", "mlflow", "trainer", "evaluator"
    }  # fmt: skip
    addresses = replace(
        lab.project.addresses, database_port=lab.theirs.database_port, database=DATABASE, raw_uri=f"s3://{BUCKET}/raw"
    )
    outcome = Outcome(addresses, UUID(trained["job"]["job_id"])).check()
    assert outcome.evaluation is not None
    assert (outcome.job.state, outcome.evaluation.state) == ("succeeded", "succeeded")
    with closing(lab.theirs.s3()) as store:
        listed = store.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert {entry["Key"].split("/")[0] for entry in listed} == {"incoming", "raw", "runs"}
    with lab.theirs.connect() as connection:
        superusers = connection.execute("SELECT rolname FROM pg_roles WHERE rolsuper").fetchall()
    assert superusers == [("postgres",)]
