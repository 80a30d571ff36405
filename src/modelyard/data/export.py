"""A dataset's rows as one table in a file format, written to a stream a part at a time."""

import base64
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from modelyard.data.dataset import DatasetTables
from modelyard.data.schema import canonical_type
from modelyard.data.times import TimeScale
from modelyard.errors import BadInput, UnsupportedFile

BINARY_FORMATS = ("parquet", "arrow")
# canonical types that reading the text again gives back
_KEPT_TYPES = {"csv": ("bool", "int64", "float64", "string", "date"), "jsonl": ("bool", "int64", "float64", "string")}


def name_columns(part: DatasetTables, *, full_names: bool = False) -> list[str]:
    """The columns' names in the file: their own, and ``X.<name>`` etc. of those that two columns share.

    With ``full_names`` all are ``X.<name>``, ``y.<name>``, ``split``, ``extra.<name>``, under which the digest of the
    file is the dataset's.
    """
    full = part.table().column_names
    if full_names:
        return full
    own = [name for table in part.parts().values() for name in table.column_names]
    count = Counter(own)
    names = [long if count[short] > 1 else short for short, long in zip(own, full, strict=True)]
    return full if len({*names}) < len(names) else names


def list_changed_types(schema: pa.Schema, format_name: str) -> list[str]:
    """Columns, with their type, whose type somebody who reads the text does not find again."""
    kept = _KEPT_TYPES.get(format_name)
    types = [(field.name, canonical_type(field)) for field in schema] if kept else []
    return [f"{name} ({text})" for name, text in types if kept and text not in kept]


def write_rows(parts: Iterable[DatasetTables], sink: BinaryIO, *, format_name: str, names: list[str]) -> int:
    """Write the rows of a dataset, X, y, split and extra side by side; return how many.

    Parquet and Arrow give back the same values and types. CSV and JSON give back the same numbers and nulls, and not
    what their text does not tell: widths of numbers, times, decimals. Whoever reads CSV takes a column whose texts all
    look like numbers, dates or true and false for those (007 is 7), and of JSON one of times for times; of CSV doubles
    that are all whole come back as integers, and JSON has null for NaN.

    The writers of Parquet and Arrow end their file when they are interrupted, too. Nothing of that reaches the sink, so
    that what is cut short does not look whole.

    Args:
        parts: the rows, at least one part; they all have the same columns.
        sink: a stream that need not be a file.
        format_name: one of ``FORMATS``.
        names: of the columns, as ``name_columns`` gives them.

    Raises:
        UnsupportedFile: a column that the format cannot hold; of its type before anything is written.
    """
    return write_tables((part.table().rename_columns(names) for part in parts), sink, format_name=format_name)


def write_tables(tables: Iterable[pa.Table], sink: BinaryIO, *, format_name: str) -> int:
    """Write tables of the same columns one after the other, as ``write_rows`` does; return how many rows.

    Parquet and Arrow keep the metadata of the first one's schema. ``tables`` holds at least one.

    Raises:
        UnsupportedFile: a column that the format cannot hold; of its type before anything is written.
    """
    decoded = map(_decoded, tables)
    first = next(decoded)
    _check_types(first.schema, format_name)
    num_rows = 0
    try:
        counted = _Counted(sink)
        with _WRITERS[format_name](counted, first.schema) as write:
            try:
                for table in chain([first], decoded):
                    write(table)
                    num_rows += table.num_rows
            except BaseException:
                counted.drop()
                raise
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise UnsupportedFile(f"{format_name} cannot hold these rows: {error}; choose another --format") from None
    return num_rows


@contextmanager
def whole_file(
    path: Path, *, replace: bool = False, option: str = "--output", replacing: str = "--force"
) -> Iterator[BinaryIO]:
    """A stream into a file that appears at the end of the block, whole, or not at all.

    ``option`` and ``replacing`` are what the command calls the path and the wish to replace a file.

    Raises:
        BadInput: it is there and ``replace`` was not asked for, or it cannot be written.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise BadInput(f"{path} is no plain file; name another one with {option}")
    if path.exists() and not replace:
        raise BadInput(f"{path} is there already; name another file with {option}, or replace it with {replacing}")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        file = part.open("xb")
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror}); name another file with {option}") from None
    try:
        with file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class _Counted:
    """A stream that knows how much went through it: writers ask, and a pipe cannot say."""

    closed = False

    def __init__(self, sink: BinaryIO) -> None:
        self._sink, self._size, self._is_dropped = sink, 0, False

    def drop(self) -> None:
        """Let nothing through any more."""
        self._is_dropped = True

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if not self._is_dropped:
            self._sink.write(data)
        self._size += size
        return size

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        self._sink.flush()

    def close(self) -> None:
        """The stream stays open: it is another's."""


