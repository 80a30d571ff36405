"""CSV in batches, each column of the one type that all of the file's values have."""

import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from modelyard.errors import RawDataMalformed

WHOLE_FILE_BYTES = 16 * 2**20  # up to here a file is read in one block, and so with types that hold for all of it
BLOCK_BYTES = 2**20  # Arrow reads many blocks ahead: measured 0.2 GB in all; 1.3 GB with blocks of 16 MB

# The order in which Arrow itself tries types on a block; docs/digest.md promises it.
_TYPES: tuple[Any, ...] = (
    pa.null(),
    pa.int64(),
    pa.bool_(),
    pa.date32(),
    pa.time32("s"),
    pa.timestamp("s"),
    pa.timestamp("ns"),
    pa.timestamp("s", "UTC"),
    pa.timestamp("ns", "UTC"),
    pa.float64(),
    pa.string(),
    pa.binary(),
)
_CONVERSION_ERROR = re.compile(r"In CSV column #(\d+): .*?invalid value '(.*)'", re.DOTALL)
_INVALID_UTF8 = re.compile(r"In CSV column #(\d+): .*?invalid UTF8", re.DOTALL)


def open_csv_batches(path: Path, *, delimiter: str = ",") -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Schema and record batches of a CSV file whose first line names the columns.

    A file larger than 16 MB is read twice: first to find types that hold for every row. A row of such a file may have
    up to 1 MB.

    Raises:
        RawDataMalformed: two columns of one name, or a name that is not UTF-8.
        pyarrow.ArrowInvalid: a row with another number of values, by its number; raised while iterating, too.
    """
    first = _open(path, delimiter, {})
    schema = first.schema
    try:
        twice = [name for name, count in Counter(schema.names).items() if count > 1]
    except UnicodeDecodeError:
        raise RawDataMalformed(path, ["its first line is not UTF-8"], hint="Save it as UTF-8.") from None
    if twice:
        raise RawDataMalformed(path, [f"column {name!r} occurs more than once" for name in twice])
    if path.stat().st_size <= WHOLE_FILE_BYTES:
        return schema, iter(first)
    schema = _settle_types(path, delimiter, schema)
    return schema, iter(_open(path, delimiter, dict(zip(schema.names, schema.types, strict=True))))


def _open(path: Path, delimiter: str, column_types: dict[str, Any]) -> csv.CSVStreamingReader:
    return csv.open_csv(
        path,
        # One thread, because only then errors carry the number of their row.
        read_options=csv.ReadOptions(use_threads=False, block_size=_block_bytes(path)),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=_convert_options(column_types),
    )


def _block_bytes(path: Path) -> int:
    return WHOLE_FILE_BYTES if path.stat().st_size <= WHOLE_FILE_BYTES else BLOCK_BYTES


def _convert_options(column_types: dict[str, Any]) -> csv.ConvertOptions:
    return csv.ConvertOptions(
        column_types=column_types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
    )


def _settle_types(path: Path, delimiter: str, schema: pa.Schema) -> pa.Schema:
    """Read the file to its end and widen a column's type wherever a value does not fit it."""
    types: list[Any] = list(schema.types)
    while True:
        try:
            for _ in _open(path, delimiter, dict(zip(schema.names, types, strict=True))):
                pass
        except pa.ArrowInvalid as error:
            index, widened = _widen(types, str(error))
            if widened is None:
                raise
            types[index] = widened
        else:
            return pa.schema(list(zip(schema.names, types, strict=True)))


def _widen(types: list[Any], message: str) -> tuple[int, Any]:
    """Which column does not hold its type, and the next type that the named value fits, or None."""
    found = _CONVERSION_ERROR.search(message)
    if found is None:
        found = _INVALID_UTF8.search(message)
        return (int(found[1]), pa.binary()) if found else (-1, None)
    index = int(found[1])
    wider = _TYPES[_TYPES.index(types[index]) + 1 :]
    return index, next((data_type for data_type in wider if _fits(found[2], data_type)), None)


def _fits(value: str, data_type: Any) -> bool:
    cell = 'a\n"' + value.replace('"', '""') + '"\n'
    try:
        csv.read_csv(io.BytesIO(cell.encode()), convert_options=_convert_options({"a": data_type}))
    except pa.ArrowInvalid:
        return False
    return True
