"""The digest beside ``mlflow.data.from_pandas`` and beside one thread of sha256, in one run.

    python benchmarks/digest.py [--rows 5000000]

Prints one table. ``from_pandas`` is timed once (at 5,000,000 × 20 it takes over a minute), the rest five times, and the
median is shown. Goals: digest and schema at least 100 times faster than ``from_pandas``, of every row; the digest of
doubles at least 1.5 times one thread of hashlib's sha256 over the same values, on two cores.
"""

import argparse
import hashlib
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.data.pandas_dataset import from_pandas

from modelyard.data.digest import digest_table
from modelyard.data.schema import describe_schema

MLFLOW_ROWS = 10_000  # how many rows MLflow's digest covers at most


def build_doubles(num_rows: int) -> pd.DataFrame:
    """20 columns of doubles."""
    values = np.random.default_rng(0).normal(size=(num_rows, 20))
    return pd.DataFrame({f"c{index}": values[:, index] for index in range(20)})


def build_mixed(num_rows: int) -> pd.DataFrame:
    """12 columns: integers, floats with holes, strings, booleans, timestamps and categories."""
    rng = np.random.default_rng(0)
    holes = rng.normal(size=num_rows)
    holes[rng.random(num_rows) < 0.05] = np.nan
    number = rng.integers(0, 1_000_000, num_rows)
    return pd.DataFrame(
        {
            "int64": number,
            "int32": number.astype("int32"),
            "int16": (number % 1000).astype("int16"),
            "float64": rng.normal(size=num_rows),
            "float32": rng.normal(size=num_rows).astype("float32"),
            "float64_holes": holes,
            "long_text": "a longer text of some words, number " + pd.Series(number).astype(str),
            "short_text": pd.Series(number % 5000).astype(str),
            "bool": rng.random(num_rows) < 0.5,
            "time": pd.Timestamp("2026-01-01") + pd.to_timedelta(number, unit="s"),
            "date": pd.Timestamp("2026-01-01") + pd.to_timedelta(number % 365, unit="D"),
            "category": pd.Categorical.from_codes(number % 8, pd.Index([f"category {index}" for index in range(8)])),
        }
    )


def time_once(work: Callable[[], Any]) -> float:
    """Wall time in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def time_median(work: Callable[[], Any]) -> float:
    """Median wall time of five runs, in seconds."""
    return statistics.median(time_once(work) for _ in range(5))


def describe_with_mlflow(frame: pd.DataFrame) -> None:
    """What logging a DataFrame computes by default: digest and schema."""
    dataset = from_pandas(frame)
    assert dataset.digest
    assert dataset.schema


def hash_buffers(buffers: list[Any]) -> str:
    """One thread of sha256 over every buffer of a table."""
    whole = hashlib.sha256()
    for buffer in buffers:
        whole.update(buffer)
    return whole.hexdigest()


def decode(table: pa.Table) -> pa.Table:
    """The table with its categories spelled out: the values that a digest has to cover."""
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(index, field.name, table.column(index).cast(field.type.value_type))
    return table


def compare(name: str, frame: pd.DataFrame) -> None:
    """Print the rows of the table for one DataFrame."""
    num_rows = len(frame)
    table = pa.Table.from_pandas(frame, preserve_index=False).combine_chunks()
    buffers = [b for column in decode(table).columns for c in column.chunks for b in c.buffers() if b is not None]
    num_bytes = sum(buffer.size for buffer in buffers)

    def ours_from_pandas() -> None:
        converted = pa.Table.from_pandas(frame, preserve_index=False)
        digest_table(converted)
        describe_schema(converted)

    mlflow_s = time_once(lambda: describe_with_mlflow(frame))
    one_thread_s = time_median(lambda: hash_buffers(buffers))
    digest_s = time_median(lambda: digest_table(table))
    lines = [
        ("mlflow.data.from_pandas, digest + schema", mlflow_s, min(MLFLOW_ROWS, num_rows)),
        ("ours, pandas → Arrow, digest + schema", time_median(ours_from_pandas), num_rows),
        ("ours, Arrow, digest + schema", time_median(lambda: (digest_table(table), describe_schema(table))), num_rows),
        ("ours, Arrow, digest", digest_s, num_rows),
        ("sha256, one thread, the same values", one_thread_s, num_rows),
    ]
    print(f"\n{name}: {num_rows:,} × {frame.shape[1]}, {num_bytes / 1e9:.2f} GB in Arrow, {os.cpu_count()} cores")
    print(f"{'':42}{'seconds':>9}{'GB/s':>8}{'rows covered':>14}{'× from_pandas':>15}{'× sha256':>10}")
    for what, seconds, covered in lines:
        speed = f"{num_bytes / seconds / 1e9:>8.2f}" if covered == num_rows else f"{'':>8}"
        print(
            f"{what:42}{seconds:>9.3f}{speed}{covered:>14,}{mlflow_s / seconds:>15.1f}{one_thread_s / seconds:>10.2f}"
        )


def main() -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000, help="rows of doubles; the mixed table has a fifth")
    rows = parser.parse_args().rows
    warnings.filterwarnings("ignore", module="mlflow")
    compare("doubles", build_doubles(rows))
    compare("mixed", build_mixed(rows // 5))


if __name__ == "__main__":
    main()
