"""Raw data is found once, never swapped silently, and kept by content."""

import json
import os
import tempfile
from dataclasses import replace
from hashlib import md5, sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelyard.errors import BadInput, ContentMismatch, InvalidSetting, RawDataMalformed, RawDataNotFound, RecordLost
from modelyard.pipeline.raw import LocatedData, fetch_raw, find_dvc_md5, hash_raw, locate_raw, store_raw
from modelyard.workloads.registry import get_workload

WORKLOAD = get_workload("california_housing")


@pytest.fixture
def said():
    return []


def locate(tmp_path, said, data=None):
    return locate_raw(WORKLOAD, data=data, data_dir=tmp_path / "data", folder=tmp_path, report=said.append)


def test_data_that_was_named_never_falls_back(tmp_path, said):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/housing.csv").write_text("there is something else to fall back on")
    with pytest.raises(RawDataNotFound, match=r"absent\.csv"):
        locate(tmp_path, said, tmp_path / "absent.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RawDataMalformed, match=r"holds none of cal_housing\.data, housing\.csv.* and no file called"):
        locate(tmp_path, said, tmp_path / "empty")


def drop(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_names_keep_the_folders_that_hold_values(tmp_path, said):
    drop(tmp_path / "p", "age=1/near=SEA/0.parquet", "age=2/1.parquet")
    named = {
        "p": ["age=1/near=SEA/0.parquet", "age=2/1.parquet"],
        "p/age=1/near=SEA": ["age=1/near=SEA/0.parquet"],
        "p/age=2/1.parquet": ["age=2/1.parquet"],
    }
    for data, names in named.items():
        assert list(locate(tmp_path, said, tmp_path / data).names) == names


def test_of_a_folder_the_workloads_own_file_is_taken_if_it_is_there(tmp_path, said):
    drop(tmp_path / "f", "a.csv", "housing.csv", "california_housing.csv", "deep/cal_housing.data")
    found = locate(tmp_path, said, tmp_path / "f")
    assert found.files == (tmp_path / "f/housing.csv",)
    assert hash_raw(found).raw.files[0].name == "housing.csv"


@pytest.fixture
def refused_folder(tmp_path):
    """A folder with a file, in a place that an unprivileged user may read: nothing is closed to root."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        drop(Path(name), "a.csv", "closed/b.csv", ".closed/c.csv")
        user = os.geteuid()
        os.seteuid(user or 65534)
        yield Path(name)
        os.seteuid(user)
        for path in Path(name).iterdir():
            path.chmod(0o755)


def close(folder, mode):
    user = os.geteuid()
    os.seteuid(os.getuid())
    folder.chmod(mode)
    os.seteuid(user)


@pytest.mark.parametrize("mode", [0o000, 0o744], ids=["not listed", "not entered"])
def test_a_folder_in_the_folder_that_cannot_be_read_is_refused_and_a_hidden_one_is_not(
    refused_folder, said, tmp_path, mode
):
    close(refused_folder / ".closed", mode)
    assert locate(tmp_path, said, refused_folder).names == ("a.csv", "closed/b.csv")
    close(refused_folder / "closed", mode)
    with pytest.raises(RawDataMalformed, match=r"closed.*: it cannot be read: Permission denied\. Make it readable"):
        locate(tmp_path, said, refused_folder)


@pytest.mark.parametrize(
    ("link", "target", "says"),
    [
        ("more", "elsewhere", "more: it is a link to a folder, and may lead in a circle"),
        ("b.csv", "nowhere", r"b\.csv: it is no file, or a link that leads nowhere"),
    ],
)
def test_a_link_that_is_not_followed_is_named(tmp_path, said, link, target, says):
    drop(tmp_path, "f/a.csv", "elsewhere/b.csv")
    (tmp_path / "f" / link).symlink_to(tmp_path / target)
    with pytest.raises(RawDataMalformed, match=says):
        locate(tmp_path, said, tmp_path / "f")
    drop(tmp_path, "f/housing.csv")
    assert locate(tmp_path, said, tmp_path / "f").names == ("housing.csv",), "nothing else is asked for then"


def test_a_link_to_a_file_is_that_file(tmp_path, said):
    drop(tmp_path, "f/a.csv", "elsewhere/b.csv")
    (tmp_path / "f/c.csv").symlink_to(tmp_path / "elsewhere/b.csv")
    assert locate(tmp_path, said, tmp_path / "f").names == ("a.csv", "c.csv")


def test_an_empty_name_is_not_the_current_folder(tmp_path, said, monkeypatch):
    drop(tmp_path, "housing.csv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="--data is empty"):
        locate(tmp_path, said, "")


def test_of_any_other_folder_every_file_that_can_be_read_is_taken_in_the_order_of_their_paths(tmp_path, said):
    read = ("2024/b/x.PARQUET", "2024/b.jsonl", "a.csv", "b.arrow", "c.json")
    drop(tmp_path / "f", *reversed(read), ".hidden.csv", ".git/x.csv", "_tmp/x.csv", "notes.txt", "a.csv.dvc", "no")
    found = locate(tmp_path, said, tmp_path / "f")
    assert found.names == read
    assert [path.read_text() for path in found.files] == list(read)
    raw = hash_raw(found).raw
    assert [file.name for file in raw.files] == list(read)
    reference = store_raw(hash_raw(found), raw_uri=(tmp_path / "raw store").as_uri()).reference()
    fetched = fetch_raw(reference, raw_uri=(tmp_path / "raw store").as_uri(), folder=tmp_path)
    assert [path.read_text() for path in fetched.located.files] == list(read)
    assert fetched.raw.reference() == reference


def test_files_of_one_name_in_two_folders_stay_two(tmp_path, said):
    drop(tmp_path / "f", "year=2024/part-0.parquet", "year=2025/part-0.parquet")
    (tmp_path / "f/year=2025/part-0.parquet").write_text("year=2024/part-0.parquet")  # the same bytes
    raw = hash_raw(locate(tmp_path, said, tmp_path / "f")).raw
    assert [file.name for file in raw.files] == ["year=2024/part-0.parquet", "year=2025/part-0.parquet"]
    reference = store_raw(
        hash_raw(locate(tmp_path, said, tmp_path / "f")), raw_uri=(tmp_path / "raw store").as_uri()
    ).reference()
    fetched = fetch_raw(reference, raw_uri=(tmp_path / "raw store").as_uri(), folder=tmp_path)
    assert [path.parent.name for path in fetched.located.files] == ["year=2024", "year=2025"]


def test_the_data_folder_comes_first_and_the_workloads_own_folder_in_it(tmp_path, said):
    for place in ("data", "data/california_housing"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "housing.csv").write_text(place)
    found = locate(tmp_path, said)
    assert found.files == (tmp_path / "data/california_housing/housing.csv",)
    assert found.source == "file_path"
    assert said == []


def test_without_data_and_network_the_sample_is_used_and_said(tmp_path, said, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    found = locate(tmp_path, said)
    assert found.source == "sample"
    assert found.why.startswith("SAMPLE: made-up data")
    assert "trying the public download" in said[0]


def store(tmp_path, *paths):
    return store_raw(hash_files(*paths), raw_uri=(tmp_path / "raw store").as_uri())


def hash_files(*paths):
    return hash_raw(LocatedData(files=paths, source="file_path", why="named"))


def test_a_file_that_changes_between_reading_and_storing_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("1")
    hashed = hash_files(path)
    path.write_text("2")
    with pytest.raises(RawDataMalformed, match="changed while it was being used"):
        store_raw(hashed, raw_uri=tmp_path.as_uri())
    path.unlink()
    with pytest.raises(RawDataMalformed, match="removed while it was being used"):
        store_raw(hashed, raw_uri=tmp_path.as_uri())


@pytest.mark.parametrize("uri", ["s3:///raw", "http://127.0.0.1:9000/modelyard/raw", "/raw", ""])
def test_an_address_that_is_no_raw_store_is_refused(tmp_path, uri):
    path = tmp_path / "a.csv"
    path.write_text("1")
    with pytest.raises(InvalidSetting, match="no address of a raw store: give file:///folder or s3://bucket/raw"):
        store_raw(hash_files(path), raw_uri=uri)


@pytest.mark.parametrize("name", ["two\nlines.csv", "bad\udcff.csv"])
def test_a_file_name_that_is_no_printable_text_is_refused(tmp_path, name):
    (tmp_path / name).write_text("1")
    with pytest.raises(RawDataMalformed, match="no printable text"):
        hash_files(tmp_path / name)


def test_a_file_is_kept_under_its_sha256_whatever_it_is_called(tmp_path):
    path = tmp_path / "a b.csv"
    path.write_bytes(b"1,2\n")
    raw = store(tmp_path, path)
    assert raw.digest == sha256(b"1,2\n").hexdigest()
    assert (tmp_path / "raw store" / raw.digest / "a b.csv").read_bytes() == b"1,2\n"
    assert raw.dvc_md5 == md5(b"1,2\n", usedforsecurity=False).hexdigest()
    assert store(tmp_path, path) == raw


def test_several_files_have_one_digest_that_order_does_not_change(tmp_path):
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("1")
    two.write_text("2")
    raw = store(tmp_path, one, two)
    assert raw.digest == store(tmp_path, two, one).digest
    assert (tmp_path / "raw store" / raw.digest / "manifest.json").is_file()
    two.write_text("3")
    assert store(tmp_path, one, two).digest != raw.digest


def test_a_stored_file_that_was_changed_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("1")
    raw = store(tmp_path, path)
    stored = tmp_path / "raw store" / raw.digest / "a.csv"
    stored.chmod(0o600)
    stored.write_text("2")
    with pytest.raises(ContentMismatch, match=raw.digest):
        store(tmp_path, path)


def test_a_job_gets_the_very_bytes_that_its_reference_names(tmp_path):
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("1")
    two.write_text("2")
    for paths in ([one], [one, two]):
        reference = json.loads(json.dumps(store(tmp_path, *paths).reference()))
        fetched = fetch_raw(reference, raw_uri=(tmp_path / "raw store").as_uri(), folder=tmp_path / "no copy")
        assert [path.read_text() for path in fetched.located.files] == [path.read_text() for path in paths]
        assert fetched.raw.reference() == reference
        assert not (tmp_path / "no copy").exists()  # what is on this machine is used where it lies


def test_raw_data_that_is_lost_or_was_changed_is_taken_by_no_job(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("1")
    reference = store(tmp_path, path).reference()
    stored = tmp_path / "raw store" / reference["digest"] / "a.csv"
    stored.chmod(0o600)
    stored.write_text("2")
    with pytest.raises(ContentMismatch, match=reference["digest"]):
        fetch_raw(reference, raw_uri=(tmp_path / "raw store").as_uri(), folder=tmp_path / "no copy")
    stored.unlink()
    with pytest.raises(RecordLost, match="put the file back, or give the data again"):
        fetch_raw(reference, raw_uri=(tmp_path / "raw store").as_uri(), folder=tmp_path / "no copy")


@pytest.mark.parametrize(
    "forged",
    [
        {"files": [{"name": "../../a.csv", "sha256": "0" * 64, "size_bytes": 1}]},
        {"files": [{"name": "a.csv", "sha256": "../" * 21 + "x", "size_bytes": 1}]},
        {"files": [{"name": "a/../../../a.csv", "sha256": "0" * 64, "size_bytes": 1}]},
        {"files": [{"name": "/etc/passwd", "sha256": "0" * 64, "size_bytes": 1}]},
        {"files": []},
        {"digest": "0" * 64},
    ],
    ids=[
        "a name with a path",
        "a digest with a path",
        "a name that leaves",
        "a whole path",
        "no file",
        "the digest of something else",
    ],
)
def test_a_reference_that_names_no_content_of_the_store_is_refused(tmp_path, forged):
    path = tmp_path / "a.csv"
    path.write_text("1")
    reference = store(tmp_path, path).reference() | forged
    with pytest.raises(BadInput, match="no content of the raw store; give the data again"):
        fetch_raw(reference, raw_uri=(tmp_path / "raw store").as_uri(), folder=tmp_path / "no copy")


def test_the_md5_of_a_dvc_file_beside_the_data_must_be_the_datas(tmp_path):
    path, pointer = tmp_path / "a.csv", tmp_path / "a.csv.dvc"
    path.write_text("1")
    right = md5(b"1", usedforsecurity=False).hexdigest()
    pointer.write_text(f"outs:\n- md5: {right}\n  size: 1\n  hash: md5\n  path: a.csv\n")
    assert find_dvc_md5([path]) == right
    path.write_text("2")
    with pytest.raises(RawDataMalformed, match="dvc checkout"):
        find_dvc_md5([path])
    pointer.write_text("[")
    with pytest.raises(RawDataMalformed, match=r"no \.dvc file"):
        find_dvc_md5([path])


@pytest.fixture
def paired():
    """A workload whose files are used together."""
    names = (("signals.mat", "labels.csv"), "rows.csv")
    return SimpleNamespace(spec=replace(WORKLOAD.spec, name="paired", raw_files=names), download=WORKLOAD.download)


def locate_paired(tmp_path, paired, data=None):
    told = []
    found = locate_raw(paired, data=data, data_dir=tmp_path / "data", folder=tmp_path, report=told.append)
    return [path.relative_to(tmp_path).as_posix() for path in found.files]


def test_a_set_of_files_is_found_together_and_in_its_order(tmp_path, paired):
    drop(
        tmp_path,
        "data/labels.csv",
        "data/signals.mat",
        "data/rows.csv",
        "data/paired/signals.mat",
        "data/paired/rows.csv",
    )
    assert locate_paired(tmp_path, paired) == ["data/paired/rows.csv"], "half a set is none"
    drop(tmp_path, "data/paired/labels.csv")
    together = ["data/paired/signals.mat", "data/paired/labels.csv"]
    assert locate_paired(tmp_path, paired) == together
    assert locate_paired(tmp_path, paired, tmp_path / "data/paired") == together
    named = [tmp_path / name for name in reversed(together)]
    assert locate_paired(tmp_path, paired, named) == together


def test_half_a_set_in_a_folder_that_was_named_is_refused_with_what_it_lacks(tmp_path, paired):
    drop(tmp_path, "half/labels.csv")
    with pytest.raises(
        RawDataMalformed, match=r"lacks signals\.mat, and signals\.mat with labels\.csv are used together"
    ):
        locate_paired(tmp_path, paired, tmp_path / "half")


def test_several_files_are_one_raw_data_set_whatever_their_names(tmp_path, said):
    drop(tmp_path, "one/b.csv", "two/a.csv")
    found = locate(tmp_path, said, [tmp_path / "one/b.csv", tmp_path / "two/a.csv"])
    assert found.names == ("b.csv", "a.csv")
    assert hash_raw(found).raw.dvc_md5 is None


def test_several_names_that_cannot_be_one_raw_data_set_are_refused(tmp_path, said):
    drop(tmp_path, "one/a.csv", "two/a.csv")
    for named, told in (
        (["one/a.csv", "two/a.csv"], "two of the files of --data are called a.csv"),
        (["one/a.csv", "two"], "each is a file, and .*two is not"),
    ):
        with pytest.raises(BadInput, match=told):
            locate(tmp_path, said, [tmp_path / name for name in named])
    with pytest.raises(BadInput, match="each is a file, and s3://bucket/a is not"):
        locate(tmp_path, said, [str(tmp_path / "one/a.csv"), "s3://bucket/a"])
    with pytest.raises(RawDataNotFound, match=r"absent\.csv"):
        locate(tmp_path, said, [tmp_path / "one/a.csv", tmp_path / "absent.csv"])
