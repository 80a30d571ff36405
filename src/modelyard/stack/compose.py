"""The Compose stack, seen from one of its containers: the services are elsewhere, and Docker starts and stops them."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile

import psycopg

from modelyard.errors import ModelyardError, ServiceFailed, StackRefused
from modelyard.settings import ContainerSettings, Settings, find_stack_reason, get_container_settings
from modelyard.stack.addresses import Addresses
from modelyard.stack.binaries import find_programs
from modelyard.stack.checks import Check
from modelyard.stack.home import Report
from modelyard.stack.losses import check_losses
from modelyard.stack.mlflow_server import ROLE as MLFLOW
from modelyard.stack.mlflow_server import answers
from modelyard.stack.mlflow_store import GC_WAIT_S, MlflowStore, check_gc, name_gc
from modelyard.stack.people import name_person
from modelyard.stack.status import Service, Status
from modelyard.store.connections import connect
from modelyard.store.following import count_workers
from modelyard.store.migrations import check_migrations

_ANSWER_WAIT_S = 5.0
_NOT_HERE = "this is a container of the stack, which cannot start or stop it; give the command where Docker is: make"


def up(settings: Settings, report: Report, *, trainers: int | None = None) -> Addresses:  # noqa: ARG001
    """Where the services are, if they answer; a container cannot start them.

    Raises:
        ServiceFailed: one does not answer.
        SecretMissing: the person has no login yet.
        StackRefused: a number of trainers was asked for.
    """
    if trainers is not None:
        raise StackRefused(f"{_NOT_HERE} up TRAINERS={trainers}")
    container = get_container_settings()
    addresses = describe(container)
    addresses.password(addresses.person)  # who has none yet is told so, and not that nothing answers
    for service in _list_services(container):
        if not service.running and service.name in ("postgres", "mlflow"):
            raise ServiceFailed(
                f"{service.name} does not answer at {service.address}; make up starts it, make logs shows why"
            )
    return addresses


def down(settings: Settings, report: Report = print) -> bool:  # noqa: ARG001
    """Never from here.

    Raises:
        StackRefused: always.
    """
    raise StackRefused(f"{_NOT_HERE} down")


def find_running(settings: Settings) -> Addresses | None:  # noqa: ARG001
    """Where PostgreSQL and MLflow are if MLflow answers now, which it does with its database only; else None."""
    addresses = describe(get_container_settings())
    return addresses if answers(addresses.tracking_uri, timeout_s=_ANSWER_WAIT_S) else None


def find_addresses(settings: Settings) -> Addresses | None:  # noqa: ARG001
    """Where PostgreSQL and MLflow are, whether or not they answer."""
    return describe(get_container_settings())


def status(settings: Settings) -> Status:  # noqa: ARG001
    """Which services answer, and how many workers are connected."""
    services = _list_services(get_container_settings())
    return Status(stack="compose", reason=find_stack_reason(), services=tuple(services), versions={})


def psql_path(settings: Settings) -> Path:  # noqa: ARG001
    """The program ``psql``.

    Raises:
        ServiceFailed: this image has none.
    """
    return find_programs() / "psql"


def run_checks(settings: Settings) -> list[Check]:  # noqa: ARG001
    """What keeps the stack from working, as far as this container sees it; changes nothing."""
    container = get_container_settings()
    checks = []
    for service in _list_services(container):
        if service.running:
            checks.append(Check(service.name, "ok", f"answers: {service.address}"))
        else:
            found = f"does not answer: {service.address}"
            checks.append(Check(service.name, "fail", found, "make up; make logs shows why"))
    checks += [_check_database(describe(container)), check_losses(describe(container))]
    return checks


def get_mlflow_store(settings: Settings) -> MlflowStore:  # noqa: ARG001
    """MLflow's own tables and its command ``mlflow gc``, where this container has MLflow's password.

    Raises:
        StackRefused: it has not.
        SecretMissing: the password is damaged.
    """
    container = get_container_settings()
    if container.mlflow_secrets is None:
        raise StackRefused("this container may not delete; give the command where Docker is: modelyard gc")
    addresses = describe(container, secrets=container.mlflow_secrets)
    password = addresses.password(MLFLOW)
    return MlflowStore(dsn=addresses.dsn(MLFLOW), run_gc=partial(_run_mlflow_gc, container, password))


def describe(container: ContainerSettings, *, secrets: Path | None = None) -> Addresses:
    """The addresses of the services that a container was told of; ``secrets``: another folder of passwords."""
    return Addresses(
        stack="compose",
        tracking_uri=container.tracking_uri,
        ui_url=container.ui_url,
        raw_uri=f"s3://{container.bucket}/raw",
        person=name_person(container.person),
        database_host=container.database_host,
        database_port=container.database_port,
        database=container.database,
        secrets=secrets or container.secrets,
        password_file=container.password_file,
    )


def _run_mlflow_gc(container: ContainerSettings, password: str, words: Sequence[str]) -> None:
    backend = f"postgresql+psycopg2://{MLFLOW}@{container.database_host}:{container.database_port}/{container.database}"
    with NamedTemporaryFile("w", prefix="pgpass-") as file:  # which nobody else may read; no variable holds a password
        file.write("*:*:*:*:" + password.replace("\\", "\\\\").replace(":", "\\:") + "\n")
        file.flush()
        told = {"PGPASSFILE": file.name, "MLFLOW_TRACKING_URI": container.tracking_uri}
        done = subprocess.run(
            name_gc(backend, words),
            env={**os.environ, **told, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
            capture_output=True,
            text=True,
            timeout=GC_WAIT_S,
            check=False,
        )
    check_gc(done)


def _list_services(container: ContainerSettings) -> Iterator[Service]:
    addresses = describe(container)
    where = f"{addresses.database_host}:{addresses.database_port}"
    workers: list[Service] = []
    try:
        with connect(addresses.dsn(addresses.person), connect_timeout_s=int(_ANSWER_WAIT_S)) as connection:
            for role in ("trainer", "evaluator"):
                nb_workers = count_workers(connection, role=role)
                workers.append(Service(name=role, running=nb_workers > 0, address=f"{nb_workers} connected"))
        yield Service(name="postgres", running=True, address=where)
    except (StackRefused, psycopg.Error) as error:
        yield Service(name="postgres", running=False, address=f"{where} ({' '.join(str(error).split())})")
    running = answers(addresses.tracking_uri, timeout_s=_ANSWER_WAIT_S)
    yield Service(name="mlflow", running=running, address=addresses.ui_url)
    store = container.s3_endpoint
    yield Service(name="minio", running=_store_answers(store), address=store)
    yield from workers


def _store_answers(endpoint: str) -> bool:
    """Whether anything speaks HTTP there: an object store refuses whoever does not sign, which is an answer."""
    try:
        urllib.request.urlopen(endpoint, timeout=_ANSWER_WAIT_S).close()  # noqa: S310  of ours
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def _check_database(addresses: Addresses) -> Check:
    try:
        migrations = check_migrations(addresses.dsn(addresses.person))
    except (ModelyardError, psycopg.Error) as error:
        found, _, remedy = " ".join(str(error).split()).partition("; ")
        return Check("database", "fail", found, remedy or "make up")
    if migrations.current:
        return Check("database", "ok", f"{len(migrations.applied)} migrations applied, none pending")
    names = json.dumps([*migrations.pending, *migrations.edited, *migrations.newer])
    return Check("database", "fail", f"not as this release needs it: {names}", "make up applies what is pending")
