"""Parquet that is hashed while it is written, and whose bytes depend on the rows only."""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from modelyard.data.hashes import HashedFile
from modelyard.errors import UnsupportedFile

_SAMPLED_ROWS = 16_384
_REPEATED = 0.5  # a column with fewer distinct values than this share of its rows is worth a dictionary
_HASH_AHEAD = 8  # writes that may wait for their hash


class ParquetWriter:
    """Writes row groups into ``path``; each call of ``write`` is one.

    Columns whose values repeat in the first row group get a dictionary and zstd. Floats that do not repeat are written
    plain: measured, a dictionary and zstd take ten times as long on them and save nothing.

    Raises:
        UnsupportedFile: a column's type that Parquet cannot hold; also from ``write`` and ``close``.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, first: pa.Table) -> None:
        self._path, self._schema = path, schema.remove_metadata()
        self._file = _HashedFile(path)
        repeated = [name for name, column in zip(first.column_names, first.columns, strict=True) if _repeats(column)]
        plain = [
            field.name for field in self._schema if pa.types.is_floating(field.type) and field.name not in repeated
        ]
        self._writer = pq.ParquetWriter(
            cast(Any, self._file),  # a file is what has these methods
            self._schema,
            compression={field.name: "none" if field.name in plain else "zstd" for field in self._schema},
            use_dictionary=repeated,  # type: ignore[arg-type]
            write_page_checksum=True,
        )

    def write(self, table: pa.Table) -> None:
        """Write rows as one row group."""
        try:
            self._writer.write_table(table.cast(self._schema).combine_chunks(), table.num_rows or None)
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
            raise UnsupportedFile(
                f"{self._path.name}: Parquet cannot hold this table: {error}; cast the column"
            ) from None

    def close(self, *, relative_to: Path) -> HashedFile:
        """Finish the file; its path is told relative to a folder."""
        self._writer.close()
        digest = self._file.finish()
        if "fixed_size_list" in str(self._schema):
            _read_again(self._path)
        return HashedFile(str(self._path.relative_to(relative_to)), digest, self._path.stat().st_size)

    def abandon(self) -> None:
        """Close the file as it is; does nothing after ``close``."""
        with suppress(pa.ArrowException, OSError):
            self._writer.close()
        self._file.finish()


def _repeats(column: Any) -> bool:
    if pa.types.is_nested(column.type) or not len(column):
        return False
    head = column.slice(0, _SAMPLED_ROWS)
    try:
        return len(pc.unique(head)) < _REPEATED * len(head)
    except pa.ArrowNotImplementedError:
        return False


def _read_again(path: Path) -> None:
    """pyarrow writes a null where a list of fixed size belongs, and then cannot read it."""
    try:
        for _ in pq.ParquetFile(path).iter_batches():
            pass
    except pa.ArrowException as error:
        raise UnsupportedFile(f"{path.name}: Parquet cannot hold this table: {error}; cast the column") from None


class _HashedFile:
    """A file that one other thread hashes as it is written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        self._pool = ThreadPoolExecutor(1, "hash")
        self._waiting: list[Future[None]] = []
        self.closed = False

    def write(self, data: Any) -> int:
        block = bytes(data)
        self._waiting.append(self._pool.submit(self._hash.update, block))
        if len(self._waiting) > _HASH_AHEAD:
            self._waiting.pop(0).result()
        return self._file.write(block)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.closed = True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def finish(self) -> str:
        self._pool.shutdown()
        self._file.close()
        return self._hash.hexdigest()
