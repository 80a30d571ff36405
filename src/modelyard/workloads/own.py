"""Workloads that do not ship: each is one file of somebody's own, loaded by its content."""

import ast
import inspect
import linecache
import re
import sys
import traceback
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from modelyard.errors import BadInput, InvalidWorkload
from modelyard.workloads.contract import Workload, WorkloadSpec
from modelyard.workloads.rules import PRODUCTION

MAX_BYTES = 1 << 20  # a workload is a file that people read
_NAME = re.compile("[a-z][a-z0-9_]{0,55}")
# what the contract asks for: function → number of positional arguments, and keywords
_FUNCTIONS: dict[str, tuple[int, tuple[str, ...]]] = {
    "download": (1, ()),
    "sample": (1, ("seed",)),
    "load_raw": (1, ("parameters",)),
    "process": (1, ("parameters",)),
    "train": (1, ("parameters", "report")),
    "evaluate": (2, ("parameters",)),
    "baselines": (1, ("parameters",)),
}
_STREAMED = {"load_raw": "process_batches", "process": "process_batches"}  # who has the one needs no other


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFile:
    """A workload's file as it was loaded: ``path`` is where it was read."""

    name: str
    path: Path
    content: bytes

    @property
    def sha256(self) -> str:
        return sha256(self.content).hexdigest()

    @property
    def file_name(self) -> str:
        return f"{self.name}.py"

    @property
    def module_name(self) -> str:
        """Two versions of a file are two modules."""
        return f"modelyard_own.{self.name}_{self.sha256[:16]}"


_LOADED: dict[str, OwnFile] = {}  # by the module's name


def load_own(path: Path, *, reserved: Collection[str] = ()) -> Workload:
    """Load a workload from a file and hold it against the contract; a file that was loaded before is the same module.

    Args:
        path: ``<name>.py``, with a ``spec`` of that name.
        reserved: names that it cannot have.

    Raises:
        InvalidWorkload: it cannot be read or imported, or does not keep the contract; with every problem and its line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidWorkload(path, [f"it cannot be read: {error.strerror}"]) from None
    file = OwnFile(name=path.stem, path=path, content=content)
    if problem := check_name(file.name, reserved=reserved):
        raise InvalidWorkload(path, [f"its name is that of the file, and {problem}; rename the file and its spec"])
    if len(content) > MAX_BYTES:
        raise InvalidWorkload(path, [f"it has {len(content):,} bytes, and a workload at most {MAX_BYTES:,}"])
    if file.module_name not in _LOADED:
        module = _import(file)
        problems = _list_problems(module, file)
        if problems:
            del sys.modules[file.module_name]
            raise InvalidWorkload(path, problems)
        _LOADED[file.module_name] = file
    return cast(Workload, sys.modules[file.module_name])


def check_name(name: str, *, reserved: Collection[str]) -> str | None:
    """Why a workload of somebody's own cannot have this name; None if it can."""
    if _NAME.fullmatch(name) is None:
        return "a name begins with a lower-case letter and has up to 56 letters, digits and _"
    return "what ships under this name is another" if name in reserved else None


def get_own(name: str, digest: str) -> Workload:
    """The workload from a file with this sha256, which was loaded in this process.

    Raises:
        BadInput: it was not.
    """
    workload = find_own(name, digest)
    if workload is None:
        raise BadInput(f"workload {name} is a file of somebody's own (sha256 {digest}), which is run by workers only")
    return workload


def find_own(name: str, digest: str | None) -> Workload | None:
    """The same, or None; so also without a digest."""
    found = next((module for module, f in _LOADED.items() if f.name == name and f.sha256 == digest), None)
    return cast(Workload, sys.modules[found]) if found else None


def find_own_file(workload: Workload) -> OwnFile | None:
    """The file that a workload was loaded from; None for one that ships."""
    return _LOADED.get(cast(ModuleType, workload).__name__)


