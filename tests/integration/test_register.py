"""Runs of other tools, and of jobs that died, become model versions: once, whatever happens, and without a pickle."""

import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

import modelyard
from modelyard.errors import ContentMismatch, ModelFailed, SchemaMismatch, UntrustedModel
from modelyard.pipeline.examination import examine_run
from modelyard.pipeline.run_request import build_run_request
from modelyard.workloads.registry import get_workload
from tests.integration.foreign_runs import (
    FEATURES,
    MODEL_CODE,
    TAGS,
    WEIGHTS,
    log_flats,
    log_from_code,
    log_ridge,
    make_frame,
    make_run,
)
from tests.integration.trainings import workers_asleep

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, of pickles and model code
VERSIONS = "SELECT * FROM exp.model_versions WHERE mlflow_run_id = %s"
FAULTS = [
    "before modelyard.pipeline.flow:record_run",
    "after modelyard.pipeline.flow:record_run",
    "before modelyard.pipeline.register:register",
    "after modelyard.pipeline.register:register",
    "after modelyard.pipeline.flow:register_model",
]


@pytest.fixture(scope="module")
def flats(session):
    return log_flats(session)


@pytest.fixture
def tags(request):
    """Tags of a run whose model no other test has."""
    name = request.node.originalname.removeprefix("test_")[:40]
    return TAGS | {"policy_id": f"{name}{abs(hash(request.node.name)) % 1000}_policy"}


@pytest.fixture(scope="module")
def from_code(session, flats, command, tmp_path_factory):
    """A run with a model from code that was registered: its id, and what the command said."""
    run_id = make_run(session, flats, params={"depth": 3})
    log_from_code(run_id, tmp_path_factory.mktemp("tool"))
    ended = command("register", run_id, "--json")
    assert ended.code == 0, ended.printed
    return run_id, ended.outcome


