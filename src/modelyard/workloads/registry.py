"""Which workloads there are, and their parameters from text, files and mappings."""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import NoneType
from typing import TYPE_CHECKING, Any, cast, get_args

from pydantic import ValidationError

from modelyard.errors import InvalidParameter, UnknownName
from modelyard.workloads.contract import Parameters, Workload, WorkloadSpec

NAMES = ("california_housing",)

if TYPE_CHECKING:  # mypy holds each module against the contract
    from modelyard.workloads import california_housing

    _MODULES: tuple[Workload, ...] = (california_housing,)


def get_workload(name: str) -> Workload:
    """The workload called ``name``.

    Raises:
        UnknownName: there is none; the nearest name is suggested.
    """
    if name not in NAMES:
        raise UnknownName("workload", name, NAMES)
    import_module(f"modelyard.workloads.{name}")
    return cast(Workload, sys.modules[f"modelyard.workloads.{name}"])


def find_spec(name: str) -> WorkloadSpec | None:
    """The declarations of a workload; None where a task is called so, of a model of another tool."""
    return get_workload(name).spec if name in NAMES else None


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
        # An error of the whole class (parameters that do not go together) has no location.
        problems = [
            f"parameter {e['loc'][0]}={e['input']!r}: {e['msg']}" if e["loc"] else e["msg"] for e in error.errors()
        ]
        raise InvalidParameter(problems) from None
