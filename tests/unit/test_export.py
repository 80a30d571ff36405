"""What is exported is what is on record, whole or not at all."""

import io
import json
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from modelyard.data.dataset import DatasetTables
from modelyard.data.digest import digest_table
from modelyard.data.export import FORMATS, list_changed_types, name_columns, whole_file, write_rows
from modelyard.data.files import read_table
from modelyard.errors import BadInput, RawDataMalformed, UnsupportedFile

PLAIN = DatasetTables(
    X=pa.table({"a": [0.1, None, -0.0, 1e300], "b": [1, -(2**62), None, 3], "flag": [True, None, False, True]}),
    y=pa.table({"price": [1.5, 2.0, 1 / 3, 5e-324]}),
    split=pa.array(["train", "train", "test", "validation"]),
    extra=pa.table({"note": ["", None, 'ü "q",\nz', "x"]}),
)
RICH = DatasetTables(
    X=pa.table(
        {
            "small": pa.array([0.1, None], pa.float32()),
            "nan": pa.array([np.nan, 1.0], from_pandas=False),
            "kind": pa.array(["a", "b"]).dictionary_encode(),
            "at": pa.array([datetime(2025, 1, 1, 0, 0, 0, 5), None], pa.timestamp("us", "Europe/Berlin")),
            "day": [date(2025, 1, 2), None],
            "cost": [Decimal("1.20"), None],
        }
    ),
    y=pa.table({"y": pa.array([1, 0], pa.int8())}),
    split=pa.array(["train", "test"]),
    extra=None,
)
NESTED = {"list": [[1.0, 2.0], None], "bytes": [b"\xff", None], "struct": [{"a": 1}, {"a": None}]}


def export(tables: DatasetTables, path: Path, *, full_names: bool = False) -> pa.Table:
    """Write in three parts to a stream that cannot tell where it is, as a pipe, and read it again."""
    sink = Pipe()
    names = name_columns(tables, full_names=full_names)
    parts = [tables.slice(0, 1), tables.slice(1, 1), tables.slice(2, tables.num_rows)]
    assert write_rows(parts, sink, format_name=path.suffix[1:], names=names) == tables.num_rows
    path.write_bytes(sink.content)
    return read_table(path)


class Pipe(io.RawIOBase):
    content = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.content += bytes(memoryview(data))  # type: ignore[arg-type]
        return len(memoryview(data))  # type: ignore[arg-type]

    def tell(self) -> int:
        raise OSError("a pipe has no place")


@pytest.mark.parametrize("name", FORMATS)
def test_numbers_texts_and_nulls_come_back_the_same_from_every_format(tmp_path: Path, name: str) -> None:
    found = export(PLAIN, tmp_path / f"t.{name}")
    assert found.column_names == ["a", "b", "flag", "price", "split", "note"]
    assert digest_table(found) == digest_table(PLAIN.table().rename_columns(found.column_names))
    assert list_changed_types(found.schema, name) == []


@pytest.mark.parametrize("name", ["parquet", "arrow"])
@pytest.mark.parametrize("tables", [PLAIN, RICH], ids=["plain", "rich"])
def test_with_full_names_the_digest_of_the_file_is_the_datasets(
    tmp_path: Path, name: str, tables: DatasetTables
) -> None:
    assert digest_table(export(tables, tmp_path / f"t.{name}", full_names=True)) == tables.digest()


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_a_text_says_which_types_it_does_not_keep(tmp_path: Path, name: str) -> None:
    found = export(RICH, tmp_path / f"t.{name}")
    told = list_changed_types(RICH.table().schema, name)
    expected = ["X.small (float32)", 'X.at (timestamp[us, "Europe/Berlin"])', "X.cost (decimal(3, 2))", "y.y (int8)"]
    assert told == [*expected[:2], *(["X.day (date)"] if name == "jsonl" else []), *expected[2:]]
    assert found["kind"].to_pylist() == ["a", "b"]
    assert found["y"].to_pylist() == [1, 0]
    assert str(found["nan"].to_pylist()) == ("[nan, 1.0]" if name == "csv" else "[None, 1.0]")


