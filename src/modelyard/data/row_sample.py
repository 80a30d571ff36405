"""Which rows stand for all: a uniform sample of a fixed size that depends on the rows' positions only."""

import numpy as np

from modelyard.data.distinct import mix

Indexes = np.ndarray[tuple[int], np.dtype[np.intp]]


class RowSample:
    """The rows whose positions have the smallest hashes; all rows, until there are more than ``size``.

    Args:
        size: how many rows.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._keys = np.empty(0, np.uint64)
        self._highest = np.iinfo(np.uint64).max

    def choose(self, first_row: int, num_rows: int) -> tuple[Indexes, Indexes | None]:
        """Which of the next rows join the sample, and then which of the sample remain (None: all of them).

        Up to twice ``size`` may be in it for a while; ``trim`` ends that.
        """
        keys = mix(np.arange(first_row, first_row + num_rows, dtype=np.uint64))
        joining = np.flatnonzero(keys <= self._highest)
        self._keys = np.concatenate([self._keys, keys[joining]])
        return joining, self.trim() if len(self._keys) > 2 * self._size else None

    def trim(self) -> Indexes | None:
        """Which rows of the sample remain when it is cut to ``size``, in order; None if all do."""
        if len(self._keys) <= self._size:
            return None
        staying = np.sort(np.argpartition(self._keys, self._size - 1)[: self._size])
        self._keys = self._keys[staying]
        self._highest = int(self._keys.max())
        return staying
