"""How many distinct values a column has, and how often each occurs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Hashes = np.ndarray[tuple[int], np.dtype[np.uint64]]


def mix(words: Any) -> Hashes:
    """A hash of 64 bits for each word of 64 bits; different words have different hashes. ``words`` are overwritten."""
    hashes: Hashes = words
    hashes ^= np.uint64(0x9E3779B97F4A7C15)  # so that 0 has no hash of 0
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):  # of MurmurHash3's last step
        hashes ^= hashes >> np.uint64(33)
        hashes *= np.uint64(factor)
    hashes ^= hashes >> np.uint64(33)
    return hashes


class DistinctValues:
    """Counts distinct values, and while they are few how often each occurs.

    The number is exact up to ``limit``; beyond, it is estimated from the ``limit`` smallest hashes (k minimum values),
    with a standard error of 1 / sqrt(limit - 2) of it. It depends neither on the order of the values nor on batches.

    Args:
        limit: up to how many distinct values their number is exact.
        counted: up to how many distinct values each is counted, at most ``limit``.
        hash_values: 64 bits for each value of an Arrow array without nulls; equal for equal values only.
        show: what ``counts`` gives for a value.
    """

    def __init__(
        self, limit: int, counted: int, hash_values: Callable[[Any], Hashes], show: Callable[[Any], Any]
    ) -> None:
        self._limit, self._counted, self._hash, self._show = limit, counted, hash_values, show
        self._is_counting = self._is_exact = True
        self._hashes = np.empty(0, np.uint64)  # sorted
        self._slots = np.empty(0, np.intp)  # where in the next two the value of each hash stands
        self._counts = np.empty(0, np.int64)
        self._shown: list[Any] = []
        self._pending: list[Hashes] = []
        self._num_pending = 0

    def update(self, values: Any) -> None:
        """Count ``values``, an Arrow array without nulls and NaN."""
        if self._is_counting:
            self._count(values)
        else:
            self._collect(self._hash(values))

    def number(self) -> tuple[int, bool]:
        """How many distinct values there were, and whether that is exact."""
        self._merge()
        if self._is_exact:
            return len(self._hashes), True
        return max(self._limit + 1, round((self._limit - 1) * (2.0**64 / (float(self._hashes[-1]) + 1)))), False

    def find_counts(self) -> list[tuple[Any, int]] | None:
        """Every value and how often it occurred; None if there were too many."""
        return list(zip(self._shown, self._counts.tolist(), strict=True)) if self._is_counting else None

    def _count(self, values: Any) -> None:
        if pa.types.is_floating(values.type):
            values = pc.add(values, 0.0)  # -0.0 becomes 0.0: they are one value
        found = pc.value_counts(values)
        distinct, counts = found.field("values"), found.field("counts").to_numpy()
        hashes = self._hash(distinct)
        places = np.searchsorted(self._hashes, hashes)
        known = np.zeros(len(hashes), bool)
        inside = places < len(self._hashes)
        known[inside] = self._hashes[places[inside]] == hashes[inside]
        self._counts[self._slots[places[known]]] += counts[known]
        fresh = np.flatnonzero(~known)
        if len(self._hashes) + len(fresh) > self._counted:
            self._is_counting = False
            self._slots, self._counts, self._shown = self._slots[:0], self._counts[:0], []
            self._collect(hashes[fresh])
        elif len(fresh):
            fresh = fresh[np.argsort(hashes[fresh])]
            slots = np.arange(len(self._counts), len(self._counts) + len(fresh))
            self._hashes = np.insert(self._hashes, places[fresh], hashes[fresh])
            self._slots = np.insert(self._slots, places[fresh], slots)
            self._counts = np.concatenate([self._counts, counts[fresh]])
            self._shown += [self._show(distinct[index].as_py()) for index in fresh.tolist()]

    def _collect(self, hashes: Hashes) -> None:
        new = hashes if self._is_exact else hashes[hashes < self._hashes[-1]]
        self._pending.append(new)
        self._num_pending += len(new)
        if self._num_pending > self._limit:
            self._merge()

    def _merge(self) -> None:
        if self._pending:
            merged = np.sort(np.concatenate([self._hashes, *self._pending]))
            merged = merged[np.diff(merged, prepend=~merged[:1]) != 0]  # 40 times faster than np.unique
            self._is_exact = self._is_exact and len(merged) <= self._limit
            self._hashes = merged[: self._limit].copy()
            self._pending, self._num_pending = [], 0


def hash_words(values: Any) -> Hashes:
    """Hashes of an Arrow array of 64-bit numbers; 0.0 and -0.0 are one value."""
    numbers = values.to_numpy()
    return mix((numbers + 0.0).view(np.uint64) if numbers.dtype.kind == "f" else numbers.astype(np.int64).view("u8"))


def hash_texts(values: Any) -> Hashes:
    """Hashes of an Arrow array of texts, bytes or booleans."""
    from pandas.util import hash_array

    if pa.types.is_boolean(values.type):
        return mix(values.cast(pa.uint8()).to_numpy().astype(np.uint64))
    hashes: Hashes = hash_array(values.to_numpy(zero_copy_only=False), categorize=False)
    return hashes
