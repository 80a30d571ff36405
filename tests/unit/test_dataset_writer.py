"""A dataset's files: one pass, the same bytes however the rows came, and nothing but the same rows again."""

import tracemalloc
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.data.dataset import DatasetTables, cut_chunks
from modelyard.data.dataset_reader import DatasetFiles
from modelyard.data.dataset_writer import write_dataset
from modelyard.errors import BadInput, ContentMismatch, DigestRefused, UnsupportedFile


def make_tables(num_rows: int, *, seed: int = 0) -> DatasetTables:
    rng = np.random.default_rng(seed)
    return DatasetTables(
        X=pa.table({"a": rng.normal(size=num_rows), "b": [f"k{i % 7}" if i % 11 else None for i in range(num_rows)]}),
        y=pa.table({"price": rng.integers(0, 9, num_rows)}),
        split=pa.array(["test" if i % 5 == 0 else "train" for i in range(num_rows)]),
        extra=pa.table({"who": pa.array([f"p{i % 3}" for i in range(num_rows)]).dictionary_encode()}),
    )


def cut(tables: DatasetTables, sizes: list[int]) -> list[DatasetTables]:
    parts, start = [], 0
    for size in [*sizes, tables.num_rows]:
        parts.append(tables.slice(start, size))
        start += size
    return parts


def test_the_rows_come_back_as_they_were_with_a_digest_that_the_table_has(tmp_path):
    tables = make_tables(1000)
    written = write_dataset([tables], folder=tmp_path)
    again = DatasetFiles(tmp_path).read()
    assert again.table().equals(tables.table())
    assert written.digest == tables.digest() == again.digest()
    assert (written.num_rows, written.num_elements) == (1000, 5000)
    columns = {column["name"]: column for column in written.schema}
    assert list(columns) == ["X.a", "X.b", "y.price", "split", "extra.who"]
    assert [name for name, column in columns.items() if column["nullable"]] == ["X.b"]
    for file in written.files:
        path = tmp_path / file.path
        assert (sha256(path.read_bytes()).hexdigest(), path.stat().st_size) == (file.sha256, file.size_bytes)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 900), max_size=6))
def test_files_do_not_depend_on_how_the_rows_came(tmp_path_factory, sizes):
    tables = make_tables(3000)
    whole = write_dataset([tables], folder=tmp_path_factory.mktemp("whole"))
    parts = write_dataset(cut(tables, sizes), folder=tmp_path_factory.mktemp("parts"))
    assert parts == whole


def test_what_looks_on_sees_the_same_groups_however_the_rows_came(tmp_path):
    tables, seen = make_tables(300_000), {}
    for name, sizes in (("whole", []), ("parts", [1, 140_000, 5, 90_000])):
        seen[name] = []
        (tmp_path / name).mkdir()
        write_dataset(cut(tables, sizes), folder=tmp_path / name, passes=[lambda rows, n=name: seen[n].append(rows)])
    assert [rows.num_rows for rows in seen["whole"]] == [131_072, 131_072, 37_856]
    assert [rows.table() for rows in seen["whole"]] == [rows.table() for rows in seen["parts"]]


@pytest.mark.parametrize("prefix", [1, 999, 131_072, 131_073, 200_000])
def test_the_first_rows_have_a_digest_of_their_own_without_the_split(tmp_path, prefix):
    tables = make_tables(200_000)
    head = tables.slice(0, prefix)
    other = DatasetTables(X=head.X, y=head.y, split=pa.array(["train"] * prefix), extra=head.extra)
    for name, content in (("all", tables), ("other", other)):
        (tmp_path / name).mkdir()
        written = write_dataset([content], folder=tmp_path / name, prefix_rows=prefix)
        if name == "all":
            extends = written.extends
    assert extends == written.rows_digest, "whatever split the rows are in"
    (tmp_path / "none").mkdir()
    assert write_dataset([head], folder=tmp_path / "none", prefix_rows=prefix + 1).extends is None


def test_columns_that_differ_between_parts_and_no_rows_at_all_are_refused(tmp_path):
    tables = make_tables(10)
    with pytest.raises(BadInput, match="no rows"):
        write_dataset([tables.slice(0, 0)], folder=tmp_path)
    other = DatasetTables(X=tables.X.rename_columns(["a", "c"]), y=tables.y, split=tables.split, extra=tables.extra)
    with pytest.raises((DigestRefused, pa.ArrowInvalid)):
        write_dataset([tables, other], folder=tmp_path)


def test_a_type_that_parquet_cannot_hold_is_named(tmp_path):
    values = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2))
    struct = pa.StructArray.from_arrays([values], ["inner"], mask=pa.array([False, True, False]))
    tables = DatasetTables(
        X=pa.table({"a": struct}), y=pa.table({"b": [1, 2, 3]}), split=pa.array(["train"] * 3), extra=None
    )
    try:
        written = write_dataset([tables], folder=tmp_path)
    except UnsupportedFile as error:
        assert "X.parquet" in str(error)
    else:
        assert DatasetFiles(tmp_path).read().digest() == written.digest


def test_floats_that_do_not_repeat_are_written_plain_and_what_repeats_is_compressed(tmp_path):
    tables = make_tables(50_000)
    write_dataset([tables], folder=tmp_path)
    group = pq.ParquetFile(tmp_path / "metadata/X.parquet").metadata.row_group(0)
    codecs = {group.column(i).path_in_schema: group.column(i).compression for i in range(2)}
    assert codecs == {"a": "UNCOMPRESSED", "b": "ZSTD"}
    assert group.column(1).total_compressed_size < 50_000


def test_a_changed_file_is_found_with_expected_and_found_digest(tmp_path):
    tables = make_tables(1000)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    written = write_dataset([tables], folder=tmp_path / "a")
    other = write_dataset([make_tables(1000, seed=1)], folder=tmp_path / "b")
    DatasetFiles(tmp_path / "a").verify(written.digest, what="it")
    with pytest.raises(ContentMismatch) as refused:
        DatasetFiles(tmp_path / "b").verify(written.digest, what="it")
    assert (refused.value.expected, refused.value.found) == (written.digest, other.digest)


def test_memory_does_not_grow_with_the_rows(tmp_path):
    def parts(count: int):
        for number in range(count):
            yield make_tables(60_000, seed=number)

    peaks = []
    for count in (4, 16):
        folder = Path(tmp_path, str(count))
        folder.mkdir()
        before = pa.total_allocated_bytes()
        highest = 0
        tracemalloc.start()

        def watch(rows, before=before):
            nonlocal highest
            highest = max(highest, pa.total_allocated_bytes() - before)

        write_dataset(parts(count), folder=folder, passes=[watch])
        DatasetFiles(folder).verify(write_digest(folder), what="it")
        peaks.append(highest + tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0], f"four times the rows took {peaks} bytes"


def write_digest(folder: Path) -> str:
    return DatasetFiles(folder).read().digest()


def test_rows_are_cut_without_loss():
    tables = make_tables(1000)
    for size in (1, 7, 999, 1000, 5000):
        parts = list(cut_chunks(cut(tables, [3, 0, 500]), size))
        assert [part.num_rows for part in parts[:-1]] == [size] * (len(parts) - 1)
        assert pa.concat_tables([part.table() for part in parts]).equals(tables.table())
