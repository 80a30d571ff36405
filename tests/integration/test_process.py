"""``modelyard process`` on a running stack: what it refuses, which version it gives, and data larger than memory."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import mlflow
import numpy as np
import psutil
import psycopg
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow import MlflowClient
from pyarrow import csv

from modelyard.data.hashes import sha256_file
from modelyard.settings import Settings
from modelyard.stack import embedded
from modelyard.stack.addresses import Addresses
from modelyard.stack.home import Home
from modelyard.stack.workers import list_workers
from modelyard.workloads.registry import get_workload
from tests.conftest import free_port, open_folder
from tests.integration.memory_limit import MemoryLimit, find_obstacle
from tests.integration.trainings import Ended, run_command, workers_asleep
from tests.streaming.readings import write_readings

HOUSES, READINGS = "california_housing", "readings"
STREAMING = Path(__file__).parents[1] / "streaming"
PART_ROWS = 131_072  # so many of a file's rows come in a part


@dataclass(frozen=True)
class Yard:
    """A stack whose command line and workers know the workload ``readings`` too."""

    stack: Addresses
    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: object, at: str = "") -> Ended:
        """Run ``modelyard``, in a process that has begun with what it imports, and is killed where ``at`` says."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        return run_command(list(map(str, arguments)), environment=self.environment, folder=folder, at=at)

    def run_with_readings(self, *arguments: object, began: Callable[[int], None] = lambda _: None) -> Ended:
        """Run ``modelyard`` in a Python of its own, which knows the workload; ``began`` is told its process id."""
        process = subprocess.Popen(
            [sys.executable, "-m", "modelyard", *map(str, arguments)],
            cwd=self.folder,
            env=os.environ | self.environment | {"PYTHONPATH": str(STREAMING)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        began(process.pid)
        printed, _ = process.communicate(timeout=300)
        return Ended(process.returncode, printed)

    def process(self, workload: str, *arguments: object) -> Ended:
        run = self.run_with_readings if workload == READINGS else self.run
        return run("process", workload, "--json", *arguments)

    def query(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.dsn(self.stack.person)) as connection:
            return connection.execute(query, values).fetchall()  # type: ignore[arg-type]

    def count_all(self) -> tuple[int, int, int]:
        """How many jobs, datasets and runs there are."""
        client = MlflowClient(self.stack.tracking_uri)
        runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
        [(jobs, datasets)] = self.query("SELECT (SELECT count(*) FROM exp.jobs), (SELECT count(*) FROM exp.datasets)")
        return jobs, datasets, len(runs)

    def get_run(self, dataset: dict[str, Any]) -> Any:
        [(run_id,)] = self.query("SELECT mlflow_run_id FROM exp.datasets WHERE dataset_id = %s", dataset["dataset_id"])
        return MlflowClient(self.stack.tracking_uri).get_run(run_id)


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    with open_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(STREAMING))  # the stack's workers are given it
        settings = Settings(_env_file=None, home=folder / "home", mlflow_port=free_port(), data_dir=folder / "data")
        work = folder / "work"
        work.mkdir()
        try:
            stack = embedded.up(settings, print)
            environment = {
                "MODELYARD_STACK": "embedded",
                "MODELYARD_HOME": str(settings.home),
                "MODELYARD_MLFLOW_PORT": str(settings.mlflow_port),
                "MODELYARD_DATA_DIR": str(settings.data_dir),
                "MODELYARD_CLAIM_S": "6",  # what was killed is taken up soon
            }
            yield Yard(stack, work, environment)
        finally:
            embedded.down(settings, print)


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """Raw rows of the sample; blanks are null."""
    [path] = get_workload(HOUSES).sample(tmp_path_factory.mktemp("sample"))
    return csv.read_csv(path)


def write_csv(table: pa.Table, path: Path) -> Path:
    csv.write_csv(table, path, csv.WriteOptions(quoting_style="none"))
    return path


def change(table: pa.Table, column: str, row: int, value: float) -> pa.Table:
    values = table[column].to_pylist()
    values[row] = value
    return table.set_column(table.column_names.index(column), column, pa.array(values, table[column].type))


def change_readings(path: Path, *rows: int) -> Path:
    """Make ``level`` negative in these rows, which the workload does not expect."""
    table = pq.read_table(path)
    for row in rows:
        table = change(table, "level", row, -3.5)
    pq.write_table(table, path, row_group_size=50_000)
    return path


def dataset(ended: Ended) -> dict[str, Any]:
    assert ended.code == 0, ended.printed
    found: dict[str, Any] = ended.outcome["dataset"]
    return found


def refusal(ended: Ended) -> str:
    """What a command that was refused has said last."""
    assert ended.code == 2, ended.printed
    return ended.printed.strip().splitlines()[-1].removeprefix("modelyard: ")


def parse(version: str) -> tuple[int, int, int]:
    major, minor, patch = map(int, version.split("."))
    return major, minor, patch


# versions


def test_versions_follow_from_what_has_changed_and_the_same_content_has_one(yard, houses, tmp_path):
    base = write_csv(houses.slice(0, 1800), tmp_path / "base.csv")
    more = write_csv(houses, tmp_path / "more.csv")
    changed = write_csv(change(houses, "median_house_value", 5, 123_456), tmp_path / "changed.csv")
    first = dataset(yard.process(HOUSES, "--data", base))
    assert not first["reused"]
    major, minor, patch = parse(first["version"])

    jobs, datasets, runs = yard.count_all()
    again = yard.process(HOUSES, "--data", base)
    assert (dataset(again)["reused"], dataset(again)["dataset_id"]) == (True, first["dataset_id"])
    assert f"{first['name']} {first['version']}, logged before" in again.printed
    assert yard.count_all() == (jobs + 1, datasets, runs), "the job is on record, and it needed no run"

    steps = [
        ("rows were added", (major, minor, patch + 1), ("--data", more)),
        ("a value has changed", (major, minor + 1, 0), ("--data", changed)),
        ("processed otherwise", (major, minor + 2, 0), ("--data", changed, "--set", "seed=7")),
        ("other columns", (major + 1, 0, 0), ("--data", changed, "--set", "features=engineered")),
    ]
    for what, version, arguments in steps:
        assert parse(dataset(yard.process(HOUSES, *arguments))["version"]) == version, what
    assert dataset(yard.process(HOUSES, "--data", base))["version"] == first["version"], "versions never shift"


def test_a_version_that_somebody_says_is_kept_and_never_given_twice(yard, houses, tmp_path):
    one = write_csv(change(houses, "median_income", 0, 7.25), tmp_path / "one.csv")
    other = write_csv(change(houses, "median_income", 0, 7.5), tmp_path / "other.csv")
    dated = dataset(yard.process(HOUSES, "--data", one, "--version", "2025-01-03"))
    assert dated["version"] == "2025-01-03"
    assert dataset(yard.process(HOUSES, "--data", one, "--version", "2025-01-03"))["reused"]

    jobs, datasets, runs = yard.count_all()
    assert refusal(yard.process(HOUSES, "--data", other, "--version", "2025-01-03")).startswith(
        f"california_housing 2025-01-03 is another dataset, with digest {dated['digest']}, and versions are "
        "never reused; say another version, or leave it out"
    )
    said = refusal(yard.process(HOUSES, "--data", one, "--version", "2025-01-04"))
    assert said.startswith("this very content is california_housing 2025-01-03 already, and a version never shifts")
    assert yard.count_all() == (jobs + 2, datasets, runs + 2), "each job is tried once, and shown as a failed run"

    said = refusal(yard.process(HOUSES, "--data", other, "--version", "3/1/2025"))
    assert said.startswith("'3/1/2025' cannot be a version")
    assert yard.count_all() == (jobs + 2, datasets, runs + 2)


def test_two_at_once_on_the_same_content_are_one_run_and_on_other_content_two_versions(yard, houses, tmp_path):
    def process_both(*tables: pa.Table) -> list[dict[str, Any]]:
        # files of other names are other requests, and so other jobs, each in the process that asks for it
        files = [write_csv(table, tmp_path / f"{uuid4()}.csv") for table in tables]
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda file: dataset(yard.process(HOUSES, "--inline", "--data", file)), files))

    one, other, third = (change(houses, "population", 1, value) for value in (801, 802, 803))
    _, datasets, runs = yard.count_all()
    same = process_both(one, one)
    assert sorted(made["reused"] for made in same) == [False, True]
    assert len({made["dataset_id"] for made in same}) == 1
    assert yard.count_all()[1:] == (datasets + 1, runs + 1)
    two = process_both(other, third)
    assert [made["reused"] for made in two] == [False, False]
    assert len({made["version"] for made in two}) == 2
    assert yard.count_all()[1:] == (datasets + 3, runs + 3)


