import csv
import io
import zoneinfo
from importlib.util import find_spec

import lightgbm  # noqa: F401 - before any test counts what is imported
import numpy as np
import pandas as pd
import pytest
import skops.io

from modelyard.errors import InvalidParameter, RawDataMalformed
from modelyard.pipeline.gate import apply_gate
from modelyard.tracking.skops_file import load_estimator
from modelyard.workloads import hourly_energy as energy
from modelyard.workloads.hourly_energy.scores import measure_seasonal_error, score_forecasts, summarize_forecasts
from modelyard.workloads.hourly_energy.series import form_days
from modelyard.workloads.registry import build_parameters

TINY = {"ridge": {}, "hist_gradient_boosting": {"max_iter": 3}, "lightgbm": {"n_estimators": 3}}


def silent(share, message, /, *, metrics=None, step=None):
    pass


def build(model_type="ridge", **values):
    return build_parameters(energy, model_type=model_type, values={"refit_days": 30} | values)[1]


def read(frame, folder, **values):
    path = folder / "series.csv"
    frame.to_csv(path, index=False)
    parameters = build(**values)
    return energy.process(energy.load_raw([path], parameters=parameters), parameters=parameters)


def refuse(frame, folder, **values):
    with pytest.raises(RawDataMalformed) as refused:
        read(frame, folder, **values)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """The sample's 200 days, the times as text."""
    return pd.read_csv(energy.sample(tmp_path_factory.mktemp("sample"))[0], dtype={"date": object})


@pytest.fixture(scope="module")
def dataset(raw, tmp_path_factory):
    return read(raw, tmp_path_factory.mktemp("dataset"))


@pytest.fixture
def real(real_data):
    if real_data is None:
        pytest.skip("no real data: put it into data/hourly_energy, or set MODELYARD_TEST_DATA_DIR")
    return real_data / "hourly_energy"


