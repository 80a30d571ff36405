"""A throw-away PostgreSQL, one migrated template database, and a clone of it for each test."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from modelyard.data.hashes import HashedFile
from modelyard.pipeline.session import Session
from modelyard.settings import Settings
from modelyard.stack.accounts import ensure_service_account
from modelyard.stack.addresses import Addresses
from modelyard.stack.binaries import provide_programs
from modelyard.stack.home import Home, create_home, give_folder
from modelyard.stack.postgres import Postgres, stop_server
from modelyard.stack.sockets import provide_socket_folder
from modelyard.store import attempts, datasets, evaluations, jobs, models, policies, sweeps
from modelyard.store.connections import connect
from modelyard.store.migration_files import find_sql_folder
from modelyard.store.migrations import migrate
from tests.conftest import write_lazily
from tests.integration.notebook import Log, connected, make_log
from tests.integration.trainings import Ended, environment_of, run_command

ADMIN = "admin"  # owns the databases and has CREATEROLE, as in a stack; no superuser
PERSONS = ("viewer", "trainer", "promoter", "approver")


@dataclass
class Cluster:
    """The stack's PostgreSQL in a folder of its own; the user of the tests may be any role."""

    server: Postgres
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def binaries(self) -> Path:
        return self.server.programs

    def dsn(self, user: str, dbname: str) -> str:
        return self.server.dsn(role=user, database=dbname)

    def run(self, *statements: str | sql.Composed) -> None:
        """Run statements as superuser, each in a transaction of its own."""
        with connect(self.dsn("postgres", "postgres")) as connection:
            for statement in statements:
                connection.execute(statement)

    def create_database(self, *, owner: str = ADMIN, template: str = "template0") -> str:
        name = f"d{next(self.numbers)}"
        copy = "CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY FILE_COPY"
        self.run(sql.SQL(copy).format(*map(sql.Identifier, (name, owner, template))))
        return name

    def drop_database(self, name: str) -> None:
        self.run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass
class Database:
    """One database of a cluster; ``connect`` gives connections that end with the test."""

    cluster: Cluster
    name: str
    _open: ExitStack = field(default_factory=ExitStack)

    def dsn(self, role: str) -> str:
        return self.cluster.dsn(role, self.name)

    def connect(self, role: str) -> psycopg.Connection[dict[str, Any]]:
        return self._open.enter_context(connect(self.dsn(role)))

    def close(self) -> None:
        self._open.close()


@contextmanager
def run_cluster(data: Path | None = None) -> Iterator[Cluster]:
    """A running cluster with an admin that is no superuser; nothing is migrated yet.

    With ``data``, a data folder that was never started, it begins with a copy of that: quicker than a new one.
    """
    home = Home(Path(tempfile.mkdtemp(prefix="modelyard-pg-", dir="/tmp")))  # a socket's path must be short
    try:
        account = ensure_service_account()
        create_home(home, account)
        server = Postgres(
            home=home,
            account=account,
            programs=provide_programs(home.path, account),
            socket=provide_socket_folder(home, account),
        )
        if data is not None:
            shutil.copytree(data, home.data)
            give_folder(home.data, account)
        server.create()
        if data is None:
            shutil.copytree(home.data, home.path / "blank")
        server.start(print)
        cluster = Cluster(server)
        write_lazily(home)
        cluster.run(f"CREATE ROLE {ADMIN} LOGIN CREATEROLE")
        yield cluster
    finally:
        stop_server(home)
        shutil.rmtree(home.path)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with run_cluster() as cluster:
        yield cluster


@pytest.fixture
def empty_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster of the test's own, without any of our roles."""
    with run_cluster(cluster.server.home.path / "blank") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> str:
    """Name of a migrated database, and one login per person group: alice_viewer, alice_trainer, …"""
    name = cluster.create_database()
    migrate(cluster.dsn(ADMIN, name))
    cluster.run(*(f"CREATE ROLE alice_{group} LOGIN IN ROLE modelyard_{group}" for group in PERSONS))
    return name


@contextmanager
def clone(cluster: Cluster, template: str) -> Iterator[Database]:
    database = Database(cluster, cluster.create_database(template=template))
    # a clone lacks what belongs to the database itself
    [path] = find_sql_folder().glob("*_secure_database.sql")
    with connect(database.dsn(ADMIN)) as connection:
        connection.execute(path.read_text())
    yield database
    database.close()
    cluster.drop_database(database.name)


@pytest.fixture
def database(cluster: Cluster, template: str) -> Iterator[Database]:
    """A fresh migrated database."""
    with clone(cluster, template) as database:
        yield database


@pytest.fixture(scope="module")
def shared_database(cluster: Cluster, template: str) -> Iterator[Database]:
    """A migrated database with one row of everything, for tests of a module that change nothing."""
    with clone(cluster, template) as database:
        records = Records(database)
        records.policy_version()
        job_id = jobs.submit_job(records.trainer, kind="train", arguments={})
        attempts.begin_attempt(records.trainer, job_id=job_id, worker="w", claim_s=60)
        jobs.submit_job(records.trainer, kind="evaluate", arguments={}, parent_job_id=job_id)
        sweeps.submit_sweep(database.connect("alice_trainer"), workload="houses", arguments={}, trainings=[{}])
        yield database


@pytest.fixture
def person(database: Database) -> psycopg.Connection[dict[str, Any]]:
    """The connection of a person who may queue jobs."""
    return database.connect("alice_trainer")


@pytest.fixture
def trainer(database: Database) -> psycopg.Connection[dict[str, Any]]:
    """The connection of a trainer."""
    return database.connect("trainer")


