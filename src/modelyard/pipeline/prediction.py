"""A file of rows through a model into a file of predictions, in memory that does not grow with the rows."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from modelyard.data.export import FORMATS, write_tables
from modelyard.data.features import check_features, take_features
from modelyard.data.files import find_num_rows, open_batches, tells_widths
from modelyard.errors import BadInput, SchemaMismatch, UnknownName
from modelyard.pipeline.answer_columns import AnswerColumns
from modelyard.pipeline.batches import BATCH_ROWS, read_ahead
from modelyard.pipeline.serving import ServedModel
from modelyard.pipeline.session import Report, say_nothing

VERSION_COLUMN = "policy_version"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedFile:
    """What was written.

    Attributes:
        policy_id: None, and ``policy_version`` too, where a model version was named.
        digest: sha256 of the list of the model's files.
        columns: the names of the predictions.
        nan_rows: rows with a prediction that is NaN or missing.
        seconds: from the first row read to the last one written.
    """

    policy_id: str | None
    policy_version: int | None
    model: str
    digest: str
    format: str
    columns: tuple[str, ...]
    num_rows: int
    nan_rows: int
    seconds: float


def predict_file(
    model: ServedModel, path: Path, sink: BinaryIO, *, format_name: str, report: Report = say_nothing
) -> PredictedFile:
    """Write a row for each row of a file: its columns that are no features, the predictions, and the policy's version.

    The predictions are called ``prediction``, or where there are several as the model names them, else like the
    targets; ``policy_version`` is null where a model version was named. Parquet and Arrow keep in their metadata which
    policy, version and model it was, the digest of its files, and when. While a batch is predicted the next one is read
    and the last one written.

    Args:
        model: as ``load_served`` gives it.
        path: of any format that ``open_batches`` reads; the order of its columns is free.
        sink: e.g. ``whole_file`` or stdout.
        format_name: ``parquet``, ``csv``, ``arrow`` or ``jsonl``.
        report: told how many rows are done.

    Raises:
        SchemaMismatch: features are missing or of another type, each of them named; nothing was written.
        ModelFailed: the model's code failed, or it has not answered each row once, or with other types than before.
        BadInput: no rows, or a column of the file has the name of one that is written.
        RawDataMalformed: the file is damaged; what is in the sink is no whole file.
    """
    if format_name not in FORMATS:
        raise UnknownName("format", format_name, FORMATS)
    schema, batches = open_batches(path)
    work = _Work(model=model, path=path, schema=schema)
    tell = _Progress(report, find_num_rows(path))
    began_s = time.perf_counter()
    with (
        closing(read_ahead(work.prepare(_cut(batches)))) as prepared,
        closing(read_ahead(work.predict(prepared))) as predicted,
    ):
        first = next(predicted, None)
        if first is None:
            raise BadInput(f"{path} has no rows, so there is nothing to predict")
        num_rows = write_tables(tell.count(first, predicted), sink, format_name=format_name)
    return PredictedFile(
        policy_id=model.source.policy_id,
        policy_version=model.source.policy_version,
        model=model.source.model,
        digest=model.digest,
        format=format_name,
        columns=tuple(work.columns),
        num_rows=num_rows,
        nan_rows=work.nan_rows,
        seconds=time.perf_counter() - began_s,
    )


@dataclass(slots=True, kw_only=True)
class _Work:
    """One file: which of its columns are what, and how its batches become those of the output."""

    model: ServedModel
    path: Path
    schema: pa.Schema
    features: list[dict[str, Any]] = field(init=False)
    others: list[int] = field(init=False)  # places of the columns that pass through
    metadata: dict[bytes | str, bytes | str] = field(init=False)
    columns: list[str] = field(init=False, default_factory=list)
    answers: AnswerColumns = field(init=False)
    nan_rows: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.features = self.model.features
        differences = check_features(
            self.schema, self.features, widths=tells_widths(self.path), optional=self.model.optional
        )
        if differences:
            raise SchemaMismatch(str(self.path), self.model.expected, differences)
        names = {column["name"] for column in self.features}
        self.others = [place for place, name in enumerate(self.schema.names) if name not in names]
        source = self.model.source
        several = self.model.answers or (source.targets if len(source.targets) > 1 else ())
        self._refuse_taken([VERSION_COLUMN, *(several or ["prediction"])])
        self.answers = AnswerColumns(source.model, names=self.model.answers, doubles=source.task == "regression")
        self.metadata = {
            f"modelyard.{name}": str(value)
            for name, value in (
                ("policy", source.policy_id),
                ("policy_version", source.policy_version),
                ("model", source.model),
                ("model_digest", self.model.digest),
                ("predicted_at", datetime.now(UTC).isoformat(timespec="seconds")),
            )
            if value is not None
        }

    def _refuse_taken(self, names: list[str]) -> None:
        own = [self.schema.names[place] for place in self.others]
        taken = [name for name in names if name in own]
        if taken:
            raise BadInput(f"{self.path} has a column {', '.join(taken)}, which the output has too; rename it there")

    def prepare(self, tables: Iterator[pa.Table]) -> Iterator[tuple[pa.Table, Any]]:
        """Each batch, and its features as the frame that the model takes."""
        for rows in tables:
            try:
                features = take_features(rows, self.features, optional=self.model.optional)
            except pa.ArrowInvalid as error:
                raise SchemaMismatch(str(self.path), self.model.expected, [str(error).partition("\n")[0]]) from None
            yield rows, features.to_pandas()

    def predict(self, prepared: Iterator[tuple[pa.Table, Any]]) -> Iterator[pa.Table]:
        """The rows of the output."""
        version = pa.scalar(self.model.source.policy_version, pa.int32())
        for rows, frame in prepared:
            predictions = self._name(self.model.ask(frame))
            self.nan_rows += _count_nan(list(predictions.values()))
            fields = [self.schema.field(place) for place in self.others]
            columns: list[Any] = [rows.column(place) for place in self.others]
            columns += [*predictions.values(), pa.repeat(version, rows.num_rows)]
            fields += [pa.field(name, values.type) for name, values in predictions.items()]
            fields += [pa.field(VERSION_COLUMN, version.type)]
            yield pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=self.metadata))

    def _name(self, values: Any) -> dict[str, Any]:
        by_column = self.answers.convert(values)
        targets = self.model.source.targets
        names = list(self.answers.names) or ["prediction"]
        if len(by_column) > 1 and not self.answers.names:
            fits = len(by_column) == len(targets)
            names = targets if fits else [f"prediction_{number}" for number in range(len(by_column))]
        if not self.columns:
            self._refuse_taken(names)
            self.columns = names
        return dict(zip(names, by_column, strict=True))


@dataclass(slots=True)
class _Progress:
    """Tells how many rows are done, and how fast."""

    report: Report
    num_rows: int | None  # None where only the end of the file tells

    def count(self, first: pa.Table, others: Iterator[pa.Table]) -> Iterator[pa.Table]:
        began_s, done = time.perf_counter(), 0
        yield first
        done = first.num_rows
        for table in others:
            yield table
            done += table.num_rows
            rate = (done - first.num_rows) / (time.perf_counter() - began_s)
            of = f" of {self.num_rows:,}" if self.num_rows else ""
            share = done / self.num_rows if self.num_rows else None
            self.report("predicting", share, f"{done:,}{of} rows, {rate:,.0f} rows/s")


def _cut(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in batches that are large enough for a model, and small enough for memory."""
    held, count = [], 0
    for batch in batches:
        rest = batch
        while rest.num_rows:
            piece = rest.slice(0, BATCH_ROWS - count)
            rest = rest.slice(piece.num_rows)
            held.append(piece)
            count += piece.num_rows
            if count == BATCH_ROWS:
                yield pa.Table.from_batches(held)
                held, count = [], 0
    if held:
        yield pa.Table.from_batches(held)


def _count_nan(columns: list[Any]) -> int:
    missing: Any = None
    for column in columns:
        here = pc.is_null(column, nan_is_null=pa.types.is_floating(column.type))
        missing = here if missing is None else pc.or_(missing, here)
    return int(pc.sum(missing).as_py() or 0)
