"""A dataset's content written in one pass: files and digest, in memory that does not grow with the rows."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from modelyard.data.dataset import DatasetTables
from modelyard.data.digest import Digest
from modelyard.data.hashes import HashedFile
from modelyard.data.parquet_file import ParquetWriter
from modelyard.data.row_groups import cut_groups
from modelyard.data.schema import canonical_type, describe_schema
from modelyard.errors import BadInput

FOLDER = "metadata"


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

    The files' row groups, and so their bytes and what the passes see, do not depend on how the rows were cut. Memory is
    that of a row group (``cut_groups``).

    Args:
        parts: the rows; every part has the same columns, in any physical form.
        folder: an empty one.
        prefix_rows: of so many first rows the digest is told too.
        passes: told of every part, in order.

    Raises:
        BadInput: there are no rows, a column is there twice or has no name for a database, or parts differ in their
            columns.
        DigestRefused: a column's type has no canonical form.
        UnsupportedFile: a column's type that Parquet cannot hold.
    """
    iterator = iter(parts)
    first = next((part for part in iterator if part.num_rows), None)
    if first is None:
        raise BadInput("the dataset has no rows; give data with some")
    schema = first.table().schema
    _check_names(schema)
    digest = Digest(schema)
    (folder / FOLDER).mkdir()
    watching = list(passes)
    writers: dict[str, ParquetWriter] = {}
    nullable: set[str] = set()
    extends: str | None = None
    with ExitStack() as open_files:
        for rows in cut_groups(_fit(chain([first], iterator), first)):
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
    """Write a JSON value for people and programs.

    Raises:
        ValueError: a number that JSON has not: NaN, or an infinite one.
    """
    path.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False), encoding="utf-8")


def check_facts(what: str, facts: Mapping[str, Any]) -> None:
    """Check that facts, e.g. notes, can be kept in a file and in the database.

    Raises:
        BadInput: a value is no JSON value, or holds NaN, an infinite number or a character of zero; its key is named.
    """
    for key, value in facts.items():
        try:
            text = json.dumps({key: value}, allow_nan=False, ensure_ascii=False)
            text.encode()
        except (TypeError, ValueError) as error:
            raise BadInput(f"{what} {key!r} cannot be kept: {error}; give text, whole or finite numbers") from None
        if "\\u0000" in text.replace("\\\\", ""):
            raise BadInput(f"{what} {key!r} holds a character of zero, which the database cannot keep; take it out")


def _check_names(schema: pa.Schema) -> None:
    for name, count in Counter(schema.names).items():
        if count > 1:
            raise BadInput(f"{count} columns are called {name}; give each a name of its own")
    for field in schema:
        if "\0" in f"{field.name}{field.type}":  # a nested type names fields too
            raise BadInput(f"column {field.name!r} has a character of zero in its name, or in a field's; rename it")


def _fit(parts: Iterable[DatasetTables], first: DatasetTables) -> Iterator[DatasetTables]:
    """The parts with rows, each in the physical form of the first one."""
    wanted = {name: table.schema for name, table in first.parts().items()}
    for part in parts:
        tables = part.parts()
        if not part.num_rows:
            continue
        if {name: table.schema for name, table in tables.items()} == wanted:
            yield part
            continue
        _check_alike(part.table().schema, first.table().schema)
        try:
            cast = {name: table.cast(wanted[name]) for name, table in tables.items()}
        except (pa.ArrowException, ValueError) as error:
            raise BadInput(f"the rows cannot be brought into the types of the first ones: {error}") from None
        yield DatasetTables(X=cast["X"], y=cast["y"], split=cast["split"].column(0), extra=cast.get("extra"))


def _check_alike(schema: pa.Schema, first: pa.Schema) -> None:
    found, wanted = ({field.name: canonical_type(field) for field in one} for one in (schema, first))
    problems = [
        f"{name} is {found.get(name, 'not there')} and was {wanted.get(name, 'not there')} before"
        for name in {**wanted, **found}
        if found.get(name) != wanted.get(name)
    ]
    if problems or schema.names != first.names:
        what = ", ".join(problems) or f"the columns stand in the order {', '.join(schema.names)}"
        raise BadInput(f"all rows must have the same columns, and from one row on {what}; give all one layout")


def _without_nulls(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(False) for field in schema])
