"""A workload of the tests that streams: readings in Parquet → the same columns in parts → a straight line."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modelyard.data.files import open_batches
from modelyard.errors import DownloadFailed
from modelyard.workloads.contract import (
    ContractTable,
    Expectation,
    Expectations,
    Gate,
    Limit,
    Metric,
    Parameters,
    Processed,
    Report,
    Rules,
    Task,
    Trained,
    WorkloadSpec,
)


class ReadingsProcessing(Parameters):
    """What processing takes."""

    test_rows: int = 5  # of ten


class Line(ReadingsProcessing):
    """A straight line has no parameters."""


spec = WorkloadSpec(
    name="readings",
    title="Readings of the tests",
    task=Task.REGRESSION,
    metrics=(Metric("rmse", "", False),),
    baselines=("zero",),
    processing=ReadingsProcessing,
    model_types={"line": Line},
    raw_files=("readings.parquet",),
    targets=("value",),
    rules=Rules(task=Task.REGRESSION, contract=ContractTable(), gate=Gate(always=(Limit("rmse", "<=", 1000),))),
    mlflow_experiment="readings",
    expectations=Expectations(columns=(Expectation("level", low=0),), min_rows=100),
)


def download(folder: Path, /) -> list[Path]:
    raise DownloadFailed("readings are nowhere")


def sample(folder: Path, /, *, seed: int = 0) -> list[Path]:
    return [write_readings(folder / "sample.parquet", num_rows=1000)]


def write_readings(path: Path, *, num_rows: int, num_columns: int = 2, group_rows: int = 100_000) -> Path:
    """Readings whose values repeat, so that the file is small and its rows are not."""
    names = ["value", "level", *(f"sensor_{number}" for number in range(2, num_columns))]
    with pq.ParquetWriter(path, pa.schema([(name, pa.float64()) for name in names])) as writer:
        for start in range(0, num_rows, group_rows):
            rows = np.arange(start, min(start + group_rows, num_rows))
            writer.write_table(
                pa.table({name: ((rows + i) * (i + 1) % 251).astype(float) for i, name in enumerate(names)})
            )
    return path


def process_batches(files: Sequence[Path], /, *, parameters: ReadingsProcessing) -> Iterator[Processed]:
    nb_rows = 0
    for path in files:
        for batch in open_batches(path)[1]:
            table = pa.Table.from_batches([batch])
            places = np.arange(nb_rows, nb_rows + table.num_rows) % 10
            split = np.where(places < parameters.test_rows, "test", np.where(places == 9, "validation", "train"))
            yield Processed(X=table.drop_columns(["value"]), y=table.select(["value"]), split=pa.array(split))
            nb_rows += table.num_rows


def train(dataset: Processed, /, *, parameters: Line, report: Report) -> Trained:
    from sklearn.linear_model import LinearRegression

    rows = dataset.load_rows("train")
    model = LinearRegression().fit(rows[dataset.X.column_names], rows["value"])
    report(1.0, "fitted")
    scores = {}
    for split in ("train", "validation", "test"):
        rows = dataset.load_rows(split)
        found = evaluate(rows, model.predict(rows[dataset.X.column_names]), parameters=parameters)
        scores[f"{split}_rmse"] = found["rmse"]
    return Trained(model=model, metrics=scores)


def evaluate(rows: Any, predictions: Any, /, *, parameters: Line) -> dict[str, float]:
    return {"rmse": float(np.sqrt(np.mean((rows["value"].to_numpy() - predictions) ** 2)))}


def baselines(dataset: Processed, /, *, parameters: Line) -> dict[str, dict[str, float]]:
    rows = dataset.load_rows("test")
    return {"zero": evaluate(rows, np.zeros(len(rows)), parameters=parameters)}