# what comes in


def test_the_same_rows_are_the_same_dataset_whatever_they_come_in(yard, houses, tmp_path):
    rows = change(houses, "households", 3, 777)
    folders = {name: tmp_path / name for name in ("several", "partitioned")}
    for folder in folders.values():
        folder.mkdir()
    write_csv(rows.slice(0, 700), folders["several"] / "a.csv")
    (folders["several"] / "b").mkdir()
    pq.write_table(rows.slice(700), folders["several"] / "b" / "rest.parquet")
    (folders["several"] / "_unfinished.csv").write_text("no data")
    for month, start in enumerate((0, 900, 1500), start=1):
        part = folders["partitioned"] / f"month={month:02}"
        part.mkdir()
        end = (900, 1500, rows.num_rows)[month - 1]
        pq.write_table(rows.slice(start, end - start), part / "part-0.parquet")
    feather.write_feather(rows, tmp_path / "rows.arrow", compression="uncompressed")
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows.to_pylist()))
    first = dataset(yard.process(HOUSES, "--data", write_csv(rows, tmp_path / "rows.csv")))
    assert not first["reused"]
    for data in (*folders.values(), tmp_path / "rows.arrow", tmp_path / "rows.jsonl"):
        found = dataset(yard.process(HOUSES, "--data", data))
        assert (found["digest"], found["reused"]) == (first["digest"], True), data
    for file in (tmp_path / "rows.jsonl", folders["several"] / "a.csv"):  # one that the dataset's row does not name
        traced = yard.run("lineage", sha256_file(file))
        assert f"dataset {first['name']} {first['version']}" in traced.printed


