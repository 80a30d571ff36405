"""The digest of a table: sha256 over its content in the canonical form that docs/digest.md defines."""

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelyard.data.plain import unwrap, unwrapped_type
from modelyard.data.schema import canonical_type, is_any_list
from modelyard.errors import DigestRefused

FORM = b"modelyard-digest-1\n"
BLOCK_ROWS = 131_072  # of doubles 1 MB, still in the cache when sha256 reads it; smaller blocks leave cores waiting
_INLINE_BYTES = 131_072  # below, a thread costs more than it saves


class Digest:
    """A digest that is fed a batch of rows at a time, in memory that does not grow with the rows.

    Each column has hash contexts of its own, so that all cores work; while a batch is hashed, the next one can be
    read. Batches may differ in physical form (dictionary or plain, string or large_string), not in type.

    Args:
        schema: names and types of the columns.

    Raises:
        DigestRefused: a column's type has no canonical form.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._columns = [(field.name, canonical_type(field)) for field in schema]
        self._nodes = [_Node(field.type) for field in schema]
        self._pool = ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, len(self._nodes))), "digest")
        self._pending: list[Future[None]] = []
        self.num_rows = 0

    def update(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add the rows of ``batch`` after those before.

        Raises:
            DigestRefused: another schema than the first, or a value out of its type's range.
        """
        if batch.schema is not self._schema and not batch.schema.equals(self._schema):
            found = [(field.name, canonical_type(field)) for field in batch.schema]
            if found != self._columns:
                raise DigestRefused(f"a batch has the columns {found}, the first one had {self._columns}")
        self._wait()
        self.num_rows += batch.num_rows
        columns: list[Any] = batch.columns
        work = list(zip(self._nodes, self._columns, columns, strict=True))
        if batch.nbytes < _INLINE_BYTES:
            for node, (name, _), column in work:
                _update_column(node, name, column)
        else:
            # The largest first, so that no core is left alone with one at the end.
            work.sort(key=lambda item: item[2].nbytes, reverse=True)
            self._pending = [self._pool.submit(_update_column, node, name, data) for node, (name, _), data in work]

    def hexdigest(self, *, leave_out: Collection[str] = ()) -> str:
        """The digest of all rows so far, of all columns but those left out: 64 hexadecimal digits."""
        self._wait()
        kept = [part for part in zip(self._columns, self._nodes, strict=True) if part[0][0] not in leave_out]
        whole = hashlib.sha256(FORM + _uint64(self.num_rows) + _uint64(len(kept)))
        for (name, type_text), node in kept:
            for text in (name.encode(), type_text.encode()):
                whole.update(_uint64(len(text)) + text)
            whole.update(node.digest())
        return whole.hexdigest()

    def _wait(self) -> None:
        pending, self._pending = self._pending, []
        for future in pending:
            future.result()


def digest_table(table: pa.Table) -> str:
    """sha256 of a table's content, every row and every column, in order: 64 hexadecimal digits.

    Raises:
        DigestRefused: a column's type has no canonical form.
    """
    return digest_batches(table.schema, [table])


def digest_batches(schema: pa.Schema, batches: Iterable[pa.RecordBatch | pa.Table]) -> str:
    """The same digest as ``digest_table``, of rows that come in batches.

    Raises:
        DigestRefused: a column's type has no canonical form, or a batch has another schema.
    """
    digest = Digest(schema)
    for batch in batches:
        digest.update(batch)
    return digest.hexdigest()


class _Node:
    """The hash contexts of one column, or of one nested part of it."""

    def __init__(self, data_type: Any) -> None:
        self.num_values = 0
        self.nulls, self.lengths, self.values = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        self.children = [_Node(child) for child in _child_types(data_type)]

    def update(self, array: "pa.Array[Any]") -> None:
        for start in range(0, len(array), BLOCK_ROWS):
            block = _plain(array.slice(start, BLOCK_ROWS))
            if not pa.types.is_null(block.type):
                self._update_block(block)
            self.num_values += len(block)

    def _update_block(self, block: Any) -> None:
        if block.null_count:
            positions = np.flatnonzero(pc.is_null(block).to_numpy(zero_copy_only=False)) + self.num_values
            self.nulls.update(positions.astype("<u8").data)
        if is_any_list(block.type):
            self.lengths.update(_lengths_bytes(pc.list_value_length(block).drop_null().to_numpy()))
        if is_any_list(block.type) or pa.types.is_fixed_size_list(block.type):
            self.children[0].update(block.flatten())  # which leaves out what lies under a null
            return
        for part in _present_parts(block) if block.null_count else [block]:
            if len(part):
                self._update_present(part)

    def _update_present(self, block: Any) -> None:
        data_type, types = block.type, pa.types
        if types.is_struct(data_type):
            for index, child in enumerate(self.children):
                child.update(block.field(index))
        elif types.is_map(data_type):
            offsets = _offsets(block, "<i4")
            self.lengths.update(_lengths_bytes(np.diff(offsets)))
            self.children[0].update(block.values.slice(offsets[0], offsets[-1] - offsets[0]))
        elif types.is_large_string(data_type) or types.is_large_binary(data_type):
            self._update_texts(block, "<i8")
        elif types.is_string(data_type) or types.is_binary(data_type):
            self._update_texts(block, "<i4")
        else:
            self.values.update(_fixed_width_bytes(block))

    def _update_texts(self, block: Any, offset_type: str) -> None:
        offsets = _offsets(block, offset_type)
        self.lengths.update(_lengths_bytes(np.diff(offsets)))
        if offsets[-1] > offsets[0]:
            self.values.update(block.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0])))

    def digest(self) -> bytes:
        whole = hashlib.sha256(self.nulls.digest() + self.lengths.digest() + self.values.digest())
        for child in self.children:
            whole.update(child.digest())
        return whole.digest()


