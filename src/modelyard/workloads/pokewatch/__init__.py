"""Prices of collectable cards: raw prices → fair value one period ahead, and a signal BUY, SELL or HOLD."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from modelyard.errors import DownloadFailed, RawDataMalformed
from modelyard.workloads.contract import (
    Expectation,
    Expectations,
    Processed,
    Report,
    Task,
    Trained,
    WorkloadSpec,
)
from modelyard.workloads.pokewatch.figures import draw_figures, write_summary
from modelyard.workloads.pokewatch.parameters import (
    LightGBM,
    MovingAverage,
    PokewatchParameters,
    PokewatchProcessing,
)
from modelyard.workloads.pokewatch.raw import CARD, DATE, GRADE, PRICE, read_prices
from modelyard.workloads.pokewatch.scores import METRICS, find_signals, score_rows, summarize_rows
from modelyard.workloads.rules import load_rules

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]
NEWEST = "newest_price"  # the card's last price before the row's date
MONTHLY_GAP_DAYS = 28

spec = WorkloadSpec(
    name="pokewatch",
    title="Fair value and signal of a collectable card, one month or day ahead",
    task=Task.FORECASTING, metrics=METRICS, baselines=("last_value",), processing=PokewatchProcessing,
    model_types={"baseline_moving_average": MovingAverage, "lightgbm": LightGBM},
    raw_files=("card_prices.parquet", "card_prices.csv", "card_prices.json", "pokemon_monthly_all_grades.parquet"),
    targets=(PRICE,), answers=("fair_value", "signal"), optional_features=(DATE,),
    rules=load_rules("pokewatch"), mlflow_experiment="pokewatch_baseline", model_artifact="baseline_model",
    artifacts=(
        "plots/error_distribution.png", "plots/scatter_true_vs_predicted.png", "plots/signal_distribution.png",
        "summary/evaluation_summary.txt",
    ),
    expectations=Expectations(
        columns=(
            Expectation(CARD, type="text", nullable=False),
            Expectation(DATE, type="timestamp", nullable=False),
            Expectation(PRICE, type="float", low=0, low_included=False, nullable=False),
            Expectation(NEWEST, type="float", low=0, low_included=False),
        ),
        unique_key=(CARD, DATE),
    ),
)  # fmt: skip


def download(folder: Path, /) -> list[Path]:  # noqa: ARG001
    """Nobody publishes card prices under a checksum.

    Raises:
        DownloadFailed: always.
    """
    raise DownloadFailed("card prices have no public source with a checksum; name a file with --data (make: DATA=…)")


def sample(folder: Path, /, *, seed: int = 0) -> list[Path]:
    """Write ``sample.csv``: made-up monthly prices of 60 cards over 36 months, some of which begin later."""
    rng, nb_months = np.random.default_rng(seed), 36
    months = np.arange("2023-01", "2026-01", dtype="datetime64[M]").astype("datetime64[D]").astype(str)
    lines = ["card_id,date,market_price"]
    for number in range(60):
        level = rng.lognormal(3.0, 1.0) * np.exp(np.cumsum(rng.normal(0.004, 0.05, nb_months)))
        prices = np.maximum(level * np.exp(rng.normal(0, 0.04, nb_months)), 0.01)
        begin = int(rng.integers(1, 20)) if number % 5 == 4 else 0
        lines += [f"card-{number:02},{months[i]},{prices[i]:.2f}" for i in range(begin, nb_months)]
    path = folder / "sample.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return [path]


def load_raw(files: Sequence[Path], /, *, parameters: PokewatchProcessing) -> pa.Table:
    """Read files one after the other: ``card_id``, ``date``, ``market_price`` and, if the files have it, ``grade``.

    Raises:
        RawDataNotFound: there is no such file.
        RawDataMalformed: with every problem of a file, or one file has grades and another has none.
    """
    tables = [read_prices(path, parameters) for path in files]
    if len({GRADE in table.column_names for table in tables}) > 1:
        raise RawDataMalformed("raw data", ["some files have a grade column and some have none"])
    return pa.concat_tables(tables)


def process(raw: pa.Table, /, *, parameters: PokewatchProcessing) -> Processed:
    """One row for each card and period, sorted by both; the last periods are test rows, those before validation rows.

    Raises:
        RawDataMalformed: no price of this grade, a card with two prices in a period, no card with two prices, too few
            periods for the split, or no training row with an earlier price.
    """
    rows, notes = _choose_grade(raw, parameters)
    cards, codes = np.unique(rows[CARD].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    days, prices = rows[DATE].to_numpy().astype("datetime64[D]"), rows[PRICE].to_numpy()
    order = np.lexsort((days, codes))
    codes, days, prices = codes[order], days[order], prices[order]
    gaps = np.diff(days).astype(int)[np.diff(codes) == 0]
    monthly = bool(len(gaps)) and float(np.median(gaps)) >= MONTHLY_GAP_DAYS
    if monthly:
        days = days.astype("datetime64[M]").astype("datetime64[D]")
    _refuse_twice(cards, codes, days, "month" if monthly else "day")
    counts = np.bincount(codes, minlength=len(cards))
    several = counts[codes] > 1
    if not several.any():
        raise RawDataMalformed(
            "raw data", [f"each of the {len(cards):,} cards has one price, and a forecast takes an earlier one"]
        )
    codes, days, prices = codes[several], days[several], prices[several]
    first = np.concatenate([[True], np.diff(codes) != 0])
    newest = np.where(first, np.nan, np.concatenate([[np.nan], prices[:-1]]))
    split, begins = _split(days, parameters)
    _refuse_nothing_to_learn(np.isnan(newest[split == "train"]))
    notes |= {
        "frequency": "monthly" if monthly else "daily",
        "cards": int((counts > 1).sum()),
        "cards_dropped_one_price": int((counts == 1).sum()),
        **begins,
    }
    return Processed(
        X=pa.table({CARD: pa.array(cards[codes]), DATE: pa.array(days.astype("datetime64[us]"))}),
        y=pa.table({PRICE: pa.array(prices, pa.float64())}),
        split=pa.array(split, pa.string()),
        extra=pa.table({NEWEST: pa.array(newest, pa.float64(), from_pandas=True)}),
        notes=notes,
    )


def train(dataset: Processed, /, *, parameters: PokewatchParameters, report: Report) -> Trained:
    """Keep all prices as history; LightGBM learns from training rows for ``validation_``, then validation rows too.

    Test rows are history only, for the dates after them: no answer sees a price of its own period or later.
    """
    X, y, split = dataset.X.to_pandas(), dataset.y[PRICE].to_numpy(), np.asarray(dataset.split)
    metrics: dict[str, float] = {}
    report(0.0, "fitting the training rows")
    model = _make_model(parameters).fit(X, y, learnt=split == "train")
    metrics |= _score(model, dataset, "validation", parameters)
    report(0.5, "fitting the training and validation rows")
    model = _make_model(parameters).fit(X, y, learnt=split != "test")
    rows = dataset.load_rows("test")
    answers = model.predict(rows[dataset.X.column_names])
    scores = evaluate(rows, answers, parameters=parameters)
    metrics |= _score(model, dataset, "train", parameters) | {f"test_{name}": value for name, value in scores.items()}
    known = answers["fair_value"].notna().to_numpy()
    price, signal = rows[PRICE].to_numpy()[known], answers["signal"].to_numpy()[known]
    figures = draw_figures(
        price, answers["fair_value"].to_numpy()[known], signal, _find_true_signals(rows, parameters)[known]
    )
    first, last = (str(date)[:10] for date in (rows[DATE].min(), rows[DATE].max()))
    summary = write_summary(
        scores, baselines(dataset, parameters=parameters), rows=f"{len(rows):,} test rows, {first} to {last}"
    )
    report(1.0, f"test RMSE {metrics['test_rmse']:.3f} USD")
    return Trained(model=model, metrics=metrics, figures=figures, artifacts={"summary/evaluation_summary.txt": summary})


def evaluate(rows: "pd.DataFrame", predictions: Array, /, *, parameters: PokewatchParameters) -> dict[str, float]:
    """The metrics of n fair values in USD and signals, shape (n, 2)."""
    statistics = score(rows, predictions, parameters=parameters)
    return summarize({name: float(values.sum()) for name, values in statistics.items()}, parameters=parameters)


def score(rows: "pd.DataFrame", predictions: Array, /, *, parameters: PokewatchParameters) -> dict[str, Array]:
    """Statistics of each row, from whose sums ``summarize`` says what ``evaluate`` says."""
    answers = np.asarray(predictions, dtype=object)
    true_signal = _find_true_signals(rows, parameters)
    return score_rows(rows[PRICE].to_numpy(), answers[:, 0].astype(float), answers[:, 1], true_signal)


def summarize(totals: Mapping[str, float], /, *, parameters: PokewatchParameters) -> dict[str, float]:  # noqa: ARG001
    """The metrics from the sums of ``score``."""
    return summarize_rows(totals)


def baselines(dataset: Processed, /, *, parameters: PokewatchParameters) -> dict[str, dict[str, float]]:
    """Metrics on the test rows of the card's last price before each date, which always says HOLD."""
    rows = dataset.load_rows("test")
    newest = rows[NEWEST].to_numpy()
    answers = np.column_stack([newest.astype(object), _find_signals(newest, newest, parameters)])
    return {"last_value": evaluate(rows, answers, parameters=parameters)}


