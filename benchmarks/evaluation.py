"""An evaluation of 1,000,000 rows beside the model's own batch predict, and the memory that it takes.

    python benchmarks/evaluation.py [--rows 250000 1000000] [--iterations 100] [--rounds 3]

Prints one table. The model is scikit-learn's histogram boosting with 20 features, registered by the task regression, as
one of another tool. Measured is the part of an evaluation that grows with rows: Parquet files that were downloaded
and whose sha256 was verified are read, their digest is computed, each row is answered and scored, and row, truth and
answer are written to Parquet. Beside it, in the same process and in turns, ``predict`` on a frame of the same rows that
is in memory already. "whole job" is all of it, from the job's begin to its end, with the download, the report and the
upload. With a live version each row is answered twice, and is compared with two calls of ``predict``. Memory is the
largest resident one of a process that does the evaluation and nothing else. Goal: at least 0.9 of predict's rows per
second, and memory that does not grow with the rows.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.ensemble import HistGradientBoostingRegressor

import modelyard
from embedded import run_embedded, say
from modelyard.cli.worker import build_config
from modelyard.data.compatibility import list_features
from modelyard.data.features import take_features
from modelyard.pipeline.datasets import download_recorded
from modelyard.pipeline.evaluation_request import build_evaluation, find_live
from modelyard.pipeline.models import load_verified
from modelyard.pipeline.session import Session
from modelyard.pipeline.tally import score_rows
from modelyard.settings import load_settings
from modelyard.stack.current import get_running
from modelyard.store import models
from modelyard.store.catalogue import resolve_dataset
from modelyard.store.connections import connect
from modelyard.store.jobs import submit_job
from modelyard.store.promotions import promote
from modelyard.tracking.models import log_model
from modelyard.tracking.registry import register
from modelyard.tracking.runs import start_run
from modelyard.workers.inline import run_inline

MODEL, FEATURES, TRAIN_ROWS = "bench_model", 20, 50_000
GOAL = 0.9


def make_rows(rng: np.random.Generator, num_rows: int, split: str) -> pa.Table:
    """Rows of 20 features, a target that follows from some of them, and the split."""
    X = rng.normal(size=(FEATURES, num_rows))
    columns = {f"c{number}": column for number, column in enumerate(X)}
    columns["y"] = X[0] + X[1] ** 2 + np.sin(X[2]) + rng.normal(size=num_rows)
    return pa.table(columns).append_column("split", pa.array([split] * num_rows))


def prepare(path: Path, sizes: list[int], iterations: int) -> None:
    """Log a dataset of each size, train on the smallest one, register two versions and let the first be live."""
    with modelyard.connect() as session:
        train = make_rows(np.random.default_rng(0), TRAIN_ROWS, "train")
        for size in sizes:
            parts = [
                train,
                *(make_rows(np.random.default_rng([size, n]), 50_000, "test") for n in range(size // 50_000)),
            ]
            modelyard.log_dataset(session, iter(parts), name=f"rows_{size}", targets=["y"], profile=False)
            say(f"dataset of {size:,} test rows")
        X = train.drop_columns(["y", "split"]).to_pandas()
        for seed in (0, 1):
            model = HistGradientBoostingRegressor(max_iter=iterations, early_stopping=False, random_state=seed)
            record(session, model.fit(X, train["y"].to_pandas()), X[:5], dataset=f"rows_{sizes[0]}")
    evaluate(1, sizes[0])
    addresses = get_running()
    with connect(addresses.dsn(addresses.person)) as connection:
        promote(connection, policy_id="bench_policy", version=1, expected=0)
    path.write_text("{}")


def record(session: Session, model: Any, example: Any, *, dataset: str) -> None:
    """Register a model as one that another tool has trained."""
    with start_run(session.mlflow, experiment_id="0", run_type="training", job_id=None, attempt=None) as run:
        logged = log_model(run, model, name="model", input_example=example, predictions=model.predict(example),
                           params={}, tags={})  # fmt: skip
        models.record_model_files(session.records, mlflow_model_id=logged.model_id, files=logged.files)
    number = register(session.mlflow, model_name=MODEL, run_id=run.run_id, model_id=logged.model_id, tags={})
    models.record_model_version(
        session.records, mlflow_model_name=MODEL, mlflow_model_version=number, mlflow_run_id=run.run_id,
        mlflow_model_id=logged.model_id, workload="regression", task="regression", model_type="", parameters={},
        dataset_id=resolve_dataset(session.records, dataset).dataset_id, code_version={}, metrics={},
    )  # fmt: skip


def evaluate(version: int, size: int) -> None:
    """A whole evaluation, as a job here."""
    addresses = get_running()
    with connect(addresses.dsn(addresses.person)) as connection:
        asked = models.resolve_model_version(connection, f"{MODEL}/{version}")
        request = build_evaluation(connection, asked, dataset=f"rows_{size}", unseen_rows=True)
        job_id = submit_job(connection, kind="evaluate", arguments=request.arguments(), inline=True)
        run_inline(
            build_config("evaluator", addresses, load_settings()),
            connection,
            job_id=job_id,
            started=lambda _: None,
            emit=lambda _: None,
            report=lambda *_: None,
        )


def measure_job(path: Path, size: int) -> None:
    """What a whole evaluation against the live version takes, in a process of its own."""
    began_s = time.perf_counter()
    evaluate(2, size)
    took_s = time.perf_counter() - began_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    path.write_text(json.dumps({"seconds": took_s, "peak_mb": peak_mb}))


def measure_rows(path: Path, size: int, rounds: int) -> None:
    """Scoring beside plain predict, in turns, without and with a live version; the best of some rounds."""
    with modelyard.connect("evaluator") as session, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with session.database.get() as connection:
            request = build_evaluation(
                connection, models.resolve_model_version(connection, f"{MODEL}/2"), dataset=f"rows_{size}"
            )
            live = find_live(connection, MODEL)
        assert live is not None
        candidate, production = load_verified(session, request.version), load_verified(session, live.version)
        files = download_recorded(session, request.dataset, folder)
        whole = files.read()
        rows = take_features(whole.X, list_features(candidate.dataset.schema)).filter(
            pa.compute.equal(whole.split, "test")
        )
        frame, whole = rows.to_pandas(), None

        def score(compared: bool) -> None:
            chosen = [candidate, production] if compared else [candidate]
            found, _ = score_rows(request, files, chosen, None, compared=compared, path=folder / "p.parquet",
                                  report=lambda *_: None)  # fmt: skip
            assert found.rows == size

        best = dict.fromkeys(("predict", "score", "predict twice", "score twice"), float("inf"))
        for _ in range(rounds):
            for what, work in (
                ("predict", lambda: candidate.estimator.predict(frame)),
                ("score", lambda: score(False)),
                ("predict twice", lambda: [model.estimator.predict(frame) for model in (candidate, production)]),
                ("score twice", lambda: score(True)),
            ):
                best[what] = min(best[what], take_time(work))
    path.write_text(json.dumps(best))


def take_time(work: Callable[[], Any]) -> float:
    """Seconds."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def run(work: Callable[..., Any], folder: Path, *arguments: Any) -> dict[str, float]:
    """Measure it in a child, which began small."""
    say(f"{work.__name__.replace('_', ' ')} {arguments}")
    path = folder / "figures.json"
    child = get_context("spawn").Process(target=work, args=(path, *arguments))
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(f"no figures: {work.__name__} ended with {child.exitcode}")
    figures: dict[str, float] = json.loads(path.read_text())
    say(", ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    return figures


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[250_000, 1_000_000])
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with run_embedded() as (folder, _):
        run(prepare, folder, asked.rows, asked.iterations)
        jobs = [run(measure_job, folder, size) for size in asked.rows]
        scored = [run(measure_rows, folder, size, asked.rounds) for size in asked.rows]
    print(f"\nhistogram boosting, {FEATURES} features, {asked.iterations} trees, {os.cpu_count()} cores")
    print(f"{'rows':>10} {'what':26}{'seconds':>9}{'rows/s':>12}{'of predict':>12}{'goal':>6}{'peak MB':>9}")
    for size, job, found in zip(asked.rows, jobs, scored, strict=True):
        for what, beside in (("predict", "predict"), ("score", "predict"), ("predict twice", "predict twice"),
                             ("score twice", "predict twice")):  # fmt: skip
            line = f"{size:>10,} {what:26}{found[what]:>9.2f}{size / found[what]:>12,.0f}"
            print(line + (f"{found[beside] / found[what]:>12.2f}{GOAL:>6}" if what != beside else ""))
        print(f"{size:>10,} {'whole job, compared':26}{job['seconds']:>9.2f}{size / job['seconds']:>12,.0f}", end="")
        print(f"{found['predict twice'] / job['seconds']:>12.2f}{'':>6}{job['peak_mb']:>9.0f}")


if __name__ == "__main__":
    main()
