"""Metrics from sums over rows, and an interval for how much they differ between two models on the same rows."""

import math
import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from modelyard.data.rules import plain_column

Array = np.ndarray[Any, np.dtype[Any]]
Summarize = Callable[[Mapping[str, float]], Mapping[str, float]]

MAX_UNITS = 4096
_SHARES = (0.025, 0.975)  # 95 %
_CHUNK = 50  # resamples at a time: 1.6 MB of weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A metric of two models on the same rows, and the 95 % interval of candidate - production, in the metric's unit.

    A number that is missing or not finite is None; ``low`` and ``high`` too if it is so in any resample, or where
    there is only one unit to draw.
    """

    metric: str
    candidate: float | None
    production: float | None
    difference: float | None
    low: float | None
    high: float | None


class Scores:
    """Sums of statistics of rows that come in batches, per unit of resampling; memory does not grow with the rows.

    A unit is a row, or a group where groups are given. Beyond 4,096 of them several share a unit: rows in turn, groups
    by a hash of their value.
    """

    def __init__(self) -> None:
        self.num_rows = 0
        self._sums: dict[str, Array] = {}
        self._groups: dict[Hashable, int] = {}

    def update(self, statistics: Mapping[str, Any], groups: Any = None) -> None:
        """Add n rows.

        Args:
            statistics: name → n numbers. A name that was not there before was 0 for all rows before.
            groups: n values, of which equal ones are resampled together; given with every batch, or with none.

        Raises:
            ValueError: the statistics or groups differ in length, or groups come with some batches only.
        """
        lengths = {len(values) for values in statistics.values()} | ({len(groups)} if groups is not None else set())
        if len(lengths) != 1:
            raise ValueError(f"statistics of one length each are needed, these have {sorted(lengths)}")
        n = lengths.pop()
        if n == 0:
            return
        if self.num_rows and (groups is not None) != bool(self._groups):
            raise ValueError("groups are given with every batch, or with none")
        units = np.arange(self.num_rows, self.num_rows + n) % MAX_UNITS if groups is None else self._find_units(groups)
        for name, values in statistics.items():  # one at a time as doubles: of 1,000 classes there are 3,002
            sums = self._sums.setdefault(name, np.zeros(MAX_UNITS))
            sums += np.bincount(units, weights=np.asarray(values, dtype=float), minlength=MAX_UNITS)
        self.num_rows += n

    @property
    def num_units(self) -> int:
        """Units that rows have fallen into."""
        return min(len(self._groups) or self.num_rows, MAX_UNITS)

    @property
    def totals(self) -> dict[str, float]:
        """The sum of each statistic over all rows."""
        return {name: float(np.sum(sums)) for name, sums in self._sums.items()}

    def resample(self, weights: Array) -> list[dict[str, float]]:
        """Totals for each row of ``weights``: how often each unit is drawn, shape (resamples, ``num_units``)."""
        # not by BLAS, whose last bits depend on the processor and its threads
        sums = [np.einsum("ru,u->r", weights, of[: self.num_units]).tolist() for of in self._sums.values()]
        return [dict(zip(self._sums, values, strict=True)) for values in zip(*sums, strict=True)]

    def _find_units(self, groups: Any) -> Array:
        codes, values = encode_groups(groups)
        return np.array([self._find_unit(value) for value in values])[codes]

    def _find_unit(self, group: Hashable) -> int:
        found = self._groups.get(group)
        if found is None:
            found = len(self._groups)
            if found == MAX_UNITS:
                return zlib.crc32(repr(group).encode()) % MAX_UNITS
            self._groups[group] = found
        return found


def encode_groups(groups: Any) -> tuple[Array, list[Hashable]]:
    """Of n values (an Arrow, NumPy or pandas column) which of the distinct ones each is, and these; a NaN is None."""
    column = groups if isinstance(groups, pa.ChunkedArray) else pa.chunked_array([pa.array(groups, from_pandas=True)])
    codes = plain_column(column).combine_chunks().dictionary_encode(null_encoding="encode")
    return np.asarray(codes.indices), codes.dictionary.to_pylist()


def compare_scores(
    candidate: Scores, production: Scores, summarize: Summarize, *, seed: int, resamples: int = 1000
) -> tuple[Interval, ...]:
    """Paired bootstrap: units are drawn with replacement, the same ones for both models. Equal inputs, equal numbers.

    Args:
        candidate: scores of the same rows, in the same order, as ``production``.
        summarize: metrics from the total of each statistic.
        seed: of the draws.
        resamples: how often as many units as there are are drawn.

    Raises:
        ValueError: the two are of another number of rows, or of none.
    """
    if (candidate.num_rows, candidate.num_units) != (production.num_rows, production.num_units):
        raise ValueError(f"scores of {candidate.num_rows} and of {production.num_rows} rows cannot be compared")
    if candidate.num_rows == 0:
        raise ValueError("there are no rows to compare")
    pairs = [
        (summarize(ours), summarize(theirs))
        for weights in _draw_weights(candidate.num_units, seed=seed, resamples=resamples)
        for ours, theirs in zip(candidate.resample(weights), production.resample(weights), strict=True)
    ]
    return _build_intervals(
        summarize(candidate.totals), summarize(production.totals), pairs, num_units=candidate.num_units
    )


def compare_metrics(
    candidate: Callable[[Array], Mapping[str, float]],
    production: Callable[[Array], Mapping[str, float]],
    *,
    num_rows: int,
    seed: int,
    resamples: int = 200,
    groups: Any = None,
) -> tuple[Interval, ...]:
    """The same where metrics are no sums: each resample is scored from its rows.

    Args:
        candidate: metrics of the rows at n positions (0 to ``num_rows`` - 1, some of them several times).
        groups: one value a row; rows of a group are drawn together.

    Raises:
        ValueError: there are no rows.
    """
    if num_rows == 0:
        raise ValueError("there are no rows to compare")
    units = None if groups is None else _list_groups(groups)
    num_units = num_rows if units is None else len(units)
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(resamples):
        drawn = rng.integers(num_units, size=num_units)
        rows = drawn if units is None else np.concatenate([units[unit] for unit in drawn])
        pairs.append((candidate(rows), production(rows)))
    every = np.arange(num_rows)
    return _build_intervals(candidate(every), production(every), pairs, num_units=num_units)


def _list_groups(groups: Any) -> list[Array]:
    codes, _ = encode_groups(groups)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def _draw_weights(num_units: int, *, seed: int, resamples: int) -> Iterator[Array]:
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        count = min(_CHUNK, resamples - start)
        drawn = rng.integers(num_units, size=(count, num_units)) + np.arange(count)[:, None] * num_units
        yield np.bincount(drawn.ravel(), minlength=count * num_units).reshape(count, num_units).astype(float)


def _build_intervals(
    candidate: Mapping[str, float],
    production: Mapping[str, float],
    pairs: list[tuple[Mapping[str, float], Mapping[str, float]]],
    *,
    num_units: int,
) -> tuple[Interval, ...]:
    intervals = []
    for metric in candidate:
        ours, theirs = candidate[metric], production.get(metric, math.nan)
        differences = np.array([a.get(metric, math.nan) - b.get(metric, math.nan) for a, b in pairs])
        known = num_units > 1 and bool(np.isfinite(differences).all()) and math.isfinite(ours - theirs)
        low, high = np.quantile(differences, _SHARES).tolist() if known else (None, None)
        intervals.append(
            Interval(
                metric=metric,
                candidate=_keep_finite(ours),
                production=_keep_finite(theirs),
                difference=_keep_finite(ours - theirs),
                low=low,
                high=high,
            )
        )
    return tuple(intervals)


def _keep_finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
