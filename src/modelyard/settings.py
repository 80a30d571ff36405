"""Settings, read from the environment and from a file ``.env``; nothing else reads the environment."""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from modelyard.errors import InvalidSetting


class Settings(BaseSettings):
    """Each field is the environment variable ``MODELYARD_<FIELD>``; ``.env.example`` lists them all."""

    model_config = SettingsConfigDict(
        env_prefix="MODELYARD_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    stack: Literal["auto", "embedded"] = Field(
        default="auto", description="where the services run: auto chooses and says why"
    )
    home: Path | None = Field(
        default=None,
        description="folder of the embedded stack; default .modelyard/ in the clone, else the user's data folder",
    )
    data_dir: Path = Field(default=Path("data"), description="where workloads look for raw data that was not named")
    mlflow_port: int = Field(default=5000, ge=1, le=65535, description="port of MLflow on 127.0.0.1")
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


def find_clone(start: Path) -> Path | None:
    """The root of the clone that ``start`` lies in, or None."""
    for folder in (start, *start.parents):
        if (folder / "sql").is_dir() and (folder / "src" / "modelyard").is_dir():
            return folder
    return None


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """Read the settings once.

    Raises:
        InvalidSetting: a value that cannot be used, with the variable's name.
    """
    try:
        return Settings()
    except UnicodeDecodeError:
        raise InvalidSetting("the file .env is no UTF-8 text; write it anew from .env.example") from None
    except ValidationError as error:
        problems = [f"MODELYARD_{str(e['loc'][0]).upper()}={e['input']!r}: {e['msg']}" for e in error.errors()]
        raise InvalidSetting(f"{'; '.join(problems)}. .env.example lists what each setting takes.") from None