class Marks:
    """Leaves a file behind when a pickle of it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def shown_versions(session, run_id):
    return [(v.name, str(v.version)) for v in session.mlflow.search_model_versions(f"run_id = '{run_id}'")]


def list_files(session, model_id, folder=None):
    """The files of a logged model, as MLflow has them."""
    for entry in session.mlflow.list_logged_model_artifacts(model_id, folder):
        if entry.is_dir:
            yield from list_files(session, model_id, entry.path)
        else:
            yield entry.path


def test_a_model_from_code_of_another_tool_is_registered_evaluated_and_predicts(session, from_code, rows, flats):
    run_id, outcome = from_code
    assert outcome["registration"]["model_name"] == "flats_model"
    assert outcome["evaluation"]["passed"]
    assert outcome["evaluation"]["metrics"]["rmse"] == pytest.approx(0.1, abs=0.03), "the noise of its rows"
    [version] = rows(VERSIONS, run_id)
    assert (version["workload"], version["task"], version["model_type"]) == ("regression", "regression", "code")
    assert version["parameters"] == {"depth": "3"}
    assert version["dataset_id"] == flats.dataset_id
    assert shown_versions(session, run_id) == [("flats_model", version["mlflow_model_version"])]
    stage = rows("SELECT stage FROM exp.stages WHERE mlflow_model_name = 'flats_model'")
    assert stage[0]["stage"] == "candidate"
    recorded = rows("SELECT path FROM exp.model_files WHERE mlflow_model_id = %s", version["mlflow_model_id"])
    assert {row["path"] for row in recorded} == set(list_files(session, version["mlflow_model_id"]))
    model = modelyard.load_model(session, f"flats_model/{version['mlflow_model_version']}")
    frame = make_frame(7)[FEATURES]
    assert model.predict(frame) == pytest.approx(frame.to_numpy() @ WEIGHTS[:-1] + WEIGHTS[-1])
    with pytest.raises(SchemaMismatch, match="missing: age"):
        model.predict(frame[["rooms"]])


def test_registering_once_more_gives_the_same_version(session, command, from_code):
    run_id, outcome = from_code
    again = command("register", run_id, "--json")
    assert again.code == 0, again.printed
    assert again.outcome["registration"]["version"] == outcome["registration"]["version"]
    assert len(shown_versions(session, run_id)) == 1
    renamed = command("register", run_id, "--model", "houses_model")
    assert renamed.code == 2
    assert "a run has one version, not two" in renamed.printed
    other = command("register", run_id, "--task", "planner")
    assert other.code == 2
    assert "is registered by the rules of regression; leave --task planner out" in other.printed


def test_two_that_register_a_run_at_once_get_one_version(session, command, flats, rows, tags):
    run_id = make_run(session, flats, tags=tags)
    log_ridge(run_id)
    asked = [["--rules", str(rules_file())], []]  # two jobs: what they ask for differs
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda more: command("register", run_id, "--json", *more), asked))
    assert [one.code for one in ended] == [0, 0], [one.printed for one in ended]
    assert len({one.outcome["registration"]["version"] for one in ended}) == 1
    assert len(rows(VERSIONS, run_id)) == len(shown_versions(session, run_id)) == 1


def test_a_tag_of_a_run_names_no_file_for_workers_to_run(stack, session, command, flats, rows, tags, tmp_path):
    evil = f"open({str(tmp_path / 'ran')!r}, 'w')\n".encode()
    path = Path(stack.home, "raw", sha256(evil).hexdigest(), "regression.py")
    path.parent.mkdir()
    path.write_bytes(evil)
    run_id = make_run(session, flats, tags=tags | {"workload_file": path.parent.name})
    log_ridge(run_id)
    ended = command("register", run_id, "--task", "regression", "--json")
    assert ended.code == 0 and ended.outcome["evaluation"]["passed"], ended.printed
    assert not (tmp_path / "ran").exists()
    [version] = rows(VERSIONS, run_id)
    assert "workload_file" not in version["code_version"]


def rules_file():
    return Path(__file__).parents[2] / "src/modelyard/workloads/rules/regression.yaml"


@pytest.mark.parametrize("at", FAULTS)
def test_a_registration_that_was_killed_goes_on_to_one_version(stack, session, command, flats, rows, tags, at):
    run_id = make_run(session, flats, tags=tags)
    log_ridge(run_id)
    with workers_asleep(stack):
        assert command("register", run_id, "--inline", at=at).code == -9
        again = command("register", run_id, "--inline", "--json")
    assert again.code == 0, again.printed
    [version] = rows(VERSIONS, run_id)
    assert again.outcome["registration"]["version"] == version["mlflow_model_version"] == "1"
    assert len(shown_versions(session, run_id)) == 1


@pytest.mark.parametrize(
    "at", ["before modelyard.pipeline.register:register", "after modelyard.pipeline.register:register"]
)
def test_a_training_whose_job_died_is_registered_by_its_run(stack, session, command, rows, tmp_path, at):
    sample = get_workload("california_housing").sample(tmp_path)[0]
    seed = 7800 + at.startswith("after")
    asked = ["--data", str(sample), "--model-type", "ridge", "--set", f"seed={seed}", "--set", "alpha=0.5"]
    with workers_asleep(stack):
        assert command("train", "california_housing", *asked, "--inline", at=at).code == -9
        [job] = rows("SELECT job_id::text FROM exp.job_states WHERE state = 'running' AND inline AND kind = 'train'")
        runs = session.mlflow.search_runs(
            [e.experiment_id for e in session.mlflow.search_experiments()],
            f"tags.`modelyard.job_id` = '{job['job_id']}' and tags.run_type = 'training'",
        )
        [run_id] = [run.info.run_id for run in runs]
        left = shown_versions(session, run_id)
        assert len(left) == at.startswith("after")
        ended = command("register", run_id, "--inline", "--json")
        assert ended.code in (0, 3), ended.printed  # whether the gate takes it does not matter here
        resumed = command("train", "california_housing", *asked, "--inline", "--json")
    [version] = rows(VERSIONS, run_id)
    assert (version["workload"], version["model_type"]) == ("california_housing", "ridge")
    assert (version["parameters"]["seed"], version["parameters"]["alpha"]) == (seed, 0.5)
    assert len(version["code_version"]["workload_sha256"]) == 64
    assert version["environment"]["packages"], "as its training has logged it"
    assert shown_versions(session, run_id) == [("california_housing_model", version["mlflow_model_version"])]
    assert left in ([], shown_versions(session, run_id))
    assert resumed.outcome["registration"]["version"] == version["mlflow_model_version"], resumed.printed


def test_a_number_on_record_is_never_given_again(session, command, flats, rows, tags):
    runs = [make_run(session, flats, tags=tags) for _ in range(3)]
    for run_id in runs:
        log_ridge(run_id)
    for run_id in runs[:2]:
        assert command("register", run_id, "--inline").code == 0
    name = shown_versions(session, runs[0])[0][0]
    session.mlflow.delete_registered_model(name)  # MLflow counts from 1 again
    assert command("register", runs[2], "--inline").code == 0
    assert [rows(VERSIONS, run_id)[0]["mlflow_model_version"] for run_id in runs] == ["1", "2", "3"]
    assert [shown_versions(session, run_id) for run_id in runs] == [[], [], [(name, "3")]]
    lost = command("register", runs[0])
    assert lost.code == 1
    assert f"is registered as {name}/1, and MLflow has lost that version" in lost.printed


def log_pickled_object(run_id, marker, folder):
    class Opened(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):  # noqa: ARG002
            return model_input["rooms"]

    opened = Opened()
    opened.marks = Marks(marker)
    frame = make_frame()
    signature = mlflow.models.infer_signature(frame[FEATURES], frame["price"])
    with mlflow.start_run(run_id=run_id):
        mlflow.pyfunc.log_model(name="model", python_model=opened, signature=signature, pip_requirements=["mlflow"])


def log_pickled_estimator(run_id, marker, folder):
    log_ridge(run_id, serialization_format="cloudpickle")
    overwrite(run_id, "model.pkl", pickle.dumps(Marks(marker)))


def log_pickle_as_skops(run_id, marker, folder):
    log_ridge(run_id)
    overwrite(run_id, "model.skops", pickle.dumps(Marks(marker)))


def log_code_with(name, content):
    def log(run_id, marker, folder):
        log_from_code(run_id, folder)
        overwrite(run_id, f"artifacts/{name}", content(marker))

    return log


def overwrite(run_id, path, content):
    """Put a file among those of the model of a run, as whoever may write artifacts can."""
    client = mlflow.MlflowClient()
    [output] = client.get_run(run_id).outputs.model_outputs
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{output.model_id}"))
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_bytes(content)
    client.log_model_artifacts(output.model_id, str(folder))


def as_archive(marker):
    path = marker.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Marks(marker)))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (log_pickled_object, "the model is a pickled Python object"),
        (log_pickled_estimator, "model is stored as cloudpickle"),
        (log_pickle_as_skops, "model.skops is no skops file"),
        (log_code_with("state.bin", lambda marker: pickle.dumps(Marks(marker))), "brings pickles"),
        (log_code_with("weights.zip", as_archive), "brings pickles"),
        (log_code_with("state.joblib", lambda marker: b"anything"), "artifacts/state.joblib"),
    ],
    ids=["object", "estimator", "renamed", "artifact", "archive", "suffix"],
)
def test_a_pickle_is_refused_unopened(session, command, flats, rows, tmp_path, tags, log, why):
    run_id, marker = make_run(session, flats, tags=tags), tmp_path / "marker"
    log(run_id, marker, tmp_path)
    refused = command("register", run_id)
    assert refused.code == 3, refused.printed
    assert why in refused.printed
    assert not marker.exists()
    assert rows(VERSIONS, run_id) == []
    assert shown_versions(session, run_id) == []


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("loader_module: mlflow.pyfunc.loaders.code_model", "loader_module: os", "are not opened"),
        ("model_code_path: ", "data: ../elsewhere\n    model_code_path: ", "leads out of its folder"),
        ("/model.py", "/other.py", "no such file"),
        ("code: null", "code: ../..", "leads out of its folder"),
        ("flavors:", "flavors: !!python/object/apply:os.getcwd []\nfoo:", "no MLmodel file that can be read"),
    ],
)
def test_what_a_model_says_of_itself_is_not_believed(session, flats, tmp_path, tags, old, new, why):
    run_id = make_run(session, flats, tags=tags)
    log_from_code(run_id, tmp_path)
    [output] = session.mlflow.get_run(run_id).outputs.model_outputs
    text = Path(mlflow.artifacts.download_artifacts(f"models:/{output.model_id}"), "MLmodel").read_text()
    assert old in text
    overwrite(run_id, "MLmodel", text.replace(old, new, 1).encode())
    examined = examine_run(session, build_run_request(session, run_id))
    assert why in " ".join(examined.missing)


def test_model_code_that_was_changed_is_not_run_and_what_was_added_is_not_there(stack, session, from_code, tmp_path):
    run_id, outcome = from_code
    [output] = session.mlflow.get_run(run_id).outputs.model_outputs
    [stored] = (stack.home / "artifacts").rglob(f"{output.model_id}/**/model.py")
    original, marker = stored.read_text(), tmp_path / "marker"
    model = f"flats_model/{outcome['registration']['version']}"
    added = stored.with_name("numpy.py")
    try:
        added.write_text(f"open({str(marker)!r}, 'w')")
        modelyard.load_model(session, model)
        stored.write_text(f"open({str(marker)!r}, 'w')\n{original}")
        with pytest.raises(ContentMismatch, match=r"model\.py"):
            modelyard.load_model(session, model)
    finally:
        stored.write_text(original)
        added.unlink()
    assert not marker.exists()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("import numpy as np", "import numpy as np\nimport no_such_package", "No module named 'no_such_package'"),
        ("return model_input", "return 1 / 0 * model_input", "division by zero"),
        ("+ self.weights[-1]", "@ [[1.0]]", "could not predict"),
        ("return model_input", "return [1.0, 2.0]  # model_input", "answers of shape (2,)"),
    ],
    ids=["package", "code", "shapes", "rows"],
)
def test_model_code_that_fails_has_no_verdict_and_says_why(
    session, command, flats, rows, tmp_path, tags, old, new, why
):
    run_id = make_run(session, flats, tags=tags)
    log_from_code(run_id, tmp_path)
    overwrite(run_id, "model.py", MODEL_CODE.replace(old, new, 1).encode())
    ended = command("register", run_id, "--inline")
    assert ended.code == 1, ended.printed
    assert why in ended.printed
    [version] = rows(VERSIONS, run_id)
    name = version["mlflow_model_name"]
    assert rows("SELECT FROM exp.evaluations WHERE mlflow_model_name = %s", name) == []
    with pytest.raises(ModelFailed):
        modelyard.load_model(session, f"{name}/1").predict(make_frame()[FEATURES])


def test_a_model_of_fewer_columns_gets_those_it_takes(session, command, flats, rows, tags):
    run_id = make_run(session, flats, tags=tags)
    log_ridge(run_id, columns=["age"])
    assert command("register", run_id, "--inline").code in (0, 3)
    [version] = rows(VERSIONS, run_id)
    model = modelyard.load_model(session, f"{version['mlflow_model_name']}/1")
    frame = make_frame()[FEATURES]
    low, high = model.predict(frame.assign(rooms=-100.0)), model.predict(frame.assign(rooms=100.0))
    assert np.array_equal(low, high), "rooms are none of its columns"
    assert len(set(model.predict(pd.DataFrame({"rooms": [0.0, 0.0], "age": [0.0, 1.0]})))) == 2


def test_a_version_without_rules_that_can_score_it_is_registered_and_says_so(session, command, flats, rows):
    run_id = make_run(
        session, flats,
        params=dict.fromkeys(("learning_rate", "batch_size", "epochs", "model_base", "fine_tuning_method"), 1)
        | {"dataset_version": "1.0.0"},
        metrics=dict.fromkeys(("train_loss", "val_loss", "plan_alignment_score", "constraint_respect_score"), 1.0),
        tags=TAGS | {"policy_id": "planner_policy", "task": "planning", "dataset_version": "1.0.0"},
        files={"tokenizer/tokenizer.json": "{}", "config.json": "{}"},
    )  # fmt: skip
    log_ridge(run_id)
    ended = command("register", run_id, "--json")
    assert ended.code == 0, ended.printed
    assert ended.outcome["registration"]["evaluation_job_id"] is None
    assert "it is not evaluated" in ended.printed
    [version] = rows(VERSIONS, run_id)
    assert (version["workload"], version["task"]) == ("planner", "generation")


def test_a_native_model_without_its_package_is_refused_with_what_to_do(tmp_path):
    from modelyard.tracking.model_formats import find_format

    (tmp_path / "MLmodel").write_text(
        "flavors:\n  xgboost: {model_class: xgboost.core.Booster, data: model.ubj}\n"
        "  python_function: {loader_module: mlflow.xgboost, data: model.ubj}\n"
    )
    (tmp_path / "model.ubj").write_text("tree")
    with pytest.raises(UntrustedModel, match="needs xgboost, which is not installed here"):
        find_format(tmp_path)


def test_who_may_not_train_may_not_register(database):
    from modelyard.errors import RightMissing
    from modelyard.store.jobs import submit_job
    from modelyard.store.rights import needed_right

    viewer = database.connect("alice_viewer")
    with pytest.raises(RightMissing, match="a trainer may"), needed_right(viewer, group="trainer", to="register"):
        submit_job(viewer, kind="register", arguments={"run_id": "r"})
    assert submit_job(database.connect("alice_trainer"), kind="register", arguments={"run_id": "r"})
