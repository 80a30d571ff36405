"""Whether a dataset is as its workload expects: one pass over its rows, with pandera for the values."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from modelyard.data.dataset import DatasetTables
from modelyard.data.digest import BLOCK_ROWS
from modelyard.data.duplicates import Duplicates
from modelyard.data.expectations import Expectations
from modelyard.data.plain import ZERO_SIGN
from modelyard.data.rules import BoundColumn, bind_columns, find_column, plain_column
from modelyard.errors import InvalidExpectation

NUM_EXAMPLES = 5
_LONGEST_TEXT = 80


@dataclass(frozen=True, slots=True)
class Example:
    """A row that breaks a rule: its number in the dataset, from 0, and the value there as JSON value."""

    row: int
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule that does not hold.

    Attributes:
        column: as the workload names it; several with commas for a key; empty for the number of rows.
        rule: in words, e.g. ``MedInc >= 0``.
        count: how many rows break it; all rows of the dataset where their number does.
        examples: the first rows that break it, at most five. Of a value that is not unique: its first row.
    """

    column: str
    rule: str
    count: int
    examples: tuple[Example, ...] = ()

    @classmethod
    def read(cls, recorded: Mapping[str, Any]) -> Self:
        """From its fields as JSON values."""
        return cls(**{**recorded, "examples": tuple(Example(**example) for example in recorded["examples"])})

    def __str__(self) -> str:
        if not self.column:
            return f"{self.rule} (it has {self.count:,})"
        shown = "; ".join(f"row {example.row}: {_show(example.value)}" for example in self.examples)
        rows = f"{self.count:,} row{'' if self.count == 1 else 's'}"
        return f"{self.rule} ({rows}{f', e.g. {shown}' if shown else ''})"


@dataclass(slots=True)
class _Tally:
    """What is counted of one rule."""

    column: str
    rule: str
    always: bool = False  # broken whatever the rows are
    count: int = 0
    examples: list[Example] = field(default_factory=list)

    def add(self, count: int, examples: Iterable[tuple[int, Any]]) -> None:
        self.count += count
        room = NUM_EXAMPLES - len(self.examples)
        self.examples += [Example(row, _json_value(value)) for row, value in list(examples)[:room]]


