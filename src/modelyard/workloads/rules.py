"""Rules of a workload or a task, from a readable file: what a run must have logged, and the gate."""

import math
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files
from typing import Any, Literal, TypeVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelyard.errors import InvalidRules, UnknownName

Comparison = Literal["<=", "<", ">=", ">", "=="]
PRODUCTION = "production"  # in a limit: the live version's value on the same rows
_PACKAGED = files("modelyard.workloads").joinpath("rules")
_NAME = r"[A-Za-z_][\w.@/-]*"
_NUMBER = r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_LIMIT = re.compile(
    rf"\s*(?P<metric>{_NAME})\s*(?P<comparison><=|>=|==|<|>)\s*"
    rf"(?:(?P<number>{_NUMBER})|(?:(?P<share>{_NUMBER})\s*\*\s*)?(?P<of>{_NAME}))\s*",
    re.ASCII,
)


class Task(StrEnum):
    """What kind of answer a model gives."""

    REGRESSION = "regression"
    CLASSIFICATION = "classification"
    FORECASTING = "forecasting"
    RANKING = "ranking"
    RECOMMENDATION = "recommendation"
    GENERATION = "generation"


@dataclass(frozen=True, slots=True)
class Limit:
    """One line of a gate: ``metric`` compared with a number, or with a share of another's value on the same rows.

    ``Limit("rmse", "<=", 0.7)`` is absolute; ``Limit("rmse", "<=", 0.95, of="linear")`` means at most 0.95 times
    the RMSE of the naive baseline ``linear``; ``of="production"`` is the live version.
    """

    metric: str
    comparison: Comparison
    value: float
    of: str | None = None

    def __str__(self) -> str:
        """As it stands in a file, e.g. ``rmse <= 0.95 * linear``; ``parse_limit`` reads it back."""
        number = repr(float(self.value)).removesuffix(".0")
        bound = number if self.of is None else self.of if self.value == 1 else f"{number} * {self.of}"
        return f"{self.metric} {self.comparison} {bound}"

    def find_bound(self, base: float) -> float:
        """The number that ``metric`` is compared with; ``base`` is the value of ``of``.

        A share is one of the base's size: 0.95 is 5 % of the size below the base, 1.01 is 1 % above it. Of a negative
        base the plain product would turn "at most 5 % worse" into "better": 0.95 × -2 is -1.9, the bound is -2.1.
        """
        if self.of is None:
            return self.value
        return self.value * base if base >= 0 else (2 - self.value) * base


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The limits of an evaluation.

    Attributes:
        always: numbers, or shares of a naive baseline.
        against_production: shares of the live version's values; only where one is live.
        first_version: like ``always``, only where none is live.
    """

    always: tuple[Limit, ...] = ()
    against_production: tuple[Limit, ...] = ()
    first_version: tuple[Limit, ...] = ()

    def list_limits(self, *, production: bool) -> tuple[Limit, ...]:
        """The limits that apply where a version is live (``production``), or where none is."""
        return self.always + (self.against_production if production else self.first_version)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractTable:
    """What a training run must have logged: names, and tags with the value they must have (None: any)."""

    params: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    tags: Mapping[str, str | None] = field(default_factory=dict)
    artifacts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of a workload or a task."""

    task: Task
    contract: ContractTable
    gate: Gate


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


_Kind = TypeVar("_Kind", bound=_Section)


class _GateSection(_Section):
    always: list[str] = []
    against_production: list[str] = []
    first_version: list[str] = []


class _ContractSection(_Section):
    params: list[str] = []
    metrics: list[str] = []
    tags: dict[str, str | None] = {}
    artifacts: list[str] = []


class _File(_Section):
    task: Task = Field(strict=False)
    contract: _ContractSection = _ContractSection()
    gate: _GateSection


class _Loader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: of two gates the first would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} stands twice", node.start_mark)
        return mapping


def load_rules(name: str) -> Rules:
    """The rules that ship under a name: that of a workload, or of a task.

    Raises:
        UnknownName: there are none; the nearest name is suggested.
    """
    known = list_rules()
    if name not in known:
        raise UnknownName("rules file", name, known)
    return parse_rules(_PACKAGED.joinpath(f"{name}.yaml").read_text(encoding="utf-8"), source=f"{name}.yaml")


