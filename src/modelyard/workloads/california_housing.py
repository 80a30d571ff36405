"""House values in California by block group, 1990 census: raw CSV → 8 or 18 features → regression."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from modelyard.errors import DownloadFailed, RawDataMalformed
from modelyard.workloads.california_expectations import EXPECTATIONS
from modelyard.workloads.california_geography import describe_places
from modelyard.workloads.california_parameters import (
    HistGradientBoosting,
    HousingParameters,
    HousingProcessing,
    RandomForest,
    Ridge,
)
from modelyard.workloads.contract import Processed, Report, Task, Trained, WorkloadSpec
from modelyard.workloads.fitting import fit_pipeline, narrow_report
from modelyard.workloads.metrics import (
    draw_regression,
    regression_metrics,
    score_regression,
    sum_regression,
    summarize_regression,
)
from modelyard.workloads.raw_csv import Column, load_raw_files, write_raw_csv
from modelyard.workloads.rules import load_rules

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]
RAW_LAYOUT = (
    Column("longitude", low=-180, high=180), Column("latitude", low=-90, high=90),
    Column("housing_median_age", low_included=True), Column("total_rooms"),
    Column("total_bedrooms", blank_allowed=True), Column("population"), Column("households", low_included=True),
    Column("median_income"), Column("median_house_value"),
)  # fmt: skip
FEATURE_LAYOUT = (
    Column("MedInc"), Column("HouseAge", low_included=True), Column("AveRooms"), Column("AveBedrms"),
    Column("Population"), Column("AveOccup"), Column("Latitude", low=-90, high=90),
    Column("Longitude", low=-180, high=180), Column("MedHouseVal"),
)  # fmt: skip
UNUSED = "ocean_proximity"  # text that housing.csv has beside the nine columns
UNIT = "USD 100,000"  # the target's
RAW_COLUMNS = tuple(column.name for column in RAW_LAYOUT)
*FEATURES, TARGET = (column.name for column in FEATURE_LAYOUT)


TUNED = {  # chosen by the RMSE of the validation rows among 50 settings; the test rows had no say
    "features": "engineered", "learning_rate": 0.05, "max_iter": 1500, "max_features": 0.3, "l2_regularization": 1.0,
    "early_stopping": False,
}  # fmt: skip
spec = WorkloadSpec(
    name="california_housing",
    title="Median house value of a block group in California, 1990 census",
    task=Task.REGRESSION, metrics=regression_metrics(unit=UNIT),
    baselines=("mean", "linear"), processing=HousingProcessing, expectations=EXPECTATIONS,
    model_types={"hist_gradient_boosting": HistGradientBoosting, "ridge": Ridge, "random_forest": RandomForest},
    configs={"tuned": ("hist_gradient_boosting", TUNED)},
    raw_files=("cal_housing.data", "housing.csv", "california_housing.csv"), targets=(TARGET,),
    rules=load_rules("california_housing"),
    mlflow_experiment="california_housing_price", artifacts=("plots/residuals.png", "plots/predicted_vs_true.png"),
)  # fmt: skip


def download(folder: Path, /) -> list[Path]:
    """Write ``california_housing.csv`` from scikit-learn's download, which checks a sha256, to the last bit.

    Raises:
        DownloadFailed: no network, no answer within 20 s, or another checksum.
    """
    import socket
    import warnings
    from http.client import HTTPException
    from tempfile import TemporaryDirectory

    from sklearn import datasets

    patience_s = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # scikit-learn's own download never gives up
    try:
        # A cache of our own: the one in the home folder is a pickle that nobody checks.
        with TemporaryDirectory() as cache, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns before each retry
            frame = datasets.fetch_california_housing(data_home=cache, as_frame=True, n_retries=1, delay=1.0).frame
    except (OSError, HTTPException) as error:
        raise DownloadFailed(f"the California housing data could not be downloaded ({error}); use --data") from error
    finally:
        socket.setdefaulttimeout(patience_s)
    rows = frame[[*FEATURES, TARGET]].to_numpy().tolist()
    return [write_raw_csv(folder / "california_housing.csv", (*FEATURES, TARGET), (map(repr, row) for row in rows))]


def sample(folder: Path, /, *, seed: int = 0) -> list[Path]:
    """Write ``sample.csv``: 2,000 made-up block groups around four towns, 1 % of ``total_bedrooms`` blank."""
    rng, n = np.random.default_rng(seed), 2000
    towns = np.array([(34.1, -118.2, 1.6), (37.7, -122.2, 2.2), (36.7, -119.8, 0.3), (38.6, -121.4, 0.7)])
    town_lat, town_lon, premium = towns[rng.integers(0, len(towns), n)].T
    latitude, longitude = town_lat + rng.normal(0, 0.3, n), town_lon + rng.normal(0, 0.3, n)
    distance = np.sqrt((latitude - town_lat) ** 2 + (longitude - town_lon) ** 2)
    age, households = rng.integers(1, 53, n), rng.integers(50, 1500, n)
    income = np.clip(rng.lognormal(1.25, 0.45, n), 0.5, 15.0)
    people, rooms = rng.uniform(1.8, 4.5, n), 3.0 + 0.5 * income + rng.uniform(0, 1.5, n)
    value = 0.5 + 0.3 * income + premium * (distance < 0.35) * (1 + 0.02 * age) / (1 + 2 * distance) - 0.2 * people
    value = np.clip(100_000 * value * rng.lognormal(0, 0.12, n), 14_999, 500_001)
    bedrooms = np.where(rng.random(n) < 0.01, np.nan, households * rng.uniform(0.95, 1.25, n))
    columns = (longitude, latitude, age, households * rooms, bedrooms, households * people, households, income, value)
    formats = "{:.2f} {:.2f} {:.0f} {:.0f} {:.0f} {:.0f} {:.0f} {:.4f} {:.0f}"
    rows = [formats.format(*row).replace("nan", "").split(" ") for row in zip(*columns, strict=True)]
    return [write_raw_csv(folder / "sample.csv", RAW_COLUMNS, rows)]


def load_raw(files: Sequence[Path], /, *, parameters: HousingProcessing) -> pa.Table:  # noqa: ARG001
    """Read files of one layout: RAW_COLUMNS (and ``ocean_proximity``), or FEATURES and target; null for a blank.

    Rows stand in the order of the files: CSV, or by their names Parquet, Arrow or JSON.

    Raises:
        RawDataNotFound: there is no such file.
        RawDataMalformed: with every problem, and the layouts that are read.
    """
    return load_raw_files(files, layouts=(RAW_LAYOUT, FEATURE_LAYOUT), unused=UNUSED)


def process(raw: pa.Table, /, *, parameters: HousingProcessing) -> Processed:
    """Form features and target in the file's order, and mark each row's split.

    Test rows are those of ``train_test_split(np.arange(n), test_size=test_share, random_state=seed)``; validation
    rows are drawn from the others with the same seed.

    Raises:
        RawDataMalformed: fewer than two rows are left for a split.
    """
    from sklearn.model_selection import train_test_split

    columns = {name: raw[name].to_numpy() for name in raw.column_names}
    notes = {"rows_read": raw.num_rows, "rows_dropped_households_0": 0, "blank_total_bedrooms": 0}
    if TARGET not in columns:
        kept = columns["households"] > 0
        notes["rows_dropped_households_0"] = int(raw.num_rows - kept.sum())
        notes["blank_total_bedrooms"] = raw["total_bedrooms"].null_count
        columns = _form_features({name: column[kept] for name, column in columns.items()})
    n = len(columns[TARGET])
    n_test, n_validation = math.ceil(n * parameters.test_share), round(n * parameters.validation_share)
    if min(n_test, n_validation, n - n_test - n_validation) < 2:
        left = f"{n} of {raw.num_rows} rows are left ({notes['rows_dropped_households_0']} have 0 households)"
        least = max(math.floor(1 / parameters.test_share) + 1, math.ceil(1.5 / parameters.validation_share))
        raise RawDataMalformed("raw data", [f"{left}, and training, validation and test rows take {least} or more"])
    rest, test = train_test_split(np.arange(n), test_size=parameters.test_share, random_state=parameters.seed)
    _, validation = train_test_split(rest, test_size=n_validation, random_state=parameters.seed)
    split = np.full(n, "train", dtype=object)
    split[test], split[validation] = "test", "validation"
    X = {name: columns[name] for name in FEATURES}
    X |= _engineer_features(X) if parameters.features == "engineered" else {}
    return Processed(
        X=pa.table({name: pa.array(column, pa.float64(), from_pandas=True) for name, column in X.items()}),
        y=pa.table({TARGET: pa.array(columns[TARGET], pa.float64())}),
        split=pa.array(split, pa.string()),
        preprocessing=_make_preprocessing(list(X)),
        notes=notes | {"columns_not_used": [UNUSED] if UNUSED in raw.column_names else []},
    )


def train(dataset: Processed, /, *, parameters: HousingParameters, report: Report) -> Trained:
    """Fit training rows for the ``validation_`` metrics, then (``refit``) validation rows too for all else."""
    from sklearn import ensemble  # noqa: F401 - loads OpenMP, which is limited next
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    # Its threads wait busily for each other: beside other work two of them took 186 s for what one did in 9 s.
    with threadpool_limits(1, user_api="openmp"):
        return _train(dataset, parameters, report)


def _train(dataset: Processed, parameters: HousingParameters, report: Report) -> Trained:
    names, test = dataset.X.column_names, dataset.load_rows("test")

    def fit(rows: "pd.DataFrame", begin: float, end: float, what: str) -> Any:
        tell = narrow_report(report, begin, end, f"fitting {what}")
        return fit_pipeline(_make_model(dataset, parameters), rows[names], rows[TARGET], report=tell)

    def score(model: Any, split: str) -> dict[str, float]:
        rows = dataset.load_rows(split)
        scores = evaluate(rows, model.predict(rows[names]), parameters=parameters)
        return {f"{split}_{name}": value for name, value in scores.items()}

    half = 0.45 if parameters.refit else 0.9
    model = fit(dataset.load_rows("train"), 0.0, half, "the training rows")
    validation = score(model, "validation")
    if isinstance(parameters, HistGradientBoosting):
        _report_stages(model, dataset.load_rows("validation"), names, report, share=half)
    if parameters.refit:
        model = fit(dataset.load_rows("train", "validation"), half, 0.9, "the training and validation rows")
    metrics = score(model, "train") | validation | score(model, "test")
    figures = draw_regression(test[TARGET], model.predict(test[names]), quantity="median house value", unit=UNIT)
    report(1.0, f"test RMSE {metrics['test_rmse']:.4f} {UNIT}")
    return Trained(model=model, metrics=metrics, figures=figures)


def evaluate(rows: "pd.DataFrame", predictions: Array, /, *, parameters: HousingParameters) -> dict[str, float]:  # noqa: ARG001
    """RMSE and MAE in USD 100,000, and R², of one prediction in the same unit per row."""
    return score_regression(rows[TARGET], predictions)


def score(rows: "pd.DataFrame", predictions: Array, /, *, parameters: HousingParameters) -> dict[str, Array]:  # noqa: ARG001
    """Statistics of each row, from whose sums ``summarize`` says what ``evaluate`` says."""
    return sum_regression(rows[TARGET], predictions, origin=2.0)


def summarize(totals: Mapping[str, float], /, *, parameters: HousingParameters) -> dict[str, float]:  # noqa: ARG001
    """RMSE and MAE in USD 100,000, and R²."""
    return summarize_regression(totals)


def baselines(dataset: Processed, /, *, parameters: HousingParameters) -> dict[str, dict[str, float]]:
    """Metrics on the test rows of the mean and of a linear regression on the same features, fitted on all others."""
    from sklearn import linear_model, pipeline

    names, test, others = dataset.X.column_names, dataset.load_rows("test"), dataset.load_rows("train", "validation")
    linear = pipeline.make_pipeline(_make_preprocessing(names), linear_model.LinearRegression())
    linear.fit(others[names], others[TARGET])
    answers = {"mean": np.full(len(test), others[TARGET].mean()), "linear": linear.predict(test[names])}
    return {name: evaluate(test, answer, parameters=parameters) for name, answer in answers.items()}


def _form_features(raw: dict[str, Array]) -> dict[str, Array]:
    """The eight features and the target by scikit-learn's arithmetic, operation by operation: equal to the last bit."""
    households = raw["households"]
    return {
        "MedInc": raw["median_income"],
        "HouseAge": raw["housing_median_age"],
        "AveRooms": raw["total_rooms"] / households,
        "AveBedrms": raw["total_bedrooms"] / households,
        "Population": raw["population"],
        "AveOccup": raw["population"] / households,
        "Latitude": raw["latitude"],
        "Longitude": raw["longitude"],
        TARGET: raw["median_house_value"] / 100_000,
    }


