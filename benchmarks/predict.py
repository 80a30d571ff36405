"""A file of rows through a model into a file of predictions, beside the same model asked once about a frame in memory.

    python benchmarks/predict.py [--rows 1000000] [--folder /var/tmp]

Prints one table. The model is a histogram boosting of 100 trees on 20 doubles. Its own batch predict has all rows in a
frame before the clock starts, and writes nothing. ``predict_file``, which is what ``modelyard predict`` does once its
model is loaded, reads a Parquet file with a key beside the features and writes another one; no clock counts the start
of Python and the load of the model. Each is a process of its own, taken in turns, and the best of three counts; memory
is the largest resident one of its process, at a quarter of the rows too. Goals: 0.9 of the model's own rate, and memory
that does not grow with the rows.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NUM_FEATURES, TRAINED_ROWS, ROUNDS = 20, 100_000, 3
NAMES = [f"c{index}" for index in range(NUM_FEATURES)]
RATE_GOAL = 0.9


def make(folder: Path, num_rows: int) -> dict[str, float]:
    """The model, and files of all rows and of a quarter of them."""
    import skops.io
    from sklearn.ensemble import HistGradientBoostingRegressor

    rng = np.random.default_rng(0)
    X = rng.random((TRAINED_ROWS, NUM_FEATURES))
    y = X @ rng.random(NUM_FEATURES) + np.sin(6 * X[:, 0]) + rng.normal(0, 0.1, TRAINED_ROWS)
    frame = pa.table(dict(zip(NAMES, X.T, strict=True))).to_pandas()
    skops.io.dump(HistGradientBoostingRegressor(random_state=0).fit(frame, y), folder / "model.skops")
    for count in (num_rows, num_rows // 4):
        columns = {"key": np.arange(count)} | {name: rng.random(count) for name in NAMES}
        pq.write_table(pa.table(columns), folder / f"{count}.parquet")
    return {}


def load(folder: Path) -> Any:
    """The model."""
    from modelyard.tracking.skops_file import load_estimator

    return load_estimator(folder / "model.skops")


def ask_in_memory(folder: Path, num_rows: int) -> dict[str, float]:
    """The model's own batch predict."""
    estimator = load(folder)
    frame = pq.read_table(folder / f"{num_rows}.parquet", columns=NAMES).to_pandas()
    began_s = time.perf_counter()
    estimator.predict(frame)
    return {"seconds": time.perf_counter() - began_s}


def ask_by_file(folder: Path, num_rows: int) -> dict[str, float]:
    """File to file."""
    from modelyard.data.export import whole_file
    from modelyard.pipeline.prediction import predict_file
    from modelyard.pipeline.serving import ServedModel
    from modelyard.store.loadable import Loadable

    source = Loadable(
        policy_id="bench_policy",
        policy_version_id=None,
        policy_version=1,
        mlflow_model_name="bench_model",
        mlflow_model_version="1",
        mlflow_model_id="m-1",
        config_defaults={},
        workload="bench",
        task="regression",
        dataset_name="bench",
        dataset_version="1.0.0",
        schema=[{"name": f"X.{name}", "type": "float64", "nullable": False} for name in NAMES],
        targets=["y"],
    )
    model = ServedModel(source=source, digest="0" * 64, estimator=load(folder))
    began_s = time.perf_counter()
    with whole_file(folder / "out.parquet", replace=True) as sink:
        written = predict_file(model, folder / f"{num_rows}.parquet", sink, format_name="parquet")
    took_s = time.perf_counter() - began_s
    assert written.num_rows == num_rows
    return {"seconds": took_s}


def measure(work: Callable[..., dict[str, float]], folder: Path, num_rows: int) -> None:
    """Work, and note what it took."""
    told = work(folder, num_rows)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    (folder / "figures.json").write_text(json.dumps(told | {"peak_mb": peak_mb}))


def run(work: Callable[..., dict[str, float]], folder: Path, num_rows: int) -> dict[str, float]:
    """Measure it in a child, which began small: a large parent would show in the child's memory."""
    print(f"{work.__name__.replace('_', ' ')}, {num_rows:,} rows", file=sys.stderr, flush=True)
    child = get_context("spawn").Process(target=measure, args=(work, folder, num_rows))
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(f"no figures: {work.__name__} ended with {child.exitcode}")
    figures: dict[str, float] = json.loads((folder / "figures.json").read_text())
    return figures


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where there is room; default: that for temporary files")
    asked = parser.parse_args()
    os.environ["OMP_WAIT_POLICY"] = "passive"  # as commands have it
    with tempfile.TemporaryDirectory(prefix="modelyard-bench-", dir=asked.folder) as name:
        folder = Path(name)
        run(make, folder, asked.rows)
        cases = ((ask_in_memory, asked.rows), (ask_by_file, asked.rows), (ask_by_file, asked.rows // 4))
        found: list[list[dict[str, float]]] = [[] for _ in cases]
        for _ in range(ROUNDS):
            for figures, (work, num_rows) in zip(found, cases, strict=True):
                figures.append(run(work, folder, num_rows))
    print(f"\n{NUM_FEATURES} columns, {os.cpu_count()} cores, best of {ROUNDS}")
    print(f"{'':36}{'rows':>11}{'seconds':>9}{'rows/s':>10}{'of the model':>14}{'peak MB':>9}")
    own = asked.rows / min(one["seconds"] for one in found[0])
    for title, (_, num_rows), figures in zip(
        ("the model's own, a frame in memory", "file to file", "file to file"), cases, found, strict=True
    ):
        took_s = min(one["seconds"] for one in figures)
        print(f"{title:36}{num_rows:>11,}{took_s:>9.2f}{num_rows / took_s:>10,.0f}", end="")
        print(f"{num_rows / took_s / own:>14.2f}{max(one['peak_mb'] for one in figures):>9.0f}")
    print(f"goal: {RATE_GOAL} of the model's own rate, and the same memory at any number of rows")


if __name__ == "__main__":
    main()
