"""Which workloads there are, and their parameters from text, files and mappings."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, cast, get_args

from pydantic import ValidationError

from modelyard.errors import BadInput, InvalidParameter, UnknownName
from modelyard.workloads.contract import Parameters, Workload, WorkloadSpec
from modelyard.workloads.own import find_own, get_own, load_own
from modelyard.workloads.rules import list_rules

BLEND = "blend"  # the model type of a version that a blend has made
NAMES = ("california_housing", "eeg_remission", "hourly_energy", "pokewatch")

RESERVED = (*NAMES, *list_rules())  # names that a workload of somebody's own cannot have

if TYPE_CHECKING:  # mypy holds each module against the contract
    from modelyard.workloads import california_housing, eeg_remission, hourly_energy, pokewatch

    _MODULES: tuple[Workload, ...] = (california_housing, eeg_remission, hourly_energy, pokewatch)


def get_workload(name: str, file: str | None = None) -> Workload:
    """The workload called ``name``: the one that ships, or one of somebody's own by the sha256 of its file.

    Raises:
        UnknownName: none ships under this name; the nearest name is suggested.
        BadInput: no file with this sha256 was loaded in this process.
    """
    if file is not None:
        return get_own(name, file)
    if name not in NAMES:
        raise UnknownName("workload", name, NAMES)
    import_module(f"modelyard.workloads.{name}")
    return cast(Workload, sys.modules[f"modelyard.workloads.{name}"])


def find_spec(name: str, file: str | None = None) -> WorkloadSpec | None:
    """The declarations of a workload; None where a task is called so, or where its own file is not loaded here."""
    if file is not None:
        own = find_own(name, file)
        return own.spec if own else None
    return get_workload(name).spec if name in NAMES else None


def locate_workload(named: str, *, places: Sequence[Path] = ()) -> Workload:
    """The workload that somebody names: one that ships, a file ``path/to/name.py``, or a name in ``places``.

    Raises:
        UnknownName: there is none; the nearest name is suggested.
        InvalidWorkload: the file is none.
        BadInput: as ``list_own`` does.
    """
    if named.endswith(".py"):
        return load_own(Path(named), reserved=RESERVED)
    own = list_own(places)
    if named in NAMES:
        return get_workload(named)
    if named not in own:
        hint = "A file of your own is named by its path: path/to/name.py, or by name in MODELYARD_WORKLOADS."
        raise UnknownName("workload", named, (*NAMES, *own), hint=hint)
    return load_own(own[named], reserved=RESERVED)


def list_own(places: Sequence[Path]) -> dict[str, Path]:
    """The files of workloads that do not ship, by name; a place is a file or a folder of files.

    Raises:
        BadInput: a place is not there, two files have one name, or one has the name of what ships.
    """
    found: dict[str, Path] = {}
    for place in places:
        if not place.exists():
            raise BadInput(f"MODELYARD_WORKLOADS names {place}, which is not there; name files or folders that are")
        files = sorted(place.glob("*.py")) if place.is_dir() else [place]
        for path in files:
            if path.stem.startswith("_"):
                continue
            if path.stem in RESERVED:  # what ships would be used in its place
                raise BadInput(f"MODELYARD_WORKLOADS has {path}, and what ships under this name is another; rename it")
            if found.setdefault(path.stem, path) != path:
                raise BadInput(f"MODELYARD_WORKLOADS has two workloads called {path.stem}: {found[path.stem]}, {path}")
    return found


def read_parameters(workload: Workload, *, model_type: str, values: Mapping[str, Any]) -> Parameters:
    """The parameters of a model version on record; of a blend those that its dataset was processed with.

    Raises:
        UnknownName, InvalidParameter: as ``build_parameters`` does: this release does not take them any more.
    """
    if model_type != BLEND:
        return build_parameters(workload, model_type=model_type, values=values)[1]
    cls = workload.spec.processing
    try:
        return cls.model_validate({name: value for name, value in values.items() if name in cls.model_fields})
    except ValidationError as error:
        raise InvalidParameter(_describe_problems(error)) from None


def build_parameters(
    workload: Workload, *, model_type: str | None, values: Mapping[str, Any]
) -> tuple[str, Parameters]:
    """Typed parameters of a model type (default: the workload's first) from names and values, which may be text.

    The text ``none`` is None where the parameter can be None.

    Raises:
        UnknownName: no such model type or parameter; the nearest name is suggested.
        InvalidParameter: values of the wrong type or range, all of them listed.
    """
    types = workload.spec.model_types
    chosen = model_type or next(iter(types))
    if chosen not in types:
        raise UnknownName("model type", chosen, types, hint=f"Workload: {workload.spec.name}.")
    cls = types[chosen]
    for name in values:
        if name not in cls.model_fields:
            others = [other for other, fields in types.items() if name in fields.model_fields]
            hint = f"It belongs to model type {', '.join(others)}." if others else ""
            raise UnknownName(f"parameter of {chosen}", name, cls.model_fields, hint=hint)
    optional = {name for name, known in cls.model_fields.items() if NoneType in get_args(known.annotation)}
    given = {
        name: None if name in optional and str(value).lower() == "none" else value for name, value in values.items()
    }
    try:
        return chosen, cls.model_validate(given)
    except ValidationError as error:
        raise InvalidParameter(_describe_problems(error)) from None


def _describe_problems(error: ValidationError) -> list[str]:
    """An error of the whole class (parameters that do not go together) has no location."""
    return [f"parameter {e['loc'][0]}={e['input']!r}: {e['msg']}" if e["loc"] else e["msg"] for e in error.errors()]
