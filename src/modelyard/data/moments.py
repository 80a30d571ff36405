"""Mean and standard deviation of values that come in batches."""

import math

import numpy as np

from modelyard.data.histogram import Doubles


class Moments:
    """Mean and squared deviations, each batch around its own mean and then merged, so that no digits cancel.

    The formula of the merge is that of Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
    computing sample variances" (1979). Other batches of the same values may change the last digits.
    """

    def __init__(self) -> None:
        self._num_values, self._mean, self._squares = 0, 0.0, 0.0

    def update(self, values: Doubles) -> None:
        """Add ``values``, finite and not empty."""
        mean = float(values.mean())
        deviations = values - mean
        squares = float(np.multiply(deviations, deviations, out=deviations).sum())
        total = self._num_values + len(values)
        distance = mean - self._mean
        self._mean += distance * (len(values) / total)
        self._squares += squares + distance * distance * (self._num_values * len(values) / total)
        self._num_values = total

    def mean(self) -> float | None:
        """None without values or where it is beyond a double."""
        return self._mean if self._num_values and math.isfinite(self._mean) else None

    def std(self) -> float | None:
        """Of the population; None without values or where it is beyond a double."""
        if not self._num_values or not math.isfinite(self._squares):
            return None
        return math.sqrt(self._squares / self._num_values)
