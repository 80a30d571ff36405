"""Expectations bound to the columns of a dataset: each rule in words and as a comparison in the column's type."""

import math
import re
from dataclasses import dataclass, field
from datetime import time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from modelyard.data.expectations import TYPE_FAMILIES, Expectation, Expectations
from modelyard.data.plain import unwrap, unwrapped_type
from modelyard.data.schema import canonical_type
from modelyard.errors import InvalidExpectation

_MOST_SHOWN = 10
_NUMBERS = ("integer", "float", "decimal")


@dataclass(slots=True, kw_only=True)
class BoundColumn:
    """An expectation and the column that it is about.

    Attributes:
        name: as the workload says it; ``full_name`` as the dataset's table does.
        rules: in words, by kind, in the order in which they are told.
        checks: of those about single values pandera's check and what it compares with, by kind.
    """

    name: str
    full_name: str
    rules: dict[str, str] = field(default_factory=dict)
    checks: dict[str, tuple[str, Any]] = field(default_factory=dict)

    @property
    def is_unique(self) -> bool:
        return "unique" in self.rules


def bind_columns(expectations: Expectations, schema: pa.Schema) -> list[BoundColumn]:
    """The expectations of columns, each with its column of the dataset's table (``X.<name>``, ``y.<name>``, …).

    Raises:
        InvalidExpectation: an unknown column, a value that is none of the column's type, limits that nothing can meet;
            all of them are listed.
    """
    problems: list[str] = []
    bound = []
    names = [expected.column for expected in expectations.columns]
    problems += [f"{name!r} is expected twice" for name in sorted({name for name in names if names.count(name) > 1})]
    low, high = expectations.min_rows, expectations.max_rows
    if high is not None and low > high:
        problems.append(f"at least {low:,} and at most {high:,} rows cannot both hold")
    for name in expectations.unique_key:
        try:
            _check_comparable(name, schema)
        except InvalidExpectation as mistake:
            problems += mistake.problems
    if len(set(expectations.unique_key)) < len(expectations.unique_key):
        problems.append(f"the unique key {', '.join(expectations.unique_key)} names a column twice")
    for expected in expectations.columns:
        try:
            full_name = find_column(expected.column, schema)
            if full_name is not None:
                bound.append(_bind(expected, full_name, schema))
            elif expected.required:
                problems.append(_describe_missing(expected.column, schema))
        except InvalidExpectation as mistake:
            problems += [f"{expected.column}: {problem}" for problem in mistake.problems]
    if problems:
        raise InvalidExpectation(problems)
    return bound


def find_column(name: str, schema: pa.Schema) -> str | None:
    """The column of a dataset's table that a workload calls ``name``, or None.

    Raises:
        InvalidExpectation: X, y and extra have several of this name.
    """
    found = [full for full in schema.names if name in (full, full.partition(".")[2])]
    if len(found) > 1:
        raise InvalidExpectation([f"{name!r} may be any of {', '.join(found)}; name one of them in full"])
    return found[0] if found else None


def plain_column(column: "pa.ChunkedArray[Any]") -> "pa.ChunkedArray[Any]":
    """The values in a type that can be compared, without dictionaries and the like; a NaN is null."""
    column = unwrap(column)
    column = column.cast(_plain_type(column.type))
    if pa.types.is_floating(column.type):
        missing = pc.is_nan(column)
        if pc.any(missing).as_py():
            return pc.if_else(missing, pa.scalar(None, column.type), column)  # type: ignore[no-any-return]
    return column


def _bind(expected: Expectation, full_name: str, schema: pa.Schema) -> BoundColumn:
    name, data_type = expected.column, unwrapped_type(schema.field(full_name).type)
    bound = BoundColumn(name=name, full_name=full_name)
    family = _family(data_type)
    if expected.type is not None:
        if expected.type not in TYPE_FAMILIES:
            raise InvalidExpectation([f"there is no type {expected.type!r}; known: {', '.join(TYPE_FAMILIES)}"])
        if expected.type != family and not (expected.type == "number" and family in _NUMBERS):
            # The other rules of this column cannot be asked.
            found = canonical_type(schema.field(full_name))
            bound.rules["type"] = f"{name} is of type {expected.type}, not {found}"
            return bound
    if pa.types.is_null(data_type):  # of what has no value at all nothing else can be asked
        if not expected.nullable:
            bound.rules["null"] = f"{name} is not null"
        return bound
    _bind_limits(expected, bound, data_type)
    if not expected.nullable:
        bound.rules["null"] = f"{name} is not null"
    if expected.allowed is not None:
        if not expected.allowed:
            raise InvalidExpectation(["no value at all is allowed"])
        shown = [repr(value) for value in expected.allowed[:_MOST_SHOWN]]
        more = ["…"] if len(expected.allowed) > _MOST_SHOWN else []
        bound.rules["allowed"] = f"{name} is one of {', '.join(shown + more)}"
        bound.checks["allowed"] = ("isin", [_convert(value, data_type) for value in expected.allowed])
    if expected.pattern is not None:
        bound.rules["pattern"] = f"{name} matches {expected.pattern}"
        bound.checks["pattern"] = ("str_matches", _convert_pattern(expected.pattern, family))
    if expected.unique:
        _check_comparable(full_name, schema)
        bound.rules["unique"] = f"{name} is unique"
    return bound


