"""Settings, read from the environment and from a file ``.env``; nothing else reads the environment."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path, user_data_path
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from modelyard.errors import InvalidSetting


class Settings(BaseSettings):
    """Each field is the environment variable ``MODELYARD_<FIELD>``; ``.env.example`` lists them all."""

    model_config = SettingsConfigDict(
        env_prefix="MODELYARD_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    stack: Literal["auto", "compose", "embedded"] = Field(
        default="auto", description="where the services run: auto chooses and says why"
    )
    home: Path | None = Field(
        default=None,
        description="folder of the embedded stack; default .modelyard/ in the clone, else the user's data folder",
    )
    cache: Path | None = Field(
        default=None, description="folder where loaded models are kept; default modelyard/ in the user's cache folder"
    )
    data_dir: Path = Field(default=Path("data"), description="where workloads look for raw data that was not named")
    workloads: str = Field(default="", description="files and folders of workloads of one's own, with a comma between")
    mlflow_port: int = Field(default=5000, ge=1, le=65535, description="port of MLflow on 127.0.0.1")
    mlflow_workers: int = Field(default=2, ge=1, le=64, description="processes that answer MLflow's requests")
    min_free_mb: int = Field(default=1024, ge=0, description="free disk in MiB below which nothing is started")
    claim_s: float = Field(
        default=60, ge=1, le=3600, description="a worker not heard from for so many seconds loses its job to another"
    )
    retry_pause_s: float = Field(
        default=5, ge=0, le=600, description="seconds before a job's second attempt; four times that before its third"
    )

    def home_dir(self) -> Path:
        """The embedded stack's folder, absolute: as set, else ``.modelyard`` in a clone, else the user's."""
        if self.home is not None:
            try:
                return self.home.expanduser().absolute()
            except RuntimeError as error:
                raise InvalidSetting(f"MODELYARD_HOME={str(self.home)!r}: {error}") from None
        clone = find_clone(Path.cwd())
        return clone / ".modelyard" if clone else user_data_path("modelyard")

    def workload_places(self) -> tuple[Path, ...]:
        """The files and folders of workloads that do not ship."""
        return tuple(Path(place.strip()).expanduser() for place in self.workloads.split(",") if place.strip())

    def models_dir(self) -> Path:
        """Where loaded models are kept, absolute; it may be deleted at any time."""
        try:
            folder = user_cache_path("modelyard") if self.cache is None else self.cache.expanduser().absolute()
        except RuntimeError as error:
            raise InvalidSetting(f"MODELYARD_CACHE={str(self.cache)!r}: {error}") from None
        return folder / "models"


class ContainerSettings(BaseSettings):
    """What ``docker-compose.yml`` tells a container about the other services; nobody sets these by hand."""

    model_config = SettingsConfigDict(env_prefix="MODELYARD_", env_ignore_empty=True, extra="ignore", frozen=True)

    database_host: str = Field(description="PostgreSQL's name on the network")
    database_port: int = Field(default=5432, description="PostgreSQL's port there")
    database: str = Field(default="modelyard", description="the database that holds exp, mlflow and queue")
    tracking_uri: str = Field(description="MLflow for programs, e.g. http://mlflow.internal:5000")
    ui_url: str = Field(description="MLflow for people, e.g. http://localhost:5000")
    s3_endpoint: str = Field(description="the object store, e.g. http://minio.internal:9000")
    bucket: str = Field(default="modelyard", description="the bucket of runs/ and raw/")
    database_owner: str | None = Field(
        default=None, description="on somebody else's PostgreSQL: the login that owns the database and has CREATEROLE"
    )
    s3_credentials: Path | None = Field(
        default=None, description="on somebody else's S3: the AWS credentials file that every service uses"
    )
    s3_admin: bool = Field(default=True, description="whether init may administer the object store, as with MinIO")
    secrets: Path = Field(default=Path("/secrets"), description="folder of this service's secrets")
    person: str = Field(default="person", description="who gives the commands, as the host names them")
    password_file: Path | None = Field(
        default=None, description="file with the password of who gives the commands, where it is no secret of the stack"
    )
    admin_secrets: Path | None = Field(
        default=None, description="folder with the administrator's password, where logins of people are made"
    )
    mlflow_secrets: Path | None = Field(
        default=None, description="folder with MLflow's password, where mlflow gc removes runs for good"
    )
    heartbeat: Path = Field(default=Path("/tmp/heartbeat"), description="file that a worker touches while it lives")  # noqa: S108


def find_clone(start: Path) -> Path | None:
    """The root of the clone that ``start`` lies in, or None."""
    for folder in (start, *start.parents):
        if (folder / "sql").is_dir() and (folder / "src" / "modelyard").is_dir():
            return folder
    return None


def find_stack_reason() -> str:
    """Why this stack, as the launcher that chose it says; empty where no launcher did."""
    return os.environ.get("MODELYARD_STACK_WHY", "")


def keep_stack_reason(why: str) -> None:
    """Let ``find_stack_reason`` give this, here and in processes that this one starts."""
    os.environ["MODELYARD_STACK_WHY"] = why


def find_current_run() -> str | None:
    """The MLflow run that this command is part of, as ``mlflow run`` says it."""
    return os.environ.get("MLFLOW_RUN_ID") or None


def name_program() -> str:
    """How the command line is called where its user is: in a container that is the launcher."""
    return os.environ.get("MODELYARD_PROGRAM") or sys.argv[0]


def load_container_settings() -> ContainerSettings | None:
    """What a container of the Compose stack was told, or None outside of one.

    Raises:
        InvalidSetting: a variable that is missing or cannot be used.
    """
    if "MODELYARD_SECRETS" not in os.environ:  # of what Compose sets, the one that is nobody's setting
        return None
    with _naming_problems():
        return ContainerSettings()


def get_container_settings() -> ContainerSettings:
    """What a container of the Compose stack was told.

    Raises:
        InvalidSetting: this is none, or a variable is missing or cannot be used.
    """
    found = load_container_settings()
    if found is None:
        raise InvalidSetting("this is done in containers of docker-compose.yml only; make up starts them")
    return found


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """Read the settings once.

    Raises:
        InvalidSetting: a value that cannot be used, with the variable's name.
    """
    with _naming_problems():
        return Settings()


@contextmanager
def _naming_problems() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:
        raise InvalidSetting("the file .env is no UTF-8 text; write it anew from .env.example") from None
    except ValidationError as error:
        problems = [
            f"MODELYARD_{str(e['loc'][0]).upper()}"
            + (" is not set" if e["type"] == "missing" else f"={e['input']!r}: {e['msg']}")
            for e in error.errors()
        ]
        raise InvalidSetting(f"{'; '.join(problems)}. .env.example lists what each setting takes.") from None
