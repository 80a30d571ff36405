"""Secrets that are missing, damaged, made anew or lost: what says so, and what helps.

Each change is made while the stack is down, as its messages say; but for the last, which tries what they warn of.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from typing import Any

import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError

from tests.stack.project import PERSON, Ended, Project, run


@pytest.fixture(scope="module")
def vault(open_another: Callable[..., AbstractContextManager[Project]]) -> Iterator[Project]:
    """A stack whose secrets the tests may spoil; each leaves it healthy."""
    with open_another() as project:
        project.up()
        yield project


@pytest.fixture
def down(vault: Project) -> Project:
    """It is down; what its secrets were is still known."""
    for kept in ("secrets", "addresses"):
        vault.__dict__.pop(kept, None)
    assert vault.secrets
    vault.launch("down").checked()
    return vault


def in_volumes(project: Project, script: str) -> None:
    """Run a shell script where every secret can be written."""
    words = ["run", "--rm", "--no-deps", "--no-TTY", "--entrypoint", "sh", "secrets", "-ec", script]
    project.compose(*words).checked()


def check_refused(ended: Ended, *parts: str) -> str:
    """One message with these parts; return it."""
    messages = [line for line in ended.stderr.splitlines() if line.startswith("modelyard: ")]
    assert (ended.code, len(messages)) == (2, 1), f"{ended.code}\n{ended.stdout}\n{ended.stderr}"
    for part in parts:
        assert part in messages[0]
    return messages[0]


def follow(project: Project, command: str) -> None:
    """Give a command just as a message has it, in the clone."""
    run(["sh", "-c", command], project.environment, cwd=project.folder).checked()


def log_in(project: Project, password: str, *, role: str) -> None:
    psycopg.connect(
        host="127.0.0.1",
        port=project.environment["MODELYARD_POSTGRES_PORT"],
        dbname="modelyard",
        user=role,
        password=password,
        connect_timeout=10,
    ).close()


def list_runs(project: Project, keys: tuple[str, str]) -> Any:
    client = boto3.client(
        "s3",
        endpoint_url=project.s3_url,
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        region_name="us-east-1",
    )
    with closing(client):
        return client.list_objects_v2(Bucket=project.bucket, Prefix="runs/", MaxKeys=1)


def test_secrets_that_are_gone_are_made_anew_and_the_old_ones_refused(down: Project) -> None:
    changed = {"trainer/trainer.password", "trainer/s3_credentials", f"cli/{PERSON}.password"}
    changed |= {"mlflow/mlflow.password", "minio/root_user", "minio/root_password"}
    before, old_trainer, old_root = down.secrets, down.keys("trainer"), down.keys("root")
    in_volumes(down, f"cd /secrets; rm -f {' '.join(changed)}")
    down.launch("up").checked()
    after = down.read_secrets()
    assert {place for place in before if before[place] != after[place]} == changed
    for role, place in {"trainer": "trainer/trainer.password", PERSON: f"cli/{PERSON}.password"}.items():
        log_in(down, after[place], role=role)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            log_in(down, before[place], role=role)
    del down.secrets
    for old, user in ((old_trainer, "trainer"), (old_root, "root")):
        list_runs(down, down.keys(user))
        with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|InvalidAccessKeyId"):
            list_runs(down, old)
    assert down.launch("train", "california_housing", "--json").checked().outcome["evaluation"]


def test_a_damaged_secret_is_named_and_what_the_message_says_helps(down: Project) -> None:
    damage = {
        "trainer/trainer.password": ": > $f",
        "minio/root_password": "printf short > $f",
        "cli/notebook_credentials": "printf '[default]\\naws_access_key_id = notebook\\n' > $f",
    }
    for place, how in damage.items():
        in_volumes(down, f"f=/secrets/{place}; rm -f $f; {how}")
        said = check_refused(down.launch("up"), f"/secrets/{place} is missing, empty or damaged", "have it made anew: ")
        assert "secrets did not start (Exited (2))" in said
        [remedy] = re.findall(r"have it made anew: (docker [^;]*);", said)
        follow(down, remedy)
    down.launch("up").checked()
    assert down.list_containers("trainer")


def test_the_superusers_password_comes_back_as_the_message_says(down: Project) -> None:
    in_volumes(down, "rm -f /secrets/postgres/postgres.password")
    said = check_refused(down.launch("up"), "init did not start (Exited (2))", "does not take the password of postgres")
    [remedy] = re.findall(r"let it have this one: (docker .*); make logs", said)
    follow(down, remedy)
    down.launch("up").checked()
    log_in(down, down.read_secrets()["postgres/postgres.password"], role="postgres")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        log_in(down, down.secrets["postgres/postgres.password"], role="postgres")


def test_a_worker_whose_secret_is_changed_under_it_is_unhealthy_and_says_what_to_do(vault: Project) -> None:
    vault.launch("up").checked()
    in_volumes(vault, "rm -f /secrets/trainer/trainer.password")
    vault.compose("up", "--detach").checked()  # makes it anew, and lets the database have it
    give_up_s = time.monotonic() + 90
    while "unhealthy" not in vault.compose("ps", "trainer").stdout:
        assert time.monotonic() < give_up_s, "the worker cannot open a connection any more, and seems well"
        time.sleep(1)
    said = check_refused(
        vault.launch("up"), "trainer did not start (unhealthy)", "has changed since this worker started"
    )
    assert "make down, make up" in said
    vault.launch("down").checked()
    vault.launch("up").checked()
    assert vault.launch("train", "california_housing", "--json").checked().outcome["evaluation"]
