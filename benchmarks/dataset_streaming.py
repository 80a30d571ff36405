"""A dataset larger than memory: logged, loaded with every byte verified, and beside it a plain copy of its files.

    python benchmarks/dataset_streaming.py [--gb 10] [--no-profile] [--folder /var/tmp]

Prints one table. A folder of Parquet files is streamed into a dataset with ``modelyard.log_dataset``, which is what
``modelyard process`` does with a workload that gives its rows in parts; then the dataset is loaded into another folder
and verified. The plain copy is what MLflow's client does with the same bytes on the same server, up and down, with no
hash and no look at the rows. Each is a process of its own, whose largest resident memory is shown. Goal: at most 1 GB.
For 10 GB it takes ten minutes and needs 45 GB of disk in ``--folder``, four times the data at once.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import modelyard
from dataset_logging import TimedClient
from embedded import run_embedded, say
from modelyard.pipeline.datasets import open_recorded
from modelyard.pipeline.session import Session
from modelyard.store.catalogue import resolve_dataset
from modelyard.tracking.server import get_or_create_experiment

NAME = "streamed"
NUM_FILES, NUM_DOUBLES, GROUP_ROWS = 20, 18, 131_072
MEMORY_GOAL_MB = 1000


def make_source(_: Session, folder: Path, num_bytes: int) -> None:
    """Parquet files of doubles, a key, a text and the split, together of about so many bytes."""
    rng = np.random.default_rng(0)
    (folder / "source").mkdir()
    stations = pa.array([f"station {index}" for index in range(1000)])
    for number in range(NUM_FILES):
        path, schema = folder / "source" / f"part-{number:03}.parquet", build(rng, stations, 1).schema
        with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["station", "split"]) as file:
            for _ in range(max(1, num_bytes // NUM_FILES // (GROUP_ROWS * 8 * (NUM_DOUBLES + 1)))):
                file.write_table(build(rng, stations, GROUP_ROWS))


def build(rng: np.random.Generator, stations: Any, num_rows: int) -> pa.Table:
    """Some rows."""
    columns: dict[str, Any] = {f"c{index}": rng.random(num_rows) for index in range(NUM_DOUBLES)}
    columns["reading"] = rng.integers(0, 2**62, num_rows)
    columns["station"] = stations.take(pa.array(rng.integers(0, len(stations), num_rows)))
    columns["split"] = pa.array(["train", "validation", "test"]).take(pa.array(rng.integers(0, 3, num_rows)))
    return pa.table(columns)


def process(session: Session, folder: Path, profile: bool) -> dict[str, float]:
    """Log the files as a dataset."""
    client = TimedClient(session.mlflow.tracking_uri, session.mlflow.tracking_uri)
    session = replace(session, mlflow=client)
    modelyard.log_dataset(
        session, folder / "source", name=NAME, targets=["c0"], extra=["station"], profile=profile, report=show
    )
    return {"upload_s": client.upload_s}


def load(session: Session, folder: Path) -> None:
    """Load it, verified."""
    (folder / "loaded").mkdir()
    open_recorded(session, resolve_dataset(session.records, NAME), folder=folder / "loaded")


def upload(session: Session, folder: Path) -> None:
    """The same files into a run, as they are."""
    run = session.mlflow.create_run(get_or_create_experiment(session.mlflow, "copies"))
    session.mlflow.log_artifacts(run.info.run_id, str(folder / "loaded"))
    (folder / "run").write_text(run.info.run_id)


def download(session: Session, folder: Path) -> None:
    """And out of it."""
    (folder / "copied").mkdir()
    session.mlflow.download_artifacts((folder / "run").read_text(), "metadata", str(folder / "copied"))


def show(step: str, share: float | None, message: str, /) -> None:
    """Nothing: this is only here so that reporting is measured too."""


def measure(work: Callable[..., Any], path: Path, *arguments: Any) -> None:
    """In a process of its own: what it took, written to ``path`` as JSON."""
    with modelyard.connect() as session:
        began_s = time.perf_counter()
        told = work(session, *arguments)
        took_s = time.perf_counter() - began_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    path.write_text(json.dumps({"seconds": took_s, "peak_mb": peak_mb, **(told or {})}))


def run(work: Callable[..., Any], folder: Path, *arguments: Any) -> dict[str, float]:
    """Measure it in a child, which began small: a large parent would show in the child's memory."""
    say(work.__name__.replace("_", " "))
    path = folder / "figures.json"
    child = get_context("spawn").Process(target=measure, args=(work, path, folder, *arguments))
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(f"no figures: {work.__name__} ended with {child.exitcode}")
    figures: dict[str, float] = json.loads(path.read_text())
    return figures


def count_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=10)
    parser.add_argument("--no-profile", action="store_true")
    parser.add_argument("--folder", type=Path, help="where there is room; default: that for temporary files")
    asked = parser.parse_args()
    free = shutil.disk_usage(asked.folder or os.environ.get("TMPDIR", "/tmp")).free  # noqa: S108
    if free < asked.gb * 4.5e9:
        sys.exit(f"{free / 1e9:.0f} GB of disk are free, {asked.gb * 4.5:.0f} are needed; name another --folder")
    with run_embedded(asked.folder) as (folder, _):
        run(make_source, folder, int(asked.gb * 1e9))
        source_bytes = count_bytes(folder / "source")
        processed = run(process, folder, not asked.no_profile)
        shutil.rmtree(folder / "source")
        loaded = run(load, folder)
        stored_bytes = count_bytes(folder / "loaded")
        uploaded = run(upload, folder)
        shutil.rmtree(folder / "loaded")
        downloaded = run(download, folder)
    profile = "off" if asked.no_profile else "on"
    print(f"\n{source_bytes / 1e9:.2f} GB of Parquet, {stored_bytes / 1e9:.2f} GB as a dataset, {os.cpu_count()} cores")
    print(f"{'':34}{'seconds':>9}{'MB/s':>7}{'of a copy':>11}{'peak MB':>9}{'goal':>6}")
    for name, figures, beside in (
        (f"process, profile {profile}", processed, uploaded),
        ("  of which upload", {"seconds": processed["upload_s"]}, uploaded),
        ("plain copy into the store", uploaded, uploaded),
        ("verified load", loaded, downloaded),
        ("plain copy out of the store", downloaded, downloaded),
    ):
        print(f"{name:34}{figures['seconds']:>9.1f}{stored_bytes / figures['seconds'] / 1e6:>7.0f}", end="")
        print(f"{beside['seconds'] / figures['seconds']:>11.2f}", end="")
        print(f"{figures['peak_mb']:>9.0f}{MEMORY_GOAL_MB:>6}" if "peak_mb" in figures else "")


if __name__ == "__main__":
    main()
