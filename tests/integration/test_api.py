"""Datasets from Python: logged once by content, checked first, loaded verified, and never taken for a model."""

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.preprocessing import StandardScaler

import modelyard
from modelyard.errors import BadInput, DataInvalid, DatasetRefused, SchemaMismatch, StackNotRunning, VersionRefused
from modelyard.store.catalogue import list_datasets
from modelyard.store.usage import list_uses
from modelyard.tracking.runs import ActiveRun
from modelyard.workloads.contract import Expectation, Expectations
from tests.conftest import open_folder
from tests.integration.notebook import connected, make_log, own_run

SPLITS = ["train", "train", "train", "validation", "test"]


def make_frame(rows=100, *, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "rooms": rng.integers(1, 9, rows),
            "area_m2": rng.uniform(20, 200, rows),
            "town": rng.choice(["north", "south"], rows),
            "price": rng.uniform(50, 500, rows),
            "split": [SPLITS[row % len(SPLITS)] for row in range(rows)],
            "owner": [f"o{row % 7}" for row in range(rows)],
        }
    )


def log(session, data, name, **changes):
    return modelyard.log_dataset(session, data, **({"name": name, "targets": ["price"], "extra": ["owner"]} | changes))


def list_runs(session, name):
    """The runs of the MLflow experiment ``datasets`` that a dataset of this name has, whatever became of them."""
    experiment = session.mlflow.get_experiment_by_name("datasets")
    found = session.mlflow.search_runs([experiment.experiment_id]) if experiment else []
    return [run for run in found if run.info.run_name.startswith(f"{name} ")]


def test_what_is_public_is_there():
    assert [name for name in modelyard.__all__ if not callable(getattr(modelyard, name))] == []


def test_without_a_stack_it_is_said_how_to_start_one():
    refused = pytest.raises(StackNotRunning, match="start it with make up")
    with open_folder() as folder, refused, connected({"MODELYARD_HOME": f"{folder}/home"}):
        pass


def test_a_frame_is_logged_and_loaded_as_it_was(session):
    frame = make_frame()
    returned, dataset = log(session, frame, "framed")
    assert returned is frame
    assert (dataset.version, dataset.workload, dataset.targets) == ("1.0.0", "framed", ["price"])
    assert (dataset.num_rows, dataset.num_elements) == (100, 600)
    tables, row = modelyard.load_dataset(session, "framed@1.0.0")
    assert row == dataset
    assert tables.X.to_pandas().equals(frame[["rooms", "area_m2", "town"]])
    assert tables.y.to_pandas().equals(frame[["price"]])
    assert tables.split.to_pylist() == frame["split"].tolist()
    assert tables.extra.to_pandas().equals(frame[["owner"]])


def test_the_processing_run_says_what_it_has_logged(session, tmp_path):
    _, dataset = log(session, make_frame(), "shown", parameters={"window_s": 30}, notes={"dropped": 2})
    [run] = list_runs(session, "shown")
    assert run.info.run_id == dataset.mlflow_run_id and run.info.status == "FINISHED"
    tags = run.data.tags
    assert (tags["run_type"], tags["mlflow.dataset.logged"], tags["mlflow.dataset.context"]) == (
        "dataset",
        "true",
        "training",
    )
    told = {name: run.data.params[name] for name in ("dataset_name", "dataset_digest", "targets", "window_s")}
    assert told == {"dataset_name": "shown", "dataset_digest": dataset.digest, "targets": "price", "window_s": "30"}
    assert run.data.params["data_source"] == "provided_dataset" and dataset.notes == {"dropped": 2}
    [shown] = run.inputs.dataset_inputs
    assert shown.dataset.digest == dataset.digest[:32]
    stored = {entry.path for entry in session.mlflow.list_artifacts(run.info.run_id, "metadata")}
    assert {f"metadata/{name}" for name in ("X.parquet", "y.parquet", "metadata.json", "profile.html")} <= stored


def test_the_same_content_is_one_dataset_however_it_is_given(session, tmp_path):
    table = pa.Table.from_pandas(make_frame(), preserve_index=False)
    for name in ("rows.parquet", "again.parquet"):
        pq.write_table(table, tmp_path / name, row_group_size=30)
    given = [make_frame(), table, table.to_batches(max_chunksize=7), iter([table.slice(0, 60), table.slice(60)])]
    given += [tmp_path / "rows.parquet", f"{tmp_path}/again.parquet"]
    logged = [log(session, data, "given")[1] for data in given]
    assert {row.dataset_id for row in logged} == {logged[0].dataset_id}
    assert len(list_runs(session, "given")) == 1


