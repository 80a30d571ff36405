"""A model that answers with columns of several types, and takes rows that lack a feature."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import modelyard
from modelyard.data.files import read_table
from modelyard.errors import SchemaMismatch
from modelyard.pipeline.serving import load_served
from modelyard.store.connections import connect
from modelyard.workloads.registry import get_workload
from tests.integration.trainings import run_command

NAME, ANSWERS = "pokewatch", ("fair_value", "signal")


@pytest.fixture(scope="module")
def command(environment, tmp_path_factory):
    kept = {"MODELYARD_CACHE": str(tmp_path_factory.mktemp("kept"))}

    def run(*words):
        folder = tmp_path_factory.mktemp("run")
        return run_command([*map(str, words)], environment=environment | kept, folder=folder)

    return run


@pytest.fixture(scope="module")
def trained(command, tmp_path_factory):
    """The outcome of a training on made-up prices, whether or not the gate takes it."""
    [sample] = get_workload(NAME).sample(tmp_path_factory.mktemp("raw"), seed=77)
    ended = command("train", NAME, "--data", sample, "--inline", "--json")
    assert ended.code in (0, 3), ended.printed
    return ended.outcome


@pytest.fixture(scope="module")
def model(trained):
    return f"{trained['registration']['model_name']}/{trained['registration']['version']}"


@pytest.fixture(scope="module")
def tables(session, trained):
    return modelyard.load_dataset(session, trained["dataset"]["digest"])[0]


@pytest.fixture(scope="module")
def expected(session, model, tables):
    return modelyard.load_model(session, model).predict(tables.X.to_pandas())


def test_each_answer_has_a_column_of_its_own_type_in_the_file_of_an_evaluation(
    session, trained, tables, expected, tmp_path
):
    run_id = trained["evaluation"]["run_id"]
    path = session.mlflow.download_artifacts(run_id, "evaluation/predictions.parquet", str(tmp_path))
    found = pq.read_table(path)
    # beside these production's, where another test has left a version live
    assert found.column_names[:4] == ["row", "truth", "candidate_fair_value", "candidate_signal"]
    assert [str(kind) for kind in found.schema.types[2:4]] == ["double", "string"]
    test = np.asarray(tables.split) == "test"
    assert found["candidate_fair_value"].to_pylist() == expected[test, 0].tolist()
    assert found["candidate_signal"].to_pylist() == expected[test, 1].tolist()
    assert set(found["candidate_signal"].to_pylist()) <= {"BUY", "SELL", "HOLD"}
    page = session.mlflow.download_artifacts(run_id, "evaluation/report.html", str(tmp_path))
    assert "Prediction − truth" in Path(page).read_text(), "the first answer is held against the target"


def test_a_file_of_predictions_has_them_too_and_may_lack_an_optional_feature(
    command, model, tables, expected, tmp_path
):
    rows = tables.X.to_pandas()
    whole, bare = tmp_path / "whole.parquet", tmp_path / "bare.csv"
    rows.to_parquet(whole)
    rows.drop(columns="date").to_csv(bare, index=False)
    ended = command("predict", model, "--in", whole, "--out", tmp_path / "out.parquet")
    assert ended.code == 0, ended.printed
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.column_names == [*ANSWERS, "policy_version"]
    np.testing.assert_array_equal(found["fair_value"].to_numpy(), expected[:, 0].astype(float))
    assert found["signal"].to_pylist() == expected[:, 1].tolist()
    ended = command("predict", model, "--in", bare, "--out", tmp_path / "out.csv")
    assert ended.code == 0, ended.printed
    without = read_table(tmp_path / "out.csv")
    assert without.num_rows == len(rows)
    assert not np.isnan(without["fair_value"].to_numpy()).any()


def test_a_frame_may_lack_it_and_nothing_else(session, model, tables, tmp_path):
    loaded = modelyard.load_model(session, model)
    assert loaded.estimator.answers == ANSWERS
    assert loaded.estimator.optional == ("date",)
    rows = tables.X.to_pandas().head(50)
    empty = rows.assign(date=pd.Series(pd.NaT, index=rows.index, dtype=rows["date"].dtype))
    given = loaded.predict(rows.drop(columns="date"))
    assert given.dtype == object
    assert given.tolist() == loaded.predict(empty).tolist(), "what is missing is null"
    with pytest.raises(SchemaMismatch, match="missing: card_id"):
        loaded.predict(rows.drop(columns="card_id"))
    answer = load_served(session, model, cache=tmp_path, tell=print).predict(rows.drop(columns="date"))
    assert (answer.answers, answer.values.tolist()) == (ANSWERS, given.tolist())


def test_it_is_reproduced_to_the_last_bit(command, stack, model):
    ended = command("reproduce", model, "--inline", "--json")
    assert ended.code == 0, ended.printed
    assert ended.outcome["reproduction"]["equal"] is True
    with connect(stack.dsn(stack.person)) as connection:
        rows = connection.execute("SELECT equal_predictions FROM exp.reproductions").fetchall()
    assert {"equal_predictions": True} in rows
