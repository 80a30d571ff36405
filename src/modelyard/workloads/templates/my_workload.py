"""Monthly rent of a flat from its size and place: CSV → 4 features → regression.

A complete workload in one file. Change it from top to bottom: columns, metrics, rules, models. The platform calls
`download` or `sample` (if no raw data is there), `load_raw`, `process`, `train` and `baselines`; later `evaluate`.
It logs, hashes, registers and promotes; nothing here does. Import scikit-learn and pandas inside functions only, so
that a list of workloads takes no seconds. Models are stored without pickles: estimators of scikit-learn or LightGBM.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from modelyard.errors import DownloadFailed, RawDataMalformed
from modelyard.workloads.contract import Parameters, Processed, Report, Task, Trained, WorkloadSpec
from modelyard.workloads.metrics import draw_regression, regression_metrics, score_regression
from modelyard.workloads.raw_csv import Column, load_raw_files, write_raw_csv
from modelyard.workloads.rules import parse_rules

if TYPE_CHECKING:
    import pandas as pd

# Step 1: the columns of the raw file. Each is a number above `low`, or from it with low_included=True.
LAYOUT = (
    Column("area_m2"),
    Column("rooms"),
    Column("floor", low_included=True),
    Column("distance_km", low_included=True),
    Column("rent_eur"),
)
*FEATURES, TARGET = (column.name for column in LAYOUT)
UNIT = "EUR a month"  # of the target, and so of its errors

# Step 2: what a version must reach before it may be promoted. `mean` and `linear` are the baselines at the end of this
# file, `production` is the version that is live; each is scored on the same test rows.
RULES = """
task: regression
gate:
  always:
    - rmse <= 0.5 * mean
  against_production:
    - rmse <= 1.01 * production
"""


# Step 3: the parameters. `--set test_share=0.3` gives one by hand; every one needs a default. `seed` is there already.
class Processing(Parameters):
    """What processing takes; shares are of all rows."""

    test_share: float = Field(default=0.2, gt=0, le=0.5, description="share of test rows")
    validation_share: float = Field(default=0.1, gt=0, lt=0.5, description="share of validation rows")


class Ridge(Processing):
    """scikit-learn's Ridge on standardised features."""

    alpha: float = Field(default=1.0, gt=0)


class HistGradientBoosting(Processing):
    """scikit-learn's HistGradientBoostingRegressor, its names and defaults."""

    learning_rate: float = Field(default=0.1, gt=0, le=1)
    max_iter: int = Field(default=100, ge=1, le=100_000)


# Step 4: the declarations. `name` is that of this file; the first metric is the primary one, the first model type the
# default.
spec = WorkloadSpec(
    name="my_workload",
    title="Monthly rent of a flat",
    task=Task.REGRESSION,
    metrics=regression_metrics(unit=UNIT),
    baselines=("mean", "linear"),
    processing=Processing,
    model_types={"hist_gradient_boosting": HistGradientBoosting, "ridge": Ridge},
    raw_files=("my_workload.csv",),
    targets=(TARGET,),
    rules=parse_rules(RULES, source="my_workload"),
    mlflow_experiment="my_workload",
    artifacts=("plots/residuals.png", "plots/predicted_vs_true.png"),
)


# Step 5: where raw data comes from, when nobody names a file.
def download(folder: Path, /) -> list[Path]:  # noqa: ARG001
    """Fetch public raw data into ``folder`` and verify its checksum; these rents are published nowhere.

    Raises:
        DownloadFailed: always; the sample is used then.
    """
    raise DownloadFailed("there is no public file of these rents; use --data")


def sample(folder: Path, /, *, seed: int = 0) -> list[Path]:
    """Write ``sample.csv``: 500 made-up flats. It must not be called like one of ``spec.raw_files``."""
    rng, n = np.random.default_rng(seed), 500
    rooms, floor, distance = rng.integers(1, 6, n), rng.integers(0, 12, n), rng.gamma(2.0, 3.0, n)
    area = 18.0 * rooms + rng.uniform(5.0, 30.0, n)
    rent = (120.0 + 11.0 * area) * np.exp(-0.03 * distance) * rng.lognormal(0.0, 0.08, n)
    rows = zip(area, rooms, floor, distance, rent, strict=True)
    return [
        write_raw_csv(folder / "sample.csv", (*FEATURES, TARGET), ([f"{cell:.2f}" for cell in row] for row in rows))
    ]


