"""Raw data in a bucket: the same promises as in a folder, over a network and with keys that may do little."""

import json
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path, PosixPath

import pytest
from botocore.config import Config

from modelyard.errors import ContentMismatch, InvalidSetting, RawDataMalformed, RecordLost, ServiceFailed
from modelyard.pipeline import raw_bucket
from modelyard.pipeline.raw import LocatedData, fetch_raw, hash_raw, store_raw
from tests.conftest import free_port
from tests.integration.minio_server import Line, run_minio

RAW_URI = "s3://modelyard/raw"
LARGE = 2 * raw_bucket.PART_BYTES + 7


@pytest.fixture(scope="module")
def minio():
    with run_minio() as minio:
        minio.prepare()
        yield minio


@pytest.fixture
def root(minio):
    return minio.connect(minio.root)


@pytest.fixture
def act_as(minio, monkeypatch, tmp_path):
    """Have the keys of one user, as its container has them."""
    return lambda name, **changes: minio.use_keys(monkeypatch, tmp_path, name, **changes)


@pytest.fixture
def line(minio):
    line = Line(minio.endpoint)
    yield line
    line.close()


@pytest.fixture
def write(tmp_path):
    """A file of bytes that no other test has stored."""

    def write(name, size_bytes=20):
        path = tmp_path / name
        path.write_bytes(os.urandom(size_bytes))
        return path

    return write


def hash_files(*paths):
    return hash_raw(LocatedData(files=paths, source="file_path", why="named"))


def store(*paths):
    return store_raw(hash_files(*paths), raw_uri=RAW_URI)


def fetch(raw, folder):
    return fetch_raw(json.loads(json.dumps(raw.reference())), raw_uri=RAW_URI, folder=folder)


def key_of(raw):
    [file] = raw.files
    return f"raw/{file.sha256}/{file.name}"


def count_versions(root, key):
    return len(root.list_object_versions(Bucket="modelyard", Prefix=key).get("Versions", []))


@pytest.mark.parametrize("size_bytes", [0, 20, raw_bucket.PART_BYTES, LARGE])
def test_a_worker_gets_the_very_bytes_that_a_client_has_stored(act_as, write, root, tmp_path, size_bytes):
    path = write("a b+ü.csv", size_bytes)
    act_as("client")
    raw = store(path)
    act_as("trainer")
    fetched = fetch(raw, tmp_path / "fetched")
    [found] = fetched.located.files
    assert found.name == path.name
    assert found.read_bytes() == path.read_bytes()
    assert fetched.raw.reference() == raw.reference()
    stored = root.get_object(Bucket="modelyard", Key=f"raw/{sha256(path.read_bytes()).hexdigest()}/{path.name}")
    assert stored["Body"].read() == path.read_bytes()


def test_several_files_and_their_manifest_are_stored(act_as, write, root, tmp_path):
    paths = [write("one.csv"), write("two.csv")]
    act_as("client")
    raw = store(*paths)
    assert [path.read_bytes() for path in fetch(raw, tmp_path / "fetched").located.files] == [
        path.read_bytes() for path in paths
    ]
    manifest = root.get_object(Bucket="modelyard", Key=f"raw/{raw.digest}/manifest.json")["Body"].read()
    assert sha256(manifest).hexdigest() == raw.digest


@pytest.mark.parametrize("size_bytes", [raw_bucket.PART_BYTES, LARGE])
def test_what_is_there_already_is_verified_without_a_download_or_another_version(act_as, write, root, line, size_bytes):
    path = write("again.csv", size_bytes)
    act_as("client")
    raw = store(path)
    act_as("client", endpoint=line.endpoint)
    assert store(path) == raw
    assert line.sent_bytes + line.received_bytes < 10_000
    assert count_versions(root, key_of(raw)) == 1


def test_an_object_whose_checksum_the_store_does_not_know_is_verified_by_its_bytes(act_as, write, root):
    right, wrong = hash_files(write("right.csv")), hash_files(write("wrong.csv"))
    for hashed, content in ((right, right.located.files[0].read_bytes()), (wrong, b"other bytes")):
        root.put_object(Bucket="modelyard", Key=key_of(hashed.raw), Body=content)
    act_as("client")
    store_raw(right, raw_uri=RAW_URI)
    assert count_versions(root, key_of(right.raw)) == 1
    with pytest.raises(ContentMismatch, match=key_of(wrong.raw)):
        store_raw(wrong, raw_uri=RAW_URI)


