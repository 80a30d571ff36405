"""Raw files of an hourly series, and its whole local days: one rule each for clock changes, gaps and duplicates."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pyarrow as pa

from modelyard.data.files import read_table
from modelyard.errors import InvalidParameter, RawDataMalformed
from modelyard.workloads.hourly_energy.parameters import HourlyProcessing

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]
TIME, TARGET = "time", "target"
_OFFSET = re.compile(r"[T ].*(Z|[+-]\d\d(:?\d\d)?)$")  # at the end of a time of day


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """D whole days in a row.

    Attributes:
        first: the first of them, in days since 1970-01-01.
        values: name of a series → its values, of shape (D, 24).
        measured: of shape (D, 24): whether the target was in the raw data, rather than filled in.
        notes: what was filled in, averaged and left out: counts.
    """

    first: int
    values: Mapping[str, Array]
    measured: Array
    notes: Mapping[str, int]


def load_series(files: Sequence[Path], parameters: HourlyProcessing) -> pa.Table:
    """Read files that hold the named columns, their rows one after the other.

    Returns:
        ``time`` (a time without a zone is one of the local clock), ``target``, then each regressor by its name among
        the features; numbers are float64, null for a blank.

    Raises:
        RawDataNotFound: there is no such file.
        RawDataMalformed: with every problem of a file.
        InvalidParameter: two columns have one name, or one that is taken.
    """
    columns = {parameters.target_column: TARGET, **parameters.list_regressors()}
    names = [*columns.values()]
    is_repeated = len(set(names)) < 1 + len(parameters.list_regressors())
    if is_repeated or not {"", TIME}.isdisjoint(names) or parameters.time_column in columns:
        raise InvalidParameter(
            [
                "time_column, target_column and regressors must be columns with names of their own, and no regressor "
                f"can be called {TIME} or {TARGET}; they would be {names}"
            ]
        )
    if not files:
        raise RawDataMalformed("raw data", ["no file was given"])
    tables = [_load_file(path, parameters.time_column, columns) for path in files]
    if len({table.schema.field(TIME).type for table in tables}) > 1:
        raise RawDataMalformed("raw data", ["some files have times with an offset from UTC and others without"])
    return pa.concat_tables(tables)


def _load_file(path: Path, time_column: str, columns: Mapping[str, str]) -> pa.Table:
    table = read_table(path)
    if missing := [name for name in (time_column, *columns) if name not in table.column_names]:
        problem = f"it has no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, table.column_names))}"
        hint = "Name its columns with time_column, target_column and regressors (--set time_column=…)."
        raise RawDataMalformed(path, [problem], hint=hint)
    if not table.num_rows:
        raise RawDataMalformed(path, ["it has no rows"])
    problems: list[str] = []
    read = {TIME: _read_times(table[time_column], time_column, problems)}
    for column, name in columns.items():
        read[name] = _read_numbers(table[column], column, problems)
    if problems:
        raise RawDataMalformed(path, problems)
    return pa.table(read)


def _read_times(column: Any, name: str, problems: list[str]) -> Any:
    """As timestamps in microseconds, in UTC where the file gives offsets."""
    import pandas as pd

    kind = column.type
    if pa.types.is_timestamp(kind) and not column.null_count:
        return column.cast(pa.timestamp("us", "UTC" if kind.tz else None), safe=False)
    cells = column.to_pylist()
    readable = (str, datetime)
    wrong = [(row, cell) for row, cell in enumerate(cells, start=1) if not isinstance(cell, readable)]
    if not wrong:
        times = pd.to_datetime(pd.Series(cells), errors="coerce", utc=True, format="ISO8601")
        wrong = [(row + 1, cells[row]) for row in np.flatnonzero(times.isna()).tolist()]
        have_offsets = {_OFFSET.search(str(cell)) is not None for cell in cells}
        if not wrong and len(have_offsets) == 1:
            kind = pa.timestamp("us", "UTC" if have_offsets.pop() else None)
            return pa.chunked_array([pa.array(times.dt.tz_convert(None).to_numpy(), kind)])
    examples = ", ".join(f"row {row}: {str(cell)[:25]!r}" for row, cell in wrong[:3])
    found = f"{len(wrong):,} cells are no times ({examples})" if wrong else "some have an offset from UTC, others none"
    problems.append(f"{name!r} must be times such as 2016-01-04 00:00, all with an offset from UTC or none: {found}")
    return None


def _read_numbers(column: Any, name: str, problems: list[str]) -> Any:
    kind = column.type
    known = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    if not any(fits(kind) for fits in known):
        problems.append(f"{name!r} must be numbers and is {kind}, e.g. {_find_text(column)!r}")
        return None
    values = column.cast(pa.float64(), safe=False)
    if nb_infinite := int(np.isinf(values.to_numpy()).sum()):
        problems.append(f"{name!r} is infinite in {nb_infinite:,} rows")
    return pa.chunked_array([pa.array(values.to_numpy(), from_pandas=True)])  # NaN is a blank


def _find_text(column: Any) -> str:
    """The first cell that is no number, cut short."""
    for cell in column.to_pylist():
        try:
            float(cell)
        except (TypeError, ValueError):
            if cell is not None:
                return str(cell)[:25]
    return str(column[0])


def form_days(raw: pa.Table, parameters: HourlyProcessing) -> Days:
    """The whole days from the first to the last one.

    An hour that the clock skips is the mean of its neighbours; one that it repeats is the mean of both. Any other hour
    that is missing or blank, at most ``max_gap_hours`` in a row, takes the value of the hour before it, never of a
    later one. Days that are cut at either end are left out.

    Raises:
        RawDataMalformed: times off the hour, duplicates, longer gaps, no whole day; every problem is listed.
        InvalidParameter: there is no such time zone.
    """
    import pandas as pd

    zone = _find_zone(parameters.time_zone)
    frame = raw.to_pandas().set_index(TIME).sort_index(kind="stable")
    problems: list[str] = []
    index = pd.DatetimeIndex(frame.index)
    if index.tz is not None:
        if index.has_duplicates:
            problems.append(_describe_duplicates(index[index.duplicated()]))
        index = index.tz_convert(zone).tz_localize(None)
    if off := index[index != index.floor("h")].tolist():
        where = f"{off[0]} in {parameters.time_zone}"
        problems.append(f"{len(off):,} times are not on the hour, e.g. {where}; the series must be hourly")
    skipped, repeated = _find_clock_changes(index, zone)
    twice = index[index.duplicated()]
    nb_averaged = int(twice.isin(repeated).sum())
    if raw.schema.field(TIME).type.tz is None:
        again = index[index.duplicated(keep=False)]
        counts = again.value_counts()
        if len(wrong := counts.index[~counts.index.isin(repeated) | (counts > 2)].sort_values()):
            problems.append(_describe_duplicates(wrong))
    if problems:
        raise RawDataMalformed("raw data", problems)
    hourly = frame.set_axis(index).groupby(level=0).mean()
    first, last = index[0].ceil("D"), (index[-1] + pd.Timedelta(hours=1)).floor("D")
    if first >= last:
        raise RawDataMalformed("raw data", [f"{raw.num_rows:,} rows hold no whole day"])
    whole = hourly.reindex(pd.date_range(first, last, freq="h", inclusive="left"))
    measured = whole[TARGET].notna().to_numpy()
    is_skipped = whole.index.isin(skipped)
    nb_skipped = int((is_skipped & ~measured).sum())
    _refuse_gaps(whole[~is_skipped], parameters.max_gap_hours)
    middle = whole[is_skipped].fillna((whole.shift(1) + whole.shift(-1))[is_skipped] / 2)
    filled = whole.fillna(middle).ffill()
    days = (len(filled) // 24, 24)
    return Days(
        first=(first - pd.Timestamp(0)).days,
        values={str(name): filled[name].to_numpy().reshape(days) for name in filled},
        measured=measured.reshape(days),
        notes={
            "rows_read": raw.num_rows,
            "days": days[0],
            "hours_filled": int(whole[~is_skipped].isna().any(axis=1).sum()),
            "hours_skipped_by_the_clock": nb_skipped,
            "hours_repeated_by_the_clock": nb_averaged,
            "hours_of_cut_days_left_out": int(((index < first) | (index >= last)).sum()),
        },
    )


def _find_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        known = available_timezones()
    told = "no such zone; one is Europe/Berlin" if known else "this machine knows no time zones: pip install tzdata"
    raise InvalidParameter([f"parameter time_zone={name!r}: {told}"])


def _find_clock_changes(index: "pd.DatetimeIndex", zone: ZoneInfo) -> "tuple[pd.DatetimeIndex, pd.DatetimeIndex]":
    """The local hours that the clock skips, and those that it repeats, in the days of an index."""
    import pandas as pd

    hours = pd.date_range(index[0].floor("D"), index[-1].ceil("D") + pd.Timedelta(days=1), freq="h")
    known = hours.tz_localize(zone, nonexistent="NaT", ambiguous="NaT")
    skipped = hours.tz_localize(zone, nonexistent="NaT", ambiguous=np.ones(len(hours), dtype=bool)).isna()
    return hours[skipped], hours[known.isna()].difference(hours[skipped])


def _refuse_gaps(whole: "pd.DataFrame", max_gap_hours: int) -> None:
    problems = []
    for name in whole:
        blank = whole[name].isna()
        value_before = (~blank).cumsum()  # tells the gaps from each other; 0: none is before
        lengths = blank.groupby(value_before).sum()
        refused = lengths[(lengths > max_gap_hours) | ((lengths.index == 0) & (lengths > 0))]
        if len(refused):
            start = whole.index[blank & (value_before == refused.index[0])][0]
            more = f", and {len(refused) - 1:,} more such gaps" if len(refused) > 1 else ""
            problems.append(f"{name} has no value for {refused.iloc[0]:,} hours from {start}{more}")
    if problems:
        hint = f"Gaps of up to max_gap_hours={max_gap_hours} are filled; complete the data, or cut it there."
        raise RawDataMalformed("raw data", problems, hint=hint)


def _describe_duplicates(times: Any) -> str:
    return f"{len(times):,} hours are there more than once, e.g. {times[0]}; keep one row of each"