def test_lists_and_bytes_are_refused_by_csv_and_written_by_the_others(tmp_path: Path) -> None:
    nested = DatasetTables(X=pa.table(NESTED), y=RICH.y, split=RICH.split, extra=None)
    with pytest.raises(UnsupportedFile, match=r"CSV cannot hold list \(list<.*>\), bytes \(binary\), struct .*parquet"):
        export(nested, tmp_path / "t.csv")
    assert digest_table(export(nested, tmp_path / "t.arrow", full_names=True)) == nested.digest()
    found = export(nested, tmp_path / "t.jsonl").to_pydict()
    assert found["list"] == NESTED["list"]
    assert found["bytes"] == ["/w==", None]
    assert found["struct"] == NESTED["struct"]


def test_json_that_is_written_is_json_for_everybody(tmp_path: Path) -> None:
    export(RICH, tmp_path / "t.jsonl")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    rows = [json.loads(line, parse_constant=refuse) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert rows[0]["at"] == "2025-01-01T01:00:00.000005+01:00"
    assert rows[0]["cost"] == "1.20"
    infinite = DatasetTables(X=pa.table({"a": [np.inf, 1.0]}), y=RICH.y, split=RICH.split, extra=None)
    with pytest.raises(UnsupportedFile, match="infinite"):
        export(infinite, tmp_path / "t.jsonl")


def test_json_has_every_digit_of_a_time(tmp_path: Path) -> None:
    times = {
        "time": pa.array([1, None], pa.time64("ns")),
        "took": pa.array([1_500_000_001, None], pa.duration("ns")),
        "short": pa.array([-2, None], pa.duration("s")),
        "at": pa.array([1, None], pa.timestamp("ns")),
    }
    tables = DatasetTables(X=pa.table(times), y=RICH.y, split=RICH.split, extra=None)
    export(tables, tmp_path / "t.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [rows[0][name] for name in times] == [
        *("00:00:00.000000001", "PT1.500000001S", "-PT2S", "1970-01-01T00:00:00.000000001"),
    ]
    assert [rows[1][name] for name in times] == [None] * 4
    inner = pa.table({"list": pa.array([[{"t": 1}], None], pa.list_(pa.struct([("t", pa.time64("ns"))])))})
    with pytest.raises(UnsupportedFile, match=r"JSON cannot hold list .* in full"):
        export(DatasetTables(X=inner, y=RICH.y, split=RICH.split, extra=None), tmp_path / "u.jsonl")


@pytest.mark.parametrize("name", ["parquet", "arrow"])
def test_what_was_cut_short_does_not_look_whole(tmp_path: Path, name: str) -> None:
    sink = Pipe()

    def parts() -> Iterator[DatasetTables]:
        yield PLAIN
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(parts(), sink, format_name=name, names=name_columns(PLAIN))
    (tmp_path / f"t.{name}").write_bytes(sink.content)
    with pytest.raises(RawDataMalformed):
        read_table(tmp_path / f"t.{name}")


def test_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    n = [1, 2]
    tables = DatasetTables(X=pa.table({"a": n, "b": n, "split": n}), y=pa.table({"a": n}), split=RICH.split, extra=None)
    assert name_columns(tables) == ["X.a", "b", "X.split", "y.a", "split"]
    tables = DatasetTables(X=pa.table({"a": n, "y.a": n}), y=pa.table({"a": n}), split=RICH.split, extra=None)
    assert name_columns(tables) == ["X.a", "X.y.a", "y.a", "split"]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with pytest.raises(RuntimeError), whole_file(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with whole_file(path) as file:
        file.write(b"whole")
    with pytest.raises(BadInput, match=r"out\.csv is there already.*--force"), whole_file(path):
        pass
    with pytest.raises(RuntimeError), whole_file(path, replace=True) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"whole"
    with whole_file(path, replace=True) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["no folder/out.csv", "."])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="--output"), whole_file(tmp_path / name, replace=True):
        pass
