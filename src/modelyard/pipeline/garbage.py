"""What a garbage collection plans, and what became of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """One thing that may go.

    Attributes:
        kind: ``dataset``; ``files`` of a dataset whose removal was interrupted; ``run``: what a processing run that
            failed or died has left; ``deleted run`` and ``deleted model``: what somebody has deleted in MLflow, which
            goes from there for good.
        name: ``NAME@VERSION`` of a dataset, name of a run or of a logged model.
        mlflow_run_id: the run that it is, or that made it.
        dataset_id: None for what is no dataset.
        mlflow_model_id: None for what is no logged model.
        size_bytes: as recorded; of a run or logged model as stored.
        since: when it was used, removed, deleted, or begun last.
        why: why it may go.
    """

    kind: Literal["dataset", "files", "run", "deleted run", "deleted model"]
    name: str
    mlflow_run_id: str
    dataset_id: UUID | None = None
    mlflow_model_id: str | None = None
    size_bytes: int
    since: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What became of one thing: ``kept`` says why it stays after all, None where it was deleted."""

    garbage: Garbage
    kept: str | None = None


class MlflowStore(Protocol):
    """MLflow's own tables and its command ``mlflow gc``, both as its server's login.

    Attributes:
        dsn: how libpq connects.
        run_gc: run ``mlflow gc`` with these words; raises ServiceFailed where it fails.
    """

    @property
    def dsn(self) -> str: ...

    @property
    def run_gc(self) -> Callable[[Sequence[str]], None]: ...
