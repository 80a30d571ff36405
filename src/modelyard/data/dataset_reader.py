"""A dataset's files on this machine: read a part of the rows at a time, and held against a digest."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from modelyard.data.dataset import DatasetTables
from modelyard.data.dataset_writer import FOLDER
from modelyard.data.digest import Digest
from modelyard.errors import ContentMismatch

PARTS = ("X", "y", "split", "extra")
FILES = tuple(f"{FOLDER}/{name}.parquet" for name in PARTS)


@dataclass(frozen=True, slots=True)
class DatasetFiles:
    """The Parquet files of a dataset below ``folder``, written by ``write_dataset``."""

    folder: Path

    def path(self, name: str) -> Path:
        """The file of X, y, split or extra; extra need not be there."""
        return self.folder / FOLDER / f"{name}.parquet"

    def read_batches(self) -> Iterator[DatasetTables]:
        """The rows in the dataset's order, a row group at a time."""
        files = {
            name: pq.ParquetFile(self.path(name), pre_buffer=False, buffer_size=2**20)
            for name in PARTS
            if self.path(name).exists()
        }
        for index in range(files["X"].num_row_groups):
            yield _as_tables({name: file.read_row_group(index, use_threads=False) for name, file in files.items()})

    def read(self) -> DatasetTables:
        """All rows."""
        return _as_tables({name: pq.read_table(self.path(name)) for name in PARTS if self.path(name).exists()})

    def verify(self, digest: str, *, what: str, told: Callable[[int], None] | None = None) -> None:
        """Compute the digest in one pass and compare; ``told`` hears how many rows are done.

        Raises:
            ContentMismatch: it is another one.
        """
        found: Digest | None = None
        for rows in self.read_batches():
            table = rows.table()
            found = found or Digest(table.schema)
            found.update(table)
            if told is not None:
                told(found.num_rows)
        text = found.hexdigest() if found else "nothing"
        if text != digest:
            raise ContentMismatch(what, expected=digest, found=text)


def _as_tables(tables: dict[str, pa.Table]) -> DatasetTables:
    return DatasetTables(X=tables["X"], y=tables["y"], split=tables["split"].column("split"), extra=tables.get("extra"))
