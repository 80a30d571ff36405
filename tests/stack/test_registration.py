"""Runs of other tools on Compose: logged with the notebook's keys, registered and evaluated by the containers."""

import sys

import pytest

from tests.stack.project import run

MODEL = """
import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from columns import TAKEN


class Linear(PythonModel):
    def load_context(self, context):
        self.weights = np.load(context.artifacts["weights"])

    def predict(self, context, model_input: pd.DataFrame, params=None):
        return model_input[TAKEN].to_numpy(float) @ self.weights[:-1] + self.weights[-1]


set_model(Linear())
"""
TOOL = """
import sys

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature

from columns import TAKEN

name, digest = sys.argv[1:]
frame = pd.read_parquet("rows.parquet")
frame = frame[frame["split"] == "train"]
X = np.column_stack([frame[TAKEN], np.ones(len(frame))])
np.save("weights.npy", np.linalg.lstsq(X, frame["MedHouseVal"], rcond=None)[0])
with mlflow.start_run() as run:
    mlflow.log_input(mlflow.data.from_pandas(frame, name=name, digest=digest), context="training")
    mlflow.set_tags({"run_type": "training", "task": "regression", "policy_id": "foreign_policy"})
    mlflow.pyfunc.log_model(
        name="model", python_model="model.py", code_paths=["columns.py"], artifacts={"weights": "weights.npy"},
        signature=infer_signature(frame[TAKEN], frame["MedHouseVal"]), pip_requirements=["mlflow", "numpy"],
    )
print()
print(run.info.run_id)
"""


@pytest.fixture(scope="module")
def run_id(project, outcome, tmp_path_factory):
    """A run of a tool that knows MLflow and the notebook's keys alone."""
    folder = tmp_path_factory.mktemp("tool")
    name, digest = outcome["dataset"]["name"], outcome["dataset"]["digest"]
    project.launch("datasets", "export", digest, "--output", str(folder / "rows.parquet")).checked()
    for module, text in (("model", MODEL), ("tool", TOOL), ("columns", 'TAKEN = ["MedInc", "HouseAge"]\n')):
        (folder / f"{module}.py").write_text(text)
    environment = {**project.environment, **project.notebook_environment, "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-W", "ignore", "tool.py", name, digest[:32]]
    return run(command, environment, cwd=folder).checked().stdout.split()[-1]


@pytest.fixture(scope="module")
def registered(project, run_id):
    return project.launch("register", run_id, "--json").checked().outcome


def test_a_run_of_another_tool_is_told_whether_it_meets_its_contract(project, run_id):
    told = project.launch("contract", "check", run_id, "--json").checked().outcome
    assert (told["met"], told["model_name"], told["rules"]) == (True, "foreign_model", "regression")
    refused = project.launch("contract", "check", run_id, "--task", "planner", "--model", "planned_model")
    assert refused.code == 3
    assert "MISSING" in refused.stdout + refused.stderr


def test_it_is_registered_once_and_evaluated_with_its_own_code(project, outcome, run_id, registered):
    assert registered["registration"]["model_name"] == "foreign_model"
    assert registered["evaluation"]["passed"]
    assert registered["evaluation"]["metrics"]["rmse"] > outcome["evaluation"]["metrics"]["rmse"], "of two columns only"
    again = project.launch("register", run_id, "--json").checked().outcome
    assert again["registration"]["version"] == registered["registration"]["version"]
    told = project.launch("evaluate", f"foreign_model/{registered['registration']['version']}", "--json").checked()
    assert told.outcome["evaluation"]["metrics"] == registered["evaluation"]["metrics"]


def test_a_tag_set_by_hand_is_put_back(project, registered):
    client, version = project.mlflow(), registered["registration"]["version"]
    client.set_model_version_tag("foreign_model", version, "stage", "production")
    project.launch("reconcile")  # its code says whether anything is lost, of other tests too
    tags = client.get_model_version("foreign_model", version).tags
    assert tags["stage"] == "candidate"
    assert "by hand" in tags["stage_refused"]
