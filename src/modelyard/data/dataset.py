"""The content of a dataset: X, y, split and extra, n rows each."""

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
