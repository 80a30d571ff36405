"""Answers of a model that come in batches, as Arrow columns of one type each: that of the first batch."""

from typing import Any

import numpy as np
import pyarrow as pa

from modelyard.data.predictions import as_column
from modelyard.errors import ModelFailed


class AnswerColumns:
    """The columns of one model's answers; ``convert`` takes them batch by batch.

    Attributes:
        names: theirs, where the model has several answers to a row; else empty.

    Args:
        model: its name, e.g. ``houses_model/4``, for errors.
        names: as above.
        doubles: whether integers are written as doubles, also where the first batch has nothing else.
    """

    def __init__(self, model: str, *, names: tuple[str, ...] = (), doubles: bool = False) -> None:
        self.names, self._model, self._doubles = names, model, doubles
        self._types: list[Any] = []
        self._done = 0

    def convert(self, answers: "np.ndarray[Any, Any]") -> list[Any]:
        """One Arrow array for each column of ``answers``, of shape (n,) or (n, k).

        Raises:
            ModelFailed: they are no column, or of another type or number of columns than those before.
        """
        if self._doubles and answers.dtype.kind in "iu":
            answers = answers.astype(float)
        by_column = answers.reshape(len(answers), -1).T
        if self._types and len(by_column) != len(self._types):
            raise self._refuse(f"{len(by_column)} answers a row after {len(self._types)}", len(answers))
        types = self._types or [None] * len(by_column)
        columns = [self._convert(*pair) for pair in zip(by_column, types, strict=True)]
        self._types = [column.type for column in columns]
        self._done += len(answers)
        return columns

    def _convert(self, values: "np.ndarray[Any, Any]", wanted: Any) -> Any:
        try:
            column = as_column(values, wanted)
            is_whole = wanted is None and pa.types.is_integer(column.type)
            return column.cast(pa.float64()) if self._doubles and is_whole else column
        except MemoryError:
            raise
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            kinds = f"{values.dtype} after {wanted}" if wanted else f"{values.dtype}, which is no column"
            raise self._refuse(f"{kinds} ({error})", len(values)) from None

    def _refuse(self, what: str, num_rows: int) -> ModelFailed:
        rows = f"in rows {self._done:,} to {self._done + num_rows - 1:,}"
        return ModelFailed(f"{self._model} answered with {what}, {rows} of those it was asked about")
