"""What a worker has to know."""

import os
import socket
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from modelyard.store.jobs import DEFAULT_QUEUE, name_queue

Role = Literal["trainer", "evaluator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Attributes:
    role: whose work it does; also its login.
    queue: which jobs of that work it takes.
    dsn: the database, as that role.
    tracking_uri: MLflow for programs.
    ui_url: MLflow for people.
    raw_uri: where raw data is stored by content.
    claim_s: a job is lost to a worker that has not renewed its claim for so many seconds.
    pause_s: seconds between the first attempt that failed and the second; four times that before the third.
    heartbeat: a file that the worker touches every second while it could begin a job; for a health check.
    secret: the file that the password in ``dsn`` came from.
    """

    role: Role
    dsn: str = field(repr=False)  # it may hold a password
    tracking_uri: str
    ui_url: str
    raw_uri: str
    claim_s: float
    pause_s: float
    heartbeat: str | None = None
    secret: str | None = None
    queue: str = DEFAULT_QUEUE

    @property
    def name(self) -> str:
        """The role, and the queue where it is not the stack's own: ``trainer``, ``trainer-vision``."""
        return name_queue(self.role, self.queue)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        return cls(**values)


def name_worker(name: str) -> str:
    """Who works, for people to read."""
    return f"{name} {socket.gethostname()}:{os.getpid()}"
