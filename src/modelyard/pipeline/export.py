"""A recorded dataset handed out in a file format, verified before its first byte is written."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from modelyard.data.dataset import DatasetTables
from modelyard.data.export import FORMATS, list_changed_types, name_columns, write_rows
from modelyard.errors import UnknownName
from modelyard.pipeline.datasets import open_recorded
from modelyard.pipeline.session import Session
from modelyard.store.datasets import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What was written.

    Attributes:
        digest: the dataset's.
        renamed: columns that have the name of another one, and are written as ``X.<name>`` etc.
        changed_types: columns whose type the format does not tell, with that type.
    """

    name: str
    version: str
    digest: str
    format: str
    num_rows: int
    num_columns: int
    renamed: tuple[str, ...]
    changed_types: tuple[str, ...]


def export_dataset(
    session: Session, dataset: Dataset, sink: BinaryIO, *, format_name: str, full_names: bool = False
) -> Export:
    """Write a dataset's X, y, split and extra side by side, in memory that does not grow with its rows.

    Args:
        session: whoever may read the dataset's files.
        dataset: which one.
        sink: where to, e.g. ``data.export.whole_file`` or stdout.
        format_name: ``parquet``, ``csv``, ``arrow`` or ``jsonl``.
        full_names: name the columns ``X.<name>``, ``y.<name>``, ``split``, ``extra.<name>``: the digest of such a file
            is the dataset's.

    Raises:
        UnknownName: no such format.
        UnsupportedFile: a column that the format cannot hold.
        ContentMismatch: a file or the content is not what was recorded; nothing is written.
        RecordLost: it was deleted, or MLflow no longer has its run.
    """
    if format_name not in FORMATS:
        raise UnknownName("format", format_name, FORMATS)
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        parts: Iterator[DatasetTables] = open_recorded(session, dataset, folder=Path(folder)).read_batches()
        first = next(parts)
        names = name_columns(first, full_names=full_names)
        own = [name for table in first.parts().values() for name in table.column_names]
        num_rows = write_rows(chain([first], parts), sink, format_name=format_name, names=names)
        schema = first.table().rename_columns(names).schema
    return Export(
        name=dataset.name,
        version=dataset.version,
        digest=dataset.digest,
        format=format_name,
        num_rows=num_rows,
        num_columns=len(names),
        renamed=() if full_names else tuple(name for name, short in zip(names, own, strict=True) if name != short),
        changed_types=tuple(list_changed_types(schema, format_name)),
    )
