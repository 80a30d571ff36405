"""Values that stand in more than one row, found over any number of chunks in bounded memory."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_MEMORY_BYTES = 64 * 2**20
_FILES = 32
_FIRST, _COUNT = "first", "count"


class Duplicates:
    """Finds rows whose key stands in another row too; rows that lack a part of it are passed over.

    A key that was seen takes 16 bytes and its own values, in memory up to 64 MiB, then in 32 temporary files that are
    read one after the other: of 20,000,000 integers 0.5 GB on disk, and a process of 450 MB in all (measured).

    Args:
        num_columns: of the key.
        folder: where the temporary files may be; default: the system's place for them.
    """

    def __init__(self, num_columns: int, *, folder: Path | None = None) -> None:
        self._names = [f"key{index}" for index in range(num_columns)]
        self._folder = folder
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self._files: list[Any] = []

    def add(self, columns: "Sequence[pa.ChunkedArray[Any]]", *, first_row: int) -> None:
        """Add rows: the key's columns, in the same types each time; ``first_row`` is the number of the first one."""
        n = len(columns[0])
        columns = [
            pc.add(column, 0.0) if pa.types.is_floating(column.type) else column  # -0.0 becomes 0.0: they are one value
            for column in columns
        ]
        rows = pa.chunked_array([pa.array(np.arange(first_row, first_row + n))])
        ones = pa.chunked_array([pa.array(np.ones(n, dtype=np.int64))])
        table = pa.table([*columns, rows, ones], names=[*self._names, _FIRST, _COUNT])
        found = self._merge(table.drop_null())
        self._waiting.append(found)
        self._waiting_bytes += found.nbytes
        if self._waiting_bytes > _MEMORY_BYTES:
            self._move_to_files()

    def find(self, num_examples: int) -> tuple[int, list[tuple[int, Any]]]:
        """How many rows share their key with another one, and for the first such keys their first row and value."""
        count, examples = 0, list[tuple[int, Any]]()
        for part in self._read_parts():
            repeated = self._merge(part).filter(pc.field(_COUNT) > 1)
            count += int(pc.sum(repeated[_COUNT]).as_py() or 0)
            for row in repeated.sort_by(_FIRST).slice(0, num_examples).to_pylist():
                values = [row[name] for name in self._names]
                examples.append((row[_FIRST], values[0] if len(values) == 1 else values))
        return count, sorted(examples, key=lambda example: example[0])[:num_examples]

    def close(self) -> None:
        """Remove the temporary files; what was added is forgotten."""
        for file in self._files:
            file.close()
        self._files, self._waiting, self._waiting_bytes = [], [], 0

    def _merge(self, table: pa.Table) -> pa.Table:
        merged = table.group_by(self._names).aggregate([(_FIRST, "min"), (_COUNT, "sum")])
        return merged.select([*self._names, f"{_FIRST}_min", f"{_COUNT}_sum"]).rename_columns(table.column_names)

    def _move_to_files(self) -> None:
        """Spread what waits over the files, so that equal keys come together in one."""
        if not self._files:
            self._files = [tempfile.TemporaryFile(dir=self._folder) for _ in range(_FILES)]  # noqa: SIM115
        table = pa.concat_tables(self._waiting)
        numbers = self._hash_keys(table) % _FILES
        order: Any = np.argsort(numbers, kind="stable")
        table = table.take(order)
        edges = np.searchsorted(numbers[order], np.arange(_FILES + 1)).tolist()
        for file, start, stop in zip(self._files, edges[:-1], edges[1:], strict=True):
            with pa.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table.slice(start, stop - start))
        self._waiting, self._waiting_bytes = [], 0

    def _hash_keys(self, table: pa.Table) -> "np.ndarray[Any, Any]":
        import pandas as pd

        return np.asarray(pd.util.hash_pandas_object(table.select(self._names).to_pandas(), index=False))

    def _read_parts(self) -> Iterator[pa.Table]:
        if not self._files:
            if self._waiting:
                yield pa.concat_tables(self._waiting)
            return
        if self._waiting:
            self._move_to_files()
        for file in self._files:
            end = file.tell()
            file.seek(0)
            tables = []
            while file.tell() < end:
                tables.append(pa.ipc.open_stream(file).read_all())
            yield pa.concat_tables(tables)