@pytest.fixture
def records(database: Database) -> "Records":
    return Records(database)


@dataclass
class Records:
    """Records facts as the services do; what a test does not name has a plain value."""

    database: Database

    def __post_init__(self) -> None:
        self.trainer = self.database.connect("trainer")
        self.evaluator = self.database.connect("evaluator")

    def dataset(self, *, digest: str = "a", connection: Any = None, **changes: Any) -> datasets.Dataset:
        files = changes.pop("files", [HashedFile("X.parquet", "b" * 64, 100)])
        values: dict[str, Any] = {
            "name": "houses",
            "workload": "houses",
            "digest": digest * 64,
            "raw_digest": "0" * 64,
            "raw_files": [{"name": "houses.csv", "sha256": "0" * 64, "size_bytes": 10}],
            "rows_digest": digest * 64,
            "location": "runs:/r1/dataset",
            "mlflow_run_id": "r1",
            "num_rows": 10,
            "num_elements": 30,
            "schema": [{"name": "rooms", "type": "double"}],
            "profile": {"rooms": {"mean": 3.5}},
            "split_counts": {"train": 7, "validation": 1, "test": 2},
            "targets": ["price"],
            "parameters": {"seed": 42},
            "code_version": {"commit": "c" * 40},
            "notes": {"rows_read": 10},
            "data_source": "file_path",
        } | changes
        return datasets.record_dataset(connection or self.trainer, datasets.NewDataset(**values), files=files)

    def model_version(self, *, version: str = "1", **changes: Any) -> models.ModelVersion:
        values: dict[str, Any] = {
            "mlflow_model_name": "houses_model",
            "mlflow_model_version": version,
            "mlflow_run_id": f"run-{version}",
            "mlflow_model_id": f"m-{version}",
            "workload": "houses",
            "task": "regression",
            "model_type": "ridge",
            "parameters": {"alpha": 1.0},
            "code_version": {"commit": "c" * 40},
            "metrics": {"test_rmse": 0.5},
        } | changes
        values.setdefault("dataset_id", self.dataset().dataset_id)
        files = [HashedFile("model.skops", "d" * 64, 5), HashedFile("MLmodel", "e" * 64, 6)]
        models.record_model_files(self.trainer, mlflow_model_id=values["mlflow_model_id"], files=files)
        return models.record_model_version(self.trainer, **values)

    def evaluation(self, *, version: str = "1", **changes: Any) -> evaluations.Evaluation:
        values: dict[str, Any] = {
            "mlflow_model_name": "houses_model",
            "gate": [["rmse", "<=", 0.7]],
            "metrics": {"rmse": 0.5},
            "baselines": {"mean": {"rmse": 1.1}},
            "limits": [{"metric": "rmse", "met": True}],
            "reasons": [],
            "mlflow_run_id": "e1",
        } | changes
        if "dataset_id" not in values:
            values["dataset_id"] = self.model_version(version=version).dataset_id
        # asked for like any other; what makes it another request than the last one is not looked at
        asked = {"model_name": values["mlflow_model_name"], "model_version": version, "number": str(uuid4())}
        job_id = jobs.submit_job(self.evaluator, kind="evaluate", arguments=asked)
        attempt = attempts.begin_attempt(self.evaluator, job_id=job_id, worker="w", claim_s=60)
        assert attempt is not None
        try:
            return evaluations.record_evaluation(
                self.evaluator, mlflow_model_version=version, **{"job_id": job_id} | values
            )
        finally:
            attempts.finish_job(self.evaluator, job_id=job_id, attempt=attempt, state="succeeded")

    def policy_version(self, *, version: str = "1", **changes: Any) -> policies.PolicyVersion:
        self.evaluation(version=version)
        values = {"policy_id": "houses_policy", "mlflow_model_name": "houses_model"} | changes
        return policies.add_policy_version(self.evaluator, mlflow_model_version=version, **values)

    def put_live(self, policy_version: policies.PolicyVersion) -> None:
        """What a promotion does to the policy's row."""
        with connect(self.database.dsn("postgres")) as connection:
            connection.execute(
                "UPDATE exp.policies SET live_policy_version_id = %s WHERE policy_id = %s",
                [policy_version.policy_version_id, policy_version.policy_id],
            )


@pytest.fixture(scope="module")
def environment(stack: Addresses, stack_settings: Settings) -> dict[str, str]:
    """Settings under which a command uses the shared stack."""
    return environment_of(stack, stack_settings.mlflow_port)


@pytest.fixture(scope="module")
def command(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ended]:
    """Run ``modelyard`` with these words on the shared stack; a fault as ``run_command`` takes it."""

    def run(*words: object, **fault: Any) -> Ended:
        folder = tmp_path_factory.mktemp("command")
        return run_command([*map(str, words)], environment=environment, folder=folder, **fault)

    return run


@pytest.fixture(scope="module")
def session(environment: dict[str, str]) -> Iterator[Session]:
    """What a notebook has, as the trainer."""
    with connected(environment) as session:
        yield session


@pytest.fixture(scope="module")
def log(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Log:
    """Log a dataset of the sample as a job does: ``log(seed)``."""
    return make_log(session, tmp_path_factory.mktemp("raw"))


@pytest.fixture
def rows(stack: Addresses) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Rows of a query, as the person who owns the stack."""
    with psycopg.connect(stack.dsn(stack.person), row_factory=dict_row) as connection:
        yield lambda query, *values: connection.execute(query, values).fetchall()
