"""Raw numbers in several files and formats are the same rows, checked alike."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from modelyard.errors import RawDataMalformed
from modelyard.workloads.raw_csv import Column, load_raw_files, write_raw_csv

LAYOUT = (Column("rooms"), Column("age", low_included=True, blank_allowed=True))
OTHER = (Column("price"), Column("area"))
TABLE = pa.table({"rooms": [3, 4], "age": [None, 0.5], "near": ["SEA", None]})


def read(*files: Path) -> pa.Table:
    return load_raw_files(files, layouts=(LAYOUT, OTHER), unused="near")


def refuse(*files: Path) -> str:
    with pytest.raises(RawDataMalformed) as caught:
        read(*files)
    return str(caught.value)


def write(path: Path, table: pa.Table) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".feather":
        feather.write_feather(table, str(path))
    else:
        path.write_text(pa.concat_tables([table]).to_pandas().to_json(orient="records", lines=path.suffix == ".jsonl"))
    return path


@pytest.mark.parametrize("name", ["t.parquet", "t.feather", "t.jsonl", "t.json"])
def test_typed_files_give_the_rows_that_csv_gives(tmp_path: Path, name: str) -> None:
    same = write_raw_csv(tmp_path / "t.csv", ("age", "near", "rooms"), [("", "SEA", "3"), ("0.5", "", "4")])
    found = read(write(tmp_path / name, TABLE))
    assert found.drop_columns("near").equals(read(same).drop_columns("near"))
    assert found.schema == read(same).schema
    assert found["near"].to_pylist() == ["SEA", None]


def test_files_that_are_given_together_give_their_rows_one_after_the_other(tmp_path: Path) -> None:
    one = write_raw_csv(tmp_path / "1.csv", ("rooms", "age"), [("1", "1")])
    two = write(tmp_path / "2.parquet", TABLE.drop_columns("near"))
    assert read(one, two)["rooms"].to_pylist() == [1, 3, 4]
    assert read(two, one)["rooms"].to_pylist() == [3, 4, 1]
    other = write_raw_csv(tmp_path / "3.csv", ("price", "area"), [("1", "1")])
    assert "3.csv: it has the columns price, area, and 1.csv has others" in refuse(one, other)
    assert "no file was given" in refuse()


def test_a_file_with_tabs_gives_the_rows_that_csv_gives(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("age\tnear\trooms\n\tSEA, far\t3\n0.5\t\t4\n")
    assert read(path)["rooms"].to_pylist() == [3, 4]
    assert read(path)["near"].to_pylist() == ["SEA, far", ""]


def test_a_column_may_stand_in_the_names_of_the_folders(tmp_path: Path) -> None:
    keys = {"age=0.5/near=SAN%20JOSE": 1, "age=__HIVE_DEFAULT_PARTITION__/near=SEA/other=9": 2}
    for key, rooms in keys.items():
        (tmp_path / "rooms=7" / "part" / key).mkdir(parents=True)
        write(tmp_path / "rooms=7" / "part" / key / "0.parquet", pa.table({"rooms": [rooms] * 2}))
    found = read(*sorted((tmp_path / "rooms=7").rglob("*.parquet")))
    assert found["age"].to_pylist() == [0.5, 0.5, None, None]
    assert found["near"].to_pylist() == ["SAN JOSE"] * 2 + ["SEA"] * 2
    assert found["rooms"].to_pylist() == [1, 1, 2, 2], "the file's own, and no folder's above the first one without ="
    (tmp_path / "age=old").mkdir()
    text = refuse(write(tmp_path / "age=old/0.parquet", pa.table({"rooms": [1]})))
    assert "age is string and must be numbers" in text


def test_decimals_are_numbers_and_a_column_of_nulls_is_blank(tmp_path: Path) -> None:
    table = pa.table({"rooms": pa.array([Decimal("3.25"), Decimal(4)]), "age": pa.nulls(2)})
    found = read(write(tmp_path / "t.feather", table))
    assert found["rooms"].to_pylist() == [3.25, 4.0] and found["age"].null_count == 2
    text = refuse(write(tmp_path / "t.feather", pa.table({"rooms": pa.nulls(2), "age": [1, 2]})))
    assert "rooms blank in 2 rows" in text


def test_every_problem_of_a_typed_file_is_listed_at_once(tmp_path: Path) -> None:
    bad = {"rooms": [0.0, -1.0, None, float("nan"), float("inf"), -2.0, -3.0], "more": [1] * 7}
    text = refuse(write(tmp_path / "t.parquet", pa.table(bad)))
    for problem in (
        "missing columns: age",
        "unknown columns: 'more'",
        "rooms not above 0 in 4 rows (row 1: 0.0, row 2: -1.0, row 6: -2.0, …)",
        "rooms blank in 1 row (row 3: None)",
        "rooms not finite in 2 rows",
    ):
        assert problem in text
    text = refuse(write(tmp_path / "t.parquet", pa.table({"rooms": ["3"], "age": [True]})))
    assert "rooms is string and must be numbers; age is bool and must be numbers" in text
    assert "it has no rows" in refuse(write(tmp_path / "t.parquet", TABLE.slice(0, 0)))
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    assert "t.parquet" in refuse(tmp_path / "t.parquet")
