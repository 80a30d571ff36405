"""Test rows that a model was trained on: found by content where the model was trained on another dataset."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from modelyard.data.compatibility import list_features, list_targets
from modelyard.data.dataset import DatasetTables
from modelyard.data.dataset_reader import DatasetFiles
from modelyard.errors import BadInput, GroupsSeen, RowsSeen
from modelyard.pipeline.datasets import open_recorded
from modelyard.pipeline.evaluation_request import EvaluationRequest
from modelyard.pipeline.group_overlap import Mask, find_seen_groups
from modelyard.pipeline.models import VerifiedModel
from modelyard.pipeline.scorer import find_column
from modelyard.pipeline.session import Report, Session
from modelyard.store.datasets import Dataset

TRAINED_ON = ("train", "validation")  # the splits that a fit may use
_EXAMPLES = 5

Hashes = np.ndarray[tuple[int], np.dtype[np.uint64]]


def find_left_out(
    session: Session, request: EvaluationRequest, files: DatasetFiles, models: list[VerifiedModel], *, report: Report
) -> Mask | None:
    """The test rows to pass over, since a model was trained on them; None where there are none.

    Where the scorer keeps groups on one side of a split, rows of a group that a model was trained on count too, also on
    its own dataset.

    Raises:
        GroupsSeen: there are rows of such a group, and nobody has asked to leave them out.
        RowsSeen: the same, of rows that a model was trained on.
        BadInput: no row is left.
        ContentMismatch, RecordLost: what a model was trained on cannot be read any more.
    """
    left_out: Mask | None = None
    for number, model in enumerate(models):
        is_same = model.dataset.digest == request.dataset.digest  # whose split says that no row was
        if is_same and not request.scorer.split_by_group:
            continue
        report("evaluation", 0.1, "looking for rows that a model was trained on")
        with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
            others = files if is_same else open_recorded(session, model.dataset, folder=Path(folder))
            if request.scorer.split_by_group:  # first: a row that was seen is mostly one of many of its group
                left_out = _join(left_out, _find_groups(request, files, model, others, is_live=number > 0))
            seen = None if is_same else find_seen(files, others=others, trained_on=model.dataset)
            if seen is not None and seen.any() and not request.unseen_rows:
                raise _refuse(request, files, model, seen, is_live=number > 0)
            left_out = _join(left_out, seen)
    if left_out is not None and left_out.all():
        dataset = request.dataset
        raise BadInput(
            f"each of the {len(left_out):,} test rows of {dataset.name} {dataset.version} is among those that a model "
            "was trained on, and none is left to score; log new rows, and evaluate on those with --dataset NAME@VERSION"
        )
    return left_out


def _join(left_out: Mask | None, seen: Mask | None) -> Mask | None:
    if seen is None or not seen.any():
        return left_out
    return seen if left_out is None else left_out | seen


def _find_groups(
    request: EvaluationRequest, files: DatasetFiles, model: VerifiedModel, others: DatasetFiles, *, is_live: bool
) -> Mask:
    column = request.scorer.group_column
    assert column is not None  # noqa: S101  a scorer that keeps groups apart names their column
    name = column.partition(".")[2]
    theirs = find_column(model.dataset, name)
    seen, groups = find_seen_groups(files, column, others=others, their_column=theirs, trained_on=TRAINED_ON)
    if seen.any() and not request.unseen_rows:
        raise GroupsSeen(**_describe(request, model, seen, is_live=is_live), column=name, groups=groups)
    return seen


def _refuse(
    request: EvaluationRequest, files: DatasetFiles, model: VerifiedModel, seen: Mask, *, is_live: bool
) -> RowsSeen:
    split = pq.read_table(files.path("split"))["split"]
    numbers = np.flatnonzero(split.to_numpy() == "test")
    return RowsSeen(**_describe(request, model, seen, is_live=is_live), examples=numbers[seen][:_EXAMPLES].tolist())


def _describe(request: EvaluationRequest, model: VerifiedModel, seen: Mask, *, is_live: bool) -> dict[str, Any]:
    """Who has seen how many rows, and what scores the others."""
    dataset, version = request.dataset, request.version
    elsewhere = f" --dataset {dataset.name}@{dataset.version}" if dataset.dataset_id != version.dataset_id else ""
    return {
        "what": f"test rows of {dataset.name} {dataset.version}",
        "seen_by": f"{model.version.label}{', which is in production,' if is_live else ''}",
        "trained_on": f"{model.dataset.name} {model.dataset.version}",
        "rows": len(seen),
        "seen": int(seen.sum()),
        "command": f"modelyard evaluate {version.label}{elsewhere} --unseen-rows",
    }


def find_seen(rows: DatasetFiles, *, others: DatasetFiles, trained_on: Dataset) -> Mask:
    """Which of the test rows of a dataset are among those that a model trained on ``trained_on`` may have seen.

    Rows are the same if all features of ``trained_on`` and its targets are, by a 64-bit hash of their values: a
    million test rows beside a million others have one pair by chance in less than one of 10 million cases. Memory is
    that of a part of the rows, and some 40 bytes a test row.

    Args:
        rows: the files of the dataset whose test rows are meant.
        others: those of the model's dataset, which is another one; its train and validation rows count.
        trained_on: the model's dataset.

    Returns:
        One value a test row.
    """
    features = [column["name"] for column in list_features(trained_on.schema)]
    types = _choose_types(others, rows, features, list_targets(trained_on.schema))
    parts = [np.empty(0, np.uint64), *hash_rows(rows, types, ("test",))]
    hashes, places = np.unique(np.concatenate(parts), return_inverse=True)
    found = np.zeros(len(hashes), bool)
    if len(hashes):
        for part in hash_rows(others, types, TRAINED_ON):
            at = np.minimum(np.searchsorted(hashes, part), len(hashes) - 1)
            found[at[hashes[at] == part]] = True
    seen: Mask = found[places]
    return seen


def _choose_types(
    theirs: DatasetFiles, ours: DatasetFiles, features: Sequence[str], targets: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Of X and y the columns to compare with the types in which both datasets are compared."""
    types: dict[str, dict[str, Any]] = {}
    for part, names in (("X", features), ("y", targets)):
        schemas = [pq.read_schema(files.path(part)) for files in (theirs, ours)]
        types[part] = {name: choose_type(*(schema.field(name).type for schema in schemas)) for name in names}
    return types


