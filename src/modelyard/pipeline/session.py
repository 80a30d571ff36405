"""What a step of the pipeline works with: MLflow, one database connection per role, the raw store."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from mlflow import MlflowClient

from modelyard.store.connections import Connection, connect
from modelyard.tracking import server

DATASETS_EXPERIMENT = "datasets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Open connections: ``person`` asks for work, ``trainer`` and ``evaluator`` write what their role may."""

    mlflow: MlflowClient
    pages: server.Pages
    person: Connection
    trainer: Connection
    evaluator: Connection
    raw_uri: str


class Report(Protocol):
    """Told how far a step is: ``share`` is 0 to 1, None where it cannot be known."""

    def __call__(self, step: str, share: float | None, message: str, /) -> None: ...


Emit = Callable[[object], None]  # told each result as it is there, a dataclass of JSON values


@contextmanager
def open_session(
    *, tracking_uri: str, ui_url: str, raw_uri: str, person: str, dsn: Callable[[str], str]
) -> Iterator[Session]:
    """Connect to everything; ``dsn`` gives the address of the database for a role."""
    with ExitStack() as stack:
        yield Session(
            mlflow=server.connect(tracking_uri),
            pages=server.Pages(ui_url),
            person=stack.enter_context(connect(dsn(person), application_name="modelyard")),
            trainer=stack.enter_context(connect(dsn("trainer"), application_name="modelyard trainer")),
            evaluator=stack.enter_context(connect(dsn("evaluator"), application_name="modelyard evaluator")),
            raw_uri=raw_uri,
        )