def _import(file: OwnFile) -> ModuleType:
    """Run the bytes that were hashed, whatever is in the file by now."""
    spec = spec_from_loader(file.module_name, loader=None, origin=str(file.path))
    module = module_from_spec(cast(Any, spec))
    module.__file__ = str(file.path)
    sys.modules[file.module_name] = module  # pydantic looks for the types of parameters there
    try:
        source = file.content.decode("utf-8-sig")  # some editors begin a file with a mark
        # a traceback shows these lines, where no such file is too
        linecache.cache[str(file.path)] = (len(source), None, source.splitlines(keepends=True), str(file.path))
        exec(compile(source, str(file.path), "exec"), module.__dict__)  # noqa: S102  that is what loading is
    except (Exception, SystemExit) as error:
        del sys.modules[file.module_name]
        raise InvalidWorkload(file.path, [_describe(error, file)]) from error
    return module


def _describe(error: BaseException, file: OwnFile) -> str:
    line = error.lineno if isinstance(error, SyntaxError) else None
    for frame in traceback.extract_tb(error.__traceback__):
        line = frame.lineno if frame.filename == str(file.path) else line
    text = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    return f"{f'line {line}: ' if line else ''}{type(error).__name__}: {text}"


def _list_problems(module: ModuleType, file: OwnFile) -> list[str]:
    lines = _find_lines(file)
    spec = getattr(module, "spec", None)
    problems = []
    if isinstance(spec, WorkloadSpec):
        at = f"line {lines['spec']}: " if "spec" in lines else ""
        problems += [f"{at}spec: {problem}" for problem in _list_spec_problems(spec, file.name)]
    else:
        problems.append("it has no spec = WorkloadSpec(…)")
    for name, (positional, keywords) in _FUNCTIONS.items():
        function = getattr(module, name, None)
        if function is None and hasattr(module, _STREAMED.get(name, name)):
            continue
        if not inspect.isfunction(function):
            problems.append(f"it has no function {name}")
            continue
        try:
            inspect.signature(function).bind(*[None] * positional, **dict.fromkeys(keywords))
        except TypeError as error:
            at = f"line {lines[name]}: " if name in lines else ""
            taken = ", ".join([f"{positional} argument{'s' if positional > 1 else ''}", *(f"{k}=" for k in keywords)])
            problems.append(f"{at}{name} is called with {taken}: {error}")
    return problems


def _find_lines(file: OwnFile) -> dict[str, int]:
    """Where the names of the module are defined."""
    lines = {}
    for node in ast.parse(file.content).body:
        if isinstance(node, ast.FunctionDef):
            lines[node.name] = node.lineno
        elif isinstance(node, ast.Assign):
            lines |= {target.id: node.lineno for target in node.targets if isinstance(target, ast.Name)}
    return lines


def _list_spec_problems(spec: WorkloadSpec, name: str) -> list[str]:
    problems = []
    for field, wanted in get_type_hints(WorkloadSpec).items():
        value = getattr(spec, field)
        try:  # ("houses.csv") lacks its comma, and would be ten names of files
            TypeAdapter(wanted).validate_python(value, strict=True)
        except ValidationError as error:
            problems.append(f"{field} is {value!r}: {error.errors()[0]['msg']}")
    if problems:
        return problems
    if spec.name != name:
        problems.append(f"its name is {spec.name!r}, and the file is called {name}.py; give both the same name")
    for field in ("metrics", "baselines", "model_types", "raw_files", "targets"):
        if not getattr(spec, field):
            problems.append(f"{field} is empty")
    if spec.rules.task != spec.task:
        problems.append(f"its task is {spec.task}, and its rules are of {spec.rules.task}")
    metrics = {metric.name for metric in spec.metrics}
    gate = spec.rules.gate
    for limit in dict.fromkeys((*gate.list_limits(production=False), *gate.list_limits(production=True))):
        if limit.metric not in metrics:
            problems.append(f"the limit {limit} is of {limit.metric}, which is none of its metrics")
        if limit.of not in (None, PRODUCTION, *spec.baselines):
            problems.append(f"the limit {limit} is against {limit.of}, which is none of its baselines")
    for model_type, parameters in spec.model_types.items():
        if not issubclass(parameters, spec.processing):
            problems.append(f"the parameters of {model_type} are no class that derives from {spec.processing.__name__}")
            continue
        missing = [field for field, known in parameters.model_fields.items() if known.is_required()]
        if missing:
            problems.append(f"of {model_type} the parameters {', '.join(missing)} have no default")
    return problems
