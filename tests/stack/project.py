"""A Compose project of this clone: brought up, asked, and taken down with all that it stored."""

import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import psycopg
from botocore.config import Config
from mlflow import MlflowClient
from psycopg.rows import dict_row
from testcontainers.compose import DockerCompose

from modelyard.stack.addresses import Addresses
from tests.conftest import free_port

ROOT = Path(__file__).parents[2]
PERSON = "ada"  # who gives the commands
START_S = 1800.0  # with all images to build
COMMAND_S = 300.0
_OURS = ("MODELYARD_", "MLFLOW_", "COMPOSE_", "AWS_")
_KEPT = ("MODELYARD_CA_BUNDLE", "MODELYARD_BUILD_NETWORK", "MODELYARD_TAG")  # how images are built and named here
# before any test has changed it
SURROUNDINGS = {
    name: value
    for name, value in os.environ.items()
    if name in _KEPT or not (name.startswith(_OURS) or name in ("STACK", "PYTHONPATH"))
}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def outcome(self) -> dict[str, Any]:
        """What ``--json`` printed."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found

    def checked(self) -> "Ended":
        """Itself, if the command ended well; else an error with all that it printed."""
        assert self.code == 0, f"exit code {self.code}\n{self.stdout}\n{self.stderr}"
        return self


@dataclass
class Compose(DockerCompose):
    """Testcontainers' Compose in an environment of its own, and never for longer than a bound; it offers neither."""

    environment: Mapping[str, str] = field(default_factory=dict)

    def _run_command(self, cmd: Any, context: str | None = None) -> subprocess.CompletedProcess[bytes]:
        ended = run([*cmd], self.environment, cwd=Path(context or self.context), timeout_s=START_S).checked()
        return subprocess.CompletedProcess(cmd, 0, ended.stdout.encode(), ended.stderr.encode())


