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
    return digest_table(pa.table({str(i): pa.array(np.ascontiguousarray(column)) for i, column in enumerate(columns)}))


def compare_predictions(then: Any, now: Any) -> PredictionDifference:
    """Compare two predictions of the same n rows: floats by their bits, NaN with NaN as equal, all else by value.

    Another shape or type makes every row differ; of text the length of the longest is no other type.
    """
    old, new = _as_rows(then), _as_rows(now)
    are_texts = old.dtype.kind == new.dtype.kind and old.dtype.kind in "US"
    if old.shape != new.shape or not (old.dtype == new.dtype or are_texts):
        return PredictionDifference(rows=len(new), differing_rows=max(len(old), len(new)), largest=None)
    if old.dtype.kind == "f":
        bits = f"u{old.dtype.itemsize}"
        same = (old.view(bits) == new.view(bits)) | (np.isnan(old) & np.isnan(new))
    else:
        same = old == new
    differing = int((~same.all(axis=1)).sum())
    largest = None
    if differing and old.dtype.kind in "iuf":
        with np.errstate(all="ignore"):
            distances = np.abs(new[~same].astype(float) - old[~same].astype(float))
        largest = float(distances[np.isfinite(distances)].max(initial=0.0)) if np.isfinite(distances).any() else None
    return PredictionDifference(rows=len(new), differing_rows=differing, largest=largest)


def _as_rows(predictions: Any) -> Array:
    array = np.asarray(predictions)
    return np.ascontiguousarray(array.reshape(len(array), -1))
