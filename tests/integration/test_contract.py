"""A run that lacks anything is refused with the whole list, and nothing is registered."""

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.models import infer_signature
from sklearn.linear_model import Ridge

from modelyard.errors import ContractNotMet
from modelyard.tracking.contract import Contract, check_contract

CONTRACT = Contract(
    params=("seed",),
    metrics=("train_rmse", "test_rmse"),
    tags=(("run_type", "training"), ("dataset_version", None)),
    artifacts=("plots/residuals.png",),
)


@pytest.fixture
def client(stack):
    mlflow.set_tracking_uri(stack.tracking_uri)
    return MlflowClient(stack.tracking_uri)


def test_everything_that_is_missing_is_listed_at_once(client):
    with mlflow.start_run(experiment_id="0") as run:
        mlflow.log_metric("train_rmse", 1.0)
        mlflow.set_tag("run_type", "evaluation")
    client.set_terminated(run.info.run_id, "FAILED")
    with pytest.raises(ContractNotMet) as refused:
        check_contract(client, run.info.run_id, contract=CONTRACT)
    assert refused.value.missing == [
        "status FINISHED (it is FAILED)",
        "param seed",
        "metric test_rmse",
        "tag run_type=training (it is 'evaluation')",
        "tag dataset_version",
        "a dataset input with context training and a digest",
        "artifact plots/residuals.png",
        "a logged model",
    ]


@pytest.mark.filterwarnings("ignore")  # MLflow's own, of its default digest and model format
def test_a_run_that_has_everything_is_taken_and_one_without_a_signature_is_not(client, tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0]})
    model = Ridge().fit(frame[["a"]], frame["y"])
    (tmp_path / "residuals.png").write_bytes(b"png")
    for signature in (infer_signature(frame[["a"]], frame["y"]), None):
        with mlflow.start_run(experiment_id="0") as run:
            mlflow.log_params({"seed": 1})
            mlflow.log_metrics({"train_rmse": 1.0, "test_rmse": 1.0})
            mlflow.set_tags({"run_type": "training", "dataset_version": "1.0.0"})
            mlflow.log_input(mlflow.data.from_pandas(frame, name="frame"), context="training")
            mlflow.log_artifact(str(tmp_path / "residuals.png"), "plots")
            mlflow.sklearn.log_model(model, name="model", signature=signature, pip_requirements=["scikit-learn"])
        if signature is not None:
            checked = check_contract(client, run.info.run_id, contract=CONTRACT)
            assert checked.metrics["test_rmse"] == 1.0
            assert checked.model_id.startswith("m-")
        else:
            with pytest.raises(ContractNotMet, match="it lacks: a signature of its model"):
                check_contract(client, run.info.run_id, contract=CONTRACT)
