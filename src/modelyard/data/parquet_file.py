"""Parquet that is hashed while it is written, and whose bytes depend on the rows only."""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from modelyard.data.hashes import HashedFile
from modelyard.errors import UnsupportedFile

_SAMPLED_ROWS = 16_384
_REPEATED = 0.5  # a column with fewer distinct values than this share of its rows is worth a dictionary
_READ_BYTES = 2**20  # still in the cache when sha256 reads it


class ParquetWriter:
    """Writes row groups into ``path``; each call of ``write`` is one.

    Columns whose values repeat in the first row group get a dictionary and zstd. Floats that do not repeat are written
    plain: measured, a dictionary and zstd take ten times as long on them and save nothing. No checksums of pages and no
    extremes of plain floats: they cost as much again as the writing, and the sha256 and the profile say more.

    Raises:
        UnsupportedFile: a column's type that Parquet cannot hold; also from ``write`` and ``close``.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, first: pa.Table) -> None:
        self._path, self._schema = path, schema.remove_metadata()
        leaves = _list_leaves(path, self._schema)
        self._file = pa.OSFile(str(path), "wb")  # one of Python's would hold up the other threads at each write
        self._hash = _GrowingFileHash(path)
        repeated = [name for name, column in zip(first.column_names, first.columns, strict=True) if _repeats(column)]
        plain = [leaf for leaf, is_float in leaves.items() if is_float and leaf not in repeated]
        self._writer = pq.ParquetWriter(
            self._file,
            self._schema,
            compression={leaf: "none" if leaf in plain else "zstd" for leaf in leaves},
            use_dictionary=repeated,  # type: ignore[arg-type]
            write_statistics=[leaf for leaf in leaves if leaf not in plain],
        )

    def write(self, table: pa.Table) -> None:
        """Write rows as one row group."""
        try:
            self._writer.write_table(table.cast(self._schema).combine_chunks(), table.num_rows or None)
        except (pa.ArrowNotImplementedError, ValueError) as error:  # a null in a field that may have none, too
            raise _refuse(self._path, error) from None
        self._hash.follow(self._file.tell())

    def close(self, *, relative_to: Path) -> HashedFile:
        """Finish the file; its path is told relative to a folder."""
        self._writer.close()
        self._file.close()
        digest = self._hash.finish(self._path.stat().st_size)
        if "fixed_size_list" in str(self._schema):
            _read_again(self._path)
        return HashedFile(str(self._path.relative_to(relative_to)), digest, self._path.stat().st_size)

    def abandon(self) -> None:
        """Close the file as it is; does nothing after ``close``."""
        with suppress(pa.ArrowException, OSError):
            self._writer.close()
            self._file.close()
        self._hash.abandon()


def _repeats(column: Any) -> bool:
    if pa.types.is_nested(column.type) or not len(column):
        return False
    head = column.slice(0, _SAMPLED_ROWS)
    try:
        return len(pc.unique(head)) < _REPEATED * len(head)
    except pa.ArrowNotImplementedError:
        return False


def _read_again(path: Path) -> None:
    """pyarrow writes a null where a list of fixed size belongs, and then cannot read it; no such file is left."""
    try:
        for _ in pq.ParquetFile(path).iter_batches():
            pass
    except pa.ArrowException as error:
        path.unlink()
        raise _refuse(path, error) from None


def _list_leaves(path: Path, schema: pa.Schema) -> dict[str, bool]:
    """The columns as Parquet has them, of a nested one its parts by their path, and whether each is of floats."""
    sink = pa.BufferOutputStream()
    try:
        pq.write_table(schema.empty_table(), sink)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise _refuse(path, error) from None
    found = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    leaves: list[Any] = [found.column(index) for index in range(len(found))]
    return {
        leaf.path: leaf.physical_type in ("FLOAT", "DOUBLE") or leaf.logical_type.type == "FLOAT16" for leaf in leaves
    }


def _refuse(path: Path, error: Exception) -> UnsupportedFile:
    return UnsupportedFile(f"{path.name}: Parquet cannot hold this table: {error}; cast the column")


class _GrowingFileHash:
    """sha256 of a file that another thread reads while it is written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._hash = hashlib.sha256()
        self._pool = ThreadPoolExecutor(1, "hash")
        self._waiting: list[Future[None]] = []

    def follow(self, size: int) -> None:
        """Go on to ``size``, the bytes that are there by now."""
        self._waiting.append(self._pool.submit(self._read, size))

    def finish(self, size: int) -> str:
        """The sha256 of all ``size`` bytes."""
        self.follow(size)
        for part in self._waiting:
            part.result()
        self.abandon()
        return self._hash.hexdigest()

    def abandon(self) -> None:
        """End the thread; twice is once."""
        self._pool.shutdown(cancel_futures=True)
        self._file.close()

    def _read(self, size: int) -> None:
        buffer = memoryview(bytearray(_READ_BYTES))
        left = size - self._file.tell()
        while left:
            count = self._file.readinto(buffer[: min(left, _READ_BYTES)])
            if not count:
                raise OSError(f"{self._file.name} has become shorter while it was written")
            self._hash.update(buffer[:count])
            left -= count
