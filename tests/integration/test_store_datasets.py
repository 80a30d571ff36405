"""Datasets: one row per content, versions that never shift."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from modelyard.data.hashes import HashedFile
from modelyard.errors import RecordNotFound
from modelyard.store.connections import connect
from modelyard.store.datasets import find_dataset, find_newest, get_dataset, list_dataset_files


def test_the_first_version_of_a_dataset_is_1_0_0_and_everything_is_read_back(records):
    files = [HashedFile("y.parquet", "c" * 64, 5), HashedFile("X.parquet", "b" * 64, 100)]
    dataset = records.dataset(files=files)
    assert dataset.version == "1.0.0"
    assert dataset.created_by == "trainer"
    assert dataset.schema == [{"name": "rooms", "type": "double"}]
    assert get_dataset(records.trainer, dataset_id=dataset.dataset_id) == dataset
    assert list_dataset_files(records.trainer, dataset_id=dataset.dataset_id) == sorted(files, key=lambda f: f.path)


def test_changed_content_raises_the_minor_version_and_a_changed_schema_the_major(records):
    other_schema = [{"name": "rooms", "type": "float"}]
    versions = [
        records.dataset(digest="a").version,
        records.dataset(digest="b").version,
        records.dataset(digest="c", schema=other_schema).version,
        records.dataset(digest="d", schema=other_schema).version,
        records.dataset(digest="e").version,
        records.dataset(digest="f", name="flats").version,
    ]
    assert versions == ["1.0.0", "1.1.0", "2.0.0", "2.1.0", "3.0.0", "1.0.0"]


def test_versions_count_on_after_ten(records):
    versions = [records.dataset(digest=digit, num_rows=int(digit, 16) + 1).version for digit in "0123456789abc"]
    assert versions[-3:] == ["1.10.0", "1.11.0", "1.12.0"]


def test_a_version_that_is_a_date_does_not_disturb_the_count(records):
    records.dataset(digest="a")
    records.trainer.execute(
        """
        INSERT INTO exp.datasets (name, version, workload, digest, raw_digest, raw_files, location, mlflow_run_id,
            num_rows, num_elements, schema, profile, split_counts, parameters, data_source)
        SELECT name, '2025-01-03', workload, repeat('e', 64), raw_digest, raw_files, location, mlflow_run_id,
            num_rows, num_elements, schema, profile, split_counts, parameters, data_source
        FROM exp.datasets
        """
    )
    assert records.dataset(digest="b").version == "1.1.0"


def test_the_same_content_is_the_same_dataset(records):
    first = records.dataset(mlflow_run_id="r1")
    again = records.dataset(mlflow_run_id="r2")
    assert again == first
    assert find_dataset(records.trainer, name="houses", digest="a" * 64) == first


def test_the_newest_dataset_of_a_workload_is_found(records):
    assert find_newest(records.trainer, workload="houses") is None
    records.dataset(digest="a")
    newest = records.dataset(digest="b")
    records.dataset(digest="c", name="flats", workload="flats")
    assert find_newest(records.trainer, workload="houses") == newest


def test_an_unknown_dataset_is_said_by_its_id(records):
    dataset_id = uuid4()
    with pytest.raises(RecordNotFound, match=str(dataset_id)):
        get_dataset(records.trainer, dataset_id=dataset_id)


def test_datasets_recorded_at_once_get_versions_without_gaps(records):
    def record(digest: str) -> str:
        with connect(records.database.dsn("trainer")) as connection:
            return records.dataset(digest=digest, connection=connection).version

    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(record, "01234567" * 2))
    assert sorted(set(versions)) == [f"1.{minor}.0" for minor in range(8)]
    assert versions[:8] == versions[8:]
