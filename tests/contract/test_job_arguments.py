"""Jobs that an earlier release has queued are understood: these arguments are as 0.1.0 records them, never edited."""

import pytest

from modelyard.pipeline.raw import RawData, RawFile
from modelyard.pipeline.request import build_request, read_request

TRAIN_0_1_0 = {
    "workload": "california_housing",
    "model_type": "hist_gradient_boosting",
    "parameters": {
        "seed": 42,
        "features": "basic",
        "test_share": 0.2,
        "validation_share": 0.1,
        "refit": True,
        "learning_rate": 0.1,
        "max_iter": 100,
        "max_leaf_nodes": 31,
        "max_depth": None,
        "min_samples_leaf": 20,
        "l2_regularization": 0.0,
        "max_features": 1.0,
        "early_stopping": "auto",
    },
    "mlflow_experiment": "california_housing_price",
    "run_name": "first",
    "raw": {
        "digest": "d3d8a1a722ae78f91134862727d27a70b1415e7d512a89140406248687f4b902",
        "files": [
            {
                "name": "cal_housing.data",
                "sha256": "d3d8a1a722ae78f91134862727d27a70b1415e7d512a89140406248687f4b902",
                "size_bytes": 2092122,
            }
        ],
        "source": "file_path",
        "dvc_md5": None,
    },
    "workload_sha256": "bf616ea7e1ece1f7de071799b553273617035d84c00befbc4a7f6929115e7be2",
}


def test_a_training_queued_by_0_1_0_is_understood():
    request = read_request(TRAIN_0_1_0)
    assert request.model_type == "hist_gradient_boosting"
    assert request.parameters.model_dump(mode="json") == TRAIN_0_1_0["parameters"]
    assert (request.mlflow_experiment, request.run_name) == ("california_housing_price", "first")


def test_this_release_records_arguments_that_0_1_0_would_understand():
    request = build_request("california_housing", run_name="first")
    file = RawFile(**TRAIN_0_1_0["raw"]["files"][0])
    raw = RawData(digest=file.sha256, files=(file,), source="file_path", why="named", dvc_md5=None)
    now = request.arguments(raw)
    assert now.keys() >= TRAIN_0_1_0.keys()
    assert now | {"workload_sha256": ""} == TRAIN_0_1_0 | {"workload_sha256": ""}


@pytest.mark.parametrize("secret", ["/home", "data folder", "named"])
def test_arguments_hold_references_only(secret):
    file = RawFile(name="a.csv", sha256="a" * 64, size_bytes=1)
    why = "found in the data folder /home/ana/data"
    raw = RawData(digest=file.sha256, files=(file,), source="file_path", why=why, dvc_md5=None)
    assert secret not in str(build_request("california_housing").arguments(raw))
