"""Drift: how far current rows have moved from reference rows, column by column, held against limits."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from modelyard.data.drift_measures import Chart, Measures, measure_column
from modelyard.data.schema import canonical_type
from modelyard.errors import DriftNotMeasured


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftLimits:
    """How far a column may move.

    Attributes:
        psi: highest population stability index.
        ks: highest Kolmogorov-Smirnov statistic, 0 to 1.
        p_value: lowest p value of Kolmogorov-Smirnov or chi-square; None for no limit, because with many rows every
            difference, however small, has a small p value.
        ignored: columns that are not compared, those that move by their nature: as the workload names them, and
            ``X.week`` where the name alone is not enough.
    """

    psi: float = 0.2
    ks: float = 0.1
    p_value: float | None = None
    ignored: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """The limits as JSON values, the form that is stored."""
        return asdict(self) | {"ignored": list(self.ignored)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDrift:
    """What was measured of a column, and why it has drifted: no reason, no drift.

    Attributes:
        name: as in the dataset's schema: ``X.<name>`` or ``y.<name>``.
        type: canonical type in the reference; in the current rows, if it is not in the reference.
        compared: whether it was; False where it is ignored.
        psi: population stability index; None where it could not be had.
        test: ``ks`` or ``chi2``; ``statistic`` and ``p_value`` are scipy's.
        missing_reference: share of null and NaN, 0 to 1; ``missing_current`` likewise.
        only_reference: categories that the current rows lack; ``only_current``: those that are new.
        reasons: limits that it is beyond, differences of the columns, and what stood in the way of a measurement.
    """

    name: str
    type: str
    compared: bool = True
    psi: float | None = None
    test: Literal["ks", "chi2"] | None = None
    statistic: float | None = None
    p_value: float | None = None
    missing_reference: float = 0.0
    missing_current: float = 0.0
    only_reference: int = 0
    only_current: int = 0
    reasons: tuple[str, ...] = ()

    @property
    def drifted(self) -> bool:
        return bool(self.reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftedColumn:
    """A column with its chart (None where there is nothing to draw)."""

    drift: ColumnDrift
    chart: Chart | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows that are read a column at a time.

    Attributes:
        fields: Arrow field by name: ``X.<name>``, ``y.<name>``.
        num_rows: how many rows.
        read: a column's values by that name.
    """

    fields: Mapping[str, "pa.Field[Any]"]
    num_rows: int
    read: Callable[[str], "pa.ChunkedArray[Any]"] = field(repr=False)


def take_rows(X: pa.Table, y: pa.Table | None) -> Rows:
    """Rows in memory, n of each; ``y`` may be missing."""
    tables = {"X": X} if y is None else {"X": X, "y": y}
    return Rows(
        fields=_name_fields({part: table.schema for part, table in tables.items()}),
        num_rows=X.num_rows,
        read=lambda name: tables[name[0]][name[2:]],
    )


def open_rows(X: Path, y: Path, *, split: Path | None = None, only: str = "train") -> Rows:
    """Rows of a dataset's Parquet files, of which one column at a time is in memory.

    Args:
        X: file of the features; ``y`` of the targets.
        split: file of the split; with it only the rows of one split are read, else all.
        only: which split.
    """
    paths = {"X": X, "y": y}
    kept: Any = None if split is None else pc.equal(_read(split, "split").cast(pa.string()), pa.scalar(only))

    def read(name: str) -> "pa.ChunkedArray[Any]":
        column = _read(paths[name[0]], name[2:])
        return column if kept is None else column.filter(kept)

    return Rows(
        fields=_name_fields({part: pq.read_schema(path) for part, path in paths.items()}),
        num_rows=pq.read_metadata(X).num_rows if kept is None else int(pc.sum(kept).as_py() or 0),
        read=read,
    )


