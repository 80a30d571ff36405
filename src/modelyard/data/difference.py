"""What differs between two datasets on record: columns, counts, statistics, and how they were made."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Protocol

_MEASURES = ("mean", "std", "min", "max")  # in the column's own unit
_ESTIMATED = 0.02  # share by which two estimates of one number of distinct values may differ


class Described(Protocol):
    """What is compared of a dataset; a row of the catalogue has it. ``None`` hashes and short profiles are old rows."""

    @property
    def digest(self) -> str: ...
    @property
    def num_rows(self) -> int: ...
    @property
    def split_counts(self) -> Mapping[str, int]: ...
    @property
    def schema(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def profile(self) -> Mapping[str, Any]: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def preprocessing_hash(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A value that is another one; None where a side has none."""

    name: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A statistic of a column that is another one.

    Attributes:
        statistic: ``mean``, ``std``, ``min``, ``max`` or ``quantile 0.5``, in the column's unit; ``null share``,
            ``NaN share`` and ``infinite share``, 0 to 1; ``share of <value>``, likewise; ``distinct``, a count, which
            is no shift where one is an estimate and within 2 % of the other.
        size: how much: values in the column's unit divided by the first one's std, shares as they differ, counts as a
            share of the larger one. None where that cannot be said: the first one's std is missing, 0 or nearly 0.
    """

    column: str
    statistic: str
    first: Any
    second: Any
    size: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How a second dataset differs from a first.

    Attributes:
        same_content: the digests are equal, so that every value is, in the same order.
        moved: columns that stand elsewhere among those that both have.
        rows: all rows (``all``) and those of each split, where the counts differ.
        preprocessing_changed: None where an older release did not keep it.
        profiled: both have a profile; without one no statistic is known, and none shifts.
        shifts: statistics that differ, the column with the largest shift first; what has no size comes before.
    """

    same_content: bool
    added: tuple[str, ...]
    removed: tuple[str, ...]
    retyped: tuple[Change, ...]
    moved: tuple[str, ...]
    rows: tuple[Change, ...]
    parameters: tuple[Change, ...]
    preprocessing_changed: bool | None
    profiled: bool
    shifts: tuple[Shift, ...]


def compare_datasets(first: Described, second: Described) -> Difference:
    """How ``second`` differs from ``first``, from what was recorded of them; no row is read."""
    before, after = (
        {column["name"]: column["type"] for column in one.schema if "name" in column and "type" in column}
        for one in (first, second)
    )
    common = [name for name in before if name in after]
    known = first.preprocessing_hash is not None and second.preprocessing_hash is not None
    return Difference(
        same_content=first.digest == second.digest,
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        retyped=_changes({name: before[name] for name in common}, {name: after[name] for name in common}),
        moved=_moved(common, [name for name in after if name in before]),
        rows=_changes(
            {"all": first.num_rows, **first.split_counts},
            {"all": second.num_rows, **second.split_counts},
        ),
        parameters=_changes(first.parameters, second.parameters),
        preprocessing_changed=first.preprocessing_hash != second.preprocessing_hash if known else None,
        profiled="columns" in first.profile and "columns" in second.profile,
        shifts=() if first.digest == second.digest else compare_profiles(first.profile, second.profile),
    )


def compare_profiles(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Shift, ...]:
    """The statistics that differ in columns that both have, as ``Difference.shifts`` says."""
    before = {column["name"]: column for column in first.get("columns", ())}
    by_column = []
    for column in second.get("columns", ()):
        if column["name"] in before:
            counts = first.get("num_rows", 0), second.get("num_rows", 0)
            if shifts := sorted(_compare(before[column["name"]], column, counts), key=_rank):
                by_column.append(shifts)
    by_column.sort(key=lambda shifts: _rank(shifts[0]))
    return tuple(shift for shifts in by_column for shift in shifts)


def _compare(first: Mapping[str, Any], second: Mapping[str, Any], rows: tuple[int, int]) -> list[Shift]:
    std: float | None = first.get("std")
    found: list[tuple[str, Any, Any, float | None]] = []
    quantiles = [_quantiles(column) for column in (first, second)]
    pairs: list[tuple[str, Any, Any]] = [
        (name, first.get(name), second.get(name)) for name in _MEASURES if name in first and name in second
    ]
    pairs += [(f"quantile {share}", quantiles[0][share], quantiles[1].get(share)) for share in quantiles[0]]
    for name, before, after in pairs:
        if before != after and (before, after) != (None, None):
            numbers = isinstance(before, int | float) and isinstance(after, int | float)
            size = abs(after - before) / std if numbers and std else math.inf
            found.append((name, before, after, size if math.isfinite(size) else None))
    for name, key in (("null share", "nulls"), ("NaN share", "nan"), ("infinite share", "infinite")):
        if first.get(key) is not None and second.get(key) is not None and all(rows):
            shares = first[key] / rows[0], second[key] / rows[1]
            if shares[0] != shares[1]:
                found.append((name, *shares, abs(shares[1] - shares[0])))
    before, after = first.get("distinct"), second.get("distinct")
    if before is not None and after is not None and before != after:
        size = abs(after - before) / max(before, after)
        estimated = False in (first.get("distinct_exact"), second.get("distinct_exact"))
        if not (estimated and size <= _ESTIMATED):
            found.append(("distinct", before, after, size))
    found += _compare_top(first, second, rows)
    return [
        Shift(column=second["name"], statistic=name, first=before, second=after, size=size)
        for name, before, after, size in found
    ]


def _quantiles(column: Mapping[str, Any]) -> dict[str, Any]:
    """Share → value."""
    found = column.get("quantiles") or {}
    return {str(share): value for share, value in found.items()} if isinstance(found, Mapping) else {}


def _compare_top(
    first: Mapping[str, Any], second: Mapping[str, Any], rows: tuple[int, int]
) -> list[tuple[str, float, float, float]]:
    """The values that both lists name, and the one of them whose share of the rows differs most."""
    tops = [{str(one["value"]): one["count"] for one in column.get("top") or ()} for column in (first, second)]
    shares = [(value, tops[0][value] / rows[0], tops[1][value] / rows[1]) for value in tops[0] if value in tops[1]]
    differing = [(f"share of {value}", a, b, abs(a - b)) for value, a, b in shares if a != b]
    return [max(differing, key=lambda one: one[3])] if differing else []


def _rank(shift: Shift) -> tuple[bool, float]:
    return shift.size is not None, -(shift.size or 0.0)


def _changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Change, ...]:
    return tuple(
        Change(name=name, first=first.get(name), second=second.get(name))
        for name in {**first, **second}
        if first.get(name) != second.get(name) or (name in first) != (name in second)
    )


def _moved(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """The fewest names, or nearly, without which both are in the same order."""
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    kept = {name for block in matcher.get_matching_blocks() for name in first[block.a : block.a + block.size]}
    return tuple(name for name in second if name not in kept)
