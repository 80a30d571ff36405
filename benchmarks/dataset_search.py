"""The newest dataset of a workload among 100,000, found by us and by MLflow's ``search_runs``, in one run.

    python benchmarks/dataset_search.py [--runs 100000]

Prints one table. One dataset is logged, with a profile of 20 columns; then SQL copies its row in ``exp.datasets`` and
its run in MLflow's tables, for 20 workloads in turn. Ours is what ``modelyard train`` asks, from Python to Python, with
the whole row and its profile; MLflow's is its client's search by tags over HTTP, sorted, one result. Also shown: ours
for parameters that no dataset of the workload has. Goals: at most 2 ms, and at least 50 times faster than
``search_runs``. Takes four minutes and 2 GB of disk.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import psycopg
from psycopg import sql

import modelyard
from embedded import run_embedded, say
from modelyard.pipeline.session import DATASETS_EXPERIMENT
from modelyard.store.catalogue import find_newest
from modelyard.store.datasets import Dataset

NUM_WORKLOADS = 20
WORKLOAD = "workload_7"
PARAMETERS = {"seed": 42, "features": "basic", "window_s": 30}
GOAL_MS, SPEED_GOAL = 2, 50


def log_one(session: Any) -> Dataset:
    """A dataset as any other."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(10_000, 20))).rename(columns="c{}".format)
    frame["split"] = np.where(np.arange(len(frame)) % 5, "train", "test")
    _, dataset = modelyard.log_dataset(session, frame, name="houses", targets=["c19"], parameters=PARAMETERS)
    return dataset


def copy_rows(
    connection: psycopg.Connection[Any], table: str, key: str, value: str, *, number: int, changed: Mapping[str, str]
) -> None:
    """Copy the rows of a table that have this key, so many times; ``changed`` is SQL of ``number`` by column."""
    schema, name = table.split(".")
    found = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s", [schema, name]
    ).fetchall()
    columns = [column for (column,) in found]
    values = [
        sql.SQL(changed[column]) if column in changed else sql.SQL("was.{}").format(sql.Identifier(column))
        for column in columns
    ]
    query = "INSERT INTO {table} ({columns}) SELECT {values} FROM {table} AS was, generate_series(1, {count}) AS number"
    connection.execute(
        sql.SQL(query + " WHERE was.{key} = {value}").format(
            table=sql.Identifier(schema, name),
            columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            values=sql.SQL(", ").join(values),
            count=number,
            key=sql.Identifier(key),
            value=value,
        )
    )


def copy_dataset(dsn: str, dataset: Dataset, *, number: int) -> None:
    """A dataset so many times, in our catalogue and among MLflow's runs."""
    workload = f"'workload_' || number % {NUM_WORKLOADS}"
    run_id = "md5(number::text)"
    with psycopg.connect(dsn) as connection:
        copy_rows(
            connection,
            "exp.datasets",
            "dataset_id",
            str(dataset.dataset_id),
            number=number,
            changed={
                "dataset_id": "gen_random_uuid()",
                "workload": workload,
                "name": workload,
                "version": "'1.' || number || '.0'",
                "digest": "encode(sha256(number::text::bytea), 'hex')",
                "rows_digest": "encode(sha256(number::text::bytea), 'hex')",
                "mlflow_run_id": run_id,
                "created_at": "clock_timestamp()",
            },
        )
        run = {"run_uuid": run_id}
        tag = f"CASE key WHEN 'workload' THEN {workload} ELSE value END"
        for table, changed in {
            "runs": {**run, "start_time": "was.start_time + number"},
            "tags": {**run, "value": tag},
            "params": run,
            "metrics": run,
            "latest_metrics": run,
        }.items():
            copy_rows(connection, f"mlflow.{table}", "run_uuid", dataset.mlflow_run_id, number=number, changed=changed)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")  # what autovacuum does within a minute


def time_calls(work: Callable[[], Any], *, number: int) -> list[float]:
    """Milliseconds of each call, after some that do not count."""
    took_ms = []
    for turn in range(-10, number):
        began_s = time.perf_counter()
        work()
        if turn >= 0:
            took_ms.append((time.perf_counter() - began_s) * 1000)
    return took_ms


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    asked = parser.parse_args()
    with run_embedded() as (_, addresses), modelyard.connect() as session:
        say("making the rows")
        copy_dataset(addresses.dsn("postgres"), log_one(session), number=asked.runs)
        experiment = session.mlflow.get_experiment_by_name(DATASETS_EXPERIMENT)
        assert experiment is not None

        def search_runs() -> str:
            found = session.mlflow.search_runs(
                [experiment.experiment_id],
                f"tags.run_type = 'dataset' AND tags.workload = '{WORKLOAD}'",
                order_by=["attributes.start_time DESC"],
                max_results=1,
            )
            return str(found[0].info.run_id)

        def find(parameters: Mapping[str, Any]) -> str | None:
            newest = find_newest(session.records, workload=WORKLOAD, parameters=parameters)
            return newest.mlflow_run_id if newest else None

        assert find(PARAMETERS) == search_runs()
        assert find({"seed": 43}) is None
        say("searching")
        figures = {
            "MLflow, search_runs by tags": time_calls(search_runs, number=30),
            "ours, find_newest": time_calls(lambda: find(PARAMETERS), number=300),
            "ours, parameters that none has": time_calls(lambda: find({"seed": 43}), number=30),
        }
    theirs_ms = statistics.median(figures["MLflow, search_runs by tags"])
    print(f"\n{asked.runs:,} datasets and runs of {NUM_WORKLOADS} workloads, {os.cpu_count()} cores")
    print(f"{'milliseconds':34}{'p50':>9}{'p99':>9}{'× MLflow':>10}")
    for name, took_ms in figures.items():
        middle_ms = statistics.median(took_ms)
        print(
            f"{name:34}{middle_ms:>9.2f}{statistics.quantiles(took_ms, n=100)[98]:>9.2f}{theirs_ms / middle_ms:>10.1f}"
        )
    print(f"goals for ours: {GOAL_MS} ms, {SPEED_GOAL} × MLflow")


if __name__ == "__main__":
    main()
