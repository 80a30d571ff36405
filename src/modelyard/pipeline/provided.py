"""Rows handed over from Python: cut into features, targets and split, part by part."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from modelyard.data.files import open_batches
from modelyard.errors import BadInput
from modelyard.workloads.contract import Processed

Rows = pd.DataFrame | pa.Table | pa.RecordBatch | Path | str | Iterable[pa.Table | pa.RecordBatch]
_TAKEN = "give a pandas frame, an Arrow table, a path, or Arrow tables one after the other"


def cut_rows(
    data: Rows,
    *,
    targets: Sequence[str],
    split: str,
    extra: Sequence[str] = (),
    preprocessing: Any = None,
    notes: Mapping[str, Any] | None = None,
) -> Iterator[Processed]:
    """The parts of a dataset, one for each table that ``data`` gives; all columns that are not named are X.

    Raises:
        BadInput: no target is named, a column is not there or there twice, is named twice, or no feature is left.
    """
    if isinstance(targets, str) or isinstance(extra, str):
        raise BadInput("targets and extra are lists of columns; write targets=['price'], not targets='price'")
    named = [*targets, split, *extra]
    if not targets:
        raise BadInput("no target is named; targets=[…] names the columns of y")
    if len({*named}) < len(named):
        raise BadInput(f"a column is target, split or extra, and only one of them; named are {', '.join(named)}")
    for table in _open_tables(data):
        columns = table.column_names
        if missing := [name for name in named if name not in columns]:
            raise BadInput(f"there is no column {', '.join(missing)}; there are {', '.join(columns)}")
        if twice := sorted({name for name in columns if columns.count(name) > 1}):
            raise BadInput(f"there are several columns {', '.join(twice)}; give each a name of its own")
        if len(named) == len(columns):
            raise BadInput(f"no feature is left: all columns are target, split or extra ({', '.join(columns)})")
        yield Processed(
            X=table.drop_columns(named),
            y=table.select(list(targets)),
            split=table.column(split).combine_chunks(),
            extra=table.select(list(extra)) if extra else None,
            preprocessing=preprocessing,
            notes=notes or {},
        )


def _open_tables(data: Rows) -> Iterator[pa.Table]:
    if isinstance(data, pd.DataFrame):
        try:
            yield _convert(data)
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise BadInput(f"the frame cannot be taken: {error}; give each column one type and one name") from None
    elif isinstance(data, pa.Table | pa.RecordBatch):
        yield _wrap(data)
    elif isinstance(data, str | Path):
        yield from map(_wrap, open_batches(Path(data))[1])
    elif isinstance(data, Iterable) and not isinstance(data, Mapping):
        yield from map(_wrap, data)
    else:
        raise BadInput(f"data is a {type(data).__name__}; {_TAKEN}")


def _wrap(part: Any) -> pa.Table:
    if isinstance(part, pa.RecordBatch):
        return pa.Table.from_batches([part])
    if not isinstance(part, pa.Table):
        raise BadInput(f"a part of the data is a {type(part).__name__}; {_TAKEN}")
    return part


def _convert(frame: pd.DataFrame) -> pa.Table:
    """A frame as Arrow takes it, NaN as null. Floats without NaN stay as they are: its search is slow."""
    whole: dict[int, Any] = {}
    for place, (_, column) in enumerate(frame.items()):
        if isinstance(column.dtype, np.dtype) and column.dtype.kind == "f" and len(column):
            values = column.to_numpy()
            if not np.isnan(values.max()):
                whole[place] = pa.array(values)
    others = [place for place in range(frame.shape[1]) if place not in whole]
    converted = pa.Table.from_pandas(frame.iloc[:, others], preserve_index=False).columns
    columns = whole | dict(zip(others, converted, strict=True))
    return pa.table([columns[place] for place in sorted(columns)], names=[str(name) for name in frame.columns])
