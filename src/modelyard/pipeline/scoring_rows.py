"""Test rows of a dataset: read and verified ahead while models answer those before, whose answers go to Parquet."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modelyard.data.compatibility import list_features
from modelyard.data.dataset import DatasetTables
from modelyard.data.dataset_reader import DatasetFiles
from modelyard.data.digest import Digest
from modelyard.data.features import take_features
from modelyard.data.whole_groups import WholeGroups
from modelyard.errors import ContentMismatch
from modelyard.pipeline.answer_columns import AnswerColumns
from modelyard.pipeline.batches import BATCH_ROWS
from modelyard.pipeline.group_overlap import Mask
from modelyard.pipeline.models import VerifiedModel
from modelyard.pipeline.overlap import find_rows, take_rows
from modelyard.store.datasets import Dataset

if TYPE_CHECKING:
    import pandas as pd

_NUMBER = "number"  # no name of a dataset's column: those begin with X., y. or extra., or are split

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some test rows.

    Attributes:
        numbers: which rows of the dataset they are, from 0.
        rows: X, y and extra.
        inputs: what each model takes of them, in the order of the models.
    """

    numbers: Array
    rows: DatasetTables
    inputs: Sequence["pd.DataFrame"]


def read_test_rows(
    files: DatasetFiles,
    *,
    dataset: Dataset,
    models: Sequence[VerifiedModel],
    left_out: Mask | None,
    held_column: str | None,
    told: Callable[[int], None],
) -> Iterator[Batch]:
    """The test rows in batches of at most 65,536, in the dataset's order.

    Of the whole dataset the digest is computed on the way and compared at the end, so nothing may be recorded before
    that.

    Args:
        files: each verified.
        dataset: its row.
        models: which answer them.
        left_out: one value a test row, true for those to pass over; None for none.
        held_column: e.g. ``extra.query``; rows with the same value come in one batch, which may be larger.
        told: hears how many rows of the dataset are done.

    Raises:
        DatasetRefused: rows of a group stand apart.
        ContentMismatch: at the end; the dataset is not what was recorded.
    """
    parts = _choose_rows(files, dataset=dataset, left_out=left_out, told=told)
    for numbers, rows in _hold(parts, held_column) if held_column else _cut(parts):
        yield Batch(numbers=numbers, rows=rows, inputs=_take_inputs(rows.X, models))


def _choose_rows(
    files: DatasetFiles, *, dataset: Dataset, left_out: Mask | None, told: Callable[[int], None]
) -> Iterator[tuple[Array, DatasetTables]]:
    """Of each row group the test rows that are not left out, and which rows of the dataset they are."""
    digest: Digest | None = None
    first = test_rows = 0
    for part in files.read_batches():
        table = part.table()
        digest = digest or Digest(table.schema)
        digest.update(table)
        numbers = find_rows(part, "test")
        if left_out is not None:
            kept = numbers[~left_out[test_rows : test_rows + len(numbers)]]
            test_rows, numbers = test_rows + len(numbers), kept
        if len(numbers):
            yield numbers + first, take_rows(part, numbers)
        first += part.num_rows
        told(first)
    found = digest.hexdigest() if digest else "nothing"
    if found != dataset.digest:
        raise ContentMismatch(f"dataset {dataset.name} {dataset.version}", expected=dataset.digest, found=found)


def _cut(parts: Iterator[tuple[Array, DatasetTables]]) -> Iterator[tuple[Array, DatasetTables]]:
    for numbers, rows in parts:
        for start in range(0, len(numbers), BATCH_ROWS):
            yield numbers[start : start + BATCH_ROWS], rows.slice(start, BATCH_ROWS)


def _hold(parts: Iterator[tuple[Array, DatasetTables]], column: str) -> Iterator[tuple[Array, DatasetTables]]:
    """All rows of a group together; where one ends is known when the next begins."""
    groups = WholeGroups(column)
    for numbers, rows in parts:
        yield from _split(groups.add(rows.table().append_column(_NUMBER, pa.array(numbers))))
    last = groups.finish()
    if last is not None:
        yield from _split(last)


def _split(table: pa.Table) -> Iterator[tuple[Array, DatasetTables]]:
    """The parts of a dataset's table with numbers, where it has rows."""
    if table.num_rows:
        sides = {
            side: table.select(names).rename_columns([name.removeprefix(side) for name in names])
            for side in ("X.", "y.", "extra.")
            if (names := [name for name in table.column_names if name.startswith(side)])
        }
        rows = DatasetTables(X=sides["X."], y=sides["y."], split=table["split"], extra=sides.get("extra."))
        yield table[_NUMBER].to_numpy(), rows


def _take_inputs(rows: pa.Table, models: Sequence[VerifiedModel]) -> list["pd.DataFrame"]:
    """Models that take the same columns are given the same frame."""
    wanted = [list_features(model.dataset.schema) for model in models]
    frames: list[pd.DataFrame] = []
    for number, features in enumerate(wanted):
        known = wanted.index(features)
        frames.append(frames[known] if known < number else take_features(rows, features).to_pandas())
    return frames


class PredictionsFile:
    """A Parquet file of rows with their truth and each model's answer; a context manager that closes it.

    Columns: ``row`` (its number in the dataset, from 0), ``truth`` (of several targets ``truth_<name>``), ``candidate``
    and, where a version is live, ``production``; where the model names its answers ``candidate_<name>`` each. Memory is
    that of a batch.

    Args:
        path: of the file.
        answers: column → how a model's answers become it.
    """

    def __init__(self, path: Path, answers: Mapping[str, AnswerColumns]) -> None:
        self.path, self._answers = path, answers
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "PredictionsFile":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, batch: Batch, **answers: Array | None) -> None:
        """Add rows: each model's answers under its column; None where there is no such model.

        Raises:
            ModelFailed: they are of another type than those before.
        """
        y = batch.rows.y
        columns: dict[str, Any] = {"row": pa.array(batch.numbers)}
        columns |= {"truth" if y.num_columns == 1 else f"truth_{name}": y[name] for name in y.column_names}
        for name, values in answers.items():
            if values is not None:
                columns |= _name(name, self._answers[name], values)
        table = pa.table(columns)
        if self._writer is None:
            self._schema = table.schema
            # doubles do not compress: looking for repeated ones took longer than the writing
            self._writer = pq.ParquetWriter(
                self.path,
                table.schema,
                compression="snappy",
                use_dictionary=False,
                column_encoding={"row": "DELTA_BINARY_PACKED"},
                write_page_checksum=True,
            )
        self._writer.write_table(table.cast(self._schema))


def _name(model: str, answers: AnswerColumns, values: Array) -> dict[str, Any]:
    columns = answers.convert(values)
    if not answers.names:
        return {model: _join(columns)}
    return {f"{model}_{name}": column for name, column in zip(answers.names, columns, strict=True)}


def _join(columns: Sequence[Any]) -> Any:
    """Several answers a row as one column of lists."""
    if len(columns) == 1:
        return columns[0]
    values = np.column_stack([column.to_numpy(zero_copy_only=False) for column in columns])
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), len(columns))
