"""JSON as APIs and logs write it gives the same rows however it is laid out, and an error names the line."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.data import json_lines
from modelyard.data.digest import digest_table
from modelyard.data.files import open_batches, read_table
from modelyard.errors import RawDataMalformed

ROWS = [{"id": 1, "name": "a", "x": 0.5}, {"id": 2, "name": None, "x": -0.0}, {"id": 3, "name": 'ü, "q"\nz', "x": 2}]
TABLE = pa.table({"id": [1, 2, 3], "name": ["a", None, 'ü, "q"\nz'], "x": [0.5, -0.0, 2.0]})


@pytest.fixture(params=[False, True], ids=["one block", "many blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(json_lines, "BLOCK_BYTES", 8)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS)),
        ("t.ndjson", "\r\n\r\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)),
        ("t.json", "\ufeff" + "".join(json.dumps(row) + "\n" for row in ROWS)),
        ("t.json", json.dumps(ROWS)),
        ("t.json", "\ufeff\n" + json.dumps(ROWS, indent=2, ensure_ascii=False).replace("\n", "\r\n") + "\n"),
        ("t.jsonl", json.dumps(ROWS, separators=(",", ":"))),
    ],
    ids=[
        "lines",
        "blank lines and no end",
        "lines called .json",
        "array",
        "array of many lines",
        "array called .jsonl",
    ],
)
@pytest.mark.usefixtures("blocks")
def test_every_layout_gives_the_same_content(tmp_path: Path, name: str, content: str) -> None:
    table = read_table(write(tmp_path / name, content))
    assert table.to_pylist() == TABLE.to_pylist()
    assert digest_table(table) == digest_table(TABLE)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, None], pa.array([1, 2, None])),
        ([1, 2.5, None], pa.array([1, 2.5, None])),
        ([None, None, "x"], pa.array([None, None, "x"])),
        (["2026-01-02", "2026-01-02 03:04:05", None], pa.array([1767312000, 1767323045, None], pa.timestamp("s"))),
        (["2026-01-02", "soon", ""], pa.array(["2026-01-02", "soon", ""])),
        ([[], [1], [2.5]], pa.array([[], [1.0], [2.5]], pa.list_(pa.float64()))),
        ([{"a": 1}, {"b": ["x"]}, {"a": 0.5}], pa.array([{"a": 1.0}, {"b": ["x"]}, {"a": 0.5}])),
    ],
)  # fmt: skip
@pytest.mark.parametrize("layout", ["lines", "array"])
@pytest.mark.usefixtures("blocks")
def test_a_column_has_the_type_that_all_of_its_values_have(
    tmp_path: Path, values: list[object], expected: pa.Array, layout: str
) -> None:
    rows = [{"v": values[0], "pad": 1}] * 50 + [{"v": value} for value in values[1:]] + [{"late": True}]
    content = "\n".join(map(json.dumps, rows)) if layout == "lines" else json.dumps(rows, indent=1)
    table = read_table(write(tmp_path / "t.json", content))
    assert table.column_names == ["v", "pad", "late"]
    assert table["v"].combine_chunks().take([0, 50, 51]).to_pylist() == expected.to_pylist()
    assert table["v"].type.equals(expected.type)
    assert table["late"].to_pylist() == [None] * (len(rows) - 1) + [True]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"a":1}\n\n{"a":2,}\n', "line 3: Missing a name"),
        ('{"a":1}\n\n{"a":2', "line 3: Missing a comma or '}'"),
        ('{"a":1}\n\n{"a":"x"}\n', r"line 3: Column\(/a\) changed from number to string"),
        ('{"a":{"b":1}}\n{"a":{"b":[1]}}\n', r"line 2: Column\(/a/b\) changed from number to array"),
        ('{"a":1}\n5\n', "line 2: it is no object"),
        ("[1,2]\n[3,4]\n", "line 1: it is no object"),
        ('{"a":1,"a":2}\n', r"line 1: Column\(/a\) was specified twice"),
        (b'{"a":1}\n{"a":"\xff"}\n', "line 2: it is not UTF-8"),
        (b'[{"a":"\xff"}]', "not UTF-8"),
        ("{}\n{}\n", "no object with a name and a value"),
        ("[]", "no object with a name and a value"),
        (" \n", "no object with a name and a value"),
        ('[{"a":1},\n\n{"a":"x"}]', r"line 3: Column\(/a\) changed from number to string"),
        ('[{"a":1},\n{"a":2,}]', "line 2: "),
        ('[{"a":1},\n{"a":2', "line 2: "),
        ('[{"a":1},\n{"a":2}', r"line 2: there should be a \]"),
        ('[{"a":1}\n{"a":2}]', r"line 2: there should be a \]"),
        ('[{"a":1}, null]', "line 1: it is no object"),
        ('[{"a":1}]\n[{"a":1}]', "line 2: there is more after the end"),
        (f'[{{"a":{"[" * 100_000}', "line 1: "),
        (f'{{"a":{"[" * 100_000}', "line 1: "),
        (f'{{"a":1}}\n{{"b":{"[" * 20_000}{"]" * 20_000}}}', "line 2: it is nested more than 100 deep"),
        ('{"a":1}\n' + '{"a":' * 20_000 + "1" + "}" * 20_000, "line 2: it is nested more than 100 deep"),
        (f'[{{"a":1}},\n{{"b":{"[" * 200}{"]" * 200}}}]', "line 2: it is nested more than 100 deep"),
        ('{"a":1}\n'.encode("utf-16"), "not text in UTF-8"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("blocks")
def test_what_cannot_be_read_is_named_by_its_line(tmp_path: Path, content: str | bytes, says: str) -> None:
    with pytest.raises(RawDataMalformed, match=says) as caught:
        read_table(write(tmp_path / "t.json", content))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("content", ['{"a":"%s"}\n{"a":1}', '[{"a":"%s"}]'])
def test_a_row_that_is_too_long_for_memory_is_refused(
    tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "BLOCK_BYTES", 64)
    monkeypatch.setattr(json_lines, "MAX_ROW_BYTES", 1024)
    with pytest.raises(RawDataMalformed, match="line 1: "):
        open_batches(write(tmp_path / "t.json", content % ("x" * 4096)))


def test_many_lists_beside_each_other_and_brackets_in_texts_are_no_depth(tmp_path: Path) -> None:
    row = {"many": [[n] for n in range(300)], "text": '\\"' + "[" * 300 + '"{'}
    assert read_table(write(tmp_path / "t.jsonl", json.dumps(row))).to_pylist() == [row]


VALUES = st.none() | st.integers(-(2**53), 2**53) | st.floats(allow_infinity=False, allow_nan=False)
TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(VALUES, TEXT), min_size=1), st.booleans())
def test_numbers_and_texts_survive_json(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float | None, str]], is_array: bool
) -> None:
    objects = [{"number": 0.5, "text": "text"}, *({"number": n, "text": t} for n, t in rows)]
    content = json.dumps(objects, indent=1) if is_array else "\n".join(map(json.dumps, objects))
    table = read_table(write(tmp_path_factory.mktemp("json") / "t.json", content))
    expected = {"number": pa.array([float(o["number"]) if o["number"] is not None else None for o in objects])}
    assert digest_table(table) == digest_table(pa.table(expected | {"text": [o["text"] for o in objects]}))


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"a": 1}\n\n{"a": 12345678901234567890}', "line 3: a is 12345678901234567890, which a double cannot hold"),
        ('{"a": 0.5} {"a": 9007199254740993}\n', "line 1: a is 9007199254740993,"),
        ('[{"a": 0.5},\n{"a": -9007199254740993}]', "line 2: a is -9007199254740993,"),
    ],
)
def test_an_integer_that_a_double_would_round_is_refused(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(RawDataMalformed, match=says):
        read_table(write(tmp_path / "t.json", content))


def test_large_numbers_that_a_double_holds_are_taken_however_they_are_written(tmp_path: Path) -> None:
    rows = ["0.5", "1e300", "9007199254740992", str(2**80), "1152921504606847000", "12345678901234567.5"]
    text = "".join(f'{{"a": {row}, "id": {2**62 + 1}, "b": "12345678901234567890"}}\n' for row in rows)
    table = read_table(write(tmp_path / "t.jsonl", text))
    assert table["a"].to_pylist() == [float(row) for row in rows]
    assert table["id"].to_pylist() == [2**62 + 1] * 6, "an integer column is exact"
