"""A limit on the memory of one process, so that the kernel ends that one and no other: a control group of our own."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self
from uuid import uuid4

ROOT = Path("/sys/fs/cgroup")


def find_obstacle() -> str | None:
    """Why no limit can be made here, or None."""
    if not ROOT.is_dir():
        return "this system has no control groups"
    if _find_root() is None:
        return "the control group of memory is not there"
    if os.geteuid() != 0 and not _may_be_root():
        return "a control group is made by root, or with sudo"
    return None


class MemoryLimit:
    """A group of processes that have ``limit_bytes`` of memory together; a context manager that removes it."""

    def __init__(self, *, limit_bytes: int) -> None:
        root = _find_root()
        assert root is not None
        self._limit_bytes = limit_bytes
        self._folder = root / f"modelyard-test-{uuid4()}"

    def __enter__(self) -> Self:
        self._run(["mkdir", str(self._folder)])
        name = "memory.max" if (self._folder / "memory.max").exists() else "memory.limit_in_bytes"
        self._write(name, self._limit_bytes)
        return self

    def __exit__(self, *_: object) -> None:
        self._run(["rmdir", str(self._folder)])

    def take_in(self, pid: int) -> None:
        """What this process takes from now on counts."""
        self._write("cgroup.procs", pid)

    def _write(self, name: str, value: int) -> None:
        self._run(["tee", str(self._folder / name)], text=str(value))

    def _run(self, command: list[str], *, text: str | None = None) -> None:
        prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
        subprocess.run([*prefix, *command], input=text, text=True, check=True, stdout=subprocess.DEVNULL)


def _find_root() -> Path | None:
    if (ROOT / "memory" / "memory.limit_in_bytes").exists():
        return ROOT / "memory"
    controllers = ROOT / "cgroup.subtree_control"
    return ROOT if controllers.exists() and "memory" in controllers.read_text().split() else None


def _may_be_root() -> bool:
    return shutil.which("sudo") is not None and subprocess.run(["sudo", "-n", "true"], check=False).returncode == 0