@dataclass
class Project:
    """A stack under a name and on ports of its own.

    Attributes:
        environment: settings beside those, as a user would give them.
        folder: the clone that it is started from.
        overlays: further Compose files; the door to PostgreSQL is one.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = ROOT
    overlays: tuple[str, ...] = ("tests/stack/door.yml",)
    name: str = field(default_factory=lambda: f"modelyard-test-{uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        ports = ("MLFLOW", "S3", "CONSOLE", "POSTGRES")
        self.environment = {
            **SURROUNDINGS,
            "STACK": "compose",
            "COMPOSE_PROJECT_NAME": self.name,
            "COMPOSE_FILE": os.pathsep.join(("docker-compose.yml", *self.overlays)),
            "MODELYARD_PERSON": PERSON,
            **{f"MODELYARD_{port}_PORT": str(free_port()) for port in ports},
            **self.environment,
        }
        self.services = Compose(self.folder, profiles=["cli"], environment=self.environment)
        self.passwords = tempfile.TemporaryDirectory(prefix="modelyard-passwords-")
        self.stores: dict[tuple[str, str], Any] = {}

    # commands

    def launch(self, *words: str, timeout_s: float = COMMAND_S, **environment: str) -> Ended:
        """Give a command as ``make`` does: ``sh infra/launch.sh WORD…``."""
        command = ["sh", "infra/launch.sh", *words]
        return run(command, {**self.environment, **environment}, cwd=self.folder, timeout_s=timeout_s)

    def compose(self, *words: str, timeout_s: float = COMMAND_S, **environment: str) -> Ended:
        """Give a command to Docker Compose: ``docker compose WORD…``."""
        command = ["docker", "compose", *words]
        return run(command, {**self.environment, **environment}, cwd=self.folder, timeout_s=timeout_s)

    def execute(self, service: str, *command: str, text: str | None = None, number: int = 0) -> Ended:
        """Run a command in the container of a service, which gets ``text`` to read."""
        words = ["docker", "exec", "--interactive", self.list_containers(service)[number], *command]
        return run(words, self.environment, cwd=self.folder, timeout_s=COMMAND_S, text=text)

    # containers

    def list_containers(self, service: str | None = None) -> list[str]:
        """Ids of the containers that are there, running or not; of one service or of all."""
        labels = {"project": self.name, "oneoff": "False"} | ({"service": service} if service else {})
        filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]
        return docker("ps", "--all", "--quiet", "--no-trunc", *filters).split()

    def inspect(self, service: str | None = None) -> dict[str, dict[str, Any]]:
        """What the engine knows of each container, by its name: ``trainer-1``, ``init-1``, …"""
        found = json.loads(docker("inspect", *self.list_containers(service)))
        return {container["Name"].removeprefix(f"/{self.name}-"): container for container in found}

    # secrets

    @cached_property
    def secrets(self) -> dict[str, str]:
        """Every secret by its place, ``<service>/<name>``, as they were when first asked for."""
        return self.read_secrets()

    def read_secrets(self) -> dict[str, str]:
        """Every secret as it is now, out of the volumes."""
        [init] = self.list_containers("init")
        archive = subprocess.run(["docker", "cp", f"{init}:/secrets", "-"], capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            return {
                member.name.removeprefix("secrets/"): opened.read().decode().strip()
                for member in files
                # who made the stack is a list of names, and lies beside them
                if (opened := files.extractfile(member)) is not None and not member.name.endswith("/founders")
            }

    def password(self, role: str) -> str:
        """The password of a database role."""
        [found] = [text for place, text in self.secrets.items() if place.endswith(f"/{role}.password")]
        return found

    def keys(self, user: str) -> tuple[str, str]:
        """Access key and secret key of a user of the object store, or of its ``root``."""
        if user == "root":
            return self.secrets["minio/root_user"], self.secrets["minio/root_password"]
        for text in (text for place, text in self.secrets.items() if place.endswith("_credentials")):
            parser = ConfigParser(interpolation=None)
            parser.read_string(text)
            profile = parser["default"]
            if profile["aws_access_key_id"] in (user, f"{user}-user"):
                return profile["aws_access_key_id"], profile["aws_secret_access_key"]
        raise KeyError(user)

    # services, from this machine

    @cached_property
    def addresses(self) -> Addresses:
        """Where the services are, as the embedded stack's own tests have them."""
        folder = Path(self.passwords.name)
        for place, text in self.secrets.items():
            if place.endswith(".password"):
                (folder / Path(place).name).write_text(text)
        return Addresses(
            stack="compose",
            tracking_uri=f"http://127.0.0.1:{self.environment['MODELYARD_MLFLOW_PORT']}",
            ui_url=f"http://localhost:{self.environment['MODELYARD_MLFLOW_PORT']}",
            raw_uri=f"s3://{self.bucket}/raw",
            person=PERSON,
            database_host="127.0.0.1",
            database_port=int(self.environment["MODELYARD_POSTGRES_PORT"]),
            secrets=folder,
        )

    @property
    def bucket(self) -> str:
        return self.environment.get("MODELYARD_BUCKET", "modelyard")

    @property
    def s3_url(self) -> str:
        return f"http://127.0.0.1:{self.environment['MODELYARD_S3_PORT']}"

    @property
    def console_url(self) -> str:
        return f"http://localhost:{self.environment['MODELYARD_CONSOLE_PORT']}"

    def connect(self, role: str = PERSON, **options: Any) -> psycopg.Connection[dict[str, Any]]:
        """A connection to the database as a role, through the door; each statement is a transaction of its own."""
        dsn = self.addresses.dsn(role)
        return psycopg.connect(dsn, row_factory=dict_row, autocommit=True, connect_timeout=10, **options)

    def rows(self, query: str, *values: Any, role: str = PERSON) -> list[dict[str, Any]]:
        """Rows of a query, asked as a role."""
        with self.connect(role) as connection:
            return connection.execute(query, values).fetchall()

    def s3(self, user: str) -> Any:
        """A client of the object store with a user's keys; it ends with the project."""
        keys = self.keys(user)
        if keys not in self.stores:
            self.stores[keys] = boto3.client(
                "s3",
                endpoint_url=self.s3_url,
                aws_access_key_id=keys[0],
                aws_secret_access_key=keys[1],
                region_name="us-east-1",
                config=Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 2}),
            )
        return self.stores[keys]

    def mlflow(self) -> MlflowClient:
        """MLflow's client; it reads and writes artifacts under ``notebook_environment`` only."""
        return MlflowClient(self.addresses.tracking_uri)

    @cached_property
    def notebook_environment(self) -> dict[str, str]:
        """What ``eval "$(modelyard env)"`` adds to a shell on this machine."""
        names = 'eval "$(sh infra/launch.sh env)" && env -0'
        shell = run(["sh", "-c", names], self.environment, cwd=self.folder, timeout_s=60).checked()
        found = dict(line.split("=", 1) for line in shell.stdout.split("\0") if line)
        return {name: value for name, value in found.items() if name.startswith(("MLFLOW_", "AWS_"))}

    # from nothing to nothing

    def up(self) -> None:
        """Bring it up as ``make up`` does, images included; an error says what is not healthy and what it printed."""
        ended = self.launch("up", timeout_s=START_S)
        assert ended.code == 0, f"{ended.stdout}\n{ended.stderr}\n{self.describe_trouble()}"

    def remove(self) -> None:
        """Take everything down: containers, networks, volumes."""
        for store in self.stores.values():
            store.close()
        self.passwords.cleanup()
        self.services.stop()
        left = [f"--filter=label=com.docker.compose.project={self.name}"]
        if containers := docker("ps", "--all", "--quiet", *left).split():  # a command that was killed
            docker("rm", "--force", "--volumes", *containers)
        for kind in ("network", "volume"):
            for name in docker(kind, "ls", "--quiet", *left).split():
                docker(kind, "rm", name)

    def describe_trouble(self) -> str:
        """The containers, and the last lines of each that is not as it should be."""
        told = [self.compose("ps", "--all").stdout]
        for name, container in self.inspect().items():
            state = container["State"]
            health = state.get("Health", {}).get("Status", "healthy")
            if health != "healthy" or state["ExitCode"] != 0:
                log = run(["docker", "logs", "--tail=30", container["Id"]], self.environment, cwd=self.folder)
                told.append(f"--- {name}: {state['Status']}, {health}\n{log.stdout}{log.stderr}")
        return "\n".join(told)


@contextmanager
def open_project(**options: Any) -> Iterator[Project]:
    """A project that is gone afterwards, whatever happened; nothing of it runs yet."""
    project = Project(**options)
    try:
        yield project
    finally:
        project.remove()


def run(
    command: list[str],
    environment: Mapping[str, str],
    *,
    cwd: Path,
    timeout_s: float = COMMAND_S,
    text: str | None = None,
) -> Ended:
    """Run a command that is given nothing to read but ``text``."""
    ended = subprocess.run(
        command, cwd=cwd, env=dict(environment), input=text or "", capture_output=True, text=True, timeout=timeout_s
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def name_image(name: str) -> str:
    """An image of the stack, e.g. ``modelyard/cli:local``."""
    return f"modelyard/{name}:{SURROUNDINGS.get('MODELYARD_TAG', 'local')}"


def docker(*words: str) -> str:
    """What ``docker WORD…`` prints."""
    return run(["docker", *words], SURROUNDINGS, cwd=ROOT).checked().stdout