def _engineer_features(basic: dict[str, Array]) -> dict[str, Array]:
    """Ten more features, each from its own row: ratios, and where it lies."""
    return {
        "BedrmsPerRoom": basic["AveBedrms"] / basic["AveRooms"],
        "OccupPerRoom": basic["AveOccup"] / basic["AveRooms"],
        **describe_places(basic["Latitude"], basic["Longitude"]),
    }


def _report_stages(model: Any, rows: "pd.DataFrame", names: list[str], report: Report, *, share: float) -> None:
    """Log the validation RMSE along the iterations of a fit that is done; stopping in between would change it."""
    stages = list(model[-1].staged_predict(model[:-1].transform(rows[names])))
    for step in sorted({math.ceil(len(stages) * part / 20) for part in range(1, 21)}):
        rmse = score_regression(rows[TARGET], stages[step - 1])["rmse"]
        message = f"validation RMSE {rmse:.4f} after {step} iterations"
        report(share, message, metrics={"staged_validation_rmse": rmse}, step=step)


def _make_preprocessing(names: list[str]) -> Any:
    from sklearn import compose, impute

    imputer = impute.SimpleImputer(strategy="median", keep_empty_features=True)
    return compose.ColumnTransformer([("impute", imputer, names)])


def _make_model(dataset: Processed, parameters: HousingParameters) -> Any:
    """An unfitted pipeline: the dataset's preprocessing, scaling for ridge, the model."""
    from sklearn import base, ensemble, linear_model, pipeline, preprocessing

    own = parameters.model_dump(exclude={*HousingParameters.model_fields}) | {"random_state": parameters.seed}
    impute = base.clone(dataset.preprocessing or _make_preprocessing(dataset.X.column_names))
    if isinstance(parameters, Ridge):
        return pipeline.make_pipeline(impute, preprocessing.StandardScaler(), linear_model.Ridge(**own))
    if isinstance(parameters, RandomForest):
        return pipeline.make_pipeline(impute, ensemble.RandomForestRegressor(**own, n_jobs=-1))
    return pipeline.make_pipeline(impute, ensemble.HistGradientBoostingRegressor(**own))