class Validator:
    """Checks the rows of a dataset a chunk at a time; how they are cut changes nothing.

    Memory is that of 131,072 rows, and for each unique column or key 64 MiB and temporary files (``Duplicates``).

    Args:
        expectations: what must hold.
        folder: where temporary files may be; default: the system's place for them.
    """

    def __init__(self, expectations: Expectations, *, folder: Path | None = None) -> None:
        self._expectations, self._folder = expectations, folder
        self._columns: list[BoundColumn] | None = None
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self._unique: list[tuple[_Tally, list[str], Duplicates]] = []
        self._schema: Any = None
        self._num_rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def update(self, rows: DatasetTables) -> None:
        """Check more rows; every chunk has the columns of the first one.

        Raises:
            InvalidExpectation: what is expected does not fit the columns; all that is wrong is listed.
        """
        table = rows.table()
        if self._columns is None:
            self._columns = bind_columns(self._expectations, table.schema)
            self._prepare(table.schema)
        for start in range(0, table.num_rows, BLOCK_ROWS):
            self._check(table.slice(start, BLOCK_ROWS))

    def result(self) -> list[Violation]:
        """What does not hold of all rows so far, in the order of the expectations; temporary files are removed."""
        for tally, _, duplicates in self._unique:
            tally.add(*duplicates.find(NUM_EXAMPLES))
        self.close()
        found = [
            Violation(column=tally.column, rule=tally.rule, count=tally.count, examples=tuple(tally.examples))
            for tally in self._tallies.values()
            if tally.count or tally.always
        ]
        low, high = self._expectations.min_rows, self._expectations.max_rows
        if self._num_rows < low:
            found.append(Violation(column="", rule=f"at least {low:,} rows", count=self._num_rows))
        if high is not None and self._num_rows > high:
            found.append(Violation(column="", rule=f"at most {high:,} rows", count=self._num_rows))
        return found

    def close(self) -> None:
        """Remove temporary files; no more rows can be checked."""
        for _, _, duplicates in self._unique:
            duplicates.close()
        self._unique = []

    def _prepare(self, schema: pa.Schema) -> None:
        """A tally for each rule, and pandera's schema for those that are about single values."""
        checked = {}
        for column in self._columns or ():
            for key, rule in column.rules.items():
                always = key == "type"
                self._tallies[column.full_name, key] = _Tally(column.name, rule, always=always)
            if column.is_unique:
                self._add_unique(self._tallies[column.full_name, "unique"], [column.full_name])
            if column.checks or "null" in column.rules:
                checked[column.full_name] = column
        names = self._expectations.unique_key
        full_names = [found for name in names if (found := find_column(name, schema)) is not None]
        if full_names:
            tally = self._tallies["", "key"] = _Tally(", ".join(names), f"({', '.join(names)}) is unique")
            self._add_unique(tally, full_names)
        if checked:
            pandera = _import_pandera()  # a quarter of a second, which nobody pays who expects nothing
            self._schema = pandera.DataFrameSchema(
                {
                    name: pandera.Column(
                        None,
                        checks=[
                            getattr(pandera.Check, kind)(value, n_failure_cases=1)
                            for kind, value in column.checks.values()
                        ],
                        nullable="null" not in column.rules,
                    )
                    for name, column in checked.items()
                }
            )

    def _add_unique(self, tally: _Tally, full_names: list[str]) -> None:
        self._unique.append((tally, full_names, Duplicates(len(full_names), folder=self._folder)))

    def _check(self, block: pa.Table) -> None:
        plain: dict[str, Any] = {}
        for column in self._columns or ():
            name = column.full_name
            if "type" in column.rules:
                self._note((name, "type"), block, len(block), range(min(len(block), NUM_EXAMPLES)))
            elif column.rules:
                plain[name] = plain_column(block[name])
        for _, names, duplicates in self._unique:
            for name in names:
                plain.setdefault(name, plain_column(block[name]))
            duplicates.add([plain[name] for name in names], first_row=self._num_rows)
        if self._schema is not None:
            self._check_values(block, pa.table({name: plain[name] for name in self._schema.columns}))
        self._num_rows += len(block)

    def _check_values(self, block: pa.Table, plain: pa.Table) -> None:
        import pandas as pd
        from pandera.config import ValidationDepth, config_context
        from pandera.errors import SchemaErrorReason, SchemaErrors

        # Arrow's own types: in pandas' a null turns integers into doubles, and dates into slow objects.
        frame = plain.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
        try:
            # Whatever PANDERA_VALIDATION_ENABLED says in the environment: what is not checked is not said to hold.
            with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
                self._schema.validate(frame, lazy=True)
        except SchemaErrors as failed:
            for error in failed.schema_errors:
                name = error.schema.name
                if error.reason_code == SchemaErrorReason.SERIES_CONTAINS_NULLS:
                    key, broken = "null", np.flatnonzero(frame[name].isna())
                elif error.reason_code == SchemaErrorReason.DATAFRAME_CHECK and error.check_output is not None:
                    [bound] = [column for column in self._columns or () if column.full_name == name]
                    key = list(bound.checks)[error.check_index]
                    output = error.check_output  # without the rows where the value is missing
                    broken = output.index[~output.to_numpy(dtype=bool)].to_numpy()
                else:
                    raise InvalidExpectation([f"{name} cannot be checked: {error}"]) from error
                self._note((name, key), block, len(broken), broken[:NUM_EXAMPLES].tolist())

    def _note(self, key: tuple[str, str], block: pa.Table, count: int, rows: Iterable[int]) -> None:
        values = block[key[0]]
        self._tallies[key].add(count, [(self._num_rows + row, values[row].as_py()) for row in rows])


def _import_pandera() -> Any:
    """pandera, and no trace of what it sets for Spark: with it Arrow drops the offsets of Python's times."""
    before = dict(os.environ)
    import pandera.pandas

    for name in ("PYARROW_IGNORE_TIMEZONE", "SPARK_LOCAL_IP"):
        if name not in before:
            os.environ.pop(name, None)
    return pandera.pandas


def _json_value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list):
        return [_json_value(part) for part in value]
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    text = text.replace("\0", ZERO_SIGN)
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def _show(value: Any) -> str:
    return "null" if value is None else repr(value)
