"""Files of tables: opened by their content, streamed in batches, and hashed."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from modelyard.data.csv_file import open_csv_batches
from modelyard.data.json_lines import open_json_batches
from modelyard.errors import RawDataMalformed, RawDataNotFound, UnsupportedFile

ROW_GROUP_ROWS = 131_072
_BATCH_BYTES = 32 * 2**20
_SUFFIXES = {
    **dict.fromkeys((".parquet", ".pq"), "Parquet"),
    **dict.fromkeys((".csv", ".tsv"), "CSV"),
    **dict.fromkeys((".arrow", ".arrows", ".ipc", ".feather"), "Arrow"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "JSON"),
}
READABLE_SUFFIXES = tuple(_SUFFIXES)
_TEXTS = ("CSV", "JSON")
_BEGINNINGS = ((b"PAR1", "Parquet"), (b"ARROW1", "Arrow"), (b"\xff\xff\xff\xff", "Arrow"))

Opened = tuple[pa.Schema, Iterator[pa.RecordBatch]]


def open_batches(path: Path) -> Opened:
    """Schema and record batches of a file of Parquet, CSV, JSON, Arrow IPC or Feather, or a partitioned Parquet folder.

    Rows come in the file's order, the files of a folder sorted by path. Memory stays bounded: Parquet by columns of
    a row group, CSV and JSON by blocks, Arrow mapped.

    Raises:
        RawDataNotFound: nothing is there.
        UnsupportedFile: neither content nor name tell a format that is read here.
        RawDataMalformed: empty, cut short or not what its name says; also raised while iterating.
    """
    if not path.exists():
        raise RawDataNotFound(path)
    with _malformed(path):
        schema, batches = _open(path)
    return schema, _iterate(path, batches)


def tells_widths(path: Path) -> bool:
    """Whether a file says how wide its numbers are; text does not, and is read as the widest."""
    return path.is_dir() or _format(path) not in _TEXTS


def find_num_rows(path: Path) -> int | None:
    """How many rows a Parquet file says that it has; None of anything else, of which only reading tells."""
    if not path.is_file() or _format(path) != "Parquet":
        return None
    with _malformed(path), _parquet_file(path) as file:
        return file.metadata.num_rows


def read_table(path: Path) -> pa.Table:
    """A whole file or partitioned folder as one table; takes and raises what ``open_batches`` does."""
    schema, batches = open_batches(path)
    return pa.Table.from_batches(batches, schema)


def _open(path: Path) -> Opened:
    if path.is_dir():
        return _open_folder(path)
    kind = _format(path)
    if kind == "Parquet":
        file = _parquet_file(path)
        return file.schema_arrow, _parquet_batches(file)
    if kind == "CSV":
        return open_csv_batches(path, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    if kind == "JSON":
        return open_json_batches(path)
    return _open_arrow(path)


def _format(path: Path) -> str:
    """The format that the file's first bytes tell, or for text its name; what disagrees is refused."""
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise RawDataMalformed(path, ["it is empty"])
    found = next((name for beginning, name in _BEGINNINGS if head.startswith(beginning)), None)
    claimed = _SUFFIXES.get(path.suffix.lower())
    if claimed is None and found is None:
        raise UnsupportedFile(
            f"{path}: this is no format that is read here; those are Parquet, Arrow, Feather, JSON in a file that is "
            "called .jsonl, .ndjson or .json, and text with a line of column names in one that is called .csv or .tsv"
        )
    if found is None and claimed in _TEXTS:
        if b"\0" in head:
            problem, hint = f"it is called {claimed} and is not text in UTF-8", f"Save it as {claimed} in UTF-8."
            raise RawDataMalformed(path, [problem], hint=hint)
        return claimed
    if found is not None and claimed in (None, found):
        return found
    raise RawDataMalformed(
        path, [f"it is called {path.suffix} and holds {found or f'something other than {claimed}'}"], hint="Rename it."
    )


def _parquet_file(path: Path) -> pq.ParquetFile:
    with path.open("rb") as file:
        file.seek(-min(4, path.stat().st_size), os.SEEK_END)
        if file.read() != b"PAR1":
            raise RawDataMalformed(path, ["it is cut short: the end of a Parquet file is missing"])
    # Measured: the defaults hold whole row groups, over 1 GB; this way a stream stays below 200 MB. Without
    # checksums a damaged page can come out as other values, with no error.
    return pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20, page_checksum_verification=True)


def _parquet_batches(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
    row_bytes = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
    row_bytes = max(row_bytes, 8 * file.metadata.num_columns, 1)
    with file:
        yield from file.iter_batches(batch_size=min(ROW_GROUP_ROWS, max(1024, _BATCH_BYTES // row_bytes)))


def _open_folder(path: Path) -> Opened:
    import pyarrow.dataset as ds  # 0.1 s, for folders only

    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in (".parquet", ".pq") and not file.name.startswith((".", "_"))
    )
    if not files:
        raise RawDataMalformed(path, ["the folder holds no .parquet file"])
    sources: Any = [str(file) for file in files]
    dataset = ds.dataset(sources, format="parquet", partitioning="hive", partition_base_dir=str(path))
    keys = {fragment.path: ds.get_partition_keys(fragment.partition_expression) for fragment in dataset.get_fragments()}
    stored = _parquet_file(files[0]).schema_arrow
    added = [field for field in dataset.schema if field.name not in stored.names]
    schema = pa.schema([*stored, *added])
    return schema, _folder_batches(files, keys=keys, stored=stored, added=added, schema=schema)


def _folder_batches(
    files: list[Path], *, keys: dict[str, dict[str, Any]], stored: pa.Schema, added: list[Any], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    for path in files:
        file = _parquet_file(path)
        if not file.schema_arrow.equals(stored):
            raise RawDataMalformed(path, [f"its columns are not those of {files[0]}"])
        for batch in _parquet_batches(file):
            values = [pa.scalar(keys[str(path)].get(field.name), field.type) for field in added]
            constant = [pa.repeat(value, batch.num_rows) for value in values]
            yield pa.RecordBatch.from_arrays([*batch.columns, *constant], schema=schema)


def _open_arrow(path: Path) -> Opened:
    source = pa.memory_map(str(path))
    with path.open("rb") as file:
        is_file = file.read(6) == b"ARROW1"
    if not is_file:
        stream = pa.ipc.open_stream(source)
        return stream.schema, _check(stream)
    reader = pa.ipc.open_file(source)
    return reader.schema, _check(reader.get_batch(index) for index in range(reader.num_record_batches))


def _check(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        batch.validate(full=True)  # wrong offsets would give what lies elsewhere in memory, or end the process
        yield batch


def _iterate(path: Path, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with _malformed(path):
        yield from batches


@contextmanager
def _malformed(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise RawDataMalformed(path, [lines[0].rstrip(".")]) from None
