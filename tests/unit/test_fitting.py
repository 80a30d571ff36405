"""Fits that report: the model is the one of a plain fit, to the last bit."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from modelyard.workloads.fitting import fit_pipeline

RANDOM = np.random.default_rng(0)
X = pd.DataFrame(RANDOM.normal(size=(600, 4)), columns=list("abcd"))
Y = pd.Series(X["a"] * 2 + np.sin(X["b"]) + RANDOM.normal(size=600) * 0.1)
MODELS = {
    "boosting": HistGradientBoostingRegressor(max_iter=40, random_state=1),
    "boosting that stops early": HistGradientBoostingRegressor(max_iter=200, early_stopping=True, random_state=1),
    "forest": RandomForestRegressor(n_estimators=33, random_state=1),
    "small forest": RandomForestRegressor(n_estimators=3, random_state=1),
    "ridge": Ridge(),
}


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait busily for each other make these small fits slow beside other work."""
    with threadpool_limits(1, user_api="openmp"):
        yield


@pytest.mark.parametrize("name", MODELS)
def test_the_model_is_that_of_a_plain_fit(name, capsys):
    told = []
    pipelines = [make_pipeline(StandardScaler(), type(MODELS[name])(**MODELS[name].get_params())) for _ in range(2)]
    reported = fit_pipeline(pipelines[0], X, Y, report=lambda share, text: told.append(share))
    plain = pipelines[1].fit(X, Y)
    assert np.array_equal(reported.predict(X), plain.predict(X))
    assert reported.get_params(deep=False).keys() == plain.get_params(deep=False).keys()
    assert str(reported[-1].get_params()) == str(plain[-1].get_params())
    assert capsys.readouterr().out == ""
    assert told == sorted(told)
    assert all(0 <= share <= 1 for share in told)


@pytest.mark.parametrize("name", ["boosting", "forest"])
def test_a_long_fit_says_how_far_it_is(name):
    told = []
    model = make_pipeline(StandardScaler(), type(MODELS[name])(**MODELS[name].get_params()))
    fit_pipeline(model, X, Y, report=lambda share, text: told.append((share, text)))
    assert len(told) >= 17
    assert any("of 40" in text or "of 33 trees" in text for _, text in told)


def test_an_error_of_the_report_ends_the_fit():
    def refuse(share, text):
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fit_pipeline(make_pipeline(StandardScaler(), HistGradientBoostingRegressor()), X, Y, report=refuse)