def _decoded(table: pa.Table) -> pa.Table:
    """Categories as their values: a dictionary differs from part to part, and files can hold only one."""
    for index, field in enumerate(table.schema):
        data_type: Any = field.type
        if pa.types.is_dictionary(data_type):
            data_type = data_type.value_type
        if pa.types.is_string_view(data_type):
            data_type = pa.string()
        if data_type != field.type:
            table = table.set_column(index, field.with_type(data_type), table.column(index).cast(data_type))
    return table


def _check_types(schema: pa.Schema, format_name: str) -> None:
    types = pa.types
    if format_name == "csv":
        wrong = [
            f"{field.name} ({field.type})"
            for field in schema
            if types.is_nested(field.type)
            or types.is_binary(field.type)
            or types.is_large_binary(field.type)
            or types.is_fixed_size_binary(field.type)
        ]
        if wrong:
            raise UnsupportedFile(f"CSV cannot hold {', '.join(wrong)}; choose parquet, arrow or jsonl")
    if format_name == "jsonl":
        twice = [name for name, count in Counter(schema.names).items() if count > 1]
        if twice:
            raise UnsupportedFile(f"JSON cannot hold two columns of one name: {', '.join(twice)}; rename one of each")
        wrong = [
            f"{field.name} ({field.type})"
            for field in schema
            if types.is_nested(field.type) and any(types.is_time(t) or types.is_duration(t) for t in _parts(field.type))
        ]
        if wrong:
            raise UnsupportedFile(f"JSON cannot hold {', '.join(wrong)} in full; choose parquet or arrow")


def _parts(data_type: Any) -> Iterator[Any]:
    """The type, and all types within it."""
    yield data_type
    for index in range(data_type.num_fields):
        yield from _parts(data_type.field(index).type)


Write = Callable[[pa.Table], Any]


@contextmanager
def _parquet(sink: Any, schema: pa.Schema) -> Iterator[Write]:
    with pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
        yield writer.write_table


@contextmanager
def _arrow(sink: Any, schema: pa.Schema) -> Iterator[Write]:
    with pa.ipc.new_file(sink, schema) as writer:
        yield writer.write_table


@contextmanager
def _csv(sink: Any, schema: pa.Schema) -> Iterator[Write]:
    with csv.CSVWriter(sink, schema) as writer:
        yield writer.write_table


@contextmanager
def _jsonl(sink: Any, schema: pa.Schema) -> Iterator[Write]:  # noqa: ARG001
    def write(table: pa.Table) -> None:
        for batch in table.to_batches(max_chunksize=8192):
            columns = [_plain_values(field, column) for field, column in zip(batch.schema, batch.columns, strict=True)]
            names = batch.schema.names
            rows = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
            try:
                lines = [json.dumps(row, ensure_ascii=False, allow_nan=False, default=_as_text) for row in rows]
            except ValueError:
                raise pa.ArrowInvalid("a number is infinite, or NaN in a list, and JSON has neither") from None
            sink.write("".join(f"{line}\n" for line in lines).encode())

    yield write


def _plain_values(field: "pa.Field[Any]", column: Any) -> list[Any]:
    if pa.types.is_time(field.type):  # Python's own time has no nanoseconds
        column = column.cast(pa.string())
    if pa.types.is_duration(field.type):
        scale = TimeScale("duration", field.type.unit)
        return [None if value is None else scale.show(value) for value in column.cast(pa.int64()).to_pylist()]
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(field.type):
        return [None if value != value else value for value in values]  # JSON has no NaN
    return values


def _as_text(value: Any) -> str:
    """What JSON has no kind for: times as ISO 8601 has them, bytes in base64, the rest as it prints."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


_WRITERS = {"parquet": _parquet, "csv": _csv, "arrow": _arrow, "jsonl": _jsonl}
FORMATS = tuple(_WRITERS)