def list_rules() -> list[str]:
    """The names under which rules ship."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _PACKAGED.iterdir() if entry.name.endswith(".yaml"))


def parse_rules(text: str, *, source: str) -> Rules:
    """Rules from YAML: ``task``, ``contract`` (may be left out) and ``gate``.

    Args:
        text: the file's content.
        source: its name, for errors.

    Raises:
        InvalidRules: with every problem.
    """
    try:
        value = yaml.load(text, _Loader)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: the 30th of February
        raise InvalidRules(source, [f"it is not YAML: {' '.join(str(error).split())}"]) from None
    found, problems = _validate(_File, value)
    gate, more = _build_gate(value.get("gate") if isinstance(value, dict) else None)
    if found is None or more:
        raise InvalidRules(source, problems + more)
    contract = found.contract
    return Rules(
        task=found.task,
        contract=ContractTable(
            params=tuple(contract.params),
            metrics=tuple(contract.metrics),
            tags=contract.tags,
            artifacts=tuple(contract.artifacts),
        ),
        gate=gate,
    )


def parse_limit(text: str) -> Limit:
    """A limit from text: ``METRIC OP NUMBER`` or ``METRIC OP [NUMBER *] NAME``; OP is one of <= < >= > ==.

    Raises:
        InvalidRules: it is none.
    """
    found = _LIMIT.fullmatch(text)
    if found is None:
        raise InvalidRules(
            "a limit", [f"{text!r} is not METRIC OP NUMBER or METRIC OP [NUMBER *] NAME; OP is <= < >= > or =="]
        )
    value = float(found["number"] or found["share"] or 1)
    if not math.isfinite(value) or str(found["of"]).lower() in ("nan", "inf", "infinity"):
        raise InvalidRules("a limit", [f"{text!r}: the number is not finite"])
    if found["of"] and value <= 0:
        raise InvalidRules("a limit", [f"{text!r}: a share of {found['of']} is above 0"])
    return Limit(found["metric"], cast(Comparison, found["comparison"]), value, of=found["of"])


def describe_gate(gate: Gate) -> dict[str, list[str]]:
    """A gate as a JSON value, the form that is stored: the limits as text."""
    return {
        "always": [str(limit) for limit in gate.always],
        "against_production": [str(limit) for limit in gate.against_production],
        "first_version": [str(limit) for limit in gate.first_version],
    }


def read_gate(value: Any, *, source: str = "the gate") -> Gate:
    """A gate from what ``describe_gate`` gave.

    Raises:
        InvalidRules: with every problem.
    """
    _, problems = _validate(_GateSection, value)
    gate, more = _build_gate(value)
    if problems + more:
        raise InvalidRules(source, problems + more)
    return gate


def _validate(kind: type[_Kind], value: Any) -> tuple[_Kind | None, list[str]]:
    try:
        return kind.model_validate(value), []
    except ValidationError as error:
        return None, list(_describe(error))


def _describe(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        if problem["type"] == "extra_forbidden":
            yield f"{place} is unknown"
        elif problem["type"] == "missing":
            yield f"{place} is missing"
        elif problem["type"] == "string_type":
            yield f"{place}: {problem['input']!r} is not text; put it in quotes"
        elif problem["type"] in ("model_type", "dict_type"):
            yield f"{place or 'the file'} is not a table of names and values"
        else:
            yield f"{place}: {problem['input']!r}: {problem['msg']}"


def _build_gate(value: Any) -> tuple[Gate, list[str]]:
    """The gate and every problem of its limits; what is no list of texts is left out, pydantic has told it."""
    if not isinstance(value, dict):
        return Gate(), []
    problems: list[str] = []
    sections = {}
    for name in _GateSection.model_fields:
        lines = value.get(name, [])
        lines = [line for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
        sections[name] = _parse_limits(name, lines, problems)
    for name in ("against_production", "first_version"):
        if not value.get("always") and not value.get(name):
            problems.append(f"gate: always and {name} are both empty, and nothing may pass unasked")
    return Gate(**sections), problems


def _parse_limits(name: str, lines: Sequence[str], problems: list[str]) -> tuple[Limit, ...]:
    limits: list[Limit] = []
    for line in lines:
        try:
            limit = parse_limit(line)
        except InvalidRules as error:
            problems += [f"gate.{name}: {problem}" for problem in error.problems]
            continue
        if (limit.of == PRODUCTION) != (name == "against_production"):
            only = f"only limits against {PRODUCTION} stand here" if name == "against_production" else (
                f"a limit against {PRODUCTION} stands under against_production"
            )  # fmt: skip
            problems.append(f"gate.{name}: {line!r}: {only}")
        elif limit in limits:
            problems.append(f"gate.{name}: {line!r} stands twice")
        limits.append(limit)
    return tuple(limits)