def choose_type(one: Any, other: Any) -> Any:
    """The coarser of two types: a value that was logged in both is the same in that one only."""
    types = pa.types
    kinds = [kind.value_type if types.is_dictionary(kind) else kind for kind in (one, other)]
    if all(map(types.is_timestamp, kinds)):
        return min(kinds, key=lambda kind: ("s", "ms", "us", "ns").index(kind.unit))
    floating = [kind for kind in kinds if types.is_floating(kind)]
    if all(kind in floating or types.is_integer(kind) or types.is_boolean(kind) for kind in kinds):
        return min(floating, key=lambda kind: kind.bit_width) if floating else pa.int64()
    return kinds[0]


def hash_rows(files: DatasetFiles, types: dict[str, dict[str, Any]], splits: tuple[str, ...]) -> Iterator[Hashes]:
    """The hash of each row in these splits, in the dataset's order, a row group at a time."""
    for part in files.read_batches():
        chosen = take_rows(part, find_rows(part, *splits))
        columns = [
            table[name].cast(data_type, safe=False)
            for table, names in ((chosen.X, types["X"]), (chosen.y, types["y"]))
            for name, data_type in names.items()
        ]
        parts = [part for column in columns for part in _as_hashable(column)]
        frame = pd.DataFrame(dict(enumerate(parts)), index=range(chosen.num_rows))
        yield np.asarray(pd.util.hash_pandas_object(frame, index=False), np.uint64)


def _as_hashable(column: Any) -> list["pd.Series[Any]"]:
    """A column as pandas hashes it the same in every part: numbers and texts as they are, all else as text."""
    types = pa.types
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_floating(column.type):
        return [column.to_pandas() + 0.0]  # minus zero is zero
    if types.is_integer(column.type) or types.is_boolean(column.type):  # with nulls they would become other types
        return [column.is_null().to_pandas(), pc.fill_null(column.cast(pa.int64(), safe=False), 0).to_pandas()]
    if types.is_nested(column.type):
        return [pd.Series([repr(value) for value in column.to_pylist()], dtype=object)]
    return [column.to_pandas()]


def find_rows(part: DatasetTables, *splits: str) -> "np.ndarray[Any, Any]":
    """The positions of the rows in these splits."""
    chosen = pc.is_in(part.split.cast(pa.string()), value_set=pa.array(splits))
    return np.flatnonzero(chosen.to_numpy())


def take_rows(part: DatasetTables, rows: Any) -> DatasetTables:
    """Some rows of a part of a dataset; without a copy where that is all of them."""
    if len(rows) == part.num_rows:
        return part
    return DatasetTables(
        X=part.X.take(rows),
        y=part.y.take(rows),
        split=part.split.take(rows),
        extra=None if part.extra is None else part.extra.take(rows),
    )