def _bind_limits(expected: Expectation, bound: BoundColumn, data_type: Any) -> None:
    limits = []
    for kind, value, sign, check in (
        ("low", expected.low, *((">=", "ge") if expected.low_included else (">", "gt"))),
        ("high", expected.high, *(("<=", "le") if expected.high_included else ("<", "lt"))),
    ):
        if value is None:
            continue
        if pa.types.is_boolean(data_type):
            raise InvalidExpectation(["a bool has no least or largest value"])
        limits.append(_convert(value, data_type))
        bound.rules[kind] = f"{bound.name} {sign} {value}"
        bound.checks[kind] = (check, limits[-1])
    if len(limits) == 2:
        low, high = limits
        if low > high or (low == high and not (expected.low_included and expected.high_included)):
            raise InvalidExpectation([f"{' and '.join(bound.rules.values())} cannot both hold"])


def _convert(value: Any, data_type: Any) -> Any:
    """A declared value as one of the column's type.

    Raises:
        InvalidExpectation: it is none.
    """
    family, is_number = _family(data_type), isinstance(value, int | float) and not isinstance(value, bool)
    try:
        if family in _NUMBERS and is_number and math.isfinite(value):
            if family == "float":  # as the column has it: 0.1 is another number as float32
                return pa.scalar(float(value)).cast(data_type, safe=False).as_py()
            if family == "decimal":
                return Decimal(str(value))
            if value == int(value):
                converted = int(value)
                return Decimal(converted) if pa.types.is_uint64(data_type) else _in_range(converted)
        elif (family == "bool" and isinstance(value, bool)) or (family == "text" and isinstance(value, str)):
            return value
        elif family == "time" and isinstance(value, str):
            return time.fromisoformat(value)  # Arrow reads no time of a day
        elif family in ("date", "timestamp") and isinstance(value, str):
            return pa.scalar(value).cast(data_type).as_py()
        elif family == "duration" and is_number:
            import pandas as pd

            return pd.Timedelta(seconds=value)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError, ValueError):
        pass
    zone = "; it needs a Z or an offset" if pa.types.is_timestamp(data_type) and data_type.tz else ""
    raise InvalidExpectation([f"{value!r} cannot be compared with values of type {data_type}{zone}"])


def _in_range(value: int) -> int:
    return int(pa.scalar(value, pa.int64()).as_py())


def _convert_pattern(pattern: str, family: str) -> str:
    if family != "text":
        raise InvalidExpectation([f"a pattern is for text, and its type is {family}"])
    whole = f"^(?:{pattern})$"
    try:
        re.compile(whole)  # pandera asks Python's re, and Arrow its own
        pc.match_substring_regex(pa.array([""]), pattern=whole)
    except (re.error, pa.ArrowInvalid) as error:
        raise InvalidExpectation([f"the pattern {pattern!r} cannot be used: {error}"]) from None
    return whole


def _check_comparable(name: str, schema: pa.Schema) -> None:
    full_name = find_column(name, schema)
    if full_name is None:
        raise InvalidExpectation([_describe_missing(name, schema)])
    data_type = schema.field(full_name).type
    plain = _plain_type(unwrapped_type(data_type))
    if _family(plain) == "other" and not (pa.types.is_binary(plain) or pa.types.is_null(plain)):
        raise InvalidExpectation([f"values of type {data_type} cannot be unique, they cannot be compared"])


def _describe_missing(name: str, schema: pa.Schema) -> str:
    known = ", ".join(schema.names[:20]) + (", …" if len(schema.names) > 20 else "")
    return f"{name!r} is no column of the dataset; it has {known}"


def _plain_type(data_type: Any) -> Any:
    """What a column is cast to before it is compared."""
    types = pa.types
    if types.is_string(data_type) or types.is_string_view(data_type):
        return pa.large_string()
    if types.is_large_binary(data_type) or types.is_binary_view(data_type) or types.is_fixed_size_binary(data_type):
        return pa.binary()
    if types.is_float16(data_type):
        return pa.float32()
    if types.is_uint64(data_type):
        return pa.decimal128(20, 0)  # pandas' comparisons overflow above 2**63
    return pa.date32() if types.is_date64(data_type) else data_type


def _family(data_type: Any) -> str:
    types = pa.types
    for family, fits in (
        ("bool", types.is_boolean), ("integer", types.is_integer), ("float", types.is_floating),
        ("decimal", types.is_decimal), ("date", types.is_date), ("timestamp", types.is_timestamp),
        ("time", types.is_time), ("duration", types.is_duration),
    ):  # fmt: skip
        if fits(data_type):
            return family
    texts = types.is_string(data_type) or types.is_large_string(data_type) or types.is_string_view(data_type)
    return "text" if texts else "other"
