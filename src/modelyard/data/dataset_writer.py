"""A dataset's content written in one pass: files and digest, in memory that does not grow with the rows."""

import json
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from modelyard.data.dataset import DatasetTables, cut_chunks
from modelyard.data.digest import Digest
from modelyard.data.hashes import HashedFile
from modelyard.data.parquet_file import ParquetWriter
from modelyard.data.schema import describe_schema
from modelyard.errors import BadInput

FOLDER = "metadata"
_GROUP_BYTES, _GROUP_ROWS = 64 * 2**20, 131_072


Pass = Callable[[DatasetTables], None]  # looks at the rows as they pass: a profile, expectations


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenDataset:
    """What was written.

    Attributes:
        digest: sha256 of the content, 64 hex digits; ``rows_digest`` the same without the split.
        extends: ``rows_digest`` of the first ``prefix_rows`` rows, None if there are fewer.
        schema: name, canonical type and nullable of each column.
        files: the Parquet files.
    """

    digest: str
    rows_digest: str
    extends: str | None
    num_rows: int
    num_columns: int
    schema: list[dict[str, Any]]
    files: tuple[HashedFile, ...]

    @property
    def num_elements(self) -> int:
        return self.num_rows * self.num_columns


def write_dataset(
    parts: Iterable[DatasetTables], *, folder: Path, prefix_rows: int = 0, passes: Iterable[Pass] = ()
) -> WrittenDataset:
    """Write ``metadata/{X,y,split,extra}.parquet`` below ``folder``; what comes first fixes the columns.

    The files' row groups, and so their bytes and what the passes see, do not depend on how the rows were cut.

    Args:
        parts: the rows; every part has the same columns.
        folder: an empty one.
        prefix_rows: of so many first rows the digest is told too.
        passes: told of every part, in order.

    Raises:
        BadInput: there are no rows, or parts differ in their columns.
        DigestRefused: a column's type has no canonical form.
        UnsupportedFile: a column's type that Parquet cannot hold.
    """
    iterator = iter(parts)
    first = next((part for part in iterator if part.num_rows), None)
    if first is None:
        raise BadInput("the dataset has no rows; give data with some")
    (folder / FOLDER).mkdir()
    watching = list(passes)
    writers: dict[str, ParquetWriter] = {}
    nullable: set[str] = set()
    extends: str | None = None
    schema = first.table().schema
    digest = Digest(schema)
    with ExitStack() as open_files:
        for rows in cut_chunks(chain([first], iterator), _count_group_rows(first)):
            table = rows.table()
            if digest.num_rows < prefix_rows <= digest.num_rows + table.num_rows:
                head = prefix_rows - digest.num_rows
                digest.update(table.slice(0, head))
                extends = digest.hexdigest(leave_out=("split",))
                table = table.slice(head)
            digest.update(table)  # goes on in other threads, while this one writes
            for name, part in rows.parts().items():
                if name not in writers:
                    writers[name] = ParquetWriter(folder / FOLDER / f"{name}.parquet", part.schema, first=part)
                    open_files.callback(writers[name].abandon)
                writers[name].write(part)
            nullable |= {column["name"] for column in describe_schema(rows.table()) if column["nullable"]}
            for watcher in watching:
                watcher(rows)
        files = tuple(writer.close(relative_to=folder) for writer in writers.values())
    return WrittenDataset(
        digest=digest.hexdigest(),
        rows_digest=digest.hexdigest(leave_out=("split",)),
        extends=extends,
        num_rows=digest.num_rows,
        num_columns=len(schema),
        schema=[
            {**column, "nullable": column["name"] in nullable} for column in describe_schema(_without_nulls(schema))
        ],
        files=files,
    )


def write_json(value: Any, path: Path) -> None:
    """Write a JSON value for people and programs."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True), encoding="utf-8")


def _count_group_rows(first: DatasetTables) -> int:
    """Rows of a row group: 64 MB of values, at most 131,072."""
    row_bytes = max(first.table().nbytes // first.num_rows, 1)
    return max(1024, min(_GROUP_ROWS, _GROUP_BYTES // row_bytes))


def _without_nulls(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(False) for field in schema])
