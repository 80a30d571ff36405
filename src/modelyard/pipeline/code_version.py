"""Which code made a run: release, commit, whether the tree was dirty, and the workload's source by content."""

import ast
import inspect
import json
import platform
import subprocess
import threading
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import cast

from modelyard.data.hashes import sha256_file
from modelyard.workloads.contract import Workload

BUILD_NOTE = "build.json"  # in the package: {"commit": "…", "dirty": "true"}, written when an image is built
_CODE = (":/src", ":/sql", ":/requirements", ":/services")  # what a model can depend on, new files too
_PARSING = threading.Lock()  # Python 3.11's parser fails now and then when two threads are in it


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeVersion:
    """``commit`` and ``dirty`` are None outside a git checkout.

    ``workload_sha256`` covers the workload's file and, through their imports, the modules beside it that it uses.
    """

    release: str
    python: str
    commit: str | None
    dirty: bool | None
    workload_sha256: str


def find_code_version(workload: Workload) -> CodeVersion:
    """The version of the code that is running."""
    source = Path(inspect.getfile(cast(ModuleType, workload)))
    commit, dirty = _find_commit(source.parent)
    return CodeVersion(
        release=version("modelyard"),
        python=platform.python_version(),
        commit=commit,
        dirty=dirty,
        workload_sha256=hash_sources(source),
    )


def _find_commit(folder: Path) -> tuple[str | None, bool | None]:
    """The checkout's commit and whether it was changed; in an image what was noted when it was built."""
    noted = folder.parent / BUILD_NOTE
    if noted.is_file():
        note = json.loads(noted.read_text(encoding="utf-8"))
        return note["commit"] or None, note["dirty"] == "true" if note["commit"] else None
    commit = _git(folder, "rev-parse", "HEAD")
    return commit, bool(_git(folder, "status", "--porcelain", "--", *_CODE)) if commit else None


def hash_sources(source: Path) -> str:
    """sha256 over a module and every module of its package that it imports, directly or not (64 hex digits)."""
    package = __name__.partition(".")[0] + ".workloads"
    found: dict[str, str] = {}
    waiting = [source]
    while waiting:
        path = waiting.pop()
        if path.name in found or not path.is_file():
            continue
        found[path.name] = sha256_file(path)
        with _PARSING:
            tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            waiting += [path.with_name(f"{name}.py") for name in _imported(node, package)]
    return sha256("".join(f"{name} {digest}\n" for name, digest in sorted(found.items())).encode()).hexdigest()


def _imported(node: ast.AST, package: str) -> list[str]:
    """The modules of ``package`` that a statement may import, by their names in it."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        module = ".".join(filter(None, [package if node.level == 1 else "", node.module]))
        names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
    else:
        return []
    return [name.removeprefix(f"{package}.").partition(".")[0] for name in names if name.startswith(f"{package}.")]


def _git(folder: Path, *arguments: str) -> str | None:
    """The output of git, or None where there is no git, no checkout, or one that does not track our code."""
    if "site-packages" in folder.parts:
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