def load_raw(files: Sequence[Path], /, *, parameters: Processing) -> pa.Table:  # noqa: ARG001
    """Read files of ``LAYOUT``: CSV, or by their names Parquet, Arrow or JSON. A column ``note`` may be there.

    Raises:
        RawDataNotFound: there is no such file.
        RawDataMalformed: with every problem, and the layout that is read.
    """
    return load_raw_files(files, layouts=(LAYOUT,), unused="note")


# Step 6: features, target, and which rows a model may learn from. The same raw data and seed give the same split.
def process(raw: pa.Table, /, *, parameters: Processing) -> Processed:
    """Features and target as they are in the file, and each row's split, drawn at random.

    Raises:
        RawDataMalformed: fewer than two rows are left for a split.
    """
    n = raw.num_rows
    n_test, n_validation = round(n * parameters.test_share), round(n * parameters.validation_share)
    if min(n_test, n_validation, n - n_test - n_validation) < 2:
        raise RawDataMalformed("raw data", [f"{n} rows are too few for training, validation and test rows"])
    order = np.random.default_rng(parameters.seed).permutation(n)
    split = np.full(n, "train", dtype=object)
    split[order[:n_test]] = "test"
    split[order[n_test : n_test + n_validation]] = "validation"
    return Processed(
        X=raw.select(FEATURES),
        y=raw.select([TARGET]),
        split=pa.array(split, pa.string()),
        notes={"rows_read": n},
    )


# Step 7: the models.
def train(dataset: Processed, /, *, parameters: Ridge | HistGradientBoosting, report: Report) -> Trained:
    """Fit the training rows; validation and test rows are for their metrics only."""
    rows = {split: dataset.load_rows(split) for split in ("train", "validation", "test")}
    report(0.1, "fitting the training rows")
    model = _make_model(parameters).fit(rows["train"][FEATURES], rows["train"][TARGET])
    metrics = {
        f"{split}_{name}": value
        for split, found in rows.items()
        for name, value in evaluate(found, model.predict(found[FEATURES]), parameters=parameters).items()
    }
    test = rows["test"]
    figures = draw_regression(test[TARGET], model.predict(test[FEATURES]), quantity="rent", unit=UNIT)
    report(1.0, f"test RMSE {metrics['test_rmse']:.1f} {UNIT}")
    return Trained(model=model, metrics=metrics, figures=figures)


def _make_model(parameters: Processing) -> Any:
    """The unfitted estimator of a model type."""
    from sklearn import ensemble, linear_model, pipeline, preprocessing

    if isinstance(parameters, Ridge):
        return pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge(alpha=parameters.alpha))
    own = parameters.model_dump(exclude={*Processing.model_fields})
    return ensemble.HistGradientBoostingRegressor(**own, random_state=parameters.seed)


# Step 8: the scores, and what naive answers reach: a model that does not beat them is worth nothing.
def evaluate(
    rows: "pd.DataFrame",
    predictions: "np.ndarray[Any, Any]",
    /,
    *,
    parameters: Processing,  # noqa: ARG001
) -> dict[str, float]:
    """RMSE and MAE in EUR a month, and R², of one prediction per row."""
    return score_regression(rows[TARGET], predictions)


def baselines(dataset: Processed, /, *, parameters: Processing) -> dict[str, dict[str, float]]:
    """Metrics on the test rows of the mean rent, and of a linear regression on the same features."""
    from sklearn import linear_model

    known, test = dataset.load_rows("train", "validation"), dataset.load_rows("test")
    linear = linear_model.LinearRegression().fit(known[FEATURES], known[TARGET])
    answers = {"mean": np.full(len(test), known[TARGET].mean()), "linear": linear.predict(test[FEATURES])}
    return {name: evaluate(test, answer, parameters=parameters) for name, answer in answers.items()}