def test_parameters_of_processing_come_from_a_file_and_what_is_said_wins(yard, houses, tmp_path):
    data = write_csv(houses, tmp_path / "houses.csv")
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"features": "engineered", "test_share": 0.3, "learning_rate": 0.2}))
    made = dataset(yard.process(HOUSES, "--data", data, "--config", config, "--set", "test_share=0.25"))
    [(parameters, columns)] = yard.query(
        "SELECT parameters, jsonb_array_length(schema) FROM exp.datasets WHERE dataset_id = %s", made["dataset_id"]
    )
    assert parameters == {"features": "engineered", "test_share": 0.25, "validation_share": 0.1, "seed": 42}
    assert made["split_counts"]["test"] == 500
    assert columns == 18 + 1 + 1

    before = yard.count_all()
    said = refusal(yard.process(HOUSES, "--data", data, "--set", "learning_rate=0.2"))
    assert "no parameter of processing 'learning_rate'" in said
    assert "parameter of the model hist_gradient_boosting" in said
    assert yard.count_all() == before


def test_a_processing_run_says_which_command_has_made_it(yard, houses, tmp_path):
    rows = change(houses, "total_rooms", 2, 3210)
    made = dataset(yard.process(HOUSES, "--data", write_csv(rows, tmp_path / "houses.csv")))
    assert yard.get_run(made).data.tags["mlflow.source.name"] == "modelyard process california_housing"
    rows = change(houses, "total_rooms", 2, 3211)
    trained = yard.run("train", HOUSES, "--json", "--data", write_csv(rows, tmp_path / "others.csv"))
    assert yard.get_run(dataset(trained)).data.tags["mlflow.source.name"] == "modelyard train california_housing"


def test_a_training_that_is_killed_and_asked_for_again_does_not_take_its_own_dataset_for_another_request(yard, houses):
    folder = Path(yard.environment["MODELYARD_DATA_DIR"], HOUSES)
    folder.mkdir(parents=True)
    write_csv(houses, folder / "housing.csv")
    asked = ("train", HOUSES, "--json", "--inline", "--set", "seed=77")
    with workers_asleep(yard.stack):
        killed = yard.run(*asked, at="before modelyard.workloads.california_housing:train")
        assert killed.code == -signal.SIGKILL, killed.printed
        again = yard.run(*asked)
    assert dataset(again)["reused"]
    assert "is the same request and has not ended; going on with it" in again.printed
    query = "SELECT count(*) FROM exp.jobs WHERE kind = 'train' AND arguments #>> '{parameters,seed}' = '77'"
    assert yard.query(query) == [(1,)]
    third = yard.run(*asked)
    assert "the newest that was processed with these parameters" in third.printed
    assert third.outcome["job"] != again.outcome["job"], "once it has ended it is another training"


# what does not hold


def test_rows_that_are_not_as_expected_are_refused_before_anything_is_written(yard, houses, tmp_path):
    wrong = change(change(houses, "latitude", 10, 60), "latitude", 20, 61)
    before = yard.count_all()
    for options in ([], ["--inline"]):
        said = refusal(yard.process(HOUSES, "--data", write_csv(wrong, tmp_path / "wrong.csv"), *options))
        assert said == (
            "the data breaks 1 expectation of its workload, and nothing was logged: Latitude <= 43 (2 rows, e.g. "
            "row 10: 60.0; row 20: 61.0). Correct the data; --allow-invalid records it anyway"
        )
    assert yard.count_all() == before


