"""Predictions: their digest, and how two answers to the same rows differ, bit for bit."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from modelyard.data.digest import digest_table

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionDifference:
    """``largest`` is the largest absolute difference, in the target's unit; None where nothing finite differs."""

    rows: int
    differing_rows: int
    largest: float | None


def digest_predictions(predictions: Any) -> str:
    """sha256 of predictions of shape (n,) or (n, k): every bit of every row in order; all NaN are one."""
    columns = _as_rows(predictions).T
    return digest_table(pa.table({str(number): as_column(values) for number, values in enumerate(columns)}))


def as_column(values: Array, data_type: Any = None) -> Any:
    """The n answers of one column as an Arrow array; among objects None and NaN are nulls, unless all are doubles.

    Args:
        values: of shape (n,).
        data_type: default: as the values are.

    Raises:
        pyarrow.ArrowException, ValueError, TypeError, OverflowError: they are no column, or not of that type.
    """
    mixed = values.dtype == object and not all(isinstance(value, float) for value in values)
    return pa.array(np.ascontiguousarray(values), type=data_type, from_pandas=mixed)


def compare_predictions(then: Any, now: Any) -> PredictionDifference:
    """Compare two predictions of the same n rows: floats by their bits, NaN with NaN as equal, all else by value.

    Another shape, or another type of a column, makes every row differ; of text the length of the longest is no type.
    ``largest`` is that of all columns of numbers.
    """
    old, new = _as_rows(then), _as_rows(now)
    pairs = list(zip(map(_plain, old.T), map(_plain, new.T), strict=False))
    if old.shape != new.shape or any(_name_kind(ours) != _name_kind(theirs) for ours, theirs in pairs):
        return PredictionDifference(rows=len(new), differing_rows=max(len(old), len(new)), largest=None)
    same, largest = np.ones(len(new), bool), None
    for ours, theirs in pairs:
        equal = _are_same(ours, theirs)
        same &= equal
        if not equal.all() and ours.dtype.kind in "iuf":
            with np.errstate(all="ignore"):
                distances = np.abs(theirs[~equal].astype(float) - ours[~equal].astype(float))
            finite = distances[np.isfinite(distances)]
            largest = max(largest or 0.0, float(finite.max())) if len(finite) else largest
    return PredictionDifference(rows=len(new), differing_rows=int((~same).sum()), largest=largest)


def _are_same(ours: Array, theirs: Array) -> Array:
    if ours.dtype.kind != "f":
        return np.asarray(ours == theirs)
    bits = f"u{ours.dtype.itemsize}"
    return np.asarray((ours.view(bits) == theirs.view(bits)) | (np.isnan(ours) & np.isnan(theirs)))


def _plain(values: Array) -> Array:
    """A column, of objects as what they are: doubles, whole numbers, booleans; texts stay objects."""
    return np.ascontiguousarray(as_column(values).to_numpy(zero_copy_only=False) if values.dtype == object else values)


def _name_kind(values: Array) -> str:
    return values.dtype.kind if values.dtype.kind in "US" else str(values.dtype)


def _as_rows(predictions: Any) -> Array:
    array = np.asarray(predictions)
    return np.ascontiguousarray(array.reshape(len(array), -1))
