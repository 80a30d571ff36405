"""What was dropped in a bucket is picked up like a folder, with keys that may read there and nowhere else."""

import os
from pathlib import Path

import pytest

from modelyard.errors import BadInput, RawDataMalformed, ServiceFailed
from modelyard.pipeline.raw import hash_raw, locate_raw
from modelyard.workloads.registry import get_workload
from tests.conftest import free_port
from tests.integration.minio_server import run_minio

WORKLOAD = get_workload("california_housing")
LARGE = os.urandom(5 << 20)
OBJECTS = {
    "incoming/one.csv": b"one",
    "incoming/houses/b/large.parquet": LARGE,
    "incoming/houses/a.csv": b"a",
    "incoming/houses/.hidden.csv": b"x",
    "incoming/houses/readme.txt": b"x",
    "incoming/houses/": b"",
    "incoming/houses-old/c.csv": b"x",
    "incoming/own/housing.csv": b"own",
    "incoming/own/other.csv": b"x",
    "incoming/nothing/readme.txt": b"x",
    "incoming/odd/a\x1b.csv": b"x",
    "incoming/odd/b.csv": b"x",
    "runs/secret.csv": b"x",
}


@pytest.fixture(scope="module")
def minio():
    with run_minio() as minio:
        minio.prepare()
        root = minio.connect(minio.root)
        for key, content in OBJECTS.items():
            root.put_object(Bucket="modelyard", Key=key, Body=content)
        yield minio


@pytest.fixture
def locate(minio, monkeypatch, tmp_path):
    """Locate as the command line does that has the keys of the user ``client``."""
    minio.use_keys(monkeypatch, tmp_path, "client")
    said = []

    def locate(address):
        found = locate_raw(WORKLOAD, data=address, data_dir=tmp_path, folder=tmp_path / "copies", report=said.append)
        assert len(said) == len(found.files)
        return found

    return locate


@pytest.mark.parametrize("address", ["s3://modelyard/incoming/houses", "s3://modelyard/incoming/houses/"])
def test_the_files_under_a_prefix_are_raw_data_as_those_of_a_folder(locate, address, tmp_path):
    found = locate(address)
    assert found.names == ("a.csv", "b/large.parquet")
    assert [path.read_bytes() for path in found.files] == [b"a", LARGE]
    assert all(path.is_relative_to(tmp_path) for path in found.files)
    assert found.source == "file_path"
    assert found.why == f"copied from {address}"
    assert [file.name for file in hash_raw(found).raw.files] == ["a.csv", "b/large.parquet"]


def test_the_workloads_own_file_comes_first_and_one_object_is_one_file(locate):
    assert locate("s3://modelyard/incoming/own").names == ("housing.csv",)


def test_an_address_may_name_one_object(locate):
    found = locate("s3://modelyard/incoming/one.csv")
    assert found.names == ("one.csv",)
    assert found.files[0].read_bytes() == b"one"


def test_an_address_that_was_made_a_path_on_the_way_is_still_one(locate):
    assert locate(Path("s3://modelyard/incoming/one.csv")).why == "copied from s3://modelyard/incoming/one.csv"


@pytest.mark.parametrize(
    ("address", "error", "says"),
    [
        ("s3://modelyard/incoming/nothing", RawDataMalformed, "s3://modelyard/incoming/nothing/: holds none of"),
        ("s3://modelyard/incoming/absent", RawDataMalformed, "s3://modelyard/incoming/absent/: holds none of"),
        ("s3://modelyard/runs/secret.txt", RawDataMalformed, "holds none of"),
        ("s3://modelyard", ServiceFailed, "AccessDenied.*incoming/ of the stack's own bucket"),
        ("s3://modelyard/backups", ServiceFailed, "AccessDenied.*incoming/ of the stack's own bucket"),
        ("s3://another/incoming", ServiceFailed, "another.*(NoSuchBucket|AccessDenied)"),
        ("s3://", BadInput, "write s3://bucket/prefix"),
        ("s3://modelyard/incoming/odd", RawDataMalformed, r"1 keys cannot be names of files, e.g. 'a\\x1b.csv'"),
    ],
)
def test_what_cannot_be_picked_up_is_named_with_what_to_do(locate, address, error, says):
    with pytest.raises(error, match=says):
        locate(address)


def test_a_copy_that_cannot_be_made_is_named_with_where_it_comes_from(locate, tmp_path):
    (tmp_path / "copies/incoming/one.csv").mkdir(parents=True)
    with pytest.raises(RawDataMalformed, match=r"^s3://modelyard/incoming/one\.csv: it cannot be copied to .*: Is"):
        locate("s3://modelyard/incoming/one.csv")


def test_a_store_that_does_not_answer_is_named(minio, locate, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ServiceFailed, match=r"cannot be used.*AWS_ENDPOINT_URL_S3"):
        locate("s3://modelyard/incoming/one.csv")
