"""Fits of scikit-learn models that say how far they are, and end in the very model that a plain fit gives."""

import io
import math
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from modelyard.workloads.contract import Report

if TYPE_CHECKING:
    import pandas as pd

_ITERATION = re.compile(r"\[(\d+)/(\d+)\]")
_FOREST_PARTS = 20


def fit_pipeline(model: Any, X: "pd.DataFrame", y: "pd.Series[float]", *, report: Callable[[float, str], None]) -> Any:
    """Fit a pipeline and return it.

    Args:
        model: an unfitted scikit-learn pipeline; histogram boosting and random forests report as they go.
        X: features of shape (n, features).
        y: target of shape (n,).
        report: told the share of the fit that is done (0 to 1) and a text; an error from it ends the fit.
    """
    from sklearn import ensemble

    last = model[-1]
    if isinstance(last, ensemble.HistGradientBoostingRegressor | ensemble.HistGradientBoostingClassifier):
        last.verbose = 2  # it has no callbacks, and tells each iteration by printing it
        with redirect_stdout(_IterationReader(report)):
            model.fit(X, y)
        last.verbose = 0
    elif isinstance(last, ensemble.RandomForestRegressor | ensemble.RandomForestClassifier):
        _fit_forest(model, X, y, report)
    else:
        model.fit(X, y)
    return model


def narrow_report(report: Report, begin: float, end: float, what: str) -> Callable[[float, str], None]:
    """A report for one part of some work, which goes from share ``begin`` to ``end`` of all of it."""
    report(begin, what)
    return lambda share, text: report(begin + (end - begin) * share, f"{what}: {text}")


def _fit_forest(model: Any, X: "pd.DataFrame", y: "pd.Series[float]", report: Callable[[float, str], None]) -> None:
    """Part by part: a forest that goes on draws the same random numbers as one that is fitted at once."""
    forest = model[-1]
    features, nb_trees = model[:-1].fit_transform(X, y), forest.n_estimators
    sizes = sorted({math.ceil(nb_trees * part / _FOREST_PARTS) for part in range(1, _FOREST_PARTS + 1)})
    for size in sizes:
        forest.set_params(n_estimators=size, warm_start=size != sizes[0]).fit(features, y)
        report(size / nb_trees, f"{size:,} of {nb_trees:,} trees")
    # threads would add up the trees of a prediction in any order, and the last bit would differ
    forest.set_params(warm_start=False, n_jobs=None)


class _IterationReader(io.TextIOBase):
    """Takes what a fit prints, and reports each ``[iteration/all]`` in it."""

    def __init__(self, report: Callable[[float, str], None]) -> None:
        self._report, self._stdout = report, sys.stdout

    def write(self, text: str, /) -> int:
        if told := _ITERATION.match(text):
            iteration, last = int(told[1]), int(told[2])
            with redirect_stdout(self._stdout):
                self._report((iteration - 1) / last, f"iteration {iteration:,} of {last:,}")
        return len(text)
