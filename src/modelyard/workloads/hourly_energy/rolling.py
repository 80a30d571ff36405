"""Estimators: a model of each hour, trees on a calmer scale, and fits that follow each other along the days."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone

from modelyard.workloads.hourly_energy.features import list_whole_days
from modelyard.workloads.hourly_energy.series import TARGET

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]
_OWN_HOUR_WEIGHT, _CALENDAR_WEIGHT = 3.0, 2.0  # a larger feature is penalised less
_TARGET_LAG = re.compile(rf"{TARGET}_d\d(_h\d\d)?")  # no regressor, even one that is called target_…
_MARGIN = 0.5  # how far, on the calmer scale, an answer may be beyond what was seen


class RollingForecaster(RegressorMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """Fits that follow each other: each has learned from the days before its origin only, and answers from it on.

    So the answer for any day from the first origin on is one that could have been given the day before.

    Args:
        estimator: what is fitted at each origin.
        origins: days since 1970-01-01, ascending.
    """

    def __init__(self, estimator: Any, origins: Sequence[int]) -> None:
        self.estimator = estimator
        self.origins = origins

    def fit(
        self, X: "pd.DataFrame", y: Any, *, report: Callable[[int, int], None] | None = None
    ) -> "RollingForecaster":
        """Fit once for each origin; ``report`` is told how many fits are done and how many there are."""
        days, target = X["day"].to_numpy(), np.asarray(y, dtype=float)
        self.fits_ = []
        for origin in self.origins:
            before = days < origin
            self.fits_.append(clone(self.estimator).fit(X[before], target[before]))
            if report:
                report(len(self.fits_), len(self.origins))
        return self

    def predict(self, X: "pd.DataFrame") -> Array:
        """n answers, each by the newest fit whose origin is not after the row's day; before the first, by that one."""
        chosen = np.searchsorted(self.origins, X["day"].to_numpy(), side="right") - 1
        chosen, answers = np.maximum(chosen, 0), np.empty(len(X))
        for number in np.unique(chosen):
            rows = chosen == number
            answers[rows] = self.fits_[number].predict(X[rows])
        return answers


