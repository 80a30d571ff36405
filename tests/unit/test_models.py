"""A model file is loaded under our own list of types, whatever the file or its neighbours say."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge

from modelyard.errors import UntrustedModel
from modelyard.tracking.models import load_estimator

X, y = np.arange(40.0).reshape(20, 2), np.arange(20.0)


class Marks:
    """Leaves a file behind when a pickle of it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    "model",
    [Ridge(), RandomForestRegressor(2), HistGradientBoostingRegressor(max_iter=2)],
    ids=lambda m: type(m).__name__,
)
def test_models_of_ours_load_and_predict_the_same(model, tmp_path):
    model.fit(X, y)
    skops.io.dump(model, tmp_path / "model.skops")
    assert np.array_equal(load_estimator(tmp_path / "model.skops").predict(X), model.predict(X))


def test_a_file_with_a_type_outside_the_list_is_refused(tmp_path):
    model = Ridge().fit(X, y)
    model.extra_ = Marks(tmp_path / "marker")
    skops.io.dump(model, tmp_path / "model.skops")
    with pytest.raises(UntrustedModel, match="Marks"):
        load_estimator(tmp_path / "model.skops")
    assert not (tmp_path / "marker").exists()


def test_a_pickle_under_the_name_of_a_skops_file_is_refused_unopened(tmp_path):
    (tmp_path / "model.skops").write_bytes(pickle.dumps(Marks(tmp_path / "marker")))
    with pytest.raises(UntrustedModel, match="no skops file"):
        load_estimator(tmp_path / "model.skops")
    assert not (tmp_path / "marker").exists()