def _update_column(node: _Node, name: str, column: Any) -> None:
    try:
        for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
            node.update(chunk)
    except (pa.ArrowInvalid, OverflowError) as error:
        raise DigestRefused(f"column {name!r} of type {column.type}: {error}") from None


def _child_types(data_type: Any) -> list[Any]:
    types, data_type = pa.types, unwrapped_type(data_type)
    if types.is_map(data_type):
        return [pa.struct([("key", data_type.key_type), ("value", data_type.item_type)])]
    if types.is_struct(data_type):
        return [field.type for field in data_type]
    if types.is_fixed_size_list(data_type) or is_any_list(data_type):
        return [data_type.value_type]
    return []


def _plain(array: Any) -> Any:
    """The same values without extension, dictionary, runs, views, seconds or odd widths."""
    array = unwrap(array)
    target = _plain_type(array.type)
    return array if target == array.type else array.cast(target)


def _plain_type(data_type: Any) -> Any:
    types = pa.types
    if types.is_decimal(data_type) and data_type.precision <= 38:
        return pa.decimal128(data_type.precision, data_type.scale)
    if types.is_timestamp(data_type) and data_type.unit == "s":
        return pa.timestamp("ms", data_type.tz)
    if types.is_time32(data_type):
        return pa.time32("ms")
    if types.is_duration(data_type) and data_type.unit == "s":
        return pa.duration("ms")
    if types.is_date64(data_type):
        return pa.date32()
    if types.is_string_view(data_type):
        return pa.large_string()
    if types.is_binary_view(data_type):
        return pa.large_binary()
    return data_type


def _present_parts(block: Any) -> Iterator[Any]:
    """The values that are not null, in order, in as few arrays as pyarrow allows."""
    try:
        yield block.drop_null()
    except pa.ArrowNotImplementedError:  # views and runs inside a struct
        valid = pc.is_valid(block).to_numpy(zero_copy_only=False).astype("i1")
        edges = np.flatnonzero(np.diff(valid, prepend=0, append=0))
        for start, stop in edges.reshape(-1, 2).tolist():
            yield block.slice(start, stop - start)


def _offsets(block: Any, offset_type: str) -> "np.ndarray[Any, Any]":
    """Where each value begins, and where the last one ends."""
    width = np.dtype(offset_type).itemsize
    return np.frombuffer(block.buffers()[1], offset_type, len(block) + 1, block.offset * width)


def _lengths_bytes(lengths: "np.ndarray[Any, Any]") -> Any:
    if lengths.size and lengths.itemsize > 4 and lengths.max() >= 2**32:
        raise OverflowError("a value has 2**32 bytes or elements or more")
    return lengths.astype("<u4", copy=False).data


def _fixed_width_bytes(block: Any) -> Any:
    """The values of an array without nulls, little-endian, one after the other; a boolean is one byte."""
    if pa.types.is_boolean(block.type):
        block = block.cast(pa.uint8())
    width = block.type.bit_width // 8
    if width == 0:
        return b""
    data = block.buffers()[1].slice(block.offset * width, len(block) * width)
    if not pa.types.is_floating(block.type):
        return data
    values = np.frombuffer(data, f"<f{width}")
    with np.errstate(invalid="ignore"):  # a signalling NaN
        if not np.isnan(values.max()):
            return data
    return np.where(np.isnan(values), values.dtype.type(np.nan), values).data


def _uint64(number: int) -> bytes:
    return number.to_bytes(8, "little")
