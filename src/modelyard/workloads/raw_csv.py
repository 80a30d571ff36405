"""Raw files of numbers, CSV and others: read strictly, with nothing guessed and every problem told at once."""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from modelyard.data.files import READABLE_SUFFIXES, read_table
from modelyard.errors import RawDataMalformed, RawDataNotFound

_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # in the name of a folder
_TABLES = tuple(suffix for suffix in READABLE_SUFFIXES if suffix not in (".csv", ".tsv"))


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers from ``low`` to ``high``; without ``low_included`` they must be above ``low``."""

    name: str
    low: float = 0.0
    high: float = math.inf
    low_included: bool = False
    blank_allowed: bool = False

    def read(self, cell: str) -> tuple[float | None, str]:
        """The number in a cell, None for a blank, and what is wrong with it ("" for nothing)."""
        if not cell:
            return self.check(None)
        value = parse_number(cell)
        return self.check(value) if value is not None else (None, "not a number")

    def check(self, value: float | None) -> tuple[float | None, str]:
        """The number, None for a blank or what is not finite, and what is wrong with it ("" for nothing)."""
        if value is None:
            return None, "" if self.blank_allowed else "blank"
        if not math.isfinite(value):
            return None, "not finite"
        if value < self.low or (value == self.low and not self.low_included):
            return value, f"below {self.low:g}" if self.low_included else f"not above {self.low:g}"
        return value, f"above {self.high:g}" if value > self.high else ""


def parse_number(cell: str) -> float | None:
    """The number that a cell holds in plain ASCII notation, or None."""
    try:
        return float(cell) if cell.isascii() and "_" not in cell else None
    except ValueError:
        return None


def load_raw_files(files: Sequence[Path], /, *, layouts: Sequence[Sequence[Column]], unused: str) -> pa.Table:
    """Read files that all have the same one of the layouts, their rows one after the other.

    A file that is called .parquet, .arrow, .feather, .jsonl etc. must have a column of numbers for each of the layout,
    where null is a blank; a column may also stand in the names of its folders, as ``age=1/…``. Any other file is read
    as CSV, and .tsv with tabs. Takes otherwise and raises what ``load_raw_csv`` does.
    """
    if not files:
        raise RawDataMalformed("raw data", ["no file was given"])
    tables = [
        (_load_table if path.suffix.lower() in _TABLES else load_raw_csv)(path, layouts=layouts, unused=unused)
        for path in files
    ]
    for path, table in zip(files, tables, strict=True):
        if table.column_names != tables[0].column_names:
            problem = f"it has the columns {', '.join(table.column_names)}, and {files[0].name} has others"
            raise RawDataMalformed(path, [problem], hint="Files that are given together must have one layout.")
    return pa.concat_tables(tables).combine_chunks()


def load_raw_csv(path: Path, /, *, layouts: Sequence[Sequence[Column]], unused: str) -> pa.Table:
    """Read a comma-separated UTF-8 file that has one of the layouts; one that is called .tsv has tabs.

    Args:
        path: the file; rows without any cell are skipped.
        layouts: a file without a header has the columns of the first one in that order; a header may name the
            columns of any of them in any order.
        unused: name of a column of text that may be there and is kept as it is.

    Returns:
        The layout's columns in its order as float64, null for a blank; then ``unused``, if it is there.

    Raises:
        RawDataNotFound: there is no such file.
        RawDataMalformed: with every problem (columns, counts, first line numbers) and the layouts that are read.
    """
    hint = _describe_layouts(layouts)
    rows = _read_rows(path, hint)
    first = [cell.strip() for cell in rows[0][1]]
    known = {unused, *(column.name for layout in layouts for column in layout)}
    has_header = bool(known & {*first}) or all(parse_number(cell) is None for cell in first)
    names = first if has_header else [column.name for column in layouts[0]]
    layout = _choose_layout(names, layouts)
    problems = _check_names(names, layout, unused)
    if len(rows) == has_header:
        problems.append("it has a header and no rows")
    values: dict[str, list[Any]] = {name: [] for name in names}
    faults: dict[str, list[str]] = defaultdict(list)
    for line, cells in rows[has_header:]:
        if len(cells) != len(names):
            faults[f"other than {len(names)} cells"].append(f"line {line}: {len(cells)}")
            continue
        for name, cell in zip(names, cells, strict=True):
            value, fault = layout[name].read(cell.strip()) if name in layout else (cell, "")
            values[name].append(value)
            if fault:
                faults[f"{name} {fault}"].append(f"line {line}: {cell[:20]!r}")
    problems += _describe_faults(faults)
    if problems:
        raise RawDataMalformed(path, problems, hint=hint)
    return _as_table(values, layout, unused)


def _load_table(path: Path, /, *, layouts: Sequence[Sequence[Column]], unused: str) -> pa.Table:
    """The same from a file of typed columns."""
    hint = _describe_layouts(layouts)
    table = _add_keys(read_table(path), path, {unused, *(column.name for layout in layouts for column in layout)})
    layout = _choose_layout(table.column_names, layouts)
    problems = _check_names(table.column_names, layout, unused)
    if not table.num_rows:
        problems.append("it has no rows")
    values: dict[str, list[Any]] = {}
    faults: dict[str, list[str]] = defaultdict(list)
    for field, column in zip(table.schema, table.columns, strict=True):
        if field.name == unused:
            values[unused] = [None if value is None else str(value) for value in column.to_pylist()]
        elif field.name in layout:
            if not any(fits(field.type) for fits in _NUMBERS):
                problems.append(f"{field.name} is {field.type} and must be numbers")
                continue
            checked = [layout[field.name].check(value) for value in column.cast(pa.float64(), safe=False).to_pylist()]
            values[field.name] = [value for value, _ in checked]
            for row, (value, fault) in enumerate(checked, start=1):
                if fault:
                    faults[f"{field.name} {fault}"].append(f"row {row}: {value}")
    problems += _describe_faults(faults)
    if problems:
        raise RawDataMalformed(path, problems, hint=hint)
    return _as_table(values, layout, unused)


def _add_keys(table: pa.Table, path: Path, known: set[str]) -> pa.Table:
    """A table and the columns that stand in the names of its folders, of those that are known."""
    for folder in path.parents:
        name, equals, text = map(unquote, folder.name.partition("="))
        if not equals:
            break
        if name in known and name not in table.column_names:
            number = parse_number(text)
            value: Any = None if text == _NO_VALUE else text if number is None else number
            table = table.append_column(name, pa.array([value] * table.num_rows))
    return table


def _choose_layout(names: Sequence[str], layouts: Sequence[Sequence[Column]]) -> dict[str, Column]:
    """The layout that has the most of these names."""
    return {column.name: column for column in max(layouts, key=lambda one: len({c.name for c in one} & {*names}))}


def _check_names(names: Sequence[str], layout: dict[str, Column], unused: str) -> list[str]:
    columns = {
        "missing columns": [name for name in layout if name not in names],
        "unknown columns": [repr(name[:40]) for name in names if name not in {*layout, unused}],
        "columns given twice": [name for name in layout if names.count(name) > 1],
    }
    return [f"{what}: {', '.join(which)}" for what, which in columns.items() if which]


def _describe_faults(faults: dict[str, list[str]]) -> list[str]:
    described = []
    for fault, places in faults.items():
        more = ", …" if len(places) > 3 else ""
        described.append(f"{fault} in {len(places)} row{'s'[: len(places) > 1]} ({', '.join(places[:3])}{more})")
    return described


def _as_table(values: dict[str, list[Any]], layout: dict[str, Column], unused: str) -> pa.Table:
    table = {name: pa.array(values[name], pa.float64()) for name in layout}
    return pa.table(table | ({unused: pa.array(values[unused], pa.string())} if unused in values else {}))


def write_raw_csv(path: Path, /, header: Iterable[str], rows: Iterable[Iterable[str]]) -> Path:
    """Write cells that need no quotes, the same bytes on every system; return the path."""
    path.write_text("".join(",".join(row) + "\n" for row in (header, *rows)), encoding="utf-8", newline="\n")
    return path


def _describe_layouts(layouts: Sequence[Sequence[Column]]) -> str:
    headers = [",".join(column.name for column in layout) for layout in layouts]
    blanks = [column.name for layout in layouts for column in layout if column.blank_allowed]
    return (
        f"It must hold comma-separated numbers under the header {', or '.join(headers)}, or without a header in the "
        f"first order; blanks are accepted in: {', '.join(blanks) or 'no column'}."
    )


def _read_rows(path: Path, hint: str) -> list[tuple[int, list[str]]]:
    """Line number and cells of every row, at least one."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        numbered = [(rows.line_num, cells) for cells in rows if cells]
    except FileNotFoundError:
        raise RawDataNotFound(path) from None
    except OSError as error:
        raise RawDataMalformed(path, [f"it cannot be read: {error.strerror}"], hint=hint) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise RawDataMalformed(path, [f"it is not comma-separated UTF-8 text: {error}"], hint=hint) from None
    if "\0" in text:
        raise RawDataMalformed(path, ["it is not text: it holds zero bytes"], hint=hint)
    if not numbered:
        raise RawDataMalformed(path, ["it is empty"], hint=hint)
    return numbered
