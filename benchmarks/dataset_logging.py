"""Logging a DataFrame as a dataset beside ``mlflow.data.from_pandas`` and ``log_input``, in one run, on one stack.

    python benchmarks/dataset_logging.py [--rows 5000000] [--rounds 3]

Prints one table. Both sides begin with a DataFrame of 20 columns of doubles and end with a FINISHED run of the same
MLflow server that has the dataset as its input. MLflow's side is timed once (at 5,000,000 rows it takes over a minute),
ours ``--rounds`` times, other values each time, and the median is shown. Ours has a column with the split beside the
doubles, and includes Arrow, digest, Parquet files with their sha256, schema, metadata and the row in the catalogue. The
upload is told apart, because MLflow's side stores no rows. Goals: at least 50 times faster with the profile off, 15
times with it on. Takes three minutes, 4 GB of memory and 3 GB of disk.
"""

import argparse
import os
import statistics
import time
import warnings
from dataclasses import replace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.data.pandas_dataset import from_pandas

import modelyard
from embedded import run_embedded, say
from modelyard.pipeline.session import Session

NUM_COLUMNS = 20
GOALS = {"ours, profile off": 50, "ours, profile on": 15}


class TimedClient(MlflowClient):
    """A client that adds up how long its uploads take."""

    upload_s = 0.0

    def log_artifacts(self, *arguments: Any, **named: Any) -> None:
        began_s = time.perf_counter()
        super().log_artifacts(*arguments, **named)
        self.upload_s += time.perf_counter() - began_s


def build_frame(num_rows: int) -> pd.DataFrame:
    """20 columns of doubles."""
    values = np.random.default_rng(0).normal(size=(num_rows, NUM_COLUMNS))
    return pd.DataFrame({f"c{index}": values[:, index] for index in range(NUM_COLUMNS)})


def log_with_mlflow(frame: pd.DataFrame) -> float:
    """Seconds that MLflow takes."""
    mlflow.set_experiment("datasets of MLflow")
    began_s = time.perf_counter()
    with mlflow.start_run():
        mlflow.log_input(from_pandas(frame, name="doubles"), context="training")
    return time.perf_counter() - began_s


def log_with_ours(session: Session, frame: pd.DataFrame, *, profile: bool) -> tuple[float, float]:
    """Seconds that we take without the upload, and those of the upload."""
    frame["c0"] += 1  # the same content is never logged twice
    client = TimedClient(session.mlflow.tracking_uri, session.mlflow.tracking_uri)
    began_s = time.perf_counter()
    modelyard.log_dataset(
        replace(session, mlflow=client), frame, name=f"doubles_{profile}", targets=["c19"], profile=profile
    )
    return time.perf_counter() - began_s - client.upload_s, client.upload_s


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3, help="how often ours is timed")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", module="mlflow")
    frame = build_frame(asked.rows)
    num_bytes = asked.rows * NUM_COLUMNS * 8
    with run_embedded(), modelyard.connect() as session:
        log_with_mlflow(frame.head(1000))  # imports are nobody's
        say("mlflow.data.from_pandas and log_input")
        mlflow_s = log_with_mlflow(frame)
        sides = np.random.default_rng(1).choice(["train", "validation", "test"], asked.rows, p=[0.7, 0.1, 0.2])
        frame["split"] = pd.Series(sides)
        log_with_ours(session, frame.head(1000), profile=True)
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in GOALS}
        for number in range(1, asked.rounds + 1):
            for name in GOALS:
                say(f"{name}, round {number} of {asked.rounds}")
                figures[name].append(log_with_ours(session, frame, profile=name.endswith("on")))
    print(f"\n{asked.rows:,} × {NUM_COLUMNS} doubles, {num_bytes / 1e9:.2f} GB, {os.cpu_count()} cores")
    print(f"{'':38}{'seconds':>9}{'lowest':>8}{'highest':>8}{'MB/s':>7}{'× MLflow':>10}{'goal':>6}{'upload s':>10}")
    name = "mlflow.data.from_pandas + log_input"
    print(f"{name:38}{mlflow_s:>9.2f}{'':>16}{num_bytes / mlflow_s / 1e6:>7.0f}{1:>10.1f}")
    for name, found in figures.items():
        took_s, upload_s = ([pair[index] for pair in found] for index in (0, 1))
        middle_s = statistics.median(took_s)
        print(f"{name:38}{middle_s:>9.2f}{min(took_s):>8.2f}{max(took_s):>8.2f}", end="")
        print(f"{num_bytes / middle_s / 1e6:>7.0f}{mlflow_s / middle_s:>10.1f}{GOALS[name]:>6}", end="")
        print(f"{statistics.median(upload_s):>10.2f}")


if __name__ == "__main__":
    main()
