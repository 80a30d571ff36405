"""``modelyard digest``: the digest of files."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

SHOW_PROGRESS_AFTER_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigest:
    """A file's digest, the size of its content in memory, and how long reading and hashing took."""

    file: str
    digest: str
    rows: int
    columns: int
    num_bytes: int
    seconds: float
    gb_per_s: float


def digest(
    files: Annotated[
        list[Path],
        typer.Argument(help="Parquet (file or partitioned folder), CSV, JSON, Arrow or Feather", show_default=False),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line, for programs")] = False,
) -> None:
    """Print the sha256 of each table's content: the same for any file format, compression and chunking.

    Into a pipe or a file it prints lines of digest, two spaces and name, as sha256sum does.
    """
    for path in files:
        found = digest_file(path)
        if as_json:
            typer.echo(json.dumps(asdict(found)))
        elif sys.stdout.isatty():
            _print_for_people(found)
        else:
            typer.echo(f"{found.digest}  {found.file}")


def digest_file(path: Path) -> FileDigest:
    """Stream a file through the digest, in bounded memory; a terminal sees progress after a second."""
    from modelyard.data.digest import Digest  # pyarrow: other commands do without it
    from modelyard.data.files import open_batches

    started = time.perf_counter()
    schema, batches = open_batches(path)
    content = Digest(schema)
    num_bytes = 0
    with _progress(path, started) as show:
        for batch in batches:
            content.update(batch)
            num_bytes += batch.nbytes
            show(content.num_rows, num_bytes)
        hexadecimal = content.hexdigest()
    seconds = time.perf_counter() - started
    return FileDigest(
        file=str(path),
        digest=hexadecimal,
        rows=content.num_rows,
        columns=len(schema),
        num_bytes=num_bytes,
        seconds=round(seconds, 6),
        gb_per_s=round(num_bytes / seconds / 1e9, 3),
    )


class _Progress:
    def __init__(self, path: Path, started: float) -> None:
        self.status: Status | None = None
        self._path, self._started = path, started

    def __call__(self, num_rows: int, num_bytes: int) -> None:
        seconds = time.perf_counter() - self._started
        if seconds < SHOW_PROGRESS_AFTER_S:
            return
        text = f"{self._path.name}: {num_rows:,} rows, {num_bytes / 1e9:.1f} GB, {num_bytes / seconds / 1e9:.1f} GB/s"
        if self.status is None:
            self.status = Console(stderr=True).status(text)
            self.status.start()
        else:
            self.status.update(text)


@contextmanager
def _progress(path: Path, started: float) -> Iterator[_Progress]:
    progress = _Progress(path, started)
    try:
        yield progress
    finally:
        if progress.status is not None:
            progress.status.stop()


def _print_for_people(found: FileDigest) -> None:
    typer.secho(found.file, bold=True)
    typer.echo(f"  digest     {found.digest}")
    typer.echo(f"  content    {found.rows:,} rows × {found.columns:,} columns, {found.num_bytes:,} bytes in memory")
    typer.echo(f"  took       {found.seconds:.2f} s, {found.gb_per_s:.2f} GB/s")