def test_of_data_that_streams_the_first_part_is_checked_at_once_and_the_rest_by_the_job(yard, tmp_path):
    early = change_readings(write_readings(tmp_path / "early.parquet", num_rows=PART_ROWS + 1000), 7)
    before = yard.count_all()
    refused = yard.process(READINGS, "--data", early)
    assert "131,072 rows are checked here, the first part; the job checks all of them" in refused.printed
    said = refusal(refused)
    assert said.startswith("the first part of the data (131,072 rows) breaks 1 expectation of its workload")
    assert "level >= 0 (1 row, e.g. row 7: -3.5)" in said
    assert yard.count_all() == before

    rows = (PART_ROWS + 10, PART_ROWS + 11)
    late = change_readings(write_readings(tmp_path / "late.parquet", num_rows=PART_ROWS + 1000), *rows)
    text = (
        "the data breaks 1 expectation of its workload, and nothing was logged: level >= 0 (2 rows, e.g. "
        f"row {rows[0]}: -3.5; row {rows[1]}: -3.5). Correct the data; --allow-invalid records it anyway"
    )
    assert refusal(yard.process(READINGS, "--data", late)).partition(" (job ")[0] == text
    assert refusal(yard.process(READINGS, "--data", late, "--inline")) == text
    assert yard.count_all()[:2] == (before[0] + 2, before[1])
    client = MlflowClient(yard.stack.tracking_uri)
    shown = client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=2)
    assert {run.info.status for run in shown} == {"FAILED"}
    assert [client.list_artifacts(run.info.run_id, "metadata") for run in shown] == [[], []]

    few = write_readings(tmp_path / "few.parquet", num_rows=50)
    assert "at least 100 rows (it has 50)" in refusal(yard.process(READINGS, "--data", few))


def test_what_does_not_hold_is_on_record_where_it_is_allowed(yard, tmp_path):
    rows = (3, PART_ROWS + 10)
    data = change_readings(write_readings(tmp_path / "readings.parquet", num_rows=PART_ROWS + 500), *rows)
    made = yard.process(READINGS, "--data", data, "--allow-invalid")
    assert "INVALID: 1 broken expectation, as allowed" in made.printed
    recorded = dataset(made)
    [(violations,)] = yard.query("SELECT violations FROM exp.datasets WHERE dataset_id = %s", recorded["dataset_id"])
    examples = [{"row": row, "value": -3.5} for row in rows]
    assert violations == [{"column": "level", "rule": "level >= 0", "count": 2, "examples": examples}]
    run = yard.get_run(recorded)
    assert run.data.tags["modelyard.invalid"] == "true"
    address = f"runs:/{run.info.run_id}/metadata/metadata.json"
    path = mlflow.artifacts.download_artifacts(address, tracking_uri=yard.stack.tracking_uri)
    assert json.loads(Path(path).read_text())["violations"] == violations
    shown = yard.run("datasets", "show", f"readings@{recorded['version']}")
    assert f"violation  level >= 0 (2 rows, e.g. row 3: -3.5; row {rows[1]}: -3.5)" in shown.printed
    assert "1 violation\n" in yard.run("datasets", "list", "--name", "readings").printed


# larger than memory


def test_a_workload_that_streams_is_trained_on_what_was_logged(yard, tmp_path):
    data = write_readings(tmp_path / "readings.parquet", num_rows=3000)
    ended = yard.run_with_readings("train", READINGS, "--json", "--data", data)
    assert ended.code == 0, ended.printed
    trained = ended.outcome
    assert trained["dataset"]["num_rows"] == 3000
    assert trained["evaluation"]["passed"]
    run = MlflowClient(yard.stack.tracking_uri).get_run(trained["training"]["run_id"])
    assert run.data.params["data_source"] == "file_path"
    assert run.data.params["dataset_digest"] == trained["dataset"]["digest"]


def test_a_dataset_larger_than_its_memory_is_made_of_rows_that_stream(yard, tmp_path):
    if reason := find_obstacle():
        pytest.skip(reason)
    limit_bytes, num_rows, num_columns = 400 * 2**20, 4_000_000, 21
    data = write_readings(tmp_path / "readings.parquet", num_rows=num_rows, num_columns=num_columns)
    assert num_rows * num_columns * np.dtype(float).itemsize > 1.5 * limit_bytes
    with MemoryLimit(limit_bytes=limit_bytes) as of_worker, MemoryLimit(limit_bytes=limit_bytes) as of_client:
        trainer = list_workers(Home(yard.stack.home))["trainer-1"]
        for process in trainer:
            of_worker.take_in(process.pid)
        try:
            asked = ("process", READINGS, "--json", "--data", data)
            made = dataset(yard.run_with_readings(*asked, began=of_client.take_in))
        finally:  # its supervisor starts it again, outside of the limit
            left = [process for process in trainer if process.is_running()]
            left += [child for process in left for child in process.children(recursive=True)]
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=30)
    assert made["num_rows"] == num_rows
    shown = yard.run("datasets", "verify", f"readings@{made['version']}")
    assert (shown.code, "all as recorded" in shown.printed) == (0, True), shown.printed
