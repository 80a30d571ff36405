"""Features of an hour: X as it was known when the forecast was issued, and what models derive from it."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import Pipeline

from modelyard.workloads.hourly_energy.series import TARGET, Days

if TYPE_CHECKING:
    import pandas as pd

WHOLE_DAYS = {TARGET: (1,), "regressor": (0,)}  # days before, of which all 24 hours are features
SAME_HOURS = {TARGET: (2, 3, 7), "regressor": (1, 7)}  # days before, of which the same hour is one
FIRST_DAYS = 7  # of a series have no features: their week before is not known
_VECTOR = re.compile(r"(.+_d\d)_h\d\d")


def form_features(days: Days) -> dict[str, Any]:
    """X of each hour from the eighth day on: ``day`` (since 1970-01-01), ``hour``, and what was known the day before.

    Known are the target up to the end of the day before, and regressors up to the end of the day itself. ``x_d1_h05``
    is x at 5 o'clock of the day before, and ``x_d7`` x at the same hour a week before.
    """
    nb_days = len(days.measured)
    X: dict[str, Any] = {
        "day": np.repeat(days.first + np.arange(FIRST_DAYS, nb_days), 24),
        "hour": np.tile(np.arange(24), nb_days - FIRST_DAYS),
    }
    for name, values in days.values.items():
        kind = TARGET if name == TARGET else "regressor"
        for lag in WHOLE_DAYS[kind]:
            day = np.repeat(values[FIRST_DAYS - lag : nb_days - lag], 24, axis=0)
            X |= {f"{name}_d{lag}_h{hour:02}": day[:, hour] for hour in range(24)}
        for lag in SAME_HOURS[kind]:
            X[f"{name}_d{lag}"] = values[FIRST_DAYS - lag : nb_days - lag].reshape(-1)
    return X


def make_preprocessing() -> Pipeline:
    """The unfitted pipeline that models begin with; it adds calendar and lag features to X, and learns nothing."""
    return Pipeline([("calendar", CalendarFeatures()), ("lags", LagFeatures())])


class CalendarFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """Adds ``weekday_0`` (Monday) to ``weekday_6``, 0 or 1, and where in the year a day lies."""

    def fit(self, X: Any, y: Any = None) -> "CalendarFeatures":  # noqa: ARG002
        """Nothing is learned."""
        return self

    def transform(self, X: "pd.DataFrame") -> "pd.DataFrame":
        """X with nine more columns; the days of the year go round once from 0 to 2π."""
        day = X["day"].to_numpy()
        angle = 2 * np.pi * (day % 365.25) / 365.25
        added = {f"weekday_{number}": ((day + 3) % 7 == number).astype(float) for number in range(7)}
        return X.assign(**added, year_sin=np.sin(angle), year_cos=np.cos(angle))

    def __sklearn_is_fitted__(self) -> bool:
        return True


class LagFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """Adds of each day that X holds whole the value at the row's own hour, the mean, the least and the largest."""

    def fit(self, X: Any, y: Any = None) -> "LagFeatures":  # noqa: ARG002
        """Nothing is learned."""
        return self

    def transform(self, X: "pd.DataFrame") -> "pd.DataFrame":
        """X with ``x_d1``, ``x_d1_mean``, ``x_d1_min`` and ``x_d1_max`` for each ``x_d1_h00`` to ``x_d1_h23``."""
        rows, hour = np.arange(len(X)), X["hour"].to_numpy().astype(int)
        added: dict[str, Any] = {}
        for name, columns in list_whole_days(X.columns).items():
            day = X[columns].to_numpy()
            added |= {name: day[rows, hour], f"{name}_mean": day.mean(axis=1)}
            added |= {f"{name}_min": day.min(axis=1), f"{name}_max": day.max(axis=1)}
        return X.assign(**added)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def list_whole_days(columns: Any) -> dict[str, list[str]]:
    """``x_d1`` → the columns ``x_d1_h00`` to ``x_d1_h23``, of each day that is there whole."""
    found: dict[str, list[str]] = {}
    for column in columns:
        if match := _VECTOR.fullmatch(column):
            found.setdefault(match[1], []).append(column)
    return found
