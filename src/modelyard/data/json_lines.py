"""JSON in batches: an object a line or an array of objects; each column of the one type that holds for all of it."""

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from modelyard.errors import RawDataMalformed

BLOCK_BYTES = 4 * 2**20  # what is read at once
MAX_ROW_BYTES = 64 * 2**20

HINT = "JSON is read as one object a line, or as one array of objects, in UTF-8."
_BLANK = re.compile(r"[ \t\r\n]*")
_TEXT = re.compile(rb'"(?:[^"\\]+|\\.)*"?')
_DEEPEST = 100
_TOO_DEEP = f"it is nested more than {_DEEPEST} deep"
_ALL_EXACT = 2.0**53  # below it a double holds every integer
_LONG = re.compile(rb"[0-9]{16}")
_EXACT_JSON = json.JSONDecoder(parse_int=Decimal, strict=False)
_ROW = re.compile(r" in row (\d+)$")
_Others = Literal["ignore", "error", "infer"]  # what becomes of names that a schema lacks


def open_json_batches(path: Path) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Schema and record batches of JSON objects; the columns stand in the order in which their names come up.

    The file is read twice: first to find types that hold for every row. A row may have up to 64 MB.

    Raises:
        RawDataMalformed: what is no JSON, no object, or a value of another kind than those before it, by its line;
            raised while iterating, too.
    """
    known = pa.struct([])
    for block in _read_blocks(path):
        try:
            known = _merge(known, pa.struct(block.parse().schema))
        except _OtherKindError:
            block.parse(pa.schema(known), others="ignore")  # which says in what line
            raise
    if not known.num_fields:
        raise RawDataMalformed(path, ["it holds no object with a name and a value"], hint=HINT)
    schema = pa.schema(known)
    return schema, _read_batches(path, schema)


class _OtherKindError(Exception):
    """A value is of another kind than those before it: a text where there were numbers."""


def _merge(one: Any, two: Any) -> Any:
    """The type that Arrow finds for values of both types where they stand in one block."""
    types = pa.types
    if one == two or types.is_null(two):
        return one
    if types.is_null(one):
        return two
    kinds = {str(one), str(two)}
    if kinds == {"int64", "double"}:
        return pa.float64()
    if kinds == {"timestamp[s]", "string"}:
        return pa.string()
    if types.is_struct(one) and types.is_struct(two):
        fields = {field.name: field.type for field in one}
        for field in two:
            fields[field.name] = _merge(fields.get(field.name, pa.null()), field.type)
        return pa.struct(list(fields.items()))
    if types.is_list(one) and types.is_list(two):
        return pa.list_(_merge(one.value_type, two.value_type))
    raise _OtherKindError


def _read_batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for block in _read_blocks(path):
        table = block.parse(schema, others="error")
        _check_integers(block, table)
        yield from table.to_batches()


def _check_integers(block: "_Block", table: pa.Table) -> None:
    """Refuse integers that became doubles, beside fractions or beyond 64 bits, and are no longer those numbers."""
    names = [
        field.name
        for field in table.schema
        if pa.types.is_float64(field.type)
        and pc.any(pc.greater_equal(pc.abs(table[field.name].combine_chunks()), pa.scalar(_ALL_EXACT))).as_py()
    ]
    rows = zip(block.lines, block.text.split(b"\n"), strict=False) if names else ()
    for line, row in rows:
        text = row.decode() if _LONG.search(row) else ""
        at = _skip_blank(text, 0)
        while at < len(text):
            found, end = _EXACT_JSON.raw_decode(text, at)
            for name in names:
                value = found.get(name)
                if isinstance(value, Decimal) and value not in (Decimal(float(value)), Decimal(repr(float(value)))):
                    problem = f"line {line}: {name} is {value}, which a double cannot hold; write it in quotes"
                    raise RawDataMalformed(block.path, [problem], hint=HINT)
            at = _skip_blank(text, end)


def _skip_blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at  # it matches nothing, too


@dataclass(frozen=True, slots=True)
class _Block:
    """Some rows of a file, an object a line; ``lines`` are their lines in the file."""

    path: Path
    text: bytes
    lines: Sequence[int]

    def parse(
        self, schema: pa.Schema | None = None, *, others: Literal["ignore", "error", "infer"] = "infer"
    ) -> pa.Table:
        try:
            return arrow_json.read_json(
                io.BytesIO(self.text),
                read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(self.text) + 1),
                parse_options=arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=others),
            )
        except pa.ArrowInvalid as error:
            raise self._locate(str(error)) from None

    def _locate(self, message: str) -> RawDataMalformed:
        found = _ROW.search(message)
        problem = _ROW.sub("", message).removeprefix("JSON parse error: ").rstrip(".")
        if problem.startswith("Column() "):
            problem = "it is no object"
        if found is None:
            return RawDataMalformed(self.path, [f"from line {self.lines[0]} on: {problem}"], hint=HINT)
        rows = [line for line, text in zip(self.lines, self.text.split(b"\n"), strict=False) if text.strip()]
        line = rows[min(int(found[1]), len(rows) - 1)]  # Arrow counts objects, and takes several of a line
        return RawDataMalformed(self.path, [f"line {line}: {problem}"], hint=HINT)


def _read_blocks(path: Path) -> Iterator[_Block]:
    with path.open("rb") as file:
        head = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    return _read_array(path) if head.startswith(b"[") else _read_lines(path)


def _is_too_deep(text: bytes) -> bool:
    """Whether objects and lists stand too often in each other: a few thousand times would end the process."""
    if len(text) <= 2 * _DEEPEST or text.count(b"{") + text.count(b"[") <= _DEEPEST:
        return False
    signs = np.frombuffer(_TEXT.sub(b"", text), np.uint8) | 0x20  # [ becomes {, and ] }
    steps = (signs == ord("{")).astype(np.int8) - (signs == ord("}"))
    return int(np.cumsum(steps, dtype=np.int64).max()) > _DEEPEST


def _read_lines(path: Path) -> Iterator[_Block]:
    first = 1
    with path.open("rb") as file:
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        while text := file.read(BLOCK_BYTES) + file.readline(MAX_ROW_BYTES):
            num_lines = text.count(b"\n")
            if len(text) >= MAX_ROW_BYTES and not text.endswith(b"\n"):
                problem = f"line {first + num_lines}: it is longer than {MAX_ROW_BYTES >> 20} MB"
                raise RawDataMalformed(path, [problem], hint=HINT)
            try:
                text.decode()
            except UnicodeDecodeError as error:
                line = first + text.count(b"\n", 0, error.start)
                raise RawDataMalformed(path, [f"line {line}: it is not UTF-8"], hint=HINT) from None
            for number, row in enumerate(text.split(b"\n"), start=first):
                if _is_too_deep(row):
                    raise RawDataMalformed(path, [f"line {number}: {_TOO_DEEP}"], hint=HINT)
            if text.strip():
                yield _Block(path, text, range(first, first + num_lines + 1))
            first += num_lines


def _read_array(path: Path) -> Iterator[_Block]:
    texts: list[str] = []
    lines: list[int] = []
    size = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, text in _Array(path, file).read_objects():
                texts.append(text.replace("\n", " ").replace("\r", " "))  # inside a text JSON has no line ends
                lines.append(line)
                size += len(text)
                if size >= BLOCK_BYTES:
                    yield _Block(path, "\n".join(texts).encode(), lines)
                    texts, lines, size = [], [], 0
    except UnicodeDecodeError:
        raise RawDataMalformed(path, ["it is not UTF-8"], hint=HINT) from None
    if texts:
        yield _Block(path, "\n".join(texts).encode(), lines)


class _Array:
    """The objects of an array as they are written, of which only a part is in memory."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path, self._file = path, file
        self._text, self._at = "", 0
        self._line, self._line_known_at = 1, 0  # counted up to where the last object began
        self._decoder = json.JSONDecoder()

    def read_objects(self) -> Iterator[tuple[int, str]]:
        """Each object with its line."""
        self._expect("[")
        if self._peek() != "]":
            yield self._read_object()
            while self._peek() == ",":
                self._at += 1
                yield self._read_object()
        self._expect("]")
        if self._peek():
            raise self._malformed("there is more after the end of the array")

    def _read_object(self) -> tuple[int, str]:
        if self._peek() != "{":
            raise self._malformed("it is no object")
        while True:
            try:
                _, end = self._decoder.raw_decode(self._text, self._at)
            except RecursionError:
                raise self._malformed(_TOO_DEEP) from None
            except json.JSONDecodeError as error:
                # perhaps it only ends further on
                if len(self._text) - self._at < MAX_ROW_BYTES and self._read_more():
                    continue
                raise self._malformed(error.msg, at=error.pos) from None
            self._line, self._line_known_at = self._line_at(self._at), self._at
            found = self._text[self._at : end]
            if _is_too_deep(found.encode()):
                raise self._malformed(_TOO_DEEP)
            self._at = end
            return self._line, found

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise self._malformed(f"there should be a {character}")
        self._at += 1

    def _peek(self) -> str:
        """The next character that is no blank; none at the end of the file."""
        while True:
            self._at = _skip_blank(self._text, self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_more():
                return ""

    def _read_more(self) -> bool:
        self._line = self._line_at(self._at)
        self._text, self._at, self._line_known_at = self._text[self._at :], 0, 0
        more = self._file.read(max(BLOCK_BYTES, len(self._text)))
        self._text += more
        return bool(more)

    def _line_at(self, at: int) -> int:
        return self._line + self._text.count("\n", self._line_known_at, at)

    def _malformed(self, problem: str, *, at: int | None = None) -> RawDataMalformed:
        line = self._line_at(self._at if at is None else at)
        return RawDataMalformed(self._path, [f"line {line}: {problem}"], hint=HINT)
