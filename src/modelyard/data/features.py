"""The columns of a file that a model takes: checked before the first row, cut out of each batch as it was trained."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from modelyard.data.compatibility import Column, compare_columns
from modelyard.data.plain import unwrap
from modelyard.data.schema import canonical_type
from modelyard.errors import DigestRefused

if TYPE_CHECKING:
    import pandas as pd

_FLOATS = ("float16", "float32", "float64")
_INTEGERS = tuple(f"{kind}{width}" for kind in ("int", "uint") for width in (8, 16, 32, 64))
_TIMES = re.compile(r'timestamp\[(?P<unit>ms|us|ns)(, "(?P<zone>[^"]+)")?\]')
_UNITS: dict[str, Any] = {unit: unit for unit in ("ms", "us", "ns")}
_PLAIN: dict[str, Any] = {
    "bool": pa.bool_(),
    **{name: getattr(pa, name)() for name in (*_INTEGERS, *_FLOATS, "string")},
}


def check_features(
    schema: pa.Schema, expected: Sequence[Column], *, widths: bool = True, optional: Sequence[str] = ()
) -> list[str]:
    """What keeps the columns of a file from being features, each difference in words; others and the order are free.

    A float is taken for an integer here: integers with nulls are often stored so. ``take_features`` sees its values.
    A date is taken for a time without a zone, its midnight: CSV writes one like the other.

    Args:
        schema: the file's.
        expected: the features.
        widths: whether the file tells how wide numbers are; where it does not, any width is taken.
        optional: names of features that may be missing.
    """
    wanted = {column["name"]: column["type"] for column in expected}
    found = []
    for field in schema:
        if field.name in wanted:
            kind = _name_type(field)
            if _may_become(kind, wanted[field.name], widths=widths):
                kind = wanted[field.name]
            found.append({"name": field.name, "type": kind})
    in_order = sorted(found, key=lambda column: list(wanted).index(column["name"]))
    return compare_columns(in_order, expected, optional=optional)


def take_features(rows: pa.Table, expected: Sequence[Column], *, optional: Sequence[str] = ()) -> pa.Table:
    """The features alone, in the order and of the types that the model was trained with.

    Of those that ``optional`` names, one that is missing is a column of nulls.

    Raises:
        pyarrow.ArrowInvalid: a number that is not whole or too large, where an integer is expected.
    """
    columns = []
    for column in expected:
        if column["name"] in optional and column["name"] not in rows.column_names:
            columns.append(_make_nulls(rows.num_rows, column))
            continue
        values: Any = unwrap(rows.column(column["name"]))
        wanted = _PLAIN.get(column["type"])
        if wanted is not None and values.type != wanted and not _is_text(values.type, wanted):
            if pa.types.is_integer(wanted) and pa.types.is_floating(values.type):  # NaN stands for null there
                values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
            values = values.cast(wanted, safe=pa.types.is_integer(wanted))
        elif pa.types.is_date(values.type) and (time := _TIMES.fullmatch(column["type"])):
            values = values.cast(pa.timestamp(_UNITS[time["unit"]]))
        columns.append(values)
    return pa.Table.from_arrays(columns, names=[column["name"] for column in expected])


def fill_features(frame: "pd.DataFrame", expected: Sequence[Column], *, optional: Sequence[str]) -> "pd.DataFrame":
    """The features of a frame in their order; of those that ``optional`` names, one that is missing is nulls."""
    import pandas as pd

    missing = {
        column["name"]: pd.Series(_make_nulls(len(frame), column).to_pandas().array, index=frame.index)
        for column in expected
        if column["name"] in optional and column["name"] not in frame.columns
    }
    return frame.assign(**missing)[[column["name"] for column in expected]] if missing else frame


def _make_nulls(num_rows: int, column: Column) -> Any:
    """A column of nulls that pandas gives the type that the feature has."""
    name = column["type"]
    found = _TIMES.fullmatch(name)
    data_type = _PLAIN.get(name, pa.null())
    if found is not None:
        data_type = pa.timestamp(_UNITS[found["unit"]], found["zone"])
    return pa.nulls(num_rows, data_type)


def _may_become(kind: str, wanted: str, *, widths: bool) -> bool:
    if wanted in _INTEGERS and kind in ("float32", "float64"):
        return True
    if kind == "date" and wanted.startswith("timestamp"):  # its midnight, of no zone
        return "," not in wanted
    return not widths and wanted in (*_INTEGERS, *_FLOATS) and kind in (*_INTEGERS, *_FLOATS)


def _is_text(found: Any, wanted: Any) -> bool:
    return wanted == pa.string() and (pa.types.is_large_string(found) or pa.types.is_string_view(found))


def _name_type(field: "pa.Field[Any]") -> str:
    try:
        return canonical_type(field)
    except DigestRefused:
        return str(field.type)
