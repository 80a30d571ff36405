"""Groups (participants, sites) that a model was trained on: none of their rows tells how it does on others."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from modelyard.data.dataset_reader import DatasetFiles

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


def find_seen_groups(
    rows: DatasetFiles, column: str, *, others: DatasetFiles, their_column: str, trained_on: tuple[str, ...]
) -> tuple[Mask, list[str]]:
    """Which test rows are of a group that a model was trained on; groups are the same if they read the same.

    Memory is that of each different group, and of a row group of one column.

    Args:
        rows: the files of the dataset whose test rows are meant.
        column: of its groups, e.g. ``extra.participant``.
        others: the files of the dataset that the model was trained on; it may be the same one.
        their_column: of the groups there.
        trained_on: the splits that count there.

    Returns:
        One value a test row, and the groups that were seen, sorted.
    """
    known: Any = pa.array([], pa.string())
    for groups in _read_groups(others, their_column, trained_on):
        known = pc.unique(pa.concat_arrays([known, pc.unique(groups)]))
    seen, names = [np.empty(0, bool)], set()
    for groups in _read_groups(rows, column, ("test",)):
        here = pc.is_in(groups, value_set=known)
        seen.append(np.asarray(here))
        names |= set(pc.unique(groups.filter(here)).to_pylist())
    return np.concatenate(seen), sorted(map(str, names))


def _read_groups(files: DatasetFiles, column: str, splits: tuple[str, ...]) -> "Iterator[pa.ChunkedArray[Any]]":
    """The group of each row in these splits as text, a row group at a time."""
    side, _, name = column.partition(".")
    groups, split = (pq.ParquetFile(files.path(part)) for part in (side, "split"))
    for index in range(split.num_row_groups):
        values: Any = groups.read_row_group(index, columns=[name])[name]
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        of: Any = split.read_row_group(index)["split"].cast(pa.string())
        yield values.cast(pa.string()).filter(pc.is_in(of, value_set=pa.array(splits)))
