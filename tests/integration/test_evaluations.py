"""Evaluations: candidate and live version on the same rows, none of which either has seen, and what is left of it."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeRegressor

import modelyard
from modelyard.errors import BadInput, InvalidRules, RowsSeen
from modelyard.pipeline.datasets import load_recorded
from modelyard.store.connections import connect
from modelyard.workloads.metrics import score_regression
from tests.integration.verdicts import Court

KIND = {"always": ["rmse <= 100"], "against_production": ["rmse <= 1.5 * production"], "first_version": []}
SEED = 7301


def make_tree(depth=6):
    return DecisionTreeRegressor(max_depth=depth, random_state=0)


@pytest.fixture(scope="module")
def court(stack, stack_settings, session):
    return Court(stack=stack, settings=stack_settings, session=session)


@pytest.fixture(scope="module")
def dataset(log):
    return log(SEED)


@pytest.fixture(scope="module")
def other(log):
    """The same houses in another split."""
    return log(SEED + 1)


@pytest.fixture(scope="module")
def kind_gate(court):
    """Declare a gate that lets nearly everything pass for a model."""
    return lambda name: court.declare_gate(name, KIND)


@pytest.fixture(scope="module")
def first(court, dataset):
    """A first version and its verdict."""
    version = court.register("first_model", dataset, make_tree)
    return version, court.evaluate(version)


@pytest.fixture(scope="module")
def pair(court, dataset, kind_gate):
    """Two versions, of which the first is live, and the verdict on the second."""
    kind_gate("pair_model")
    versions = [court.register("pair_model", dataset, lambda d=depth: make_tree(d)) for depth in (3, 6)]
    court.evaluate(versions[0])
    court.promote("pair_model", 1)
    return versions, court.evaluate(versions[1])


def get_row(stack, result):
    query = "SELECT * FROM exp.evaluations WHERE evaluation_id = %s"
    with connect(stack.dsn(stack.person)) as connection:
        return connection.execute(query, [result.evaluation_id]).fetchone()


def split_rows(session, dataset):
    """X and y of the test rows and their numbers, and all rows of the others as tuples."""
    tables = load_recorded(session, dataset)
    test = np.asarray(tables.split) == "test"
    X, y = tables.X.to_pandas(), tables.y.column(0).to_numpy()
    rows = [tuple(row) for row in np.nan_to_num(np.column_stack([X, y]), nan=-1.0)]
    return X[test], y[test], np.flatnonzero(test), {row for row, t in zip(rows, test, strict=True) if not t}, rows


def test_a_first_version_is_held_against_its_own_limits(stack, first, dataset):
    _, result = first
    assert result.passed, result.reasons
    assert result.production is None
    assert {limit.limit for limit in result.limits} == {"rmse <= 0.7", "rmse <= 0.95 * linear", "r2 >= 0.6"}
    row = get_row(stack, result)
    assert row["dataset_id"] == dataset.dataset_id
    assert row["baseline_policy_version_id"] is None
    assert set(row["baselines"]) == {"mean", "linear"}
    assert row["comparison"] == {"rows": 400, "units": 400, "resamples": 0, "unseen_rows": False, "intervals": []}
    assert (result.policy_id, result.policy_version, result.stage) == ("first_policy", 1, "candidate")
    assert list(result.metrics) == ["rmse", "mae", "r2"], "the primary metric first"


def test_the_run_shows_rows_answers_and_a_page(court, first, dataset, tmp_path):
    version, result = first
    run = court.session.mlflow.get_run(result.run_id)
    assert run.info.status == "FINISHED"
    tags = run.data.tags
    assert (tags["run_type"], tags["evaluation"], tags["passed"]) == ("evaluation", "verdict", "true")
    (shown,) = run.inputs.dataset_inputs
    assert shown.dataset.digest == dataset.digest[:32]
    assert [tag.value for tag in shown.tags if tag.key == "mlflow.data.context"] == ["evaluation"]
    X, y, numbers, _, _ = split_rows(court.session, dataset)
    predictions = court.read_predictions(result, tmp_path)
    assert predictions.column_names == ["row", "truth", "candidate"]
    assert predictions["row"].to_pylist() == numbers.tolist()
    assert predictions["truth"].to_pylist() == y.tolist()
    expected = modelyard.load_model(court.session, f"first_model/{version.mlflow_model_version}").predict(X)
    assert predictions["candidate"].to_pylist() == expected.tolist()
    assert run.data.metrics["rmse"] == pytest.approx(score_regression(y, expected)["rmse"], rel=1e-12)
    page = court.download(result, "evaluation/report.html", tmp_path).read_text()
    assert all(text in page for text in ("first_model/1", "rmse &lt;= 0.7", "400", "baseline linear"))


def test_the_live_version_is_scored_on_the_same_rows(stack, court, pair, dataset, tmp_path):
    versions, result = pair
    X, y, _, _, _ = split_rows(court.session, dataset)
    old, new = (
        modelyard.load_model(court.session, f"pair_model/{v.mlflow_model_version}").predict(X) for v in versions
    )
    predictions = court.read_predictions(result, tmp_path)
    assert predictions["candidate"].to_pylist() == new.tolist()
    assert predictions["production"].to_pylist() == old.tolist()
    row = get_row(stack, result)
    expected = score_regression(y, old)
    assert row["baselines"]["production"] == pytest.approx(expected, rel=1e-9)
    rmse = next(interval for interval in result.intervals if interval.metric == "rmse")
    assert rmse.difference == pytest.approx(score_regression(y, new)["rmse"] - expected["rmse"], rel=1e-9)
    assert rmse.low < rmse.difference < rmse.high
    assert result.production == "pair_policy@1 (pair_model/1)"
    assert row["comparison"]["resamples"] == 1000


def test_a_verdict_is_given_once_until_something_else_is_live(stack, court, pair):
    versions, result = pair
    again = court.evaluate(versions[1])
    assert (again.evaluation_id, again.resumed) == (result.evaluation_id, True)
    assert again.intervals == result.intervals
    court.promote("pair_model", result.policy_version)
    other = court.evaluate(versions[0])
    assert other.evaluation_id != result.evaluation_id
    assert other.production == "pair_policy@2 (pair_model/2)"


def test_equal_inputs_give_equal_numbers(court, dataset, kind_gate, tmp_path):
    kind_gate("twin_model")
    base = court.register("twin_model", dataset, lambda: make_tree(2))
    court.evaluate(base)
    court.promote("twin_model", 1)
    found = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        result = court.evaluate(court.register("twin_model", dataset, make_tree))
        content = court.download(result, "evaluation/predictions.parquet", folder).read_bytes()
        found.append((result.metrics, result.baselines, result.intervals, content))
    assert found[0] == found[1]


def test_rows_that_a_model_was_trained_on_are_refused_and_counted(court, dataset, other, kind_gate, stack):
    kind_gate("seen_model")
    live = court.register("seen_model", dataset, make_tree)
    court.evaluate(live)
    court.promote("seen_model", 1)
    candidate = court.register("seen_model", other, make_tree)
    _, _, numbers, _, rows = split_rows(court.session, other)
    _, _, _, seen_by_live, _ = split_rows(court.session, dataset)
    seen = [int(number) for number in numbers if rows[number] in seen_by_live]
    with pytest.raises(RowsSeen) as refused:
        court.evaluate(candidate)
    assert (refused.value.rows, refused.value.seen) == (400, len(seen))
    assert refused.value.examples == seen[:5]
    assert "seen_model/1, which is in production," in str(refused.value)
    assert "modelyard evaluate seen_model/2 --unseen-rows scores" in str(refused.value)
    with pytest.raises(RowsSeen, match=rf"evaluate seen_model/1 --dataset {other.name}@{other.version} --unseen-rows"):
        court.evaluate(live, dataset=f"{other.name}@{other.version}")
    with connect(stack.dsn(stack.person)) as connection:
        query = "SELECT count(*) FROM exp.evaluations WHERE mlflow_model_name = 'seen_model'"
        assert connection.execute(query).fetchone()["count"] == 1


def test_unseen_rows_are_those_that_neither_was_trained_on(court, dataset, other, stack, tmp_path):
    court.declare_gate("unseen_model", KIND | {"always": ["rmse <= 100 * mean"]})
    court.evaluate(court.register("unseen_model", dataset, make_tree))
    court.promote("unseen_model", 1)
    candidate = court.register("unseen_model", other, lambda: make_tree(5))
    result = court.evaluate(candidate, unseen_rows=True)
    _, y, numbers, trained_on, rows = split_rows(court.session, other)
    _, _, _, seen, _ = split_rows(court.session, dataset)
    left = [int(number) for number in numbers if rows[number] not in seen]
    predictions = court.read_predictions(result, tmp_path)
    assert 0 < len(left) < 400
    assert predictions["row"].to_pylist() == left
    assert (result.rows, result.unseen_rows) == (len(left), True)
    assert get_row(stack, result)["comparison"]["unseen_rows"]
    truth, mean = y[np.isin(numbers, left)], np.mean([row[-1] for row in trained_on])
    assert result.baselines["mean"]["rmse"] == pytest.approx(float(np.sqrt(np.mean((truth - mean) ** 2))), rel=1e-6)


def test_a_dataset_of_which_each_test_row_was_seen_is_refused(court, dataset, log):
    tables = load_recorded(court.session, dataset)
    train = tables.table().filter(pc.equal(tables.split, "train")).slice(0, 60)
    frame = train.select([n for n in train.column_names if n.startswith(("X.", "y."))])
    frame = frame.rename_columns([name[2:] for name in frame.column_names])
    frame = pa.table([column.cast(pa.float32()) for column in frame.columns], names=frame.column_names)
    frame = frame.append_column("split", pa.array(["train"] * 30 + ["test"] * 30))
    _, small = modelyard.log_dataset(court.session, frame, name="seen_houses", targets=["MedHouseVal"])
    version = court.register("exhausted_model", dataset, make_tree)
    with pytest.raises(BadInput, match=r"each of the 30 test rows of seen_houses 1.0.0 .* none is left"):
        court.evaluate(version, dataset=f"{small.name}@{small.version}", unseen_rows=True)
    with pytest.raises(RowsSeen, match="30 of the 30 test rows") as refused:
        court.evaluate(version, dataset=f"{small.name}@{small.version}")
    assert "--unseen-rows" not in str(refused.value), "it would score nothing"
    price = pa.array(["much"] * 60)
    texts = frame.set_column(frame.column_names.index("MedHouseVal"), "MedHouseVal", price)
    _, named = modelyard.log_dataset(court.session, texts, name="named_houses", targets=["MedHouseVal"])
    with pytest.raises(BadInput, match="its target MedHouseVal is string, not float64"):
        court.evaluate(version, dataset=f"{named.name}@{named.version}")


def make_line():
    return make_pipeline(SimpleImputer(), LinearRegression())


def break_line(model):
    """From now on each answer is NaN."""
    model[-1].coef_ = np.full(len(model[-1].coef_), np.nan)


def test_answers_that_are_no_numbers_are_refused_with_every_reason(court, dataset):
    result = court.evaluate(court.register("broken_model", dataset, make_line, change=break_line))
    assert not result.passed
    assert result.metrics == {"rmse": None, "mae": None, "r2": None}
    assert any("rmse is nan, not a finite number" in reason for reason in result.reasons)
    assert "mae is nan, not a finite number" in result.reasons, "no limit asks for it"
    assert (result.policy_version, result.stage) == (None, "none")


def test_further_features_are_no_harm_and_missing_ones_are_named(court, dataset, kind_gate):
    tables = load_recorded(court.session, dataset)
    frame = tables.X.append_column("MedHouseVal", tables.y.column(0)).append_column("split", tables.split)
    wide = frame.append_column("Extra", pa.array(np.arange(frame.num_rows, dtype=float)))
    _, wider = modelyard.log_dataset(court.session, wide, name="wide_houses", targets=["MedHouseVal"])
    _, narrower = modelyard.log_dataset(
        court.session, frame.drop_columns(["HouseAge"]), name="narrow_houses", targets=["MedHouseVal"]
    )
    kind_gate("wide_model")
    court.evaluate(court.register("wide_model", dataset, make_tree))
    court.promote("wide_model", 1)
    candidate = court.register("wide_model", wider, make_tree)
    assert court.evaluate(candidate).rows == 400, "the live version takes its own features of them"
    without = court.register("wide_model", narrower, make_tree)
    with pytest.raises(BadInput) as refused:
        court.evaluate(without)
    text = "wide_model/1, which is in production, takes the columns of california_housing"
    assert text in str(refused.value)
    assert "missing: HouseAge" in str(refused.value)
    assert "modelyard evaluate wide_model/3 --dataset NAME@VERSION" in str(refused.value)


def test_the_gate_of_a_person_holds_and_not_the_one_that_ships(court, dataset, stack):
    version = court.register("strict_model", dataset, make_tree)
    assert court.evaluate(version).policy_version == 1
    declared = court.declare_gate(
        "strict_model", {"always": ["rmse <= 0.001"], "against_production": [], "first_version": []}
    )
    result = court.evaluate(version)
    assert (result.passed, result.policy_version) == (False, None)
    assert [limit.limit for limit in result.limits] == ["rmse <= 0.001"]
    assert get_row(stack, result)["gate_sha256"] == declared.gate_sha256


def test_the_live_version_itself_is_compared_with_itself(court, dataset, kind_gate):
    kind_gate("same_model")
    version = court.register("same_model", dataset, make_tree)
    court.evaluate(version)
    court.promote("same_model", 1)
    result = court.evaluate(version)
    assert result.production == "same_policy@1 (same_model/1)"
    assert {interval.difference for interval in result.intervals} == {0.0}


def test_a_bound_is_computed_and_not_taken_from_what_the_training_recorded(court, dataset, kind_gate):
    forged = {f"baseline_{name}_{metric}": 1000.0 for name in ("mean", "linear") for metric in ("rmse", "mae", "r2")}
    kind_gate("forged_model")
    version = court.register("forged_model", dataset, make_tree, metrics=forged)
    assert court.evaluate(version).baselines["linear"]["rmse"] == 1000, "what no limit names is told as recorded"
    court.declare_gate("forged_model", KIND | {"always": ["rmse <= 1.5 * linear"]})
    result = court.evaluate(version)
    assert result.baselines["linear"]["rmse"] < 2
    assert result.limits[0].bound == pytest.approx(1.5 * result.baselines["linear"]["rmse"])


def test_a_gate_that_cannot_be_read_is_told_before_a_run_is_begun(court, dataset):
    court.declare_gate("odd_model", {"always": ["rmse is small"], "against_production": [], "first_version": []})
    version = court.register("odd_model", dataset, make_tree)
    with pytest.raises(InvalidRules, match="the gate of odd_model"):
        court.evaluate(version)
    client = court.session.mlflow
    every = [experiment.experiment_id for experiment in client.search_experiments()]
    assert not client.search_runs(every, "tags.model_name = 'odd_model'")


def test_a_verdict_whose_run_mlflow_has_lost_still_holds(court, dataset, kind_gate, stack):
    kind_gate("lost_model")
    version = court.register("lost_model", dataset, make_tree)
    told = court.evaluate(version)
    with connect(stack.dsn("mlflow")) as connection:  # as in a restore of an older backup
        for table in ("latest_metrics", "metrics", "params", "tags", "runs"):
            connection.execute(f"DELETE FROM mlflow.{table} WHERE run_uuid = %s", [told.run_id])
    result = court.evaluate(version)
    assert (result.evaluation_id, result.passed, result.policy_version) == (told.evaluation_id, True, 1)
    assert result.run_url == ""
    assert f"MLflow has lost run {told.run_id}" in result.note


def test_a_policy_of_another_model_is_not_taken_for_its_own(court, dataset, kind_gate):
    for name in ("twice_model", "Twice Model"):
        kind_gate(name)
    versions = [court.register(name, dataset, make_tree) for name in ("twice_model", "Twice Model")]
    assert [court.evaluate(version).policy_id for version in versions] == ["twice_policy", "twice_2_policy"]