class HourlyRidge(RegressorMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """A ridge regression for each hour of the day, where past days weigh less.

    Target and its lags stand on a calmer scale (``calm``), every feature has weighted mean 0 and variance 1.

    Args:
        alpha: penalty on the squared coefficients, against a weighted mean of squared errors.
        half_life_days: age at which a day weighs half.
    """

    def __init__(self, alpha: float, half_life_days: float) -> None:
        self.alpha = alpha
        self.half_life_days = half_life_days

    def fit(self, X: "pd.DataFrame", y: Array) -> "HourlyRidge":
        """Solve the normal equations of each hour."""
        self.center_, self.spread_ = measure_spread(y)
        self.names_ = [name for name in X.columns if name not in ("day", "hour")]
        own = {*list_whole_days(X.columns)} | {name for name in self.names_ if name[-3:-1] == "_d"}
        self.names_ = [name for name in self.names_ if not name.endswith(("_mean", "_min", "_max"))]
        factors = [
            _OWN_HOUR_WEIGHT if name in own else _CALENDAR_WEIGHT if name.startswith(("weekday_", "year_")) else 1.0
            for name in self.names_
        ]
        features, target = self._scale(X), calm(y, self.center_, self.spread_)
        nb_columns = len(self.names_)
        self.means_, self.factors_ = np.zeros((2, 24, nb_columns))
        self.coefficients_, self.intercepts_ = np.zeros((24, nb_columns)), np.zeros(24)
        self.low_, self.high_ = np.zeros((2, 24))
        hours, weights = X["hour"].to_numpy(), weigh_days(X["day"], self.half_life_days)
        for hour in range(24):
            rows = hours == hour
            weight = weights[rows] / weights[rows].sum()
            self.means_[hour] = weight @ features[rows]
            centred = features[rows] - self.means_[hour]
            deviation = np.sqrt(weight @ centred**2)
            self.factors_[hour] = np.where(deviation > 1e-9, factors / np.maximum(deviation, 1e-9), 0.0)
            self.intercepts_[hour] = weight @ target[rows]
            centred *= self.factors_[hour] * np.sqrt(weight)[:, None]
            error = (target[rows] - self.intercepts_[hour]) * np.sqrt(weight)
            normal = centred.T @ centred + self.alpha * np.eye(nb_columns)
            self.coefficients_[hour] = np.linalg.solve(normal, centred.T @ error)
            self.low_[hour], self.high_[hour] = target[rows].min() - _MARGIN, target[rows].max() + _MARGIN
        return self

    def predict(self, X: "pd.DataFrame") -> Array:
        """n answers, not far beyond what the fit has seen at that hour."""
        hours, features = X["hour"].to_numpy().astype(int), self._scale(X)
        scaled = (features - self.means_[hours]) * self.factors_[hours]
        answers = np.sum(scaled * self.coefficients_[hours], axis=1) + self.intercepts_[hours]
        return uncalm(np.clip(answers, self.low_[hours], self.high_[hours]), self.center_, self.spread_)

    def _scale(self, X: "pd.DataFrame") -> Array:
        features = X[self.names_].to_numpy(dtype=float)
        lags = np.array([_TARGET_LAG.fullmatch(name) is not None for name in self.names_])
        features[:, lags] = calm(features[:, lags], self.center_, self.spread_)
        return features


class CalmTrees(RegressorMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """Boosted trees that learn, on a calmer scale, how far the target is from its recent level.

    Trees answer with what they have seen: the level of last week lets them follow a price that has moved on.

    Args:
        regressor: what is fitted.
        window_days: the latest days, from which alone it learns. Weights by age would do as well, but scikit-learn
            took more than ten times as long with them.
    """

    def __init__(self, regressor: Any, window_days: int) -> None:
        self.regressor = regressor
        self.window_days = window_days

    def fit(self, X: "pd.DataFrame", y: Array) -> "CalmTrees":
        """Fit the trees on all features but the hours of whole days, and the date."""
        recent = (X["day"] > X["day"].max() - self.window_days).to_numpy()
        X, y = X[recent], y[recent]
        self.center_, self.spread_ = measure_spread(y)
        vectors = {column for columns in list_whole_days(X.columns).values() for column in columns}
        self.names_ = [name for name in X.columns if name not in {*vectors, "day", "year_sin", "year_cos"}]
        self.lags_ = [name for name in self.names_ if name[:-1] == f"{TARGET}_d"]
        target = calm(y, self.center_, self.spread_) - self._find_level(X)
        self.regressor_ = clone(self.regressor).fit(X[self.names_], target)
        return self

    def predict(self, X: "pd.DataFrame") -> Array:
        """n answers."""
        answers = self.regressor_.predict(X[self.names_]) + self._find_level(X)
        return uncalm(answers, self.center_, self.spread_)

    def _find_level(self, X: "pd.DataFrame") -> Array:
        """Mean of the target's values at the same hour of days before, on the calmer scale."""
        return np.asarray(calm(X[self.lags_].to_numpy(), self.center_, self.spread_).mean(axis=1))


def measure_spread(values: Array) -> tuple[float, float]:
    """Median, and the median distance from it; 1 where that is 0."""
    center = float(np.median(values))
    return center, float(np.median(np.abs(values - center))) or 1.0


def calm(values: Array, center: float, spread: float) -> Array:
    """arcsinh of the distance from the centre in units of the spread: nearly linear near it, a logarithm far away.

    Source: Uniejewski, Weron and Ziel, Variance stabilizing transformations for electricity spot price forecasting,
    IEEE Transactions on Power Systems 33, 2018.
    """
    return np.arcsinh((values - center) / spread)


def uncalm(values: Array, center: float, spread: float) -> Array:
    """What ``calm`` was given."""
    return np.sinh(values) * spread + center


def weigh_days(days: Any, half_life_days: float) -> Array:
    """A weight for each row: 1 on the last day, half of it ``half_life_days`` before."""
    days = np.asarray(days, dtype=float)
    return np.asarray(0.5 ** ((days.max() - days) / half_life_days))
