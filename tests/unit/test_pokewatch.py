"""Card prices: what is read and refused, and answers that follow from earlier prices alone."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
from sklearn.metrics import mean_absolute_error, mean_absolute_percentage_error, root_mean_squared_error

from modelyard.errors import DownloadFailed, RawDataMalformed, RawDataNotFound
from modelyard.pipeline.gate import apply_gate
from modelyard.tracking.skops_file import TRUSTED_TYPES
from modelyard.workloads import pokewatch
from modelyard.workloads.pokewatch.models import MovingAverage
from modelyard.workloads.pokewatch.scores import METRICS, find_signals
from modelyard.workloads.registry import build_parameters

MODEL_TYPES = {"baseline_moving_average": {}, "lightgbm": {"n_estimators": 5}}
MONTHS = pd.date_range("2024-01-01", periods=6, freq="MS")


def silent(share, message, /, *, metrics=None, step=None):
    pass


def build(model_type="baseline_moving_average", **values):
    return build_parameters(pokewatch, model_type=model_type, values=values)[1]


def read(*paths, **values):
    parameters = build(**values)
    return pokewatch.process(pokewatch.load_raw(paths, parameters=parameters), parameters=parameters)


def write(folder, text, name="prices.csv"):
    (folder / name).write_text(text)
    return folder / name


def write_rows(folder, rows, name="prices.csv"):
    return write(folder, "".join(f"{line}\n" for line in ("card_id,date,market_price", *rows)), name)


def refuse(*paths, **values) -> str:
    with pytest.raises(RawDataMalformed) as refused:
        read(*paths, **values)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def frame(*cards, date=None):
    rows = pd.DataFrame({"card_id": list(cards)})
    return rows if date is None else rows.assign(date=pd.Timestamp(date))


def fit(prices, dates=MONTHS, **parameters):
    """A moving average of one card ``A``."""
    X = pd.DataFrame({"card_id": "A", "date": dates[: len(prices)]})
    return MovingAverage(**parameters).fit(X, np.array(prices, dtype=float))


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return pokewatch.sample(tmp_path_factory.mktemp("sample"))[0]


@pytest.fixture(scope="module")
def real(real_data):
    if real_data is None:
        pytest.skip("no real data: set MODELYARD_TEST_DATA_DIR to a folder with card_prices/")
    return real_data / "card_prices"


# ── what is read ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_parquet_csv_and_both_kinds_of_json_give_the_same_dataset(sample, tmp_path):
    table = pd.read_csv(sample)
    table.assign(date=pd.to_datetime(table["date"])).to_parquet(tmp_path / "prices.parquet")
    table.to_parquet(tmp_path / "text.parquet")  # dates as text, of the type that pandas writes
    table.to_json(tmp_path / "records.json", orient="records")
    by_card = {
        card: dict(zip(rows["date"], rows["market_price"], strict=True)) for card, rows in table.groupby("card_id")
    }
    write(tmp_path, json.dumps(by_card), "by_card.json")
    expected = read(sample)
    for name in ("prices.parquet", "text.parquet", "records.json", "by_card.json"):
        dataset = read(tmp_path / name)
        assert dataset.X.equals(expected.X) and dataset.y.equals(expected.y) and dataset.split.equals(expected.split)


def test_columns_of_other_names_are_mapped_and_one_grade_is_kept(sample, tmp_path):
    table = pd.read_csv(sample)
    other = table.assign(market_price=999.0, condition="PSA_10")
    both = pd.concat([table.assign(condition="LOOSE"), other]).sample(frac=1, random_state=0)
    both.columns = ["name", "sold", "usd", "condition"]
    both.to_csv(tmp_path / "prices.csv", index=False)
    names = {"card_column": "name", "date_column": "sold", "price_column": "usd", "grade_column": "condition"}
    dataset = read(tmp_path / "prices.csv", **names, grade="LOOSE")
    assert dataset.X.equals(read(sample).X) and dataset.y.equals(read(sample).y)
    assert dataset.notes["rows_of_other_grades"] == len(other)
    assert "no row has grade RAW; there are LOOSE, PSA_10" in refuse(tmp_path / "prices.csv", **names)
    assert "no column nonsense" in refuse(sample, price_column="nonsense")


def test_files_are_read_one_after_the_other(sample, tmp_path):
    table = pd.read_csv(sample)
    parts = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path, rows in zip(parts, (table[table["date"] < "2024-06"], table[table["date"] >= "2024-06"]), strict=True):
        rows.to_csv(path, index=False)
    assert read(*parts).y.equals(read(sample).y)
    assert "two prices in one month" in refuse(sample, parts[1])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("card_id,day,volume\nA,2024-01-01,3\n", "no column market_price or price"),
        ("card_id,date,market_price\n", "it has no rows"),
        ("card_id,date,market_price\nA,2024-01-01,5\n,2024-01-01,6\n", "card_id blank in 1 row (row 2"),
        (
            "card_id,date,market_price\nA,soon,5\nA,2024-13-01,5\n",
            "date not an ISO date like 2025-01-31 in 2 rows (row 1: 'soon'",
        ),
        ("card_id,date,market_price\nA,45292,5\n", "date not an ISO date like 2025-01-31 in 1 row (row 1: '45292')"),
        (
            "card_id,date,market_price\nA,2024-01-01,0\nA,2024-02-01,-3\n",
            "market_price not above 0 in 2 rows (row 1: '0'",
        ),
        (
            "card_id,date,market_price\nA,2024-01-01,cheap\nA,2024-02-01,nan\n",
            "market_price not a finite number in 2 rows",
        ),
        ("card_id,date,market_price\nA,2024-01-01,\nA,2024-02-01,1\n", "market_price blank in 1 row (row 1"),
        ("card_id,date,market_price\nA,2024-01-01,true\n", "market_price not a number in 1 row"),
    ],
)
def test_each_problem_of_a_file_is_named_with_its_rows(tmp_path, text, problem):
    assert problem in refuse(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"A": {"2024-01-01": "much"}}', "price not a number in 1 places (A 2024-01-01: 'much')"),
        ('{"A": {"2024-01-01": 5}, "B": {"monday": 5}}', "not an ISO date"),
        ('{"A": {}}', "it has no rows"),
        ('{"A": {"2024-01-01": 5, "2024-02-01": 5, "2024-01-01": 6}}', "a card has two prices in one"),
        (f'{{"A": {{"2024-01-01": 1{"0" * 400}}}}}', "market_price not a finite number"),
        ('{"A": {"2024', "JSON"),
    ],
)
def test_each_problem_of_prices_by_card_is_named(tmp_path, text, problem):
    assert problem in refuse(write(tmp_path, text, "prices.json"))


def test_a_missing_file_and_a_download_are_refused(tmp_path):
    for name in ("absent.csv", "absent.json"):
        with pytest.raises(RawDataNotFound):
            read(tmp_path / name)
    with pytest.raises(DownloadFailed, match="--data"):
        pokewatch.download(tmp_path)


def test_two_prices_of_a_card_in_one_period_are_refused(tmp_path):
    months = [f"A,{month:%Y-%m-%d},5" for month in MONTHS]
    text = refuse(write_rows(tmp_path, [*months, "A,2024-02-17,6"]))
    assert "a card has two prices in one month, 1 times (A 2024-02-01)" in text
    days = [f"A,2024-01-{day:02},5" for day in range(1, 20)]
    assert "in one day, 1 times (A 2024-01-03)" in refuse(write_rows(tmp_path, [*days, "A,2024-01-03T15:00:00,5"]))


def test_cards_with_one_price_are_dropped_and_counted(sample, tmp_path):
    lines = sample.read_text().splitlines()[1:]
    dataset = read(write_rows(tmp_path, [*lines, "lonely,2025-12-01,5"]))
    assert dataset.notes["cards_dropped_one_price"] == 1 and dataset.notes["cards"] == 60
    assert "lonely" not in dataset.X["card_id"].to_pylist() and dataset.y.equals(read(sample).y)
    text = refuse(write_rows(tmp_path, ["A,2024-01-01,5", "B,2024-01-01,5"]))
    assert "each of the 2 cards has one price" in text


def test_too_few_periods_for_the_split_are_refused(tmp_path):
    rows = [f"A,{month:%Y-%m-%d},5" for month in MONTHS]
    text = refuse(write_rows(tmp_path, rows))
    assert "it has 6 periods, and 7 for validation, 7 for the test and 2 to learn from take 16" in text
    assert read(write_rows(tmp_path, rows), test_periods=2, validation_periods=2).X.num_rows == 6


def test_training_rows_that_are_all_first_prices_are_refused(tmp_path):
    rows = ["A,2024-01-01,5", "B,2024-02-01,6", "A,2024-03-01,5", "B,2024-04-01,6"]
    text = refuse(write_rows(tmp_path, rows), test_periods=1, validation_periods=1)
    assert "each of the 2 training rows is its card's first price" in text


# ── the dataset ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_split_is_by_month_and_the_same_for_all_cards(sample):
    dataset = read(sample, test_periods=5, validation_periods=3)
    rows = dataset.X.to_pandas().assign(split=dataset.split.to_pylist())
    assert (rows.groupby("date")["split"].nunique() == 1).all()
    months = {split: group["date"].unique() for split, group in rows.groupby("split")}
    assert [len(months[name]) for name in ("train", "validation", "test")] == [28, 3, 5]
    assert months["train"].max() < months["validation"].min() <= months["validation"].max() < months["test"].min()
    assert dataset.notes["frequency"] == "monthly" and dataset.notes["test_from"] == "2025-08-01"


def test_the_newest_price_is_that_of_the_row_before_and_none_of_a_first_one(tmp_path):
    prices = [5, 6, 7, 8, 9, 10]
    rows = [f"A,{month:%Y-%m-%d},{price}" for month, price in zip(MONTHS, prices, strict=True)]
    dataset = read(
        write_rows(tmp_path, [*rows, "B,2024-05-01,3", "B,2024-06-01,4"]), test_periods=1, validation_periods=1
    )
    assert dataset.extra["newest_price"].to_pylist() == [None, 5, 6, 7, 8, 9, None, 3]


# ── models ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_an_answer_knows_no_price_of_its_own_period_or_later(sample, model_type):
    dataset, parameters = read(sample), build(model_type, **MODEL_TYPES[model_type])
    rows, cut = dataset.X.to_pandas(), pd.Timestamp("2025-09-01")
    later = (rows["date"] >= cut).to_numpy()
    prices = dataset.y["market_price"].to_numpy()
    other = pokewatch.Processed(
        X=dataset.X,
        y=pa.table({"market_price": np.where(later, prices * 7 + 3, prices)}),
        split=dataset.split,
        extra=dataset.extra,
    )
    models = [pokewatch.train(of, parameters=parameters, report=silent).model for of in (dataset, other)]
    until = rows[rows["date"] <= cut]
    answers = [model.predict(until) for model in models]
    pd.testing.assert_frame_equal(*answers, check_exact=True)
    after = [model.predict(rows[rows["date"] > cut])["fair_value"].to_numpy() for model in models]
    assert not np.isclose(*after).any(), "prices that are known by then do count"


def test_a_moving_average_is_the_mean_of_the_newest_prices_before_the_date():
    model = fit([1, 2, 6, 10, 20, 40], window_size=3)
    dates = [*MONTHS, pd.Timestamp("2024-07-01"), pd.Timestamp("2030-01-01")]
    answers = model.predict(pd.DataFrame({"card_id": "A", "date": dates}))["fair_value"]
    assert answers.tolist() == pytest.approx([np.nan, 1, 1.5, 3, 6, 12, 70 / 3, 70 / 3], nan_ok=True)
    assert model.predict(frame("A", date="2024-05-31"))["fair_value"][0] == 6, "any day of May is before its price"


def test_without_a_date_the_answer_is_for_after_the_last_price():
    model = fit([10, 10, 40], window_size=3)
    known = model.predict(frame("A", date="2024-04-01"))
    none = pd.DataFrame({"card_id": ["A"], "date": pd.array([None], dtype="datetime64[us]")})
    for rows in (frame("A"), none, none.assign(date=None)):
        pd.testing.assert_frame_equal(model.predict(rows), known)
    assert known.iloc[0].tolist() == [20, "SELL"]


def test_of_a_card_that_is_not_known_there_is_no_fair_value_and_hold():
    answers = fit([10, 10]).predict(frame("0", "A", "B"))
    assert answers["fair_value"].tolist() == pytest.approx([np.nan, 10, np.nan], nan_ok=True)
    assert answers["signal"].tolist() == ["HOLD"] * 3


def test_a_row_without_a_card_has_no_fair_value_and_changes_no_other_row():
    X = pd.DataFrame({"card_id": "card-01", "date": MONTHS[:2]})
    answers = MovingAverage().fit(X, np.array([10.0, 20])).predict(frame(None, "card-01"))
    assert answers["fair_value"].tolist() == pytest.approx([np.nan, 15], nan_ok=True)


def test_a_date_with_a_zone_is_that_of_utc():
    model = fit([10, 20, 30], pd.date_range("2026-07-22", periods=3), window_size=1)
    assert model.predict(frame("A", date="2026-07-23T23:00:00-05:00"))["fair_value"][0] == 20


def test_daily_prices_are_forecast_by_the_day():
    days = pd.date_range("2026-07-22", periods=4)
    answers = fit([10, 20, 30, 40], days, window_size=2).predict(pd.DataFrame({"card_id": "A", "date": days}))
    assert answers["fair_value"].tolist() == pytest.approx([np.nan, 10, 15, 25], nan_ok=True)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_models_answer_alike_after_they_were_stored(sample, model_type):
    dataset, parameters = read(sample), build(model_type, **MODEL_TYPES[model_type])
    model = pokewatch.train(dataset, parameters=parameters, report=silent).model
    loaded = skops.io.loads(skops.io.dumps(model), trusted=list(TRUSTED_TYPES))
    rows = dataset.X.to_pandas()
    pd.testing.assert_frame_equal(loaded.predict(rows), model.predict(rows), check_exact=True)
    assert loaded.predict(rows[:0]).empty


def test_trees_learn_nothing_from_test_rows(sample):
    dataset, parameters = read(sample), build("lightgbm", n_estimators=5)
    kept = np.asarray(dataset.split) != "test"
    model = pokewatch.train(dataset, parameters=parameters, report=silent).model
    early = type(model)(model.regressor, nb_returns=model.nb_returns).fit(
        dataset.X.to_pandas()[kept], dataset.y["market_price"].to_numpy()[kept]
    )
    trees = [of.regressor_.booster_.model_to_string() for of in (model, early)]
    assert trees[0] == trees[1]


# ── scores ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_signals_begin_at_their_thresholds():
    values = np.array([106, 105, 104.9, 100, 90.1, 90, 50, np.nan])
    signals = find_signals(values, np.full(8, 100.0), buy_threshold_pct=5, sell_threshold_pct=10)
    assert signals.tolist() == ["BUY", "BUY", "HOLD", "HOLD", "HOLD", "SELL", "SELL", "HOLD"]
    assert find_signals(np.array([100.0]), np.array([100.0]), buy_threshold_pct=0, sell_threshold_pct=0) == ["HOLD"]


def test_scores_are_those_of_the_rows_with_a_fair_value():
    rows = pd.DataFrame({"market_price": [10.0, 20, 30, 40, 50], "newest_price": [np.nan, 10.0, 30, 50, 40]})
    values = np.array([np.nan, 22, 33, 60, 30])  # true: BUY, HOLD, SELL, BUY
    answers = np.column_stack([values.astype(object), ["HOLD", "BUY", "BUY", "BUY", "SELL"]])
    scores = pokewatch.evaluate(rows, answers, parameters=build())
    price, value = rows["market_price"][1:], values[1:]
    assert scores == pytest.approx(
        {
            "rmse": root_mean_squared_error(price, value),
            "mae": mean_absolute_error(price, value),
            "mape": mean_absolute_percentage_error(price, value),
            "coverage_rate": 0.8,
            "buy_rate": 0.75,
            "sell_rate": 0.25,
            "hold_rate": 0.0,
            "buy_precision": 1 / 3,
            "buy_recall": 1 / 2,
            "sell_precision": 0.0,
            "sell_recall": 0.0,
            "dataset_size": 5.0,
        }
    )


def test_rows_of_which_none_has_a_fair_value_pass_no_gate():
    rows = pd.DataFrame({"market_price": [10.0], "newest_price": [9.0]})
    scores = pokewatch.evaluate(rows, np.array([[np.nan, "HOLD"]], dtype=object), parameters=build())
    good = {"last_value": dict.fromkeys([metric.name for metric in METRICS], 1.0)}
    assert not apply_gate(pokewatch.spec.rules.gate, metrics=scores, baselines=good, production=None).passed


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_the_sample_trains_to_a_model_that_passes_and_shows_what_it_is_worth(sample, model_type):
    dataset, parameters = read(sample), build(model_type)
    trained = pokewatch.train(dataset, parameters=parameters, report=silent)
    metrics = {metric.name: trained.metrics[f"test_{metric.name}"] for metric in METRICS}
    baselines = pokewatch.baselines(dataset, parameters=parameters)
    assert apply_gate(pokewatch.spec.rules.gate, metrics=metrics, baselines=baselines, production=None).passed
    assert {*trained.figures, *trained.artifacts} == {*pokewatch.spec.artifacts}
    summary = trained.artifacts["summary/evaluation_summary.txt"]
    beaten = metrics["rmse"] < baselines["last_value"]["rmse"]
    assert f"last_value: {'beaten' if beaten else 'not beaten'}" in summary and "420 test rows" in summary


# ── the real data ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("model_type", "rmse"), [("baseline_moving_average", 20.59), ("lightgbm", 17.57)])
def test_the_reference_figures_are_met_within_one_percent(real, model_type, rmse):
    dataset, parameters = read(real / "pokemon_monthly_all_grades.parquet"), build(model_type)
    trained = pokewatch.train(dataset, parameters=parameters, report=silent)
    assert trained.metrics["test_rmse"] == pytest.approx(rmse, rel=0.01)
    last_value = pokewatch.baselines(dataset, parameters=parameters)["last_value"]
    assert last_value["rmse"] == pytest.approx(18.28, rel=0.01)
    assert dataset.notes["cards_dropped_one_price"] == 116 and trained.metrics["test_coverage_rate"] > 0.99


def test_the_real_daily_file_is_read_by_the_day(real):
    dataset = read(real / "daily_73_cards.json")
    assert (dataset.notes["frequency"], dataset.notes["cards"]) == ("daily", 73)
    assert dataset.notes["test_from"] == "2026-08-16"
