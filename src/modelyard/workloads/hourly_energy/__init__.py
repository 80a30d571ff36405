"""Hourly energy series: raw CSV → what was known the day before → 24 forecasts a day, refitted as days go by."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from modelyard.errors import DownloadFailed, RawDataMalformed
from modelyard.workloads.contract import Expectation, Expectations, Processed, Report, Task, Trained, WorkloadSpec
from modelyard.workloads.hourly_energy.parameters import (
    HistGradientBoosting,
    HourlyParameters,
    HourlyProcessing,
    LightGBM,
    Ridge,
)
from modelyard.workloads.hourly_energy.scores import (
    METRICS,
    measure_seasonal_error,
    score_forecasts,
    summarize_forecasts,
)
from modelyard.workloads.hourly_energy.series import TARGET, form_days, load_series
from modelyard.workloads.raw_csv import write_raw_csv
from modelyard.workloads.rules import load_rules

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]
SEASONAL_ERROR = "seasonal_error"  # of the training rows, the same in every row: what MASE is relative to
LEAST_TRAINING_DAYS = 28
WEEKLY_DAYS = (0, 5, 6)  # Monday, Saturday and Sunday are unlike the day before

spec = WorkloadSpec(
    name="hourly_energy",
    title="Day-ahead electricity price, 24 hours a day",
    task=Task.FORECASTING, metrics=METRICS, baselines=("epf_naive", "weekly_naive"), processing=HourlyProcessing,
    model_types={"ridge": Ridge, "hist_gradient_boosting": HistGradientBoosting, "lightgbm": LightGBM},
    raw_files=("epf_DE.csv", "hourly_energy.csv", "hourly_energy.parquet"), targets=(TARGET,),
    rules=load_rules("hourly_energy"), mlflow_experiment="hourly_energy",
    artifacts=("plots/forecast_days.png", "plots/error_by_hour.png"), blends=True,
    expectations=Expectations(
        columns=(
            Expectation("day", type="integer", nullable=False),
            Expectation("hour", type="integer", low=0, high=23, nullable=False),
            Expectation(TARGET, type="float", nullable=False),
            Expectation(SEASONAL_ERROR, type="float", low=0, low_included=False, nullable=False),
        ),
        unique_key=("day", "hour"),
    ),
)  # fmt: skip


def download(folder: Path, /) -> list[Path]:  # noqa: ARG001
    """Nothing is fetched: the data's address gives no checksum.

    Raises:
        DownloadFailed: always, and says where the data is.
    """
    raise DownloadFailed(
        "hourly_energy has no download; take an hourly series, e.g. DE.csv of the EPF benchmark (Lago and "
        "others, 2021, on Zenodo), and name it with --data"
    )


def sample(folder: Path, /, *, seed: int = 0) -> list[Path]:
    """Write ``sample.csv``: 200 made-up days whose price follows demand less wind, with columns called as in EPF-DE."""
    rng, nb_days = np.random.default_rng(seed), 200
    hour, day = np.tile(np.arange(24), nb_days), np.repeat(np.arange(nb_days), 24)
    is_weekend = (day + 3) % 7 >= 5  # the first day is a Friday
    wave = np.sin((hour - 8) / 24 * 2 * np.pi) + 0.4 * np.sin((hour - 3) / 12 * 2 * np.pi)
    load = 21_000 + 4_000 * wave - 3_500 * is_weekend + 300 * rng.normal(size=hour.size)
    weather = np.zeros(nb_days + 1)
    for number in range(nb_days):
        weather[number + 1] = 0.7 * weather[number] + rng.normal()
    wind = 9_000 * np.exp(0.5 * np.interp(np.arange(hour.size) / 24, np.arange(nb_days + 1), weather))
    level = np.repeat(np.cumsum(rng.normal(0, 0.8, nb_days)), 24)
    price = 30 + level + 25 * np.tanh((load - wind - 12_000) / 9_000) + rng.normal(0, 2, hour.size)
    begin = np.datetime64("2016-01-01T00", "h") + np.arange(hour.size)
    header = ("date", "Price", "Ampirion Load Forecast", "PV+Wind Forecast")
    rows = (
        [str(time).replace("T", " ") + ":00:00", f"{one:.2f}", f"{two:.1f}", f"{three:.1f}"]
        for time, one, two, three in zip(begin, price, load, wind, strict=True)
    )
    return [write_raw_csv(folder / "sample.csv", header, rows)]


def load_raw(files: Sequence[Path], /, *, parameters: HourlyProcessing) -> pa.Table:
    """Read files of one series; takes, returns and raises what ``series.load_series`` does."""
    return load_series(files, parameters)


def process(raw: pa.Table, /, *, parameters: HourlyProcessing) -> Processed:
    """Form a row of X and y for each hour that was measured, in the order of time.

    Test rows are those of the last days, validation rows those of the days before them.

    Raises:
        RawDataMalformed: duplicates, gaps, too few days.
    """
    from modelyard.workloads.hourly_energy.features import FIRST_DAYS, form_features, make_preprocessing

    days = form_days(raw, parameters)
    nb_days = len(days.measured)
    nb_test, nb_validation = round(nb_days * parameters.test_share), round(nb_days * parameters.validation_share)
    if min(nb_test, nb_validation) < 1 or nb_days - nb_test - nb_validation < FIRST_DAYS + LEAST_TRAINING_DAYS:
        shares = f"validation_share={parameters.validation_share} and test_share={parameters.test_share}"
        problem = (
            f"{nb_days} whole days are too few: {FIRST_DAYS} days of lags, {LEAST_TRAINING_DAYS} of training, and "
        )
        raise RawDataMalformed("raw data", [f"{problem}with {shares} one day or more each; give a longer series"])
    first_validation, first_test = nb_days - nb_test - nb_validation, nb_days - nb_test
    measured = days.measured[FIRST_DAYS:].reshape(-1)
    series = days.values[TARGET].reshape(-1)
    number = np.repeat(np.arange(FIRST_DAYS, nb_days), 24)
    split = np.where(number >= first_test, "test", np.where(number >= first_validation, "validation", "train"))
    if len(silent := sorted({*range(24)} - {*(np.flatnonzero(measured & (split == "train")) % 24).tolist()})):
        problem = f"{parameters.target_column!r} has no value at {', '.join(f'{hour:02}:00' for hour in silent)}"
        raise RawDataMalformed("raw data", [f"{problem} of any day of training; every hour of the day is forecast"])
    times = np.datetime64(days.first, "D").astype("datetime64[h]") + np.arange(FIRST_DAYS * 24, nb_days * 24)
    seasonal_error = measure_seasonal_error(series[: first_validation * 24])
    if not seasonal_error:
        raise RawDataMalformed("raw data", [f"{parameters.target_column!r} is the same in every hour of training"])
    return Processed(
        X=pa.table({name: pa.array(values[measured]) for name, values in form_features(days).items()}),
        y=pa.table({TARGET: pa.array(series[FIRST_DAYS * 24 :][measured])}),
        split=pa.array(split[measured], pa.string()),
        extra=pa.table(
            {
                "time": pa.array(times[measured].astype("datetime64[s]")),
                SEASONAL_ERROR: pa.array(np.full(int(measured.sum()), seasonal_error)),
            }
        ),
        preprocessing=make_preprocessing(),
        notes={**days.notes, "days_of_lags": FIRST_DAYS, "days_validation": nb_validation, "days_test": nb_test},
    )


def train(dataset: Processed, /, *, parameters: HourlyParameters, report: Report) -> Trained:
    """Fit at the first validation day and every ``refit_days`` from there on, each time to all days before.

    So each answer for a validation or test day is one that could have been given the day before (walk-forward): later
    fits have learned from earlier test days, none from the day that it answers or a later one.
    """
    from sklearn import ensemble  # noqa: F401 - loads OpenMP, which is limited next
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    from modelyard.workloads.hourly_energy.figures import draw_forecasts
    from modelyard.workloads.hourly_energy.rolling import RollingForecaster

    rows, names = dataset.load_rows("train", "validation", "test"), dataset.X.column_names
    split_rows = {split: dataset.load_rows(split) for split in ("train", "validation", "test")}
    origins = list_origins(dataset, refit_days=parameters.refit_days)

    def tell(nb_done: int, nb_fits: int) -> None:
        report(0.9 * nb_done / nb_fits, f"fit {nb_done} of {nb_fits}")

    with threadpool_limits(1, user_api="openmp"):  # threads of trees that wait busily take longer beside other work
        model = RollingForecaster(_make_estimator(dataset, parameters), origins).fit(
            rows[names], rows[TARGET], report=tell
        )
        answers = {split: model.predict(own[names]) for split, own in split_rows.items()}
    metrics = {
        f"{split}_{name}": value
        for split, own in split_rows.items()
        for name, value in evaluate(own, answers[split], parameters=parameters).items()
    }
    figures = draw_forecasts(split_rows["test"], answers["test"])
    report(1.0, f"test MAE {metrics['test_mae']:.3f}")
    return Trained(model=model, metrics=metrics, figures=figures)


def list_origins(dataset: Processed, *, refit_days: int) -> list[int]:
    """Days since 1970-01-01: the first that is not for training, and every ``refit_days`` from there to the last."""
    day, split = dataset.X["day"].to_numpy(), np.asarray(dataset.split)
    return list(range(int(day[split != "train"].min()), int(day.max()) + 1, refit_days))


def evaluate(rows: "pd.DataFrame", predictions: Array, /, *, parameters: HourlyParameters) -> dict[str, float]:
    """MAE, RMSE, sMAPE and MASE of one forecast per row."""
    sums = score(rows, predictions, parameters=parameters)
    return summarize({name: float(values.sum()) for name, values in sums.items()}, parameters=parameters)


def score(rows: "pd.DataFrame", predictions: Array, /, *, parameters: HourlyParameters) -> dict[str, Array]:  # noqa: ARG001
    """Statistics of each row, from whose sums ``summarize`` says what ``evaluate`` says."""
    return score_forecasts(rows[TARGET], predictions, seasonal_error=rows[SEASONAL_ERROR])


def summarize(totals: Mapping[str, float], /, *, parameters: HourlyParameters) -> dict[str, float]:  # noqa: ARG001
    """MAE and RMSE in the target's unit, sMAPE in percent, MASE."""
    return summarize_forecasts(totals)


