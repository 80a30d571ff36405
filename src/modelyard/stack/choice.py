"""Which stack is used, and why."""

from dataclasses import dataclass
from typing import Literal

from modelyard.settings import Settings


@dataclass(frozen=True, slots=True)
class Choice:
    """The stack that was chosen, and the reason in half a line."""

    stack: Literal["embedded"]
    why: str


def choose_stack(settings: Settings) -> Choice:
    """The stack that the settings lead to: what is named, else what this machine can run."""
    if settings.stack == "embedded":
        return Choice("embedded", "named by MODELYARD_STACK")
    return Choice("embedded", "PostgreSQL and MLflow from wheels, the one stack of this release")
