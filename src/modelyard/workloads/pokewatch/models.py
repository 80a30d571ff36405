"""Models of card prices: they keep the prices that they were given, and answer from those before a date.

They are scikit-learn estimators of NumPy arrays and LightGBM's trees alone, so that skops can store them.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone

from modelyard.workloads.pokewatch.scores import find_signals

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]
_STRIDE = 2**32  # between the keys of two cards: days since 1970 fit in between
_END = 2**31  # a day after all others


class PriceModel(RegressorMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """Answers for a card and a date from the card's prices strictly before the date's period.

    A period is a month where every price that it was given stands at the first of one, otherwise a day.
    """

    buy_threshold_pct: float
    sell_threshold_pct: float

    def fit(self, X: "pd.DataFrame", y: Any, *, learnt: Array | None = None) -> "PriceModel":
        """Keep the prices of n rows as history, and learn.

        Args:
            X: ``card_id`` (text) and ``date`` of n prices; no card has two in one period.
            y: n prices in USD.
            learnt: n booleans, the rows to learn parameters from; default: all of them.
        """
        days = _read_days(X)
        self.monthly_ = bool((days == _start_months(days)).all())
        self.cards_, codes = np.unique(X["card_id"].to_numpy(dtype=str), return_inverse=True)
        keys, prices = codes * _STRIDE + days, np.asarray(y, dtype=float)
        order = np.argsort(keys)
        self.keys_, self.prices_ = keys[order], prices[order]
        self._learn(X, prices, np.ones(len(prices), dtype=bool) if learnt is None else learnt)
        return self

    def predict(self, X: "pd.DataFrame") -> "pd.DataFrame":
        """``fair_value`` in USD (NaN for a card without an earlier price) and ``signal`` (then HOLD) for n rows.

        Args:
            X: ``card_id``, and ``date``; where there is no date, the answer is for after the card's last price.
        """
        import pandas as pd

        counts, ends = self._find_history(X)
        newest, fair_value = self._recall(counts, ends, 1)[:, 0], self._forecast(counts, ends)
        thresholds = {"buy_threshold_pct": self.buy_threshold_pct, "sell_threshold_pct": self.sell_threshold_pct}
        signal = find_signals(fair_value, newest, **thresholds)
        return pd.DataFrame({"fair_value": fair_value, "signal": signal.astype(object)}, index=X.index)

    @abstractmethod
    def _forecast(self, counts: Array, ends: Array) -> Array:
        """Fair values of n rows; NaN where the count of earlier prices is 0."""

    def _learn(self, X: "pd.DataFrame", prices: Array, learnt: Array) -> None:
        """Learn parameters, where there are any."""

    def _find_history(self, X: "pd.DataFrame") -> tuple[Array, Array]:
        """How many earlier prices each row has, and where they end in ``prices_``."""
        is_named = X["card_id"].notna().to_numpy()
        names = X["card_id"].astype(object).to_numpy().astype(str)
        codes = np.searchsorted(self.cards_, names)
        codes = np.where(codes < len(self.cards_), codes, 0)
        days = _read_days(X)
        if self.monthly_:
            days = np.where(days < _END, _start_months(days), days)
        ends = np.searchsorted(self.keys_, codes * _STRIDE + days)
        counts = ends - np.searchsorted(self.keys_, codes * _STRIDE - _END)
        return np.where(is_named & (self.cards_[codes] == names), counts, 0), ends

    def _recall(self, counts: Array, ends: Array, nb_prices: int) -> Array:
        """The newest earlier prices of n rows, the newest first, shape (n, nb_prices); NaN where there are fewer."""
        back = np.arange(1, nb_prices + 1)
        places = np.maximum(ends[:, None] - back, 0)
        return np.where(back <= counts[:, None], self.prices_[places], np.nan)


class MovingAverage(PriceModel):
    """The mean of the newest prices, ``window_size`` of them at most."""

    def __init__(self, *, window_size: int = 3, buy_threshold_pct: float = 5.0, sell_threshold_pct: float = 5.0):
        self.window_size = window_size
        self.buy_threshold_pct = buy_threshold_pct
        self.sell_threshold_pct = sell_threshold_pct

    def _forecast(self, counts: Array, ends: Array) -> Array:
        prices = self._recall(counts, ends, self.window_size)
        sizes = np.minimum(counts, self.window_size)
        return np.where(counts > 0, np.nansum(prices, axis=1) / np.maximum(sizes, 1), np.nan)


class ReturnModel(PriceModel):
    """LightGBM on log returns: ``regressor`` says how far the next price is from the newest one."""

    def __init__(
        self, regressor: Any, *, nb_returns: int = 2, buy_threshold_pct: float = 5.0, sell_threshold_pct: float = 5.0
    ):
        self.regressor = regressor
        self.nb_returns = nb_returns
        self.buy_threshold_pct = buy_threshold_pct
        self.sell_threshold_pct = sell_threshold_pct

    def _learn(self, X: "pd.DataFrame", prices: Array, learnt: Array) -> None:
        counts, ends = self._find_history(X)
        rows = learnt & (counts > 0)
        newest = self._recall(counts[rows], ends[rows], 1)[:, 0]
        returns = np.log(prices[rows] / newest)
        self.regressor_ = clone(self.regressor).fit(self._describe(counts[rows], ends[rows]), returns)

    def _forecast(self, counts: Array, ends: Array) -> Array:
        newest = self._recall(counts, ends, 1)[:, 0]
        if not len(newest):  # LightGBM refuses to answer no rows
            return newest
        returns: Array = self.regressor_.predict(self._describe(counts, ends))
        return newest * np.exp(returns)

    def _describe(self, counts: Array, ends: Array) -> Array:
        """The newest price (log), the newest log returns, and the number of earlier prices of n rows."""
        logs = np.log(self._recall(counts, ends, self.nb_returns + 1))
        return np.column_stack([logs[:, 0], logs[:, :-1] - logs[:, 1:], counts])


def _read_days(X: "pd.DataFrame") -> Array:
    """Days since 1970 of n dates, in UTC where they have a zone; a day after all others where there is none."""
    import pandas as pd

    if "date" not in X:
        return np.full(len(X), _END)
    dates = pd.to_datetime(X["date"], utc=True).dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    return np.where(np.isnat(dates), _END, dates.astype(np.int64))


def _start_months(days: Array) -> Array:
    """The first day of the month of n days."""
    return days.astype("datetime64[D]").astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
