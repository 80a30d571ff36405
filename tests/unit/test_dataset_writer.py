"""A dataset's files: one pass, the same bytes however the rows came, and nothing but the same rows again."""

import tracemalloc
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.data.dataset import DatasetTables
from modelyard.data.dataset_reader import DatasetFiles
from modelyard.data.dataset_writer import check_facts, write_dataset
from modelyard.data.row_groups import cut_groups
from modelyard.errors import BadInput, ContentMismatch, UnsupportedFile


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


def test_a_file_of_many_row_groups_has_the_sha256_of_all_its_bytes(tmp_path):
    num_rows = 400_000
    values = np.random.default_rng(0).normal(size=num_rows)
    split = pa.array(["train", "test"]).take(pa.array(np.arange(num_rows) % 2))
    tables = DatasetTables(X=pa.table({"a": values, "b": -values}), y=pa.table({"c": values}), split=split, extra=None)
    for file in write_dataset([tables], folder=tmp_path).files:
        path = tmp_path / file.path
        assert (sha256(path.read_bytes()).hexdigest(), path.stat().st_size) == (file.sha256, file.size_bytes)
        assert pq.ParquetFile(path).num_row_groups == 4
    told = []
    DatasetFiles(tmp_path).verify(tables.digest(), what="it", told=told.append)
    assert told == [131_072, 262_144, 393_216, num_rows]


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
    others = {
        "X.b is not there and was string before, X.c is string": tables.X.rename_columns(["a", "c"]),
        "X.a is int64 and was float64 before": tables.X.set_column(0, "a", pa.array([1] * 10)),
        "X.b is null and was string before": tables.X.set_column(1, "b", pa.nulls(10)),
        "the columns stand in the order X.b, X.a": tables.X.select(["b", "a"]),
    }
    for number, (problem, X) in enumerate(others.items()):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(BadInput, match=problem):
            write_dataset([tables, replace(tables, X=X)], folder=tmp_path / str(number))


def test_another_physical_form_of_the_same_rows_is_taken(tmp_path):
    tables = make_tables(1000)
    a, b = tables.X.columns
    wide = replace(tables.slice(400, 600), X=pa.table({"a": a, "b": b.cast(pa.large_string())}).slice(400))
    plain = replace(wide, extra=pa.table({"who": wide.extra["who"].cast(pa.string())}), y=tables.y.slice(400))
    assert write_dataset([tables.slice(0, 400), plain], folder=tmp_path).digest == tables.digest()
    assert DatasetFiles(tmp_path).read().table().schema.equals(tables.table().schema)


def test_columns_that_cannot_be_kept_apart_or_named_are_refused_before_a_file_is_written(tmp_path):
    rows = make_tables(10)
    twice = pa.Table.from_arrays([rows.X["a"], rows.X["a"]], names=["a", "a"])
    for problem, X in (("2 columns are called X.a", twice), (r"'X.a\\x00' has a character of zero", {"a\0": [1] * 10})):
        with pytest.raises(BadInput, match=problem):
            write_dataset([replace(rows, X=pa.table(X))], folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("nan"), [1, {"x": float("inf")}], "a\0", {"a\0": 1}, {1, 2}, "\ud800"])
def test_facts_that_the_database_cannot_keep_are_named(value):
    with pytest.raises(BadInput, match="note 'window'"):
        check_facts("note", {"fine": "a \\u0000 that is text", "window": value})
    check_facts("note", {"fine": "a \\u0000 that is text", "also": [1.5, None, {"ü": True}]})


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
        parts = list(cut_groups(cut(tables, [3, 0, 500]), max_rows=size))
        assert [part.num_rows for part in parts[:-1]] == [size] * (len(parts) - 1)
        assert pa.concat_tables([part.table() for part in parts]).equals(tables.table())


STRUCT = pa.struct([("a", pa.string()), ("b", pa.list_(pa.float64()))])
TEXTS = st.lists(st.none() | st.text(max_size=40), min_size=1, max_size=60)


@settings(deadline=None, max_examples=60)
@given(TEXTS, st.lists(st.integers(0, 20), max_size=5))
def test_groups_end_at_the_same_rows_however_long_rows_came(texts, sizes):
    n = len(texts)
    X = pa.table(
        {
            "text": pa.array(texts, pa.string()),
            "view": pa.array(texts, pa.string_view()),
            "list": pa.array([[text, "x"] if text else None for text in texts], pa.list_(pa.string())),
            "map": pa.array([[(text, 1)] if text else None for text in texts], pa.map_(pa.string(), pa.int8())),
            "struct": pa.array([None if text is None else {"a": text, "b": [1.5]} for text in texts], STRUCT),
            "flag": pa.array([True] * n),
            "kind": pa.array(texts, pa.string()).dictionary_encode(),
        }
    )
    tables = DatasetTables(X=X, y=pa.table({"y": np.arange(n)}), split=pa.array(["train"] * n), extra=None)
    whole = [rows.num_rows for rows in cut_groups([tables], max_rows=50, max_bytes=900)]
    assert [rows.num_rows for rows in cut_groups(cut(tables, sizes), max_rows=50, max_bytes=900)] == whole
    assert sum(whole) == n


def test_rows_that_become_long_later_make_small_groups(tmp_path):
    def make(texts: list[str]) -> DatasetTables:
        n = len(texts)
        y, split = pa.table({"y": np.arange(n)}), pa.array(["train"] * n)
        return DatasetTables(X=pa.table({"text": texts}), y=y, split=split, extra=None)

    seen = []
    parts = [make(["x"] * 1100), *(make(["y" * 100_000] * 500) for _ in range(6))]
    write_dataset(parts, folder=tmp_path, passes=[lambda rows: seen.append(rows.X.nbytes)])
    assert len(seen) == 5 and max(seen) < 70 * 2**20


def test_nested_columns_are_compressed_and_their_floats_plain(tmp_path):
    lists = [[{"t": "x" * 20, "v": float(i)}] for i in range(2000)]
    tables = replace(make_tables(2000), X=pa.table({"a": lists}))
    write_dataset([tables], folder=tmp_path)
    group = pq.ParquetFile(tmp_path / "metadata/X.parquet").metadata.row_group(0)
    codecs = {group.column(i).path_in_schema: group.column(i).compression for i in range(2)}
    assert codecs == {"a.list.element.t": "ZSTD", "a.list.element.v": "UNCOMPRESSED"}


@pytest.mark.parametrize(
    ("column", "field"),
    [
        (pa.array([(1, 2, 3)] * 10, pa.month_day_nano_interval()), pa.field("a", pa.month_day_nano_interval())),
        (pa.array([1, None] * 5), pa.field("a", pa.int64(), nullable=False)),
    ],
    ids=["a type without a form", "a null where none may be"],
)
def test_what_parquet_cannot_hold_is_named_with_its_file(tmp_path, column, field):
    X = pa.Table.from_arrays([column], schema=pa.schema([field]))
    with pytest.raises(UnsupportedFile, match=r"X\.parquet: Parquet cannot hold"):
        write_dataset([replace(make_tables(10), X=X)], folder=tmp_path)
