"""A histogram of values that come in batches, whose range is known at the end only."""

import math
import sys
from typing import Any

import numpy as np

MAX_BINS = 40
_DOUBLE_BITS = 53
_SMALLEST = -1022  # the exponent of the smallest normal double

Doubles = np.ndarray[tuple[int], np.dtype[np.float64]]


class Histogram:
    """Exact counts in bins of equal width, at most ``MAX_BINS`` and, where the range allows, more than half as many.

    A bin's width is a power of two and its lower edge a whole multiple of it. So bins that grow with the range merge
    two by two and no value changes sides: the result is the same whatever the batches and their order. A value
    belongs to the bin whose lower edge it equals.

    Args:
        smallest_exponent: of a bin's width; 0 for integers.
    """

    def __init__(self, smallest_exponent: int = _SMALLEST) -> None:
        self._smallest = smallest_exponent
        self._counts = np.zeros(MAX_BINS, np.int64)
        self._low, self._high = math.inf, -math.inf
        self._exponent, self._first = smallest_exponent, 0

    def update(self, values: Doubles, low: float, high: float) -> None:
        """Count ``values``, finite, not empty, of which ``low`` is the smallest and ``high`` the largest."""
        if low < self._low or high > self._high:
            self._widen(min(low, self._low), max(high, self._high))
        scaled = np.multiply(values, math.ldexp(1.0, -self._exponent))
        np.floor(scaled, out=scaled)
        if low < 0 and self._exponent > 0:
            scaled[(scaled == 0) & (values < 0)] = -1  # so small beside the width that it became 0
        scaled -= self._first
        self._counts += np.bincount(scaled.astype(np.intp), minlength=MAX_BINS)

    def result(self) -> tuple[list[float], list[int]] | None:
        """Edges, one more than bins, and counts; None without values. Of one value only, both edges are it."""
        if self._low > self._high:
            return None
        if self._low == self._high:
            return [self._low, self._high], [int(self._counts.sum())]
        bins = _cell(self._high, self._exponent) - self._first + 1
        edges = [_edge(self._first + index, self._exponent) for index in range(bins + 1)]
        return edges, self._counts[:bins].tolist()

    def _widen(self, low: float, high: float) -> None:
        exponent = _find_exponent(low, high, self._smallest)
        first = _cell(low, exponent)
        if self._low <= self._high:
            used = np.flatnonzero(self._counts)
            cells: Any = (self._first + used) >> min(exponent - self._exponent, 63)
            merged = np.zeros(MAX_BINS, np.int64)
            np.add.at(merged, cells - first, self._counts[used])
            self._counts = merged
        self._low, self._high, self._exponent, self._first = low, high, exponent, first


def _find_exponent(low: float, high: float, smallest: int) -> int:
    """Of the smallest width with which ``MAX_BINS`` reach from ``low`` to ``high``."""
    largest_size = math.frexp(max(abs(low), abs(high)))[1]
    span = math.frexp(high / 2 - low / 2)[1] + 1 - MAX_BINS.bit_length() - 1 if high > low else smallest
    exponent = max(smallest, largest_size - _DOUBLE_BITS, span, _SMALLEST)
    while _cell(high, exponent) - _cell(low, exponent) >= MAX_BINS:
        exponent += 1
    return exponent


def _cell(value: float, exponent: int) -> int:
    cell = math.floor(math.ldexp(value, -exponent))
    return -1 if cell == 0 and value < 0 else cell


def _edge(cell: int, exponent: int) -> float:
    try:
        return math.ldexp(float(cell), exponent)
    except OverflowError:
        return math.copysign(sys.float_info.max, cell)
