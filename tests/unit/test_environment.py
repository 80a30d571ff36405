"""What a training ran in, as far as it can be told afterwards; and predictions, compared to the last bit."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from modelyard.data.predictions import compare_predictions, digest_predictions
from modelyard.pipeline.environment import find_environment, list_differences, list_packages, predict_test
from modelyard.workloads.contract import Processed

IN_A_PROCESS = """
import json, sklearn.ensemble
from modelyard.pipeline.environment import find_environment
print(json.dumps(find_environment()))
"""


def test_two_processes_on_one_machine_have_the_same_environment():
    first, second = (
        json.loads(subprocess.run([sys.executable, "-c", IN_A_PROCESS], capture_output=True, check=True).stdout)
        for _ in range(2)
    )
    assert list_differences(first, second) == []
    assert len(json.dumps(first)) < 20_000


def test_other_threads_are_named():
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", IN_A_PROCESS]
    one = json.loads(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)
    assert one["threads"]["variables"]["OMP_NUM_THREADS"] == "1"
    pools = one["threads"]["pools"].values()
    assert {pool["user_api"] for pool in pools} == {"blas", "openmp"}
    assert {pool["num_threads"] for pool in pools} == {1}
    many = {**one, "threads": {"pools": {n: p | {"num_threads": 8} for n, p in one["threads"]["pools"].items()}}}
    assert all(change["what"].startswith("threads.") for change in list_differences(one, many))


def test_the_packages_are_those_that_a_training_can_depend_on():
    found = list_packages()
    for needed in ("numpy", "scipy", "scikit-learn", "pyarrow", "mlflow", "psycopg-binary"):
        assert found[needed] == version(needed)
    for of_development in ("modelyard", "ruff", "mypy"):
        assert of_development not in found


def test_processor_and_cores_are_named():
    cpu = find_environment()["cpu"]
    assert cpu["architecture"]
    assert cpu["cores"] == joblib.cpu_count()
    assert cpu["features"] == sorted(cpu["features"])


def test_a_difference_names_what_was_and_what_is():
    then = {"packages": {"numpy": "1.0", "scipy": "1.1"}, "cpu": {"features": ["avx", "sse"]}, "python": "3.11.2"}
    now = {"packages": {"numpy": "2.0", "skops": "0.1"}, "cpu": {"features": ["sse", "sve"]}, "python": "3.11.2"}
    assert list_differences(then, now) == [
        {"what": "cpu.features", "then": ["avx"], "now": ["sve"]},
        {"what": "packages.numpy", "then": "1.0", "now": "2.0"},
        {"what": "packages.scipy", "then": "1.1", "now": None},
        {"what": "packages.skops", "then": None, "now": "0.1"},
    ]


def test_the_last_bit_of_one_row_is_seen():
    then = np.linspace(0, 1, 1000)
    now = then.copy()
    now[123] = np.nextafter(now[123], 2)
    assert digest_predictions(then) != digest_predictions(now)
    found = compare_predictions(then, now)
    assert (found.rows, found.differing_rows) == (1000, 1)
    assert found.largest == now[123] - then[123] > 0


@pytest.mark.parametrize(
    "predictions",
    [
        np.array([1.5, np.nan, -0.0, np.inf]),
        np.array([[0.25, 0.75], [np.nan, 1.0]], dtype=np.float32),
        np.array([1, 2, 3]),
        np.array(["cat", "dog"], dtype=object),
        pd.Series([1.0, 2.0]),
        np.array([[1.5, "BUY", True], [np.nan, "HOLD", None]], dtype=object),
        [1.0, 2.0],
    ],
    ids=["doubles", "two columns of floats", "integers", "texts", "series", "columns of several types", "list"],
)
def test_predictions_equal_themselves(predictions):
    again = predictions.copy()
    found = compare_predictions(predictions, again)
    assert (found.rows, found.differing_rows, found.largest) == (len(predictions), 0, None)
    assert digest_predictions(predictions) == digest_predictions(again)


def test_any_nan_is_as_good_as_another():
    other = np.array([0xFFF8000000000001], dtype=np.uint64).view(np.float64)
    assert compare_predictions(np.array([np.nan]), other).differing_rows == 0
    assert digest_predictions(np.array([np.nan])) == digest_predictions(other)


@pytest.mark.parametrize(
    ("then", "now", "largest"),
    [
        (np.array([0.0, 1.0]), np.array([-0.0, 1.0]), 0.0),
        (np.array([np.nan, 1.0]), np.array([2.0, 1.0]), None),
        (np.array([np.inf, 1.0]), np.array([3.0, 1.0]), None),
        (np.array([3, 1]), np.array([1, 1]), 2.0),
        (np.array(["cat", "dog"]), np.array(["cow", "dog"]), None),
        (np.array([[1.5, "a"], [2.0, "b"]], dtype=object), np.array([[1.25, "a"], [2.0, "b"]], dtype=object), 0.25),
        (np.array([[1.5, "a"], [2.0, "b"]], dtype=object), np.array([[1.5, "a"], [2.0, "c"]], dtype=object), None),
    ],
    ids=["sign of zero", "NaN", "infinity", "integer", "text", "number beside text", "text beside number"],
)
def test_one_of_two_rows_differs(then, now, largest):
    found = compare_predictions(then, now)
    assert (found.differing_rows, found.largest) == (1, largest)
    assert digest_predictions(then) != digest_predictions(now)


def test_of_texts_only_those_rows_differ_that_do():
    found = compare_predictions(np.array(["cat", "dog"]), np.array(["cat", "horse"]))
    assert found.differing_rows == 1


@pytest.mark.parametrize(
    "now", [np.array([1.0, 2.0], np.float32), np.array([1.0]), np.array([[1.0, 2.0]])], ids=["type", "rows", "shape"]
)
def test_predictions_of_another_kind_differ_in_every_row(now):
    assert compare_predictions(np.array([1.0, 2.0]), now).differing_rows == 2


def test_all_test_rows_are_predicted_at_once_and_no_other():
    class Model:
        def predict(self, rows):
            return rows["x"].to_numpy()

    processed = Processed(
        X=pa.table({"x": [1.0, 2.0, 3.0]}),
        y=pa.table({"y": [0.0, 0.0, 0.0]}),
        split=pa.array(["test", "train", "test"]),
    )
    assert predict_test(Model(), processed).tolist() == [1.0, 3.0]
