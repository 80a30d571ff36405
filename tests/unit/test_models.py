"""A model file is loaded under our own list of types, whatever the file or its neighbours say."""

import json
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from lightgbm import LGBMRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge

from modelyard.errors import ModelFailed, UntrustedModel
from modelyard.tracking.model_formats import find_format, open_model
from modelyard.tracking.skops_file import load_estimator

X, y = np.arange(40.0).reshape(20, 2), np.arange(20.0)
ROWS = pd.DataFrame({"x": [1.0, 2.0]})
FROM_CODE = {"loader_module": "mlflow.pyfunc.loaders.code_model", "model_code_path": "model.py", "code": "code"}
SKOPS = {"serialization_format": "skops", "pickled_model": "model.skops"}
CODE = """
import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

import features


class Constant(PythonModel):
    def predict(self, context, model_input: pd.DataFrame, params=None):
        from parts.late import SHARE  # only when it is asked

        return np.full(len(model_input), features.VALUE * SHARE)


set_model(Constant())
"""


class Marks:
    """Leaves a file behind when a pickle of it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    "model",
    [Ridge(), RandomForestRegressor(2), HistGradientBoostingRegressor(max_iter=2), LGBMRegressor(n_estimators=2)],
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


def save(root: Path, flavors: Any, *, code: str = CODE, value: float = 1.0) -> Path:
    """A model as MLflow stores it, with modules of its own."""
    (root / "code" / "parts").mkdir(parents=True)
    (root / "MLmodel").write_text(json.dumps({"flavors": flavors}))
    (root / "model.py").write_text(code)
    (root / "code" / "features.py").write_text(f"VALUE = {value}")
    (root / "code" / "parts" / "late.py").write_text(f"SHARE = {value}")
    return root


def test_models_from_code_whose_modules_have_one_name_answer_each_with_its_own(tmp_path, monkeypatch):
    own = ModuleType("features")  # of the process that predicts
    monkeypatch.setitem(sys.modules, "features", own)
    path = [*sys.path]
    first = open_model(save(tmp_path / "1", {"python_function": FROM_CODE}, value=1.0))
    second = open_model(save(tmp_path / "2", {"python_function": FROM_CODE}, value=2.0))
    for _ in range(2):
        assert first.predict(ROWS).tolist() == [1.0, 1.0]
        assert second.predict(ROWS).tolist() == [4.0, 4.0]
    assert sys.path == path
    assert sys.modules["features"] is own
    assert not {"parts", "parts.late"} & {*sys.modules}
    assert not list(tmp_path.rglob("__pycache__")), "its files stay as they were verified"


def test_code_that_sets_no_model_is_not_the_model_opened_before(tmp_path):
    open_model(save(tmp_path / "1", {"python_function": FROM_CODE}))
    with pytest.raises(ModelFailed, match="could not be opened"):
        open_model(save(tmp_path / "2", {"python_function": FROM_CODE}, code="import features"))


@pytest.mark.parametrize(
    "flavors",
    [
        [1],
        None,
        {"python_function": "x"},
        {"python_function": None},
        {"sklearn": "x"},
        {"python_function": FROM_CODE | {"code": ["a"]}},
        {"python_function": FROM_CODE | {"code": "../2"}},
        {"python_function": FROM_CODE | {"model_code_path": "a\0b"}},
        {"python_function": FROM_CODE | {"artifacts": {"w": {"path": "../../../../../../etc/passwd", "uri": "x"}}}},
        {"python_function": FROM_CODE | {"artifacts": {"w": {"path": "/etc/passwd"}}}},
        {"python_function": FROM_CODE | {"artifacts": ["w"]}},
        {"sklearn": SKOPS | {"pickled_model": "a\0b"}},
        {"sklearn": SKOPS | {"pickled_model": "a" * 5000}},
    ],
)
def test_what_a_model_says_of_itself_is_refused_where_it_makes_no_sense(flavors, tmp_path):
    with pytest.raises(UntrustedModel):
        find_format(save(tmp_path / "1", flavors))


def test_a_skops_file_that_holds_no_model_is_refused_when_it_is_opened(tmp_path):
    root = save(tmp_path / "1", {"sklearn": SKOPS})
    skops.io.dump({"a": 1}, root / "model.skops")
    with pytest.raises(ModelFailed, match=r"model.skops holds a dict, which cannot predict"):
        open_model(root)


def test_a_missing_library_of_the_system_is_named_with_what_installs_it(tmp_path, monkeypatch):
    def fail(path):
        raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")

    root = save(tmp_path / "1", {"sklearn": SKOPS})
    skops.io.dump(Ridge().fit(X, y), root / "model.skops")
    monkeypatch.setattr("modelyard.tracking.model_formats.load_estimator", fail)  # this machine has it
    with pytest.raises(ModelFailed, match=r"libgomp\.so\.1.*apt install libgomp1"):
        open_model(root)
