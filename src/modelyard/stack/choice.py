"""Which stack is used, and why."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelyard.errors import StackRefused
from modelyard.settings import Settings, find_clone, find_stack_reason, keep_stack_reason, load_container_settings

LAUNCHER = Path("infra/launch.sh")


@dataclass(frozen=True, slots=True)
class Choice:
    """The stack that was chosen, and the reason in half a line."""

    stack: Literal["embedded", "compose"]
    why: str


def choose_stack(settings: Settings) -> Choice:
    """The stack that this process works on, and why; ``find_launcher`` has been asked before."""
    if load_container_settings() is not None:
        return Choice("compose", find_stack_reason() or "this is a container of it")
    if find_stack_reason():
        return Choice("embedded", find_stack_reason())
    if settings.stack == "embedded":
        return Choice("embedded", "named by MODELYARD_STACK")
    if settings.home is not None:
        return Choice("embedded", "MODELYARD_HOME names its folder")
    return Choice("embedded", "PostgreSQL and MLflow from wheels: no clone with a docker-compose.yml is here")


def find_launcher(settings: Settings) -> Path | None:
    """The script that runs commands on the clone's Compose stack, or None where this process shall do it itself.

    Raises:
        StackRefused: the Compose stack was named, and no clone is here; or the launcher refuses a setting.
    """
    if load_container_settings() is not None or find_stack_reason() or settings.stack == "embedded":
        return None
    if settings.stack == "auto" and settings.home is not None:
        return None
    clone = find_clone(Path.cwd())
    launcher = clone / LAUNCHER if clone else None
    if launcher is None or not launcher.is_file() or sys.platform == "win32":
        if settings.stack == "compose":
            raise StackRefused(
                "MODELYARD_STACK=compose needs a clone of modelyard with its docker-compose.yml; go there"
            )
        return None
    if settings.stack == "compose":
        return launcher
    done = subprocess.run(["sh", launcher, "which"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StackRefused(done.stderr.strip().removeprefix("modelyard: ") or f"{launcher} does not run")
    stack, _, why = done.stdout.strip().partition(": ")
    if stack == "compose":
        return launcher
    keep_stack_reason(why)
    return None
