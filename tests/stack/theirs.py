"""Somebody else's PostgreSQL and MinIO: plain ``docker run``, a login and a user with no more rights than needed."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import boto3
import psycopg
from botocore.exceptions import BotoCoreError, ClientError
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider

from tests.conftest import free_port
from tests.stack.project import docker

BUCKET, DATABASE = "lab-models", "lab"
NO_BUCKET = "lab-nowhere"  # they may use it, but it is not there
OWNER, KEY = "lab_owner", "lab-key"
_LABEL = "io.modelyard.test=theirs"
_RIGHTS: tuple[tuple[list[str], list[str]], ...] = (
    (["s3:ListBucket", "s3:ListBucketVersions"], [""]),
    (
        ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:AbortMultipartUpload"],
        ["/runs/*", "/raw/*", "/incoming/*"],
    ),
    (["s3:DeleteObject"], ["/runs/*"]),
)  # as docs/own-services.md lists them


@dataclass
class Theirs:
    """Two servers on a network.

    Attributes:
        folder: files with the passwords, as a user of theirs has them.
        name: of the network; the servers are called after it.
        password: of everything here.
    """

    folder: Path
    name: str = field(default_factory=lambda: f"theirs-{token_hex(4)}")
    password: str = field(default_factory=lambda: token_hex(16))
    database_port: int = field(default_factory=free_port)
    s3_port: int = field(default_factory=free_port)

    @property
    def s3_url(self) -> str:
        return f"http://127.0.0.1:{self.s3_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What docs/own-services.md has in ``.env``."""
        return {
            "THEIR_NETWORK": self.name,
            "MODELYARD_DATABASE_HOST": f"{self.name}-postgres",
            "MODELYARD_DATABASE": DATABASE,
            "MODELYARD_DATABASE_OWNER": OWNER,
            "MODELYARD_DATABASE_OWNER_PASSWORD_FILE": self.write("password", self.password),
            "MODELYARD_S3_ENDPOINT": f"http://{self.name}-minio:9000",
            "MODELYARD_BUCKET": BUCKET,
            "MODELYARD_S3_CREDENTIALS_FILE": self.write_keys("keys", self.password),
        }

    def write(self, name: str, text: str) -> str:
        """A file that containers may read; its path."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.write_text(text + "\n")
        path.chmod(0o444)
        return str(path)

    def write_keys(self, name: str, secret: str) -> str:
        return self.write(name, f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {secret}")

    def connect(self, role: str = "postgres", database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.database_port,
            user=role,
            dbname=database,
            password=self.password,
            autocommit=True,
            connect_timeout=5,
        )

    def s3(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.s3_url,
            aws_access_key_id=f"root-{self.name}",
            aws_secret_access_key=self.password,
            region_name="us-east-1",
        )

    def start(self) -> None:
        tag = os.environ.get("MODELYARD_TAG", "local")
        docker("network", "create", "--label", _LABEL, self.name)
        common = ["run", "--detach", "--rm", "--label", _LABEL, "--network", self.name]
        docker(
            *common,
            f"--name={self.name}-postgres",
            f"--publish=127.0.0.1:{self.database_port}:5432",
            f"--env=POSTGRES_PASSWORD={self.password}",
            f"modelyard/postgres:{tag}",
        )
        docker(
            *common,
            f"--name={self.name}-minio",
            f"--publish=127.0.0.1:{self.s3_port}:9000",
            f"--env=MINIO_ROOT_USER=root-{self.name}",
            f"--env=MINIO_ROOT_PASSWORD={self.password}",
            f"modelyard/minio:{tag}",
        )
        self._prepare_database()
        self._prepare_bucket()

    def remove(self) -> None:
        containers = docker("ps", "--all", "--quiet", f"--filter=network={self.name}").split()
        if containers:
            docker("rm", "--force", "--volumes", *containers)
        docker("network", "rm", "--force", self.name)

    def _prepare_database(self) -> None:
        with wait_for(self.connect, psycopg.OperationalError) as connection:
            for statement in (
                f"CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{self.password}'",
                f"CREATE DATABASE {DATABASE} OWNER {OWNER}",
            ):
                connection.execute(statement.encode())

    def _prepare_bucket(self) -> None:
        with closing(self.s3()) as store:
            wait_for(lambda: store.create_bucket(Bucket=BUCKET), (BotoCoreError, ClientError))
            store.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        admin = MinioAdmin(
            endpoint=f"127.0.0.1:{self.s3_port}",
            credentials=StaticProvider(f"root-{self.name}", self.password),
            secure=False,
        )
        names = [f"arn:aws:s3:::{bucket}" for bucket in (BUCKET, NO_BUCKET)]
        statements = [
            {"Effect": "Allow", "Action": actions, "Resource": [name + end for name in names for end in ends]}
            for actions, ends in _RIGHTS
        ]
        admin.user_add(access_key=KEY, secret_key=self.password)
        admin.policy_add(policy_name="lab", policy={"Version": "2012-10-17", "Statement": statements})
        admin.policy_set(policy_name="lab", user=KEY)


@contextmanager
def open_theirs(folder: Path) -> Iterator[Theirs]:
    """Both servers, gone afterwards."""
    theirs = Theirs(folder)
    try:
        theirs.start()
        yield theirs
    finally:
        theirs.remove()


def wait_for(ask: Callable[[], Any], errors: Any, *, wait_s: float = 60) -> Any:
    """What ``ask`` returns, once it raises none of these errors."""
    give_up_s = time.monotonic() + wait_s
    while time.monotonic() < give_up_s:
        with suppress(errors):
            return ask()
        time.sleep(0.2)
    return ask()
