"""Whether columns are those that a model was trained on: by name, order and type."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from modelyard.data.schema import describe_schema

if TYPE_CHECKING:
    import pandas as pd

NAMES_SHOWN = 10
_NUMBER = re.compile("(u?int|float)([0-9]+)")

Column = Mapping[str, Any]  # name and type as describe_schema gives them


def list_features(schema: Sequence[Column]) -> list[dict[str, Any]]:
    """The columns of X in the recorded schema of a dataset, under their own names."""
    return [{**column, "name": column["name"][2:]} for column in schema if column["name"].startswith("X.")]


def list_targets(schema: Sequence[Column]) -> list[str]:
    """The names of the columns of y in the recorded schema of a dataset."""
    return [column["name"][2:] for column in schema if column["name"].startswith("y.")]


def compare_columns(found: Sequence[Column], expected: Sequence[Column], *, optional: Sequence[str] = ()) -> list[str]:
    """What keeps columns from being taken for the expected ones, each difference in words; empty if nothing does.

    The names and their order must be the same. A type must be the same or become the expected one without harm: an
    integer for a double or for a wider float, a narrower number for a wider one of its kind, another unit of time.
    Whether a column holds nulls is no part of its schema: a model that takes none says so itself. Those of the expected
    columns that ``optional`` names may be missing.
    """
    types = {column["name"]: column["type"] for column in found}
    wanted = {column["name"]: column["type"] for column in expected}
    differences = []
    for what, names in (
        ("missing", [name for name in wanted if name not in types and name not in optional]),
        ("unexpected", [name for name in types if name not in wanted]),
        ("given twice", [name for name in types if sum(column["name"] == name for column in found) > 1]),
    ):
        if names:
            differences.append(f"{what}: {_list(names)}")
    there = [name for name in wanted if name in types]
    if not differences and list(types) != there:
        moved = [name for name, other in zip(there, types, strict=True) if name != other]
        differences.append(f"in another order: {_list(moved)} (expected {_list(there)})")
    differences += [
        f"{name} is {types[name]} and {wanted[name]} is expected"
        for name in wanted
        if name in types and not _fits(types[name], wanted[name])
    ]
    return differences


def compare_targets(found: Sequence[Column], expected: Sequence[Column]) -> list[str]:
    """What keeps targets from being scored as the expected ones; numbers and booleans are scored as any other number.

    Args:
        found: a recorded schema, of which the columns of y count.
        expected: another one.
    """
    names, wanted = list_targets(found), list_targets(expected)
    if names != wanted:
        return [f"its targets are {', '.join(names)}, not {', '.join(wanted)}"]
    types, others = (
        {c["name"][2:]: c["type"] for c in schema if c["name"].startswith("y.")} for schema in (found, expected)
    )
    return [
        f"its target {name} is {types[name]}, not {others[name]}"
        for name in names
        if not _fits(types[name], others[name]) and not (_is_number(types[name]) and _is_number(others[name]))
    ]


def compare_frame(
    frame: "pd.DataFrame | pa.Table", expected: Sequence[Column], *, optional: Sequence[str] = ()
) -> list[str]:
    """Like ``compare_columns``, of rows as they are given to a model.

    A double that holds whole numbers only is taken for an integer: pandas keeps integers with nulls so.
    """
    found, wanted = [], {column["name"]: column["type"] for column in expected}
    for number in range(len(frame.columns)):
        if isinstance(frame, pa.Table):
            name, values = frame.column_names[number], frame.column(number)
        else:
            name = str(frame.columns[number])
            try:
                values = pa.chunked_array([pa.array(frame.iloc[:, number], from_pandas=True)])
            except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
                kind = "of integers beyond 64 bits" if isinstance(error, OverflowError) else "a mixture of types"
                found.append({"name": name, "type": kind})
                continue
        (column,) = describe_schema(pa.Table.from_arrays([values], names=[name]))
        if "int" in wanted.get(name, "") and column["type"] in ("float32", "float64") and _whole(values):
            column["type"] = wanted[name]
        found.append(column)
    return compare_columns(found, expected, optional=optional)


def _is_number(kind: str) -> bool:
    return kind == "bool" or _NUMBER.fullmatch(kind) is not None


def _fits(found: str, expected: str) -> bool:
    if found in (expected, "null"):  # a column of nulls only has no type to tell
        return True
    if found.startswith("timestamp") and expected.startswith("timestamp"):
        return found.partition(",")[2] == expected.partition(",")[2]
    a, b = _NUMBER.fullmatch(found), _NUMBER.fullmatch(expected)
    if a is None or b is None:
        return False
    (kind, width), (wanted, room) = ((match[1], int(match[2])) for match in (a, b))
    if wanted == "float":
        return width <= room if kind == "float" else width < room or room == 64
    if wanted == "int":
        return width <= room if kind == "int" else kind == "uint" and width < room
    return kind == "uint" and width <= room


def _whole(values: "pa.ChunkedArray[Any]") -> bool:
    return bool(pc.all(pc.and_(pc.is_finite(values), pc.equal(pc.floor(values), values)), min_count=0).as_py())


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