def _choose_grade(raw: pa.Table, parameters: PokewatchProcessing) -> tuple[pa.Table, dict[str, Any]]:
    if GRADE not in raw.column_names:
        return raw, {"rows_read": raw.num_rows, "grade": None, "rows_of_other_grades": 0}
    grades = raw[GRADE].to_numpy(zero_copy_only=False)
    rows = raw.filter(pa.array(grades == parameters.grade))
    if not rows.num_rows:
        known = ", ".join(sorted({str(grade) for grade in grades})[:10])
        raise RawDataMalformed("raw data", [f"no row has grade {parameters.grade}; there are {known}; --set grade=…"])
    others = raw.num_rows - rows.num_rows
    return rows, {"rows_read": raw.num_rows, "grade": parameters.grade, "rows_of_other_grades": others}


def _refuse_twice(cards: Array, codes: Array, days: Array, period: str) -> None:
    """Raise where a card has two prices in one period; rows are sorted by both."""
    twice = np.flatnonzero((np.diff(codes) == 0) & (np.diff(days).astype(int) == 0))
    if len(twice):
        shown = ", ".join(f"{cards[codes[row]]} {days[row]}" for row in twice[:3])
        more = ", …" if len(twice) > 3 else ""
        problem = f"a card has two prices in one {period}, {len(twice):,} times ({shown}{more})"
        raise RawDataMalformed("raw data", [problem], hint="Keep one of them; grades are told apart by a grade column.")


