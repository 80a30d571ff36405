"""Row groups of a dataset: where each ends follows from the rows, however they came."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelyard.data.dataset import DatasetTables
from modelyard.data.plain import unwrap
from modelyard.data.schema import is_any_list

MAX_ROWS, MAX_BYTES = 131_072, 64 * 2**20
_LENGTH_BYTES = 4  # of a text or list, beside what is in it

Sizes = np.ndarray[Any, np.dtype[np.int64]]


def cut_groups(
    parts: Iterable[DatasetTables], *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES
) -> Iterator[DatasetTables]:
    """The same rows in groups: each ends after ``max_rows`` rows, or with the row that makes it ``max_bytes`` large.

    So memory is that of one group, whatever rows come later: of long ones a group has few.
    """
    waiting: list[DatasetTables] = []
    num_rows = num_bytes = 0
    for part in parts:
        start = 0
        while start < part.num_rows:
            rows = part.slice(start, max_rows - num_rows)
            ends = num_bytes + np.cumsum(_count_bytes(rows))
            rows = rows.slice(0, int(np.searchsorted(ends, max_bytes)) + 1)
            waiting.append(rows)
            start, num_rows, num_bytes = start + rows.num_rows, num_rows + rows.num_rows, int(ends[rows.num_rows - 1])
            if num_rows == max_rows or num_bytes >= max_bytes:
                yield _join(waiting)
                waiting, num_rows, num_bytes = [], 0, 0
    if waiting:
        yield _join(waiting)


def _join(parts: list[DatasetTables]) -> DatasetTables:
    extras = [part.extra for part in parts if part.extra is not None]
    return DatasetTables(
        X=pa.concat_tables([part.X for part in parts]),
        y=pa.concat_tables([part.y for part in parts]),
        split=pa.chunked_array([chunk for part in parts for chunk in _chunks(part.split)]),
        extra=pa.concat_tables(extras) if extras else None,
    )


def _count_bytes(rows: DatasetTables) -> Sizes:
    """How large the values of each row are, the same in any physical form of a chunk."""
    columns = [*rows.X.columns, *rows.y.columns, rows.split, *(rows.extra.columns if rows.extra else ())]
    sizes = np.full(rows.num_rows, sum(_find_width(column.type) or 0 for column in columns))
    for column in columns:
        if _find_width(column.type) is None:
            sizes += np.concatenate([_count_values(chunk) for chunk in _chunks(column)])
    return sizes


def _count_values(array: Any) -> Sizes:
    array, types = unwrap(array), pa.types
    if (width := _find_width(array.type)) is not None:
        return np.full(len(array), width)
    if types.is_struct(array.type):
        return np.asarray(sum(map(_count_values, array.flatten()), np.zeros(len(array), np.int64)))
    if types.is_map(array.type):
        pair = pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])
        array = array.cast(pa.list_(pair))
    if is_any_list(array.type) or types.is_fixed_size_list(array.type):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
        ends = np.concatenate([[0], np.cumsum(_count_values(array.flatten()), dtype=np.int64)])
        edges = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return np.asarray(np.diff(ends[edges]) + _LENGTH_BYTES)
    if types.is_string_view(array.type) or types.is_binary_view(array.type):
        array = array.cast(pa.large_binary())
    lengths = pc.fill_null(pc.binary_length(array), 0).to_numpy()
    return lengths.astype(np.int64) + _LENGTH_BYTES  # type: ignore[no-any-return]


def _find_width(data_type: Any) -> int | None:
    """Bytes of each value, or None where they differ; of a dictionary those of its index."""
    types = pa.types
    if types.is_null(data_type):
        return 0
    if types.is_dictionary(data_type):
        return _find_width(data_type.index_type)
    if types.is_primitive(data_type) or types.is_decimal(data_type) or types.is_fixed_size_binary(data_type):
        return max(1, int(data_type.bit_width) // 8)
    return 16 if types.is_interval(data_type) else None


def _chunks(column: Any) -> list[Any]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]
