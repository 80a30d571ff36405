"""The stack that commands work on: in a container of the Compose stack that one, else the embedded one."""

from pathlib import Path
from typing import Protocol

from modelyard.errors import StackNotRunning
from modelyard.settings import Settings, load_container_settings, load_settings
from modelyard.stack.addresses import Addresses
from modelyard.stack.home import Report
from modelyard.stack.mlflow_store import MlflowStore
from modelyard.stack.status import Status


class Stack(Protocol):
    """What the modules ``compose`` and ``embedded`` both offer; they say what each does and raises."""

    def up(self, settings: Settings, report: Report, *, trainers: int | None = None) -> Addresses: ...

    def down(self, settings: Settings, report: Report = print) -> bool: ...

    def find_running(self, settings: Settings) -> Addresses | None: ...

    def find_addresses(self, settings: Settings) -> Addresses | None: ...

    def status(self, settings: Settings) -> Status: ...

    def psql_path(self, settings: Settings) -> Path: ...

    def get_mlflow_store(self, settings: Settings) -> MlflowStore: ...


def get_stack() -> Stack:
    """The stack for this process."""
    from modelyard.stack import compose, embedded

    return embedded if load_container_settings() is None else compose


def get_running() -> Addresses:
    """Where the stack is, if it runs.

    Raises:
        StackNotRunning: it does not.
    """
    found = get_stack().find_running(load_settings())
    if found is None:
        raise StackNotRunning
    return found


def get_addresses() -> Addresses:
    """Where the stack is, also while MLflow does not answer: what PostgreSQL alone decides goes on without it.

    Raises:
        StackNotRunning: it never ran.
    """
    found = get_stack().find_addresses(load_settings())
    if found is None:
        raise StackNotRunning
    return found