def test_raw_data_that_was_swapped_is_taken_by_no_job_and_can_be_put_back(act_as, minio, write, root, tmp_path):
    act_as("client")
    raw = store(write("a.csv"))
    [good] = root.list_object_versions(Bucket="modelyard", Prefix=key_of(raw))["Versions"]
    minio.connect(minio.keys["client"]).put_object(Bucket="modelyard", Key=key_of(raw), Body=b"swapped")
    act_as("trainer")
    with pytest.raises(ContentMismatch, match=f"s3://modelyard/{key_of(raw)}"):
        fetch(raw, tmp_path / "fetched")
    assert [path for path in (tmp_path / "fetched").rglob("*") if path.is_file()] == []
    source = {"Bucket": "modelyard", "Key": key_of(raw), "VersionId": good["VersionId"]}
    root.copy_object(Bucket="modelyard", Key=key_of(raw), CopySource=source)
    assert fetch(raw, tmp_path / "fetched").raw.digest == raw.digest


def test_raw_data_that_is_lost_is_named_to_keys_that_may_not_list(act_as, write, tmp_path):
    raw = hash_files(write("never stored.csv")).raw
    for name in ("trainer", "client"):
        act_as(name)
        with pytest.raises(RecordLost, match=r"lost s3://modelyard/raw/.*put the file back, or give the data again"):
            fetch(raw, tmp_path / "fetched")


@pytest.mark.parametrize("size_bytes", [20, LARGE])
def test_a_file_that_changes_while_it_is_stored_never_becomes_visible(act_as, write, root, size_bytes):
    class Changing(PosixPath):
        """A file that somebody shortens between being hashed for the upload and being read for it."""

        opened = 0

        def open(self, *args, **kwargs):
            Changing.opened += 1
            if Changing.opened == 2:
                os.truncate(self, size_bytes - 1)
            return super().open(*args, **kwargs)

    act_as("client")
    hashed = hash_files(write("changing.csv", size_bytes))
    hashed = replace(hashed, located=replace(hashed.located, files=(Changing(hashed.located.files[0]),)))
    with pytest.raises(RawDataMalformed, match="changed while it was being used"):
        store_raw(hashed, raw_uri=RAW_URI)
    assert Changing.opened == 2
    assert count_versions(root, key_of(hashed.raw)) == 0
    assert "Uploads" not in root.list_multipart_uploads(Bucket="modelyard", Prefix=key_of(hashed.raw))


def test_a_file_that_was_changed_or_removed_since_it_was_hashed_is_refused(act_as, write, root):
    act_as("client")
    hashed = hash_files(write("a.csv"))
    write("a.csv")
    with pytest.raises(RawDataMalformed, match="changed while it was being used"):
        store_raw(hashed, raw_uri=RAW_URI)
    hashed.located.files[0].unlink()
    with pytest.raises(RawDataMalformed, match="removed while it was being used"):
        store_raw(hashed, raw_uri=RAW_URI)
    assert count_versions(root, key_of(hashed.raw)) == 0


@pytest.mark.parametrize("size_bytes", [1 << 20, LARGE])
def test_an_upload_that_is_cut_leaves_nothing_and_succeeds_when_tried_again(act_as, write, root, line, size_bytes):
    hashed = hash_files(write("cut.csv", size_bytes))
    act_as("client", endpoint=line.endpoint)
    line.cut_when = lambda line: line.sent_bytes > size_bytes / 2
    with pytest.raises(ServiceFailed, match=f"the object store at {line.endpoint} cannot be used"):
        store_raw(hashed, raw_uri=RAW_URI)
    assert count_versions(root, key_of(hashed.raw)) == 0
    line.cut_when = lambda line: False
    store_raw(hashed, raw_uri=RAW_URI)
    assert count_versions(root, key_of(hashed.raw)) == 1