def test_another_pipeline_is_another_version_of_the_same_digest(session):
    frame = make_frame()
    _, without = log(session, frame, "piped")
    _, scaled = log(session, frame, "piped", preprocessing=StandardScaler())
    _, uncentred = log(session, frame, "piped", preprocessing=StandardScaler(with_mean=False))
    assert [row.version for row in (without, scaled, uncentred)] == ["1.0.0", "1.1.0", "1.2.0"]
    assert {row.digest for row in (without, scaled, uncentred)} == {without.digest}
    assert modelyard.load_pipeline(session, without) is None
    assert modelyard.load_pipeline(session, "piped@1.1.0").with_mean
    assert not modelyard.load_pipeline(session, run_id=uncentred.mlflow_run_id).with_mean
    with own_run(session) as run, mlflow.start_run(run.run_id):
        log(session, frame, "piped", preprocessing=StandardScaler())
        assert modelyard.load_dataset(session)[1] == scaled, "the run shows one of three with that digest"


def test_versions_follow_the_rule_or_what_is_said_and_never_shift(session):
    frame = make_frame(100)
    assert log(session, frame, "ruled")[1].version == "1.0.0"
    assert log(session, pd.concat([frame, make_frame(10, seed=1)]), "ruled")[1].version == "1.0.1"
    assert log(session, make_frame(100, seed=2), "ruled")[1].version == "1.1.0"
    assert log(session, frame.assign(floors=2), "ruled")[1].version == "2.0.0"
    assert log(session, make_frame(100, seed=3), "ruled", version="2025-01-03")[1].version == "2025-01-03"
    with pytest.raises(VersionRefused, match="this very content is ruled 2025-01-03 already"):
        log(session, make_frame(100, seed=3), "ruled", version="2025-01-04")
    with pytest.raises(VersionRefused, match="ruled 2025-01-03 is another dataset"):
        log(session, make_frame(100, seed=4), "ruled", version="2025-01-03")


def test_what_breaks_expectations_is_not_logged_unless_that_is_allowed(session):
    frame = make_frame().assign(rooms=lambda rows: rows["rooms"].where(rows.index != 7, -3))
    expected = Expectations(columns=(Expectation("rooms", low=1),), min_rows=1000)
    with pytest.raises(DataInvalid) as refused:
        log(session, frame, "expected", expectations=expected)
    said = str(refused.value)
    assert "breaks 2 expectations" in said and "rooms" in said and "-3" in said and "1,000" in said
    assert list_runs(session, "expected") == [] and list_datasets(session.records, name="expected") == []
    _, dataset = log(session, frame, "expected", expectations=expected, allow_invalid=True)
    assert sorted(row["count"] for row in dataset.violations) == [1, 100], dataset.violations
    assert list_runs(session, "expected")[0].data.tags["modelyard.invalid"] == "true"


def test_a_parent_is_on_record_by_name_or_row(session):
    _, parent = log(session, make_frame(), "parental")
    for number, given in enumerate((parent, "parental@1.0.0")):
        _, child = log(session, make_frame(50, seed=number), "childlike", parent=given)
        assert child.parent_dataset_id == parent.dataset_id
        uses = list_uses(session.records, dataset_id=parent.dataset_id)
        assert ("parent", child.mlflow_run_id) in {(use.context, use.mlflow_run_id) for use in uses}


def test_the_dataset_of_the_active_run_is_loaded_whatever_else_is_named(session):
    _, other = log(session, make_frame(seed=1), "elsewhere")
    with own_run(session) as run, mlflow.start_run(run.run_id):
        assert modelyard.load_dataset(session, other)[1] == other, "this run has none yet"
        _, dataset = log(session, make_frame(), "active")
        assert modelyard.load_dataset(session, "elsewhere")[1] == dataset
    assert modelyard.load_dataset(session, "elsewhere")[1] == other
    assert modelyard.load_dataset(session, run_id=dataset.mlflow_run_id)[1] == dataset
    assert run.run_id in {use.mlflow_run_id for use in list_uses(session.records, dataset_id=dataset.dataset_id)}


