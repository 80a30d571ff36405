"""What the Compose stack needs before it works: roles, tables, MLflow's tables, the bucket and its users."""

import os
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import psycopg
from psycopg import sql

from modelyard.errors import ServiceFailed
from modelyard.settings import ContainerSettings
from modelyard.stack.addresses import read_secret
from modelyard.stack.bootstrap import ADMINISTRATOR, bootstrap
from modelyard.stack.compose import describe
from modelyard.stack.mlflow_server import ROLE as MLFLOW
from modelyard.stack.mlflow_server import UPGRADE_WAIT_S, check_upgrade, name_upgrade
from modelyard.stack.object_store import prepare_object_store
from modelyard.stack.postgres import SUPERUSER
from modelyard.stack.secrets import find_people, list_secrets, read_s3_credentials

_GIVEN = Path("/run/secrets")  # where Docker puts secrets that somebody gives
_LOCK = "SELECT pg_advisory_lock(hashtextextended('modelyard mlflow tables', 0))"


def provision(settings: ContainerSettings, report: Callable[[str], None]) -> None:
    """Prepare PostgreSQL, MLflow's tables and the object store; does nothing twice, and is safe twice at once.

    The secrets of every service lie under ``settings.secrets``, in a folder for each.

    Raises:
        SecretMissing: a secret is not there or damaged.
        ServiceFailed: PostgreSQL, MLflow's upgrade or the object store refused something.
        MigrationRefused: the database was made by a newer release.
    """
    people = find_people(settings.secrets)
    secrets = list_secrets(*people)
    by_role = {secret.role: secret.path(settings.secrets).parent for secret in secrets if secret.role}

    def dsn(role: str, database: str) -> str:
        return describe(settings, secrets=by_role[role]).dsn(role, database=database)

    report(f"preparing PostgreSQL at {settings.database_host}")
    owner = settings.database_owner
    if owner in people:
        raise ServiceFailed(
            f"{owner} owns the database, and cannot be a person's login too; MODELYARD_PERSON names another"
        )
    if owner:
        by_role[owner] = _GIVEN
    passwords = {role: read_secret(folder / f"{role}.password") for role, folder in by_role.items()}
    for role in (owner, ADMINISTRATOR, SUPERUSER) if owner else (SUPERUSER,):
        passwords.pop(role, None)  # whoever sets passwords has one already
    first = dsn(owner, settings.database) if owner else dsn(SUPERUSER, "postgres")
    _refuse_wrong_password(first, owner or SUPERUSER, ours=owner is None)
    if owner:
        _refuse_lack_of_rights(first, owner, database=settings.database)
    bootstrap(dsn, people=people, passwords=passwords, database=settings.database, owner=owner)
    upgrade_mlflow(
        dsn(owner or ADMINISTRATOR, settings.database),
        backend=f"postgresql+psycopg2://{MLFLOW}@{settings.database_host}:{settings.database_port}/{settings.database}",
        password=passwords[MLFLOW],
        report=report,
    )
    report(f"preparing the bucket {settings.bucket} at {settings.s3_endpoint}")
    minio = settings.secrets / "minio"
    prepare_object_store(
        endpoint=settings.s3_endpoint,
        bucket=settings.bucket,
        root=(read_secret(minio / "root_user"), read_secret(minio / "root_password")) if settings.s3_admin else None,
        users={
            s.s3_user: read_s3_credentials(settings.s3_credentials or s.path(settings.secrets))
            for s in secrets
            if s.s3_user
        },
        report=report,
    )
    report("everything is prepared")


def upgrade_mlflow(dsn: str, *, backend: str, password: str, report: Callable[[str], None]) -> None:
    """Make MLflow's tables, or bring them up to the installed version; what was done is a comment on their schema.

    Two upgrades at once would break each other, so the second waits.

    Raises:
        ServiceFailed: with the end of MLflow's message.
    """
    installed = f"tables of MLflow {version('mlflow')}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_LOCK)
        found = connection.execute("SELECT obj_description('mlflow'::regnamespace, 'pg_namespace')").fetchone()
        if found == (installed,):
            return
        report("preparing MLflow's tables")
        done = subprocess.run(
            name_upgrade(backend),
            env={**os.environ, "PGPASSWORD": password, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
            capture_output=True,
            text=True,
            timeout=UPGRADE_WAIT_S,
            check=False,
        )
        check_upgrade(done)
        with connection.transaction():
            connection.execute("SET LOCAL ROLE mlflow_owner")
            connection.execute(sql.SQL("COMMENT ON SCHEMA mlflow IS {}").format(sql.Literal(installed)))


def _refuse_wrong_password(dsn: str, role: str, *, ours: bool) -> None:
    try:
        psycopg.connect(dsn, connect_timeout=10).close()
    except psycopg.OperationalError as error:
        if "password authentication failed" not in str(error):
            raise ServiceFailed(f"PostgreSQL cannot be reached: {' '.join(str(error).split())}") from None
        remedy = "name the file that holds it with MODELYARD_DATABASE_OWNER_PASSWORD_FILE"
        if ours:
            change = f"""psql -U {role} -c \\"ALTER ROLE {role} PASSWORD '\\$(cat /secrets/{role}.password)'\\\""""
            command = f'docker compose exec postgres sh -c "{change}"'
            remedy = f"its data is older than the secret; let it have this one: {command}"
        raise ServiceFailed(f"PostgreSQL does not take the password of {role}; {remedy}") from None


def _refuse_lack_of_rights(dsn: str, owner: str, *, database: str) -> None:
    query = """
    SELECT r.rolcreaterole OR r.rolsuper, pg_has_role(d.datdba, 'USAGE')
    FROM pg_roles AS r, pg_database AS d
    WHERE r.rolname = current_user AND d.datname = current_database()
    """
    with psycopg.connect(dsn, connect_timeout=10) as connection:
        may_create_roles, owns = connection.execute(query).fetchone() or (False, False)
    if not may_create_roles:
        raise ServiceFailed(
            f"{owner} lacks the right to make roles; as an administrator: ALTER ROLE {owner} CREATEROLE"
        )
    if not owns:
        remedy = f"ALTER DATABASE {database} OWNER TO {owner}"
        raise ServiceFailed(f"{owner} does not own the database {database}; as an administrator: {remedy}")
