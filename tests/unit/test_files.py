"""Files of tables: every format gives the same rows, and what cannot be read is named in one clear error."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.data import csv_file
from modelyard.data.digest import digest_batches, digest_table
from modelyard.data.files import open_batches, read_table
from modelyard.data.hashes import HashedFile, md5_file, sha256_file
from modelyard.data.parquet_file import ParquetWriter
from modelyard.errors import BadInput, RawDataMalformed, RawDataNotFound, UnsupportedFile

TABLE = pa.table({"id": [1, 2, 3], "name": ["a", None, 'ü, "q"\nz'], "x": [0.5, None, -0.0]})


def write(table: pa.Table, path: Path) -> Path:
    """Write a table in the format that the name tells."""
    if path.suffix == ".csv":
        pc_csv.write_csv(table, path)
    elif path.suffix == ".parquet":
        pq.write_table(table, path, compression="gzip")
    else:
        new = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
        with new(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    return path


def write_hashed(table: pa.Table, path: Path) -> HashedFile:
    """Write a table as the file of a dataset."""
    writer = ParquetWriter(path, table.schema, first=table)
    writer.write(table)
    return writer.close(relative_to=path.parent)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.arrow", "t.arrows", "t.feather"])
def test_every_format_gives_the_same_content(tmp_path: Path, name: str) -> None:
    path = write(TABLE, tmp_path / name)
    schema, batches = open_batches(path)
    assert digest_batches(schema, batches) == digest_table(read_table(path)) == digest_table(TABLE)
    assert read_table(path).to_pylist() == TABLE.to_pylist()


def test_content_tells_the_format_of_a_file_without_a_telling_name(tmp_path: Path) -> None:
    for name in ("t.parquet", "t.arrow", "t.arrows"):
        nameless = write(TABLE, tmp_path / name).rename(tmp_path / f"{name}.download")
        assert read_table(nameless).equals(TABLE)


def test_a_partitioned_folder_gives_its_partition_columns_in_path_order(tmp_path: Path) -> None:
    for year, ids in ((2024, [3, 4]), (2023, [1, 2])):
        (tmp_path / f"year={year}").mkdir()
        write(pa.table({"id": ids}), tmp_path / f"year={year}" / "part-0.parquet")
    (tmp_path / "_SUCCESS").touch()
    assert read_table(tmp_path).to_pydict() == {"id": [1, 2, 3, 4], "year": [2023, 2023, 2024, 2024]}


def test_a_folder_whose_files_differ_in_columns_is_refused(tmp_path: Path) -> None:
    write(pa.table({"id": [1]}), tmp_path / "a.parquet")
    write(pa.table({"id": [1], "more": [1]}), tmp_path / "b.parquet")
    with pytest.raises(RawDataMalformed, match=r"b\.parquet: its columns are not those of .*a\.parquet"):
        read_table(tmp_path)


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
def test_an_arrow_file_whose_texts_lie_elsewhere_is_refused(tmp_path: Path, new: Callable[..., Any]) -> None:
    table, sink = pa.table({"a": ["x" * 1001, "y" * 1002]}), io.BytesIO()
    with new(sink, table.schema) as writer:
        writer.write_table(table)
    right, wrong = (np.array([0, 1001, end], np.int32).tobytes() for end in (2003, 2**30))
    assert sink.getvalue().count(right) == 1
    (tmp_path / "t.arrow").write_bytes(sink.getvalue().replace(right, wrong))
    with pytest.raises(RawDataMalformed, match=r"t\.arrow"):
        read_table(tmp_path / "t.arrow")


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


PARQUET = pa.BufferOutputStream()
pq.write_table(TABLE, PARQUET)
PARQUET_BYTES = PARQUET.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "content", "error", "says"),
    [
        ("gone.csv", None, RawDataNotFound, "there is no file"),
        ("t.parquet", b"", RawDataMalformed, "it is empty"),
        ("t.csv", b"", RawDataMalformed, "it is empty"),
        ("t.csv", b"\n\n", RawDataMalformed, "Empty CSV"),
        ("t.csv", b"a,b\n1,2\n3\n", RawDataMalformed, r"Row #3: Expected 2 columns, got 1"),
        ("t.csv", b"a,a\n1,2\n", RawDataMalformed, "column 'a' occurs more than once"),
        ("t.csv", b"a\xff,b\n1,2\n", RawDataMalformed, "not UTF-8"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), RawDataMalformed, "not text in UTF-8"),
        ("t.csv", PARQUET_BYTES, RawDataMalformed, r"called \.csv and holds Parquet"),
        ("t.parquet", b"a,b\n1,2\n", RawDataMalformed, r"called \.parquet and holds something other than Parquet"),
        ("t.parquet", cut(PARQUET_BYTES), RawDataMalformed, "cut short"),
        ("t.parquet", b"PAR1" + PARQUET_BYTES[-40:], RawDataMalformed, "t.parquet"),
        ("t.parquet", b"PAR1", RawDataMalformed, "t.parquet"),
        ("t.arrow", b"ARROW1\0\0 and no more", RawDataMalformed, "t.arrow"),
        ("t.xlsx", b"PK\3\4", UnsupportedFile, "no format that is read here"),
        ("folder/readme.txt", b"x", RawDataMalformed, r"holds no \.parquet file"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(
    tmp_path: Path, name: str, content: bytes | None, error: type[BadInput], says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    with pytest.raises(error, match=says) as caught:
        read_table(path.parent if name.startswith("folder") else path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_damage_inside_parquet_is_one_error_too(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write(pa.table({"a": np.arange(10_000)}), path)
    damaged = bytearray(path.read_bytes())
    damaged[100:400] = bytes(300)
    path.write_bytes(damaged)
    with pytest.raises(RawDataMalformed, match=r"t\.parquet"):
        read_table(path)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "2", ""], pa.array([1, 2, None])),
        (["1", "2.5", ""], pa.array([1, 2.5, None])),
        (["x", '""', ""], pa.array(["x", "", None])),
        (["1", "NA", ""], pa.array(["1", "NA", None])),
        (["", "", "7"], pa.array([None, None, 7])),
        (["", "", "true"], pa.array([None, None, True])),
        (["2026-01-02", "2026-01-02 03:04:05", ""], pa.array([1767312000, 1767323045, None], pa.timestamp("s"))),
        (["1", "2", 'a "word"'], pa.array(["1", "2", 'a "word"'])),
    ],
)
@pytest.mark.parametrize("is_large", [False, True])
def test_a_csv_column_has_the_type_that_all_of_its_values_have(
    tmp_path: Path, cells: list[str], expected: pa.Array, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_large:
        monkeypatch.setattr(csv_file, "WHOLE_FILE_BYTES", 0)
        monkeypatch.setattr(csv_file, "BLOCK_BYTES", 64)
    quoted = [
        cell if cell.startswith('"') else '"' + cell.replace('"', '""') + '"' if '"' in cell else cell for cell in cells
    ]
    rows = [f"{quoted[0]},pad\n"] * 50 + [f"{cell},pad\n" for cell in quoted[1:]]
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(rows), encoding="utf-8")
    column = read_table(path)["a"].combine_chunks()
    assert column.take([0, 50, 51]).equals(expected)


def test_a_ragged_row_far_down_a_large_csv_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "WHOLE_FILE_BYTES", 4096)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 50_000 + "3\n", encoding="utf-8")
    with pytest.raises(RawDataMalformed, match="Row #50002"):
        open_batches(path)


TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.none() | st.integers(-(2**63), 2**63 - 1), TEXT), min_size=1))
def test_numbers_and_texts_survive_csv(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int | None, str]]
) -> None:
    table = pa.table({"number": pa.array([1, *[n for n, _ in rows]]), "text": ["text", *[t for _, t in rows]]})
    path = write(table, tmp_path_factory.mktemp("csv") / "t.csv")
    assert digest_table(read_table(path)) == digest_table(table)


def test_written_parquet_depends_on_the_content_only(tmp_path: Path) -> None:
    n = 300_000
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=n), "s": np.arange(n).astype(str)})
    table = pa.Table.from_pandas(frame)
    chunked = pa.concat_tables([table.slice(start, 70_001) for start in range(0, n, 70_001)])
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path, form in zip(paths, (table, chunked.replace_schema_metadata(None)), strict=True):
        assert write_hashed(form, path) == HashedFile(path.name, sha256_file(path), path.stat().st_size)
    assert sha256_file(paths[0]) == sha256_file(paths[1])
    assert pq.read_schema(paths[0]).metadata is None
    assert digest_table(read_table(paths[0])) == digest_table(table)
    assert sorted(tmp_path.iterdir()) == paths


def test_an_empty_table_is_written_and_read(tmp_path: Path) -> None:
    write_hashed(TABLE.slice(0, 0), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").equals(TABLE.slice(0, 0))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
        pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),  # written by Parquet, and then not readable
    ],
)
def test_a_table_that_parquet_cannot_hold_leaves_no_file(tmp_path: Path, column: pa.Array) -> None:
    with pytest.raises(UnsupportedFile, match="Parquet cannot hold"):
        write_hashed(pa.table({"a": column}), tmp_path / "t.parquet")
    assert not list(tmp_path.iterdir())


def test_hashes_of_a_file_are_those_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"content" * 1000)
    assert sha256_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert md5_file(path) == hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