# ── what is read ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_column_that_is_not_there_is_named_beside_those_that_are(raw, tmp_path):
    text = refuse(raw.rename(columns={"Price": "Spot"}), tmp_path)
    assert "it has no column 'Price'; it has 'date', 'Spot'" in text
    assert read(raw.rename(columns={"Price": "Spot"}), tmp_path, target_column="Spot").X.num_rows == 193 * 24


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"regressors": "Price"}, "must be columns with names of their own"),
        ({"regressors": "PV+Wind Forecast,pv wind forecast"}, "must be columns with names of their own"),
        ({"time_column": "Price"}, "must be columns with names of their own"),
        ({"time_zone": "Europe/Berlim"}, "no such zone"),
        ({"time_zone": "dateutil//etc/localtime"}, "no such zone"),
        ({"time_zone": ""}, "no such zone"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(raw, tmp_path, values, problem):
    with pytest.raises(InvalidParameter, match=problem):
        read(raw, tmp_path, **values)


def test_a_zone_that_is_not_there_is_refused_where_times_have_an_offset_too(raw, tmp_path):
    with pytest.raises(InvalidParameter, match="no such zone"):
        read(raw.assign(date=raw["date"] + "Z"), tmp_path, time_zone="Europe/Berlim")


def test_a_machine_without_time_zones_says_what_to_install(raw, tmp_path):
    if find_spec("tzdata"):
        pytest.skip("the package tzdata is installed, which knows all time zones")
    try:
        zoneinfo.reset_tzpath(to=[])
        zoneinfo.ZoneInfo.clear_cache()
        with pytest.raises(InvalidParameter, match="pip install tzdata"):
            read(raw, tmp_path)
    finally:
        zoneinfo.reset_tzpath()


def test_a_regressor_called_time_is_refused_and_one_called_like_the_target_is_no_lag_of_it(raw, tmp_path):
    wind = "PV+Wind Forecast"
    with pytest.raises(InvalidParameter, match="no regressor can be called time"):
        read(raw.rename(columns={wind: "Time"}), tmp_path, regressors="Time")
    maes = []
    for name in (wind, "Target Load"):
        dataset = read(raw.rename(columns={wind: name}), tmp_path, regressors=name)
        maes.append(energy.train(dataset, parameters=build(regressors=name), report=silent).metrics["test_mae"])
    assert maes[0] == pytest.approx(maes[1])


@pytest.mark.parametrize("ending", ["", "+01:00", "Z"])
def test_times_that_are_stored_as_text_are_read_like_others(raw, tmp_path, ending):
    text = raw.assign(date=raw["date"] + ending)
    text.to_parquet(tmp_path / "text.parquet", index=False)
    found = energy.load_raw([tmp_path / "text.parquet"], parameters=build())
    text.to_csv(tmp_path / "text.csv", index=False)
    assert found["time"].equals(energy.load_raw([tmp_path / "text.csv"], parameters=build())["time"])


def test_some_times_with_an_offset_and_others_without_are_refused(raw, tmp_path):
    raw.assign(date=raw["date"].where(raw.index != 5, "2016-01-01 05:00:00Z")).to_parquet(tmp_path / "mixed.parquet")
    with pytest.raises(RawDataMalformed, match="some have an offset from UTC, others none"):
        energy.load_raw([tmp_path / "mixed.parquet"], parameters=build())


def test_an_hour_of_the_day_that_is_never_there_is_named(raw, tmp_path):
    text = refuse(raw[~raw["date"].str.contains(" 05:| 17:")], tmp_path)
    assert "'Price' has no value at 05:00, 17:00 of any day of training" in text


@pytest.mark.parametrize("cell", ["04.01.2016 05:00", "never", None])
def test_unreadable_times_are_shown_with_their_rows(raw, tmp_path, cell):
    broken = raw.copy()
    broken.loc[[3, 9], "date"] = cell
    text = refuse(broken, tmp_path)
    assert "'date' must be times such as 2016-01-04 00:00" in text and "2 cells are no times (row 4: " in text


def test_text_in_a_column_of_numbers_is_shown(raw, tmp_path):
    assert "'Price' must be numbers and is string, e.g. 'n/a'" in refuse(
        raw.astype({"Price": object}).assign(Price=lambda f: f["Price"].where(f.index != 7, "n/a")), tmp_path
    )


def test_times_off_the_hour_are_refused(raw, tmp_path):
    text = refuse(raw.assign(date=raw["date"].str.replace(" 05:00:00", " 05:15:00")), tmp_path)
    assert "200 times are not on the hour, e.g. 2016-01-01 05:15:00" in text


def test_hours_are_those_of_the_local_clock_where_it_is_half_an_hour_off(raw, tmp_path, dataset):
    india = read(raw.assign(date=raw["date"] + "+05:30"), tmp_path, time_zone="Asia/Kolkata")
    assert india.X.equals(dataset.X)
    text = refuse(raw.assign(date=raw["date"] + "Z"), tmp_path, time_zone="Asia/Kolkata")
    assert "4,800 times are not on the hour, e.g. 2016-01-01 05:30:00 in Asia/Kolkata" in text


def test_duplicate_hours_are_refused_whether_or_not_they_agree(raw, tmp_path):
    text = refuse(pd.concat([raw, raw.iloc[[30]], raw.iloc[[40]].assign(Price=1.0)]), tmp_path)
    assert "2 hours are there more than once, e.g. 2016-01-02 06:00:00" in text


def test_a_series_that_is_too_short_says_what_there_must_be(raw, tmp_path):
    text = refuse(raw.head(40 * 24), tmp_path)
    assert "40 whole days are too few: 7 days of lags, 28 of training" in text
    assert "hold no whole day" in refuse(raw.head(20), tmp_path)


# ── gaps and clock changes ───────────────────────────────────────────────────────────────────────────────────────────


def test_short_gaps_are_filled_from_the_hour_before_and_no_row_is_made_of_them(raw, tmp_path, dataset):
    hole = raw.drop(index=[24 * 60 + 23, 24 * 61])  # the last hour of a day and the first of the next
    found = read(hole, tmp_path)
    assert (found.notes["hours_filled"], dataset.notes["hours_filled"]) == (2, 0)
    assert found.X.num_rows == dataset.X.num_rows - 2
    lags = found.X.to_pandas().set_index(["day", "hour"])["target_d1_h23"]
    first = int(dataset.X["day"][0].as_py()) - 7
    assert lags[first + 61, 12] == raw["Price"][24 * 60 + 22]


def test_long_gaps_are_refused_with_column_and_begin(raw, tmp_path):
    text = refuse(raw.drop(index=range(1000, 1004)), tmp_path)
    assert "target has no value for 4 hours from 2016-02-11 16:00:00" in text and "max_gap_hours=3" in text
    blank = raw.assign(**{"PV+Wind Forecast": raw["PV+Wind Forecast"].where(raw.index < 4000)})
    assert "pv_wind_forecast has no value for 800 hours" in refuse(blank, tmp_path)
    assert "target has no value for 1 hours from 2016-01-01" in refuse(
        raw.assign(Price=raw["Price"].shift(1)), tmp_path
    )
    assert read(raw.drop(index=range(1000, 1004)), tmp_path, max_gap_hours=4).notes["hours_filled"] == 4


def form(frame, folder, **values):
    path = folder / "clock.csv"
    frame.to_csv(path, index=False)
    parameters = build(regressors="", **values)
    return form_days(energy.load_raw([path], parameters=parameters), parameters)


def test_the_hour_that_the_clock_skips_is_the_mean_of_its_neighbours(tmp_path):
    hours = pd.date_range("2016-03-26", "2016-03-29", freq="h", inclusive="left")
    frame = pd.DataFrame({"date": hours, "Price": np.arange(72.0)}).drop(index=24 + 2)
    days = form(frame, tmp_path)
    assert days.values["target"][1, 1:4].tolist() == [25, 26, 27] and not days.measured[1, 2]
    assert (days.notes["hours_skipped_by_the_clock"], days.notes["hours_filled"]) == (1, 0)


def test_the_hour_that_the_clock_repeats_is_the_mean_of_both(tmp_path):
    hours = pd.date_range("2016-10-29", "2016-11-01", freq="h", inclusive="left")
    frame = pd.DataFrame({"date": hours, "Price": np.arange(72.0)})
    twice = pd.concat([frame, frame.iloc[[24 + 2]].assign(Price=36.0)])
    days = form(twice, tmp_path)
    assert days.values["target"][1, 1:4].tolist() == [25, 31, 27] and days.measured.all()
    assert days.notes["hours_repeated_by_the_clock"] == 1
    with pytest.raises(RawDataMalformed, match="1 hours are there more than once"):
        form(twice, tmp_path, time_zone="UTC")


def test_times_with_an_offset_are_read_as_local_ones_on_both_clock_changes(tmp_path):
    for begin, end in (("2016-03-26", "2016-03-29"), ("2016-10-29", "2016-11-01")):
        hours = pd.date_range(begin, end, freq="h", inclusive="left", tz="Europe/Berlin")
        frame = pd.DataFrame({"date": hours.map(lambda time: time.isoformat()), "Price": np.arange(float(len(hours)))})
        days = form(frame, tmp_path)
        assert days.measured.shape == (3, 24)
        assert days.values["target"][0].tolist() == list(range(24))
        assert days.values["target"][2, 0] == len(hours) - 24


# ── no answer knows the future ───────────────────────────────────────────────────────────────────────────────────────


def test_nothing_after_the_issue_time_reaches_the_features(raw, tmp_path, dataset):
    """All that is not known at noon of the day before is changed: prices from day d on, regressors from d + 1 on."""
    day = 150
    changed = raw.copy()
    changed.loc[changed.index >= day * 24, "Price"] += 1000
    changed.loc[changed.index >= (day + 1) * 24, ["Ampirion Load Forecast", "PV+Wind Forecast"]] += 1000
    before, after = dataset.X.to_pandas(), read(changed, tmp_path).X.to_pandas()
    until = before["day"] <= before["day"].iloc[0] - 7 + day
    assert until.sum() == (day + 1 - 7) * 24
    pd.testing.assert_frame_equal(before[until], after[until])
    assert not before[~until].equals(after[~until]), "what was changed does reach later days"


@pytest.mark.parametrize("model_type", TINY)
def test_no_answer_has_learned_from_its_own_day_or_a_later_one(dataset, model_type):
    """Targets from a test day on are replaced: answers up to that day are the same, later ones are not."""
    parameters = build(model_type, **TINY[model_type])
    day = dataset.load_rows("test")["day"]
    cut = day.iloc[0] + 20
    target = dataset.y["target"].to_numpy().copy()
    target[dataset.X["day"].to_numpy() >= cut] *= -3
    spoilt = energy.Processed(
        X=dataset.X, y=dataset.y.set_column(0, "target", [target]), split=dataset.split, extra=dataset.extra,
        preprocessing=dataset.preprocessing,
    )  # fmt: skip
    rows = dataset.load_rows("test")[dataset.X.column_names]
    honest, other = (
        energy.train(content, parameters=parameters, report=silent).model.predict(rows) for content in (dataset, spoilt)
    )
    same = honest == other
    assert same[day <= cut].all() and not same[day > cut].all()


@pytest.mark.parametrize("model_type", TINY)
def test_models_come_back_from_their_file_with_the_same_answers(dataset, model_type, tmp_path):
    model = energy.train(dataset, parameters=build(model_type, **TINY[model_type]), report=silent).model
    skops.io.dump(model, tmp_path / "model.skops")
    X = dataset.X.to_pandas()
    assert np.array_equal(load_estimator(tmp_path / "model.skops").predict(X), model.predict(X))
    assert set(model.predict(X.tail(48))) == set(model.predict(X)[-48:])


def test_a_load_without_regressors_is_forecast_too(raw, tmp_path):
    dataset = read(raw, tmp_path, target_column="Ampirion Load Forecast", regressors="")
    assert not [name for name in dataset.X.column_names if "wind" in name]
    metrics = energy.train(dataset, parameters=build(regressors=""), report=silent).metrics
    naive = energy.baselines(dataset, parameters=build(regressors=""))
    assert metrics["test_mae"] < naive["epf_naive"]["mae"]


# ── scores ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def summarize(truth, forecasts, seasonal_error):
    scores = score_forecasts(truth, forecasts, seasonal_error=seasonal_error)
    return summarize_forecasts({name: values.sum() for name, values in scores.items()})


def test_scores_by_hand():
    assert measure_seasonal_error([1, 2, 4, 8], season=2) == 4.5
    found = summarize([1.0, -3.0, 0.0], [3.0, -3.0, 0.0], 4.0)
    assert found == pytest.approx({"mae": 2 / 3, "rmse": np.sqrt(4 / 3), "smape": 100 / 3, "mase": 1 / 6})
    assert all(np.isnan(value) for value in summarize([1.0], [np.nan], 1.0).values())
    with pytest.raises(ValueError, match="2 predictions for 1 rows"):
        summarize([1.0], [1.0, 2.0], 1.0)


def read_m4(path):
    rows = csv.reader(io.StringIO(path.read_text()))
    return [np.array([cell for cell in row[1:] if cell], dtype=float) for row in [*rows][1:]]


def test_seasonal_naive_has_the_figures_that_m4_has_published(real):
    found = []
    for history, future in zip(
        read_m4(real / "m4_hourly_train.csv"), read_m4(real / "m4_hourly_test.csv"), strict=True
    ):
        answers = np.tile(history[-24:], 2)
        found.append(summarize(future, answers, measure_seasonal_error(history)))
    assert len(found) == 414
    assert np.mean([scores["smape"] for scores in found]) == pytest.approx(13.912, abs=0.0005)
    assert np.mean([scores["mase"] for scores in found]) == pytest.approx(1.193, abs=0.0005)


# ── the real data ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_epf_benchmark_is_forecast_as_well_as_promised(real):
    parameters = build_parameters(energy, model_type="ridge", values={})[1]
    dataset = energy.process(energy.load_raw([real / "epf_DE.csv"], parameters=parameters), parameters=parameters)
    test = dataset.load_rows("test")
    assert (str(test["time"].iloc[0]), len(test)) == ("2016-04-03 00:00:00", 638 * 24)
    assert str(dataset.load_rows("validation")["time"].iloc[0]) == "2016-01-04 00:00:00"
    baselines = energy.baselines(dataset, parameters=parameters)
    held_out = dataset.load_rows("validation", "test")
    weekly = np.abs(held_out["target"] - held_out["target_d7"]).mean()
    assert weekly == pytest.approx(9.11, abs=0.01)
    trained = energy.train(dataset, parameters=parameters, report=silent)
    assert trained.metrics["test_mae"] <= 3.45
    metrics = {metric.name: trained.metrics[f"test_{metric.name}"] for metric in energy.spec.metrics}
    assert apply_gate(energy.spec.rules.gate, metrics=metrics, baselines=baselines, production=None).passed
