"""Rows that come in batches, given on in whole groups: for what is computed of a group as a whole."""

from typing import Any

import numpy as np
import pyarrow as pa

from modelyard.data.scoring import encode_groups
from modelyard.errors import DatasetRefused

Array = np.ndarray[Any, np.dtype[Any]]


class WholeGroups:
    """Holds the rows of the group that has not ended yet; a group ends where another begins.

    Memory: the rows of one batch and of one group, and 8 bytes for each group.
    """

    def __init__(self, column: str) -> None:
        """``column`` holds the group of each row; its values are equal where the group is the same."""
        self._column = column
        self._held: pa.Table | None = None
        self._ended: Array = np.empty(0, dtype=np.uint64)  # a hash of each group, sorted

    def add(self, rows: pa.Table) -> pa.Table:
        """The rows so far whose groups have ended, in order; maybe none.

        Raises:
            DatasetRefused: a group that has ended goes on.
        """
        rows = rows if self._held is None else pa.concat_tables([self._held, rows])
        codes, _ = encode_groups(rows[self._column])
        others = np.flatnonzero(codes != codes[-1]) if len(codes) else codes
        start = int(others[-1]) + 1 if len(others) else 0
        self._held = rows.slice(start)
        return self._end(rows.slice(0, start))

    def finish(self) -> pa.Table | None:
        """The rows of the last group; None if there was no batch.

        Raises:
            DatasetRefused: it has ended before.
        """
        held, self._held = self._held, None
        return None if held is None else self._end(held)

    def _end(self, rows: pa.Table) -> pa.Table:
        import pandas as pd

        codes, values = encode_groups(rows[self._column])
        hashes = pd.util.hash_array(np.array([repr(value) for value in values], dtype=object))
        stretches = np.bincount(codes[np.flatnonzero(np.diff(codes, prepend=-1))], minlength=len(values))
        places = np.searchsorted(self._ended, hashes)
        apart = (stretches > 1) | (np.searchsorted(self._ended, hashes, side="right") > places)
        if apart.any():
            examples = ", ".join(repr(values[i]) for i in np.flatnonzero(apart)[:3])
            raise DatasetRefused(
                f"the rows of a group stand apart in the dataset ({self._column} {examples}); sort it by "
                f"{self._column} before it is logged, so that each group can be scored as a whole"
            )
        order = np.argsort(hashes)
        self._ended = np.insert(self._ended, places[order], hashes[order])
        return rows