def _split(days: Array, parameters: PokewatchProcessing) -> tuple[Array, dict[str, str]]:
    """The split of each row by its period, the same for all cards, and where validation and test begin."""
    periods = np.unique(days)
    held_out = parameters.test_periods + parameters.validation_periods
    if len(periods) < held_out + 2:
        raise RawDataMalformed(
            "raw data",
            [
                f"it has {len(periods)} periods, and {parameters.validation_periods} for validation, "
                f"{parameters.test_periods} for the test and 2 to learn from take {held_out + 2}"
            ],
            hint="Add prices, or hold out fewer with --set test_periods=… and validation_periods=….",
        )
    validation, test = periods[-held_out], periods[-parameters.test_periods]
    split = np.where(days >= test, "test", np.where(days >= validation, "validation", "train")).astype(object)
    return split, {"validation_from": str(validation), "test_from": str(test), "last_period": str(periods[-1])}


def _refuse_nothing_to_learn(is_first: Array) -> None:
    """Raise where each training row is the first price of its card."""
    if is_first.all():
        problem = f"each of the {len(is_first):,} training rows is its card's first price: none has an earlier one"
        raise RawDataMalformed("raw data", [problem], hint="Add earlier prices, or hold out fewer periods.")


def _find_signals(value: Array, newest: Array, parameters: PokewatchParameters) -> Array:
    return find_signals(
        value,
        newest,
        buy_threshold_pct=parameters.buy_threshold_pct,
        sell_threshold_pct=parameters.sell_threshold_pct,
    )


def _find_true_signals(rows: "pd.DataFrame", parameters: PokewatchParameters) -> Array:
    """What the price that was paid would have said."""
    return _find_signals(rows[PRICE].to_numpy(), rows[NEWEST].to_numpy(dtype=float), parameters)


def _score(model: Any, dataset: Processed, split: str, parameters: PokewatchParameters) -> dict[str, float]:
    rows = dataset.load_rows(split)
    scores = evaluate(rows, model.predict(rows[dataset.X.column_names]), parameters=parameters)
    return {f"{split}_{name}": value for name, value in scores.items()}


def _make_model(parameters: PokewatchParameters) -> Any:
    """An unfitted model."""
    from modelyard.workloads.pokewatch import models

    own = parameters.model_dump(include={"window_size", "nb_returns", "buy_threshold_pct", "sell_threshold_pct"})
    if isinstance(parameters, MovingAverage):
        return models.MovingAverage(**own)
    from lightgbm import LGBMRegressor

    fields = {"n_estimators", "learning_rate", "num_leaves", "min_child_samples"}
    # one thread: sums of several would differ in the last bit
    regressor = LGBMRegressor(
        **parameters.model_dump(include=fields),
        random_state=parameters.seed,
        n_jobs=1,
        deterministic=True,
        force_row_wise=True,
        verbose=-1,
    )
    return models.ReturnModel(regressor, **own)
