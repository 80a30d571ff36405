"""Models of other tools are scored by their task, metrics that are no sums from all rows, and the command says so."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.metrics import balanced_accuracy_score, f1_score, ndcg_score
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import modelyard
from modelyard.data.dataset import DatasetTables
from modelyard.errors import BadInput
from modelyard.pipeline.datasets import load_recorded
from modelyard.pipeline.scorer import find_scorer
from modelyard.pipeline.scoring_rows import Batch
from modelyard.pipeline.tally import open_tally
from modelyard.workloads.registry import get_workload
from tests.integration.trainings import run_command
from tests.integration.verdicts import Court


@pytest.fixture(scope="module")
def court(stack, stack_settings, session):
    return Court(stack=stack, settings=stack_settings, session=session)


@pytest.fixture(scope="module")
def dataset(log):
    return log(7311)


def make_tree():
    return DecisionTreeRegressor(max_depth=6, random_state=0)


def test_a_model_of_another_tool_is_scored_by_its_task(court, dataset):
    model = court.register("foreign_model", dataset, make_tree, workload="regression")
    result = court.evaluate(model)
    assert result.passed, result.reasons
    assert {"rmse", "mae", "r2", "mape"} == set(result.metrics)
    worse = court.register("foreign_model", dataset, lambda: DummyRegressor(), workload="regression")
    assert any(reason.startswith("r2 > 0: r2 is -") for reason in court.evaluate(worse).reasons)


def test_a_classifier_of_another_tool_is_scored_as_scikit_learn_scores_it(court, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 2))
    kinds = np.where(X[:, 0] + rng.normal(size=600) > 0.5, "sold", "kept")
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": kinds, "split": ["train"] * 400 + ["test"] * 200})
    _, sales = modelyard.log_dataset(court.session, frame, name="sales", targets=["kind"])
    make = partial(DecisionTreeClassifier, max_depth=3, random_state=0)
    version = court.register("sales_model", sales, make, workload="classification", task="classification")
    result = court.evaluate(version)
    answers = court.read_predictions(result, tmp_path)
    truth, found = answers["truth"].to_pylist(), answers["candidate"].to_pylist()
    assert truth == kinds[400:].tolist()
    assert result.metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, found))
    assert result.metrics["f1_macro"] == pytest.approx(f1_score(truth, found, average="macro"))
    assert "Right answers by class" in court.download(result, "evaluation/report.html", tmp_path).read_text()
    scorer = find_scorer(version, sales)
    with pytest.raises(BadInput, match=r"sales 1.0.0, target kind: the target is missing in 1 of 2 rows"):
        scorer.score(pd.DataFrame({"kind": ["kept", None]}), np.array(["kept", "sold"]))


def test_a_ranker_is_scored_group_by_group(court, tmp_path):
    rng = np.random.default_rng(1)
    gains, queries = rng.integers(0, 4, 900).astype(float), np.repeat(np.arange(60), 15)
    frame = pd.DataFrame({"a": gains + rng.normal(size=900), "gain": gains, "query": queries})
    frame["split"] = np.where(queries < 20, "train", "test")
    _, offers = modelyard.log_dataset(court.session, frame, name="offers", targets=["gain"], extra=["query"])
    make = partial(DecisionTreeRegressor, max_depth=3, random_state=0)
    version = court.register(
        "offers_model", offers, make, workload="ranking", task="ranking", parameters={"group_column": "query"}
    )
    result = court.evaluate(version)
    answers = court.read_predictions(result, tmp_path).to_pandas()
    assert len(answers) == 600
    of = queries[answers["row"]]
    scores = [ndcg_score([part["truth"]], [part["candidate"]], k=10) for _, part in answers.groupby(of)]
    assert result.metrics["ndcg@10"] == pytest.approx(np.mean(scores))
    shown = court.session.mlflow.get_run(result.run_id).data.metrics
    assert shown["ndcg_10"] == result.metrics["ndcg@10"], "a name that MLflow takes"
    with pytest.raises(BadInput, match=r"has no column 'page', .* it has query, a"):
        find_scorer(replace(version, parameters={"group_column": "page"}), offers)


def test_metrics_that_are_no_sums_are_scored_from_all_rows(court, dataset):
    """The same numbers as by sums, and intervals of the same kind from fewer drawings."""
    workload = get_workload("california_housing")
    version = court.register("plain_model", dataset, make_tree)
    scorer = find_scorer(version, dataset)
    plain = replace(scorer, score=None, summarize=None, evaluate=partial(workload.evaluate, parameters=None))
    tables = load_recorded(court.session, dataset)
    found = []
    for chosen in (scorer, plain):
        tally = open_tally(chosen)
        rng = np.random.default_rng(0)
        for start in range(0, 400, 100):
            X, y = tables.X.slice(start, 100), tables.y.slice(start, 100)
            part = DatasetTables(X=X, y=y, split=pa.nulls(100), extra=None)
            batch = Batch(numbers=np.arange(start, start + 100), rows=part, inputs=[part.X.to_pandas()])
            truth = y.column(0).to_numpy()
            tally.update(batch, candidate=truth + rng.normal(size=100), production=truth + 2 * rng.normal(size=100))
        found.append(tally.result())
    sums, held = found
    assert held.metrics == pytest.approx(sums.metrics)
    assert held.production == pytest.approx(sums.production)
    assert (sums.resamples, held.resamples) == (1000, 200)
    for one, other in zip(sums.intervals, held.intervals, strict=True):
        assert (one.metric, one.difference) == (other.metric, pytest.approx(other.difference))
        width = one.high - one.low
        assert (other.low, other.high) == (
            pytest.approx(one.low, abs=width / 4),
            pytest.approx(one.high, abs=width / 4),
        )


def run_evaluate(environment, folder, *arguments):
    return run_command(["evaluate", *arguments], environment=environment, folder=folder)


def test_the_exit_code_is_the_verdict(environment, court, dataset, tmp_path):
    court.register("coded_model", dataset, make_tree)
    passed = run_evaluate(environment, tmp_path, "coded_model/1", "--inline", "--json")
    assert passed.code == 0, passed.printed
    assert passed.outcome["evaluation"]["passed"]
    court.declare_gate("coded_model", {"always": ["rmse <= 0.001"], "against_production": [], "first_version": []})
    refused = run_evaluate(environment, tmp_path, "coded_model/1", "--inline", "--markdown")
    assert refused.code == 3, refused.printed
    assert "### coded\\_model/1: refused" in refused.printed
    assert "| `rmse <= 0.001` |" in refused.printed


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["coded_model/9"], "there is no model version 'coded_model/9'"),
        (["coded_model/1", "--dataset", "nowhere"], "there is no dataset 'nowhere'"),
        (["coded_model/1", "--json", "--markdown"], "give one of them"),
        (["coded_model/1", "--no-wait", "--markdown"], "give one of them"),
        (["coded_model/1", "--no-wait", "--inline"], "give one of them"),
    ],
)
def test_what_cannot_be_asked_for_is_told_before_anything_is_queued(environment, tmp_path, rows, arguments, text):
    [before] = rows("SELECT count(*) AS n FROM exp.jobs")
    ended = run_evaluate(environment, tmp_path, *arguments)
    assert (ended.code, text in ended.printed) == (2, True), ended.printed
    assert rows("SELECT count(*) AS n FROM exp.jobs") == [before]