def test_a_download_that_is_cut_or_goes_silent_is_an_error_in_bounded_time(act_as, write, line, tmp_path, monkeypatch):
    act_as("client")
    raw = store(write("a.csv", 4 << 20))
    monkeypatch.setattr(raw_bucket, "_CONFIG", raw_bucket._CONFIG.merge(Config(read_timeout=1)))
    act_as("trainer", endpoint=line.endpoint)
    for name in ("cut_when", "stop_when"):
        start = line.received_bytes
        setattr(line, name, lambda line, start=start: line.received_bytes > start + (1 << 20))
        with pytest.raises(ServiceFailed, match=f"the object store at {line.endpoint} cannot be used"):
            fetch(raw, tmp_path / "fetched")
        setattr(line, name, lambda line: False)
    assert fetch(raw, tmp_path / "fetched").raw.digest == raw.digest


def test_a_store_that_is_away_is_named_with_what_to_do(act_as, write):
    endpoint = f"http://127.0.0.1:{free_port()}"
    act_as("client", endpoint=endpoint)
    with pytest.raises(ServiceFailed, match=f"{endpoint} cannot be used.*AWS_ENDPOINT_URL_S3") as away:
        store(write("a.csv"))
    assert "\n" not in str(away.value)


def test_keys_that_are_wrong_or_may_not_are_named_and_never_told(act_as, minio, write, monkeypatch, tmp_path):
    path = write("a.csv")
    raw = hash_files(path).raw
    act_as("mlflow")
    with pytest.raises(ServiceFailed, match="its user lacks the right"):
        store(path)
    with pytest.raises(ServiceFailed, match="its user lacks the right"):
        fetch(raw, tmp_path)
    key, _ = minio.keys["client"]
    for keys, problem in (
        ((key, "wrong-secret"), "not the right ones"),
        (("nobody", "wrong-secret"), "not known there"),
    ):
        monkeypatch.setitem(minio.keys, "client", keys)
        act_as("client")
        with pytest.raises(
            ServiceFailed, match=f"keys that AWS_SHARED_CREDENTIALS_FILE names are {problem}"
        ) as refused:
            store(path)
        assert "wrong-secret" not in str(refused.value)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "absent"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ServiceFailed, match="Unable to locate credentials"):
        store(path)


def test_a_bucket_that_is_missing_and_an_address_that_is_none_are_named(act_as, minio, write, monkeypatch):
    path = write("a.csv")
    monkeypatch.setitem(minio.keys, "client", minio.root)
    act_as("client")
    with pytest.raises(ServiceFailed, match=r"NoSuchBucket.*MODELYARD_BUCKET"):
        store_raw(hash_files(path), raw_uri="s3://missing/raw")
    act_as("client", endpoint="minio:9000")
    with pytest.raises(InvalidSetting, match=r"address or keys cannot be used.*minio:9000"):
        store(path)


def test_mlflows_own_client_works_with_each_users_rights_and_the_same_variables(act_as, minio, tmp_path):
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

    def open_artifacts(name, path):
        key, secret = minio.keys[name]
        uri = f"s3://modelyard/runs/1/{path}/artifacts"
        return S3ArtifactRepository(uri, access_key_id=key, secret_access_key=secret)

    act_as("trainer")  # for the address, which MLflow must take from the same variable
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text("a model")
    (model / "model.skops").write_bytes(os.urandom(9 << 20))
    open_artifacts("trainer", "models/m-9").log_artifacts(str(model))
    (tmp_path / "verdict.json").write_text("{}")
    open_artifacts("evaluator", "r9").log_artifact(str(tmp_path / "verdict.json"))
    for name in ("evaluator", "mlflow", "notebook"):
        copy = Path(open_artifacts(name, "models/m-9").download_artifacts("", str(tmp_path)))
        assert {path.name for path in copy.iterdir()} >= {"MLmodel", "model.skops"}
    assert [file.path for file in open_artifacts("mlflow", "r9").list_artifacts()] == ["verdict.json"]
    open_artifacts("gc", "models/m-9").delete_artifacts()
    assert open_artifacts("trainer", "models/m-9").list_artifacts() == []
