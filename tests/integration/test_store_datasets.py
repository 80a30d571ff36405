"""Datasets: one row per content, versions that never shift."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from modelyard.data.hashes import HashedFile
from modelyard.errors import BadInput, RecordNotFound, UnknownName, VersionRefused
from modelyard.store.catalogue import find_by_run, find_newest, list_datasets, resolve_dataset
from modelyard.store.connections import connect
from modelyard.store.datasets import find_dataset, get_dataset, list_dataset_files, record_use


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


def test_rows_added_after_those_of_the_newest_version_raise_the_patch_number(records):
    records.dataset(digest="a")
    assert records.dataset(digest="b", extends="a" * 64).version == "1.0.1"
    assert records.dataset(digest="c", extends="b" * 64).version == "1.0.2"
    assert records.dataset(digest="d", extends="b" * 64).version == "1.1.0", "the newest has other rows"
    assert records.dataset(digest="e", extends="d" * 64, preprocessing_hash="1" * 40).version == "1.2.0"
    more = [{"name": "rooms", "type": "double"}, {"name": "age", "type": "double"}]
    assert records.dataset(digest="f", extends="e" * 64, schema=more).version == "2.0.0"


def test_the_same_rows_with_another_pipeline_are_a_minor_version(records):
    first = records.dataset(preprocessing_hash="1" * 40)
    other = records.dataset(preprocessing_hash="2" * 40)
    assert (first.version, other.version) == ("1.0.0", "1.1.0")
    assert records.dataset(preprocessing_hash="1" * 40) == first


def test_whether_a_column_has_nulls_is_no_change_of_the_schema(records):
    records.dataset(schema=[{"name": "rooms", "type": "double", "nullable": False}])
    assert (
        records.dataset(digest="b", schema=[{"name": "rooms", "type": "double", "nullable": True}]).version == "1.1.0"
    )


def test_a_version_that_a_person_says_is_kept_and_never_used_twice(records):
    dated = records.dataset(version="2025-01-03")
    assert dated.version == "2025-01-03"
    assert records.dataset(digest="b").version == "1.0.0", "dates are not counted on"
    with pytest.raises(VersionRefused, match="never reused"):
        records.dataset(digest="c", version="2025-01-03")
    with pytest.raises(VersionRefused, match="is houses 2025-01-03 already"):
        records.dataset(version="2025-01-04")
    with pytest.raises(VersionRefused, match="1 to 64 letters"):
        records.dataset(digest="c", version="a b")
    assert records.dataset(version="2025-01-03") == dated


def test_only_numbers_are_counted_on_however_long_they_are(records):
    assert records.dataset(version="2025.01.03").version == "2025.01.03"
    assert records.dataset(digest="b").version == "1.0.0"
    records.dataset(digest="c", version="1.0.999999")
    assert records.dataset(digest="d", extends="c" * 64).version == "1.0.1000000"
    assert records.dataset(digest="e", extends="d" * 64).version == "1.0.1000001"
    assert records.dataset(digest="f", version=f"{'9' * 30}.0.0").version == f"{'9' * 30}.0.0"
    assert records.dataset(digest="0").version == f"{'9' * 30}.1.0"


def test_a_dataset_is_found_by_name_version_digest_and_run(records):
    first = records.dataset()
    second = records.dataset(digest="b", mlflow_run_id="r2")
    found = {text: resolve_dataset(records.trainer, text) for text in ("houses", "houses@1.0.0", "b" * 64, "a" * 8)}
    assert found == {"houses": second, "houses@1.0.0": first, "b" * 64: second, "a" * 8: first}
    assert find_by_run(records.trainer, mlflow_run_id="r2") == second
    assert list_datasets(records.trainer, name="houses") == [second, first]
    with pytest.raises(UnknownName, match=r"did you mean 'houses@1\.0\.0'"):
        resolve_dataset(records.trainer, "houses@1.0.9")
    with pytest.raises(BadInput, match="'houses@' names no version"):
        resolve_dataset(records.trainer, "houses@")
    assert resolve_dataset(records.trainer, "B" * 64) == second, "digits of a digest may be capitals"
    records.dataset(name="flats", digest="a", rows_digest="b" * 64)
    assert resolve_dataset(records.trainer, "a" * 64).digest == "a" * 64, "the same content under two names"


def test_a_digest_that_several_begin_with_is_refused(records):
    for end in "12":
        records.dataset(name=f"n{end}")
        records.trainer.execute(
            """
            INSERT INTO exp.datasets (name, version, workload, digest, raw_files, location, mlflow_run_id,
                num_rows, num_elements, schema, profile, split_counts, parameters, data_source)
            SELECT name, 'v', workload, %s, raw_files, location, mlflow_run_id,
                num_rows, num_elements, schema, profile, split_counts, parameters, data_source
            FROM exp.datasets WHERE name = %s
            """,
            ["c" * 63 + end, f"n{end}"],
        )
    with pytest.raises(BadInput, match="several datasets have digests that begin with cccccccc"):
        resolve_dataset(records.trainer, "c" * 8)
    assert resolve_dataset(records.trainer, "c" * 63 + "1").name == "n1"


def test_a_run_that_uses_a_dataset_is_recorded_once(records):
    dataset = records.dataset()
    for _ in range(2):
        record_use(
            records.trainer,
            dataset_id=dataset.dataset_id,
            mlflow_run_id="t1",
            run_type="training",
            context="training",
        )
    rows = records.evaluator.execute("SELECT mlflow_run_id, created_by FROM exp.dataset_uses").fetchall()
    assert rows == [{"mlflow_run_id": "t1", "created_by": "trainer"}]


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