def test_no_dataset_run_is_among_the_models_whatever_it_has_measured(session):
    _, dataset = log(session, make_frame(), "measured")
    experiment_id = session.mlflow.get_run(dataset.mlflow_run_id).info.experiment_id
    ActiveRun(session.mlflow, dataset.mlflow_run_id, experiment_id).log(metrics={"mae": 0.1})
    trained = session.mlflow.create_run(experiment_id, tags={"run_type": "training"}).info.run_id
    ActiveRun(session.mlflow, trained, experiment_id).log(metrics={"mae": 0.5})
    everything = [experiment.experiment_id for experiment in session.mlflow.search_experiments()]
    found = session.mlflow.search_runs(everything, "metrics.mae > 0")
    assert {trained, dataset.mlflow_run_id} <= {run.info.run_id for run in found}
    found = session.mlflow.search_runs(everything, "metrics.mae > 0 AND tags.run_type != 'dataset'")
    assert "dataset" not in {run.data.tags["run_type"] for run in found}
    assert trained in {run.info.run_id for run in found}
    session.mlflow.set_terminated(trained)
    models = session.mlflow.search_logged_models([experiment_id])
    assert [model for model in models if model.source_run_id == dataset.mlflow_run_id] == []


BAD = {
    "no such target": ({"targets": ["cost"]}, "there is no column cost; there are rooms, area_m2"),
    "no target": ({"targets": []}, "no target is named"),
    "no such split": ({"split": "fold"}, "there is no column fold"),
    "named twice": ({"extra": ["price"]}, "a column is target, split or extra, and only one of them"),
    "no feature left": ({"extra": ["owner", "rooms", "area_m2", "town"]}, "no feature is left"),
    "a version that is none": ({"version": "v 1"}, "'v 1' cannot be a version"),
    "a name with an at sign": ({"name": "a@b"}, "'a@b' cannot be a dataset's name"),
    "a name with a slash": ({"name": "a/1"}, "'a/1' cannot be a dataset's name"),
    "a name of blanks": ({"name": " "}, "' ' cannot be a dataset's name"),
    "an unknown parent": ({"parent": "nobody"}, "there is no dataset 'nobody'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_logged_is_refused_before_anything_is_written(session, case):
    changes, said = BAD[case]
    before = count_runs(session)
    with pytest.raises(BadInput, match=said.replace("(", r"\(")):
        log(session, make_frame(), **({"name": "refused"} | changes))
    assert count_runs(session) == before


FRAMES = {
    "no rows": (lambda frame: frame[:0], "no rows"),
    "a split that is none": (lambda frame: frame.assign(split="all"), "found all"),
    "no test rows": (lambda frame: frame[frame["split"] != "test"], "test"),
    "a column of many types": (lambda frame: frame.assign(town=[1, "a"] * 50), "town"),
    "two columns of one name": (lambda frame: pd.concat([frame, frame[["rooms"]]], axis=1), "rooms"),
    "a table with two": (
        lambda frame: pa.table([pa.array([1])] * 4, names=["price", "split", "owner", "price"]),
        "several columns price",
    ),
    "no such file": (lambda frame: Path("/absent/rows.parquet"), "/absent/rows.parquet"),
}


@pytest.mark.parametrize("case", FRAMES)
def test_rows_that_cannot_be_logged_are_refused_before_anything_is_written(session, case):
    change, said = FRAMES[case]
    before = count_runs(session)
    with pytest.raises(BadInput, match=said):
        log(session, change(make_frame()), "refused")
    assert count_runs(session) == before


def count_runs(session):
    experiment = session.mlflow.get_experiment_by_name("datasets")
    return len(session.mlflow.search_runs([experiment.experiment_id])) if experiment else 0


def test_without_a_name_nothing_is_loaded(session):
    with pytest.raises(DatasetRefused, match="give NAME, NAME@VERSION, a digest or run_id"):
        modelyard.load_dataset(session)
    with pytest.raises(DatasetRefused, match="has logged no dataset"):
        modelyard.load_dataset(session, run_id="0" * 32)


def test_a_registered_model_refuses_other_columns_than_its_datasets(session, tmp_path):
    dataset = make_log(session, tmp_path)(7300)
    made = modelyard.train(session, "california_housing", dataset=dataset, model_type="ridge")["registration"]
    model = modelyard.load_model(session, f"{made['model_name']}/{made['version']}")
    rows = modelyard.load_dataset(session, dataset)[0].X.to_pandas()
    assert len(model.predict(rows[:10])) == 10
    for other, said in (
        (rows.drop(columns="MedInc"), "missing: MedInc"),
        (rows.assign(rooms=1), "unexpected: rooms"),
        (rows[rows.columns[::-1]], "in another order"),
        (rows.assign(MedInc=rows["MedInc"].astype(str)), "MedInc is string and float64 is expected"),
    ):
        with pytest.raises(SchemaMismatch, match=said) as refused:
            model.predict(other)
        assert f"which {made['model_name']}/{made['version']} was trained on" in str(refused.value)