def baselines(dataset: Processed, /, *, parameters: HourlyParameters) -> dict[str, dict[str, float]]:
    """Metrics on the test rows of last week's value, and of yesterday's (``epf_naive``; on three weekdays last week's).

    Source of ``epf_naive``: Lago and others, Forecasting day-ahead electricity prices, Applied Energy 293, 2021.
    """
    test = dataset.load_rows("test")
    yesterday = test[[f"{TARGET}_d1_h{hour:02}" for hour in range(24)]].to_numpy()[np.arange(len(test)), test["hour"]]
    last_week = test[f"{TARGET}_d7"].to_numpy()
    is_weekly = np.isin((test["day"] + 3) % 7, WEEKLY_DAYS)
    answers = {"epf_naive": np.where(is_weekly, last_week, yesterday), "weekly_naive": last_week}
    return {name: evaluate(test, answer, parameters=parameters) for name, answer in answers.items()}


def _make_estimator(dataset: Processed, parameters: HourlyParameters) -> Any:
    """An unfitted pipeline: the dataset's preprocessing, the model."""
    from sklearn import base, ensemble, pipeline

    from modelyard.workloads.hourly_energy.features import make_preprocessing
    from modelyard.workloads.hourly_energy.rolling import CalmTrees, HourlyRidge

    own = parameters.model_dump(exclude={*HourlyParameters.model_fields})
    window_days = own.pop("window_days", None)
    if isinstance(parameters, Ridge):
        model: Any = HourlyRidge(**own)
    elif isinstance(parameters, HistGradientBoosting):
        trees: Any = ensemble.HistGradientBoostingRegressor(**own, early_stopping=False, random_state=parameters.seed)
        model = CalmTrees(trees, window_days)
    else:
        import lightgbm

        # one thread and rows first: the same trees on every machine
        trees = lightgbm.LGBMRegressor(
            **own, random_state=parameters.seed, n_jobs=1, deterministic=True, force_row_wise=True, verbosity=-1
        )
        model = CalmTrees(trees, window_days)
    return pipeline.Pipeline(
        [("preprocessing", base.clone(dataset.preprocessing or make_preprocessing())), ("model", model)]
    )
