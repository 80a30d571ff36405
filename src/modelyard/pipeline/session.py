"""What a step of the pipeline works with: MLflow, the database as one role, the raw store."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from mlflow import MlflowClient

from modelyard.pipeline.results import Result
from modelyard.store.connections import Connection, Reconnecting
from modelyard.tracking import server

DATASETS_EXPERIMENT = "datasets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Open connections for one attempt; ``user`` is who asked for the job."""

    mlflow: MlflowClient
    pages: server.Pages
    raw_uri: str
    user: str
    database: Reconnecting

    @property
    def records(self) -> Connection:
        """A connection that works, as the role whose work it is. In a transaction use the one that it began on."""
        return self.database.get()


class Report(Protocol):
    """Told how far a step is: ``share`` is 0 to 1, None where it cannot be known."""

    def __call__(self, step: str, share: float | None, message: str, /) -> None: ...


Emit = Callable[[Result], None]  # told each result as it is there


class Services(Protocol):
    """Where MLflow is for programs and for people, and where raw data is stored by content."""

    @property
    def tracking_uri(self) -> str: ...

    @property
    def ui_url(self) -> str: ...

    @property
    def raw_uri(self) -> str: ...


def say_nothing(step: str, share: float | None, message: str, /) -> None:
    """A ``Report`` for whoever wants none."""


@contextmanager
def open_session(services: Services, *, dsn: str, application_name: str, user: str) -> Iterator[Session]:
    """Connect to everything; ``dsn`` is the database's address as the role whose work it is."""
    with Reconnecting(dsn, application_name=application_name) as database:
        yield Session(
            mlflow=server.connect(services.tracking_uri),
            pages=server.Pages(services.ui_url),
            raw_uri=services.raw_uri,
            user=user,
            database=database,
        )
