"""MLflow's own tables and its command ``mlflow gc``, for the command that deletes for good."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelyard.errors import ServiceFailed

GC_WAIT_S = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowStore:
    """MLflow's tables and its command, both as its server's login.

    Attributes:
        dsn: how libpq connects.
        run_gc: run ``mlflow gc`` with these words to its end; raises ServiceFailed with the end of its message.
    """

    dsn: str
    run_gc: Callable[[Sequence[str]], None]


def name_gc(backend: str, words: Sequence[str]) -> list[str]:
    """The command that takes from MLflow's tables what ``words`` name; it needs ``MLFLOW_TRACKING_URI``, too."""
    return [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", backend, *words]


def check_gc(done: "subprocess.CompletedProcess[str]") -> None:
    """Refuse an ``mlflow gc`` that failed.

    Raises:
        ServiceFailed: with the end of MLflow's message.
    """
    if done.returncode != 0:
        reason = " | ".join([line for line in done.stderr.splitlines() if line.strip()][-4:])
        raise ServiceFailed(f"mlflow gc failed: {reason}; modelyard gc goes on with what is left")