def compare_rows(
    reference: Rows, current: Rows, *, limits: DriftLimits, report: Callable[[float, str], None]
) -> list[DriftedColumn]:
    """Compare every column, the worst first; whatever cannot be measured is a reason, never a column without drift.

    A column that one side lacks, or that has another type there, has drifted; targets count where both sides have any.

    Args:
        reference: what is expected.
        current: what is held against it.
        limits: of the workload.
        report: told the share that is done (0 to 1) and the column that is next.

    Raises:
        DriftNotMeasured: a side has no rows, no column is left to compare, or one that is ignored is nowhere.
    """
    for side, rows in (("reference", reference), ("current", current)):
        if not rows.num_rows:
            raise DriftNotMeasured(f"the {side} has no rows, so drift cannot be measured; name one that has some")
    names = [*reference.fields, *(name for name in current.fields if name not in reference.fields)]
    limits = replace(limits, ignored=tuple(_find_column(name, names) for name in limits.ignored))
    if not all(any(name.startswith("y.") for name in rows.fields) for rows in (reference, current)):
        names = [name for name in names if name.startswith("X.")]
    if not set(names) - set(limits.ignored):
        raise DriftNotMeasured("there is no column to compare; take some out of those that the workload ignores")
    found = []
    for number, name in enumerate(names):
        report(number / len(names), name)
        found.append(_compare(name, reference, current, limits))
    return sorted(found, key=lambda column: _rank(column.drift, limits))


def _find_column(name: str, columns: Sequence[str]) -> str:
    found = [full for full in columns if name in (full, full.partition(".")[2])]
    if not found:
        raise DriftNotMeasured(f"the workload's limits ignore {name!r}, which is no column; there are {_list(columns)}")
    if len(found) > 1:
        raise DriftNotMeasured(f"the workload's limits ignore {name!r}, and that may be any of {_list(found)}")
    return found[0]


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")


def _compare(name: str, reference: Rows, current: Rows, limits: DriftLimits) -> DriftedColumn:
    types = [canonical_type(rows.fields[name]) if name in rows.fields else None for rows in (reference, current)]
    plain = ColumnDrift(name=name, type=types[0] or types[1] or "")
    if name in limits.ignored:
        return DriftedColumn(drift=replace(plain, compared=False))
    if types[1] is None:
        return DriftedColumn(drift=replace(plain, reasons=("the current rows lack this column",)))
    if types[0] is None:
        return DriftedColumn(drift=replace(plain, reasons=("the reference lacks this column",)))
    if types[0] != types[1]:
        return DriftedColumn(drift=replace(plain, reasons=(f"its type was {types[0]} and is {types[1]}",)))
    measures = measure_column(reference.read(name), current.read(name))
    drift = replace(
        plain,
        psi=measures.psi,
        test=measures.test,
        statistic=measures.statistic,
        p_value=measures.p_value,
        missing_reference=measures.missing[0],
        missing_current=measures.missing[1],
        only_reference=measures.only_reference,
        only_current=measures.only_current,
        reasons=(*measures.findings, *_exceed(measures, limits)),
    )
    return DriftedColumn(drift=drift, chart=measures.chart)


def _exceed(measures: Measures, limits: DriftLimits) -> list[str]:
    """Limits that are not held; asked so that a number that is none holds no limit."""
    reasons = []
    if measures.psi is not None and not measures.psi <= limits.psi:
        reasons.append(f"PSI {measures.psi:.3g} is above {limits.psi:g}")
    if measures.test == "ks" and measures.statistic is not None and not measures.statistic <= limits.ks:
        reasons.append(f"KS {measures.statistic:.3g} is above {limits.ks:g}")
    if limits.p_value is not None and measures.p_value is not None and not measures.p_value >= limits.p_value:
        reasons.append(f"p value {measures.p_value:.3g} is below {limits.p_value:g}")
    return reasons


def _rank(drift: ColumnDrift, limits: DriftLimits) -> tuple[bool, bool, float, str]:
    """Sorts the worst first: what has no measure, then what drifted, by how often it exceeds its limit."""
    shares = [drift.psi / limits.psi if limits.psi else math.inf] if drift.psi is not None else []
    if drift.test == "ks" and drift.statistic is not None:
        shares.append(drift.statistic / limits.ks if limits.ks else math.inf)
    worst = max(shares) if drift.test and shares else math.inf
    return not drift.compared, not drift.drifted, -worst, drift.name


def _name_fields(schemas: Mapping[str, pa.Schema]) -> dict[str, "pa.Field[Any]"]:
    return {f"{part}.{column.name}": column for part, schema in schemas.items() for column in schema}


def _read(path: Path, name: str) -> "pa.ChunkedArray[Any]":
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20, page_checksum_verification=True) as file:
        return file.read(columns=[name]).column(name)
