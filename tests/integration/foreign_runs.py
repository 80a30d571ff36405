"""Training runs as other tools leave them in MLflow: made with MLflow's own functions, none of ours but the dataset."""

import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import LoggedModelOutput
from mlflow.models import infer_signature
from sklearn.linear_model import Ridge

import modelyard
from modelyard.pipeline.datasets import describe_dataset
from modelyard.pipeline.session import Session
from modelyard.store.datasets import Dataset
from modelyard.tracking.datasets import log_input
from modelyard.tracking.runs import ActiveRun

FEATURES = ["rooms", "age"]
WEIGHTS = np.array([2.0, -1.0, 0.5])  # of the features, and an intercept
MODEL_CODE = """
import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Linear(PythonModel):
    def load_context(self, context):
        self.weights = np.load(context.artifacts["weights"])

    def predict(self, context, model_input, params=None):
        return model_input[["rooms", "age"]].to_numpy(float) @ self.weights[:-1] + self.weights[-1]


set_model(Linear())
"""
_LOG_FROM_CODE = """
import sys

import mlflow

run_id, code, weights, rows = sys.argv[1:]
import pandas
from mlflow.models import infer_signature

frame = pandas.read_csv(rows)
signature = infer_signature(frame, frame["rooms"] * 2)
with mlflow.start_run(run_id=run_id):
    mlflow.pyfunc.log_model(
        name="model", python_model=code, artifacts={"weights": weights}, signature=signature,
        pip_requirements=["mlflow", "numpy"],
    )
"""
TAGS = {"run_type": "training", "stage": "training", "task": "regression", "policy_id": "flats_policy"}


def make_frame(seed: int = 0, *, nb_rows: int = 300) -> pd.DataFrame:
    """Rows whose target follows from ``WEIGHTS``, with noise."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(nb_rows, 2)), columns=FEATURES)
    price = frame.to_numpy() @ WEIGHTS[:-1] + WEIGHTS[-1] + rng.normal(scale=0.1, size=nb_rows)
    return frame.assign(price=price, split=np.resize(["train", "train", "train", "validation", "test"], nb_rows))


def log_flats(session: Session, seed: int = 0, *, name: str = "flats") -> Dataset:
    """A dataset of those rows, on record."""
    return modelyard.log_dataset(session, make_frame(seed), name=name, targets=["price"])[1]


def make_run(
    session: Session,
    dataset: Dataset | None,
    *,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] = TAGS,
    files: Mapping[str, str] | None = None,
    model_id: str | None = None,
    leave_out: Collection[str] = (),
    status: str = "FINISHED",
) -> str:
    """A run that has these things, but what ``leave_out`` names; ``model_id`` is of a model logged elsewhere."""
    client = session.mlflow
    run = ActiveRun(client, client.create_run("0").info.run_id, "0")
    run.log(**{
        what: {name: value for name, value in (given or {}).items() if name not in leave_out}
        for what, given in (("params", params), ("metrics", metrics), ("tags", tags))
    })  # fmt: skip
    run.log_files({path: text for path, text in (files or {}).items() if path not in leave_out})
    if dataset is not None:
        log_input(run, describe_dataset(dataset), context="training")
    if model_id is not None:
        client.log_outputs(run.run_id, [LoggedModelOutput(model_id, 0)])
    client.set_terminated(run.run_id, status)
    return run.run_id


def log_ridge(run_id: str, *, columns: list[str] | None = None, name: str = "model", **options: Any) -> str:
    """Log a ridge regression into a run with MLflow's own function; return the id of the logged model."""
    frame = make_frame()
    X = frame[columns or FEATURES]
    model = Ridge().fit(X, frame["price"])
    signature = infer_signature(X, model.predict(X))
    with mlflow.start_run(run_id=run_id):
        options = {"signature": signature, "serialization_format": "skops"} | options
        return mlflow.sklearn.log_model(model, name=name, pip_requirements=["scikit-learn"], **options).model_id


def log_from_code(run_id: str, folder: Path) -> None:
    """Log a model from code into a run, in a process that has never heard of Modelyard."""
    (folder / "model.py").write_text(MODEL_CODE)
    np.save(folder / "weights.npy", WEIGHTS)
    make_frame()[FEATURES].head().to_csv(folder / "rows.csv", index=False)
    (folder / "log.py").write_text(_LOG_FROM_CODE)
    arguments = ["log.py", run_id, "model.py", "weights.npy", "rows.csv"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(), "NO_PROXY": "127.0.0.1"}
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
