"""What logging a dataset from Python refuses before anything is written, and what it never says of another run."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.preprocessing import StandardScaler

import modelyard
from modelyard.errors import BadInput, RecordLost, VersionRefused
from modelyard.pipeline.dataset_request import SHOWN_PARAMS
from modelyard.pipeline.removal import remove_dataset
from modelyard.store import datasets as store
from modelyard.store.catalogue import list_datasets
from modelyard.workloads.contract import Expectation, Expectations
from tests.integration.notebook import connected, own_run

CHEAP = Expectations(columns=(Expectation("price", high=10.0),))


def make_frame(rows=20, *, seed=0):
    rng = np.random.default_rng(seed)
    splits = [("train", "train", "train", "validation", "test")[row % 5] for row in range(rows)]
    return pd.DataFrame({"area_m2": rng.uniform(20, 200, rows), "price": rng.uniform(50, 500, rows), "split": splits})


def log(session, data, name, **changes):
    return modelyard.log_dataset(session, data, **({"name": name, "targets": ["price"]} | changes))[1]


def list_runs(session, name):
    experiment = session.mlflow.get_experiment_by_name("datasets")
    if experiment is None:
        return []
    runs = session.mlflow.search_runs([experiment.experiment_id])
    return [run for run in runs if run.data.tags.get("workload") == name]


NESTED = pa.table(make_frame()).append_column("place", pa.array([{"x\0y": 1}] * 20))
TOO_LARGE = make_frame().astype({"area_m2": object})
TOO_LARGE.loc[0, "area_m2"] = 2**70
REFUSED = {
    "a parameter's name that MLflow does not take": ({"parameters": {"l=r,;": 1}}, "'l=r,;' cannot be a parameter's"),
    "one that is no text": ({"parameters": {1: 2}}, "1 cannot be a parameter's name"),
    "no number": ({"parameters": {"rate": float("nan")}}, "parameter 'rate' cannot be kept"),
    "a time": ({"parameters": {"day": pd.Timestamp("2025-01-03")}}, "parameter 'day' cannot be kept"),
    "a note that is no JSON value": ({"notes": {"rate": np.float32(1)}}, "note 'rate' cannot be kept"),
    "a workload that cannot be one": ({"workload": "a\0b"}, "cannot be a workload's name"),
    "a fitted pipeline": ({"preprocessing": StandardScaler().fit(np.eye(2))}, "the preprocessing is fitted"),
    "a text for a list": ({"targets": "price"}, r"write targets=\['price'\]"),
    "a mapping": ({"data": {"area_m2": [1.0]}}, "data is a dict; give a pandas frame"),
    "rows of mappings": ({"data": [{"area_m2": 1.0}]}, "a part of the data is a dict; give a pandas frame"),
    "a nested field's name that no database takes": ({"data": NESTED}, "in its name, or in a field's"),
    "a number that no type holds": ({"data": TOO_LARGE}, "the frame cannot be taken"),
    **{f"a parameter {name}": ({"parameters": {name: 1}}, "which tell of the dataset itself") for name in SHOWN_PARAMS},
}


@pytest.mark.parametrize(("changes", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_kept_is_refused_before_anything_is_written(session, changes, said):
    with pytest.raises(BadInput, match=said):
        log(session, **({"data": make_frame(), "name": "refused", "workload": "refused"} | changes))
    assert (list_runs(session, "refused"), list_datasets(session.records, name="refused")) == ([], [])


def test_every_param_of_the_run_that_is_no_parameter_is_a_name_that_none_may_have(session):
    log(session, make_frame(), "named", parameters={"window_s.max 2:1-x": 3})
    [run] = list_runs(session, "named")
    assert set(run.data.params) == {*SHOWN_PARAMS, "window_s.max 2:1-x"}


def test_a_batch_of_arrow_is_a_table(session):
    frame = make_frame()
    assert log(session, pa.RecordBatch.from_pandas(frame), "batch") == log(session, frame, "batch")


def test_a_text_that_no_database_takes_is_logged_as_it_is_and_told_with_a_sign(session):
    data = pa.table(make_frame()).append_column("who", pa.array(["a\0b"] * 20))
    never = Expectations(columns=(Expectation("who", allowed=("x",)),))
    dataset = log(session, data, "zero", expectations=never, allow_invalid=True)
    assert dataset.violations[0]["examples"][0]["value"] == "a␀b"
    assert [column["top"] for column in dataset.profile["columns"] if column["name"] == "X.who"] == [
        [{"value": "a␀b", "count": 20}]
    ]
    assert modelyard.load_dataset(session, dataset)[0].X["who"].to_pylist() == ["a\0b"] * 20


def test_content_of_one_workload_is_not_taken_for_that_of_another(session):
    dataset = log(session, make_frame(), "owned", workload="rents")
    with pytest.raises(BadInput, match=r"is owned 1\.0\.0 of workload rents, not of sales; log it under another name"):
        log(session, make_frame(), "owned", workload="sales")
    assert log(session, make_frame(), "owned", workload="rents") == dataset
    assert log(session, make_frame(), "owned by sales", workload="sales").digest == dataset.digest


def test_violations_that_are_allowed_are_never_lost(session):
    log(session, make_frame(), "checked")
    with pytest.raises(BadInput, match=r"is checked 1\.0\.0, which broke no expectation .* breaks 1 of now: .*price"):
        log(session, make_frame(), "checked", expectations=CHEAP, allow_invalid=True)
    broken = log(session, make_frame(seed=1), "checked", expectations=CHEAP, allow_invalid=True)
    assert len(broken.violations) == 1
    assert log(session, make_frame(seed=1), "checked", expectations=CHEAP, allow_invalid=True) == broken
    assert [row.version for row in list_datasets(session.records, name="checked")] == ["1.1.0", "1.0.0"]


def test_a_parent_that_was_deleted_is_refused_before_anything_is_written(session, environment):
    parent = log(session, make_frame(), "parent")
    with connected(environment, "person") as person:
        remove_dataset(person, parent, reason="it held names")
    with pytest.raises(RecordLost, match=r"parent 1\.0\.0 was deleted by .*: it held names"):
        log(session, make_frame(seed=1), "orphan", parent=parent)
    assert list_runs(session, "orphan") == []


def test_mlflow_says_of_a_dataset_what_holds_for_every_run_that_shows_it(session):
    plain = log(session, make_frame(), "shown twice")
    scaled = log(session, make_frame(), "shown twice", preprocessing=StandardScaler())
    assert plain.digest == scaled.digest
    with own_run(session) as run, mlflow.start_run(run.run_id):
        log(session, make_frame(), "shown twice", preprocessing=StandardScaler())
        assert modelyard.load_dataset(session)[1] == scaled
    for run_id, dataset in ((plain.mlflow_run_id, plain), (scaled.mlflow_run_id, scaled), (run.run_id, scaled)):
        shown = session.mlflow.get_run(run_id)
        [entry] = shown.inputs.dataset_inputs
        assert json.loads(entry.dataset.source) == {"name": "shown twice", "digest": dataset.digest}
        assert set(json.loads(entry.dataset.profile)) == {"num_rows", "num_elements"}
        params = shown.data.params
        if run_id != run.run_id:
            assert (params["dataset_version"], params["dataset_source"]) == (dataset.version, dataset.location)
            assert run_id in params["dataset_source"]


def test_of_two_who_log_other_content_under_one_version_one_is_refused_in_words(environment):
    meeting = threading.Barrier(2, timeout=60)

    def meet(step, share, message):
        if message.startswith("uploading"):  # both have seen that the version is free
            meeting.wait()

    def log_one(seed):
        with modelyard.connect() as own:
            return log(own, make_frame(seed=seed), "raced", version="2025-01-03", report=meet)

    with connected(environment) as session:
        with ThreadPoolExecutor(2) as pool:
            done = [pool.submit(log_one, seed) for seed in (1, 2)]
        runs = list_runs(session, "raced")
    [refused] = [error for one in done if (error := one.exception()) is not None]
    assert isinstance(refused, VersionRefused), refused
    assert "another dataset has this version, and versions are never reused" in str(refused)
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]


def test_whoever_waits_for_another_to_log_the_same_content_is_told(session, environment):
    dataset = log(session, make_frame(), "waited for")
    told = []
    with connected(environment) as other, ExitStack() as held:
        held.enter_context(store.lock_dataset(other.records, name="waited for", digest=dataset.digest))
        late = threading.Timer(20, held.close)  # a logging that tells nothing would wait for an hour
        held.callback(late.cancel)
        late.start()

        def report(step, share, message):
            told.append(message)
            if "waiting" in message:
                held.close()

        log(session, make_frame(), "waited for", report=report)
    assert told.count("another process logs this very content; waiting for it") == 1
