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

from modelyard.workloads.contract import Workload
from modelyard.workloads.own import find_own_file

BUILD_NOTE = "build.json"  # in the package: {"commit": "…", "dirty": "true"}, written when an image is built
_CODE = (":/src", ":/sql", ":/requirements", ":/services")  # what a model can depend on, new files too
_PACKAGE = __name__.partition(".")[0] + ".workloads"
_SHIPPED = Path(__file__).parents[1] / "workloads"
_PARSING = threading.Lock()  # Python 3.11's parser fails now and then when two threads are in it


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeVersion:
    """``commit`` and ``dirty`` are None outside a git checkout.

    ``workload_sha256`` covers the workload's file or folder and, through their imports, the modules beside it that it
    uses. ``workload_file`` is the sha256 of the file alone of a workload that does not ship: under it the raw store
    has the file, so that it is the same code years later.
    """

    release: str
    python: str
    commit: str | None
    dirty: bool | None
    workload_sha256: str
    workload_file: str | None = None


def find_code_version(workload: Workload) -> CodeVersion:
    """The version of the code that is running."""
    own = find_own_file(workload)
    if own is None:
        digest = hash_sources(Path(inspect.getfile(cast(ModuleType, workload))))
    else:
        digest = hash_sources(Path(own.file_name), own.content, package=_SHIPPED)
    commit, dirty = _find_commit(_SHIPPED)
    return CodeVersion(
        release=version("modelyard"),
        python=platform.python_version(),
        commit=commit,
        dirty=dirty,
        workload_sha256=digest,
        workload_file=own.sha256 if own else None,
    )


def _find_commit(folder: Path) -> tuple[str | None, bool | None]:
    """The checkout's commit and whether it was changed; in an image what was noted when it was built."""
    noted = folder.parent / BUILD_NOTE
    if noted.is_file():
        note = json.loads(noted.read_text(encoding="utf-8"))
        return note["commit"] or None, note["dirty"] == "true" if note["commit"] else None
    commit = _git(folder, "rev-parse", "HEAD")
    return commit, bool(_git(folder, "status", "--porcelain", "--", *_CODE)) if commit else None


def hash_sources(source: Path, content: bytes | None = None, *, package: Path | None = None) -> str:
    """sha256 over a workload and every module of its package that it imports, directly or not (64 hex digits).

    Args:
        source: the workload's file; ``__init__.py`` of a folder, whose modules all belong to it.
        content: the file's bytes; default: those on the disk.
        package: folder of the modules that it may import; default: the one that the file or its folder lies in.
    """
    folder = source.parent if source.name == "__init__.py" else None
    root = package or (folder or source).parent
    waiting = [(source, content)] if folder is None else [(path, None) for path in sorted(folder.rglob("*.py"))]
    found: dict[str, str] = {}
    while waiting:
        path, text = waiting.pop()
        inside = path.is_relative_to(root)
        name = path.relative_to(root).as_posix() if inside else path.name
        if name in found or (text is None and not path.is_file()):
            continue
        text = path.read_bytes() if text is None else text
        found[name] = sha256(text).hexdigest()
        with _PARSING:
            tree = ast.parse(text)
        above = Path(name).parent.parts if inside else ()
        for node in ast.walk(tree):
            for module in _list_imported(node, above):
                place = root.joinpath(*module)
                waiting += [(place.with_suffix(".py"), None), (place / "__init__.py", None)]
    return sha256("".join(f"{name} {digest}\n" for name, digest in sorted(found.items())).encode()).hexdigest()


def _list_imported(node: ast.AST, above: tuple[str, ...]) -> list[list[str]]:
    """The modules of the package that a statement may import, as their names below it; ``above`` is its folder."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.level <= len(above) + 1:
        near = [_PACKAGE, *above[: len(above) + 1 - node.level]] if node.level else []
        module = ".".join([*near, *filter(None, [node.module])])
        names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
    else:
        return []
    return [name.removeprefix(f"{_PACKAGE}.").split(".") for name in names if name.startswith(f"{_PACKAGE}.")]


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
