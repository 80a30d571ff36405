"""The content of a dataset: X, y, split and extra, n rows each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from modelyard.data.digest import digest_table
from modelyard.data.splits import dataset_table


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetTables:
    """The content of a dataset, or a part of its rows: n rows each."""

    X: pa.Table
    y: pa.Table
    split: Any
    extra: pa.Table | None

    @property
    def num_rows(self) -> int:
        return self.X.num_rows

    def table(self) -> pa.Table:
        """One table of columns ``X.<name>``, ``y.<name>``, ``split``, ``extra.<name>``: what the digest covers."""
        return dataset_table(self.X, self.y, self.split, self.extra)

    def digest(self) -> str:
        """sha256 of the content, every row and every column, in order (64 hex digits)."""
        return digest_table(self.table())

    def parts(self) -> dict[str, pa.Table]:
        """X, y, split and extra as tables, without what is not there."""
        named = {"X": self.X, "y": self.y, "split": pa.table({"split": self.split})}
        return named if self.extra is None else {**named, "extra": self.extra}

    def slice(self, start: int, num_rows: int) -> "DatasetTables":
        """Some rows, without a copy."""
        return DatasetTables(
            X=self.X.slice(start, num_rows),
            y=self.y.slice(start, num_rows),
            split=self.split.slice(start, num_rows),
            extra=None if self.extra is None else self.extra.slice(start, num_rows),
        )


def join_chunks(parts: Iterable[DatasetTables]) -> DatasetTables:
    """Rows of several parts, one after the other."""
    every = list(parts)
    extras = [part.extra for part in every if part.extra is not None]
    splits = [part.split for part in every]
    return DatasetTables(
        X=pa.concat_tables([part.X for part in every]),
        y=pa.concat_tables([part.y for part in every]),
        split=pa.chunked_array(
            [chunk for split in splits for chunk in (split.chunks if isinstance(split, pa.ChunkedArray) else [split])]
        ),
        extra=pa.concat_tables(extras) if extras else None,
    )


def cut_chunks(parts: Iterable[DatasetTables], num_rows: int) -> Iterator[DatasetTables]:
    """The same rows in parts of ``num_rows`` each, and a last one with the rest."""
    waiting: list[DatasetTables] = []
    nb_waiting = 0
    for part in parts:
        start = 0
        while start < part.num_rows:
            taken = part.slice(start, num_rows - nb_waiting)
            waiting.append(taken)
            start, nb_waiting = start + taken.num_rows, nb_waiting + taken.num_rows
            if nb_waiting == num_rows:
                yield join_chunks(waiting)
                waiting, nb_waiting = [], 0
    if waiting:
        yield join_chunks(waiting)
