"""PSI, Kolmogorov-Smirnov and chi-square between two sets of values of one column; scipy does the two tests."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelyard.data.plain import unwrap

SHARE_FLOOR = 1e-4  # a bin with a smaller share counts as this much, on both sides: PSI stays finite
DECILES = np.arange(1, 10) / 10
NB_CATEGORIES = 50  # of the reference have a bin of their own
_DAYS = np.timedelta64(10, "D")  # a chart of a longer time has no hours
_NB_BARS, _NB_LABELS = 24, 12  # of a chart
_TAIL = 0.005  # values beyond these quantiles of both sides are drawn in the outermost bars

Doubles = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Shares (0 to 1) of both sides: between ``marks`` (edges, one more than shares) or beside them (labels)."""

    marks: Sequence[float | str]
    reference: Sequence[float]
    current: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """How far one set of values is from another.

    Attributes:
        psi: population stability index; None where it cannot be had.
        test: ``ks`` for numbers and times, ``chi2`` for categories; None where neither can be had.
        statistic: of that test, as scipy gives it; ``p_value`` likewise.
        missing: shares of null or NaN in the reference and in the current values.
        only_reference: categories that the current values lack; ``only_current``: those that are new.
        findings: what stood in the way of a measurement, in words.
        chart: None where there is nothing to draw.
    """

    psi: float | None = None
    test: Literal["ks", "chi2"] | None = None
    statistic: float | None = None
    p_value: float | None = None
    missing: tuple[float, float] = (0.0, 0.0)
    only_reference: int = 0
    only_current: int = 0
    findings: tuple[str, ...] = ()
    chart: Chart | None = None


def measure_column(reference: "pa.ChunkedArray[Any]", current: "pa.ChunkedArray[Any]") -> Measures:
    """Measure two columns of the same canonical type, at least one value each.

    Numbers and times: PSI over bins between the deciles of the reference; a decile that repeats is a bin of that one
    value, so that a constant has one. Null and NaN have a bin each. Kolmogorov-Smirnov leaves null, NaN and infinity
    out. Categories (text, booleans, bytes): PSI over the 50 most frequent of the reference, one bin for its others and
    one for all that it lacks; chi-square over every category. Null is a category in both.

    A type without order and categories (lists, structs) gives no measure, and a finding that says so.
    """
    reference, current = _decode(reference), _decode(current)
    if _is_number(reference.type):
        return _measure_numbers(_Numbers(reference), _Numbers(current), reference.type)
    if _is_category(reference.type):
        return _measure_categories(reference, current)
    return Measures(findings=(f"values of type {reference.type} cannot be compared",))


def compute_psi(reference_counts: Sequence[int], current_counts: Sequence[int]) -> float:
    """The population stability index: the sum of (c - r) ln(c / r) over the bins' shares r and c.

    A share below ``SHARE_FLOOR`` counts as that much.
    """
    shares = [np.asarray(counts, float) / np.sum(counts) for counts in (reference_counts, current_counts)]
    r, c = (np.maximum(share, SHARE_FLOOR) for share in shares)
    return float(np.sum((c - r) * np.log(c / r)))


def find_cuts(values: Doubles) -> Doubles:
    """Upper ends of the bins between the deciles of ``values``; what is above the last one is a bin more.

    A decile that repeats gets a second cut just below it, so that it is alone in its bin.
    """
    if not values.size:
        return np.empty(0)
    deciles = np.quantile(values, DECILES, method="inverted_cdf")
    cuts, counts = np.unique(deciles, return_counts=True)
    with np.errstate(over="ignore"):  # below the lowest double is -infinity, which is a cut like any other
        return np.union1d(cuts, np.nextafter(cuts[counts > 1], -np.inf))


class _Numbers:
    """A column of numbers or times as doubles, and what of it is no finite number."""

    def __init__(self, column: "pa.ChunkedArray[Any]") -> None:
        self.num_rows, self.nulls = len(column), column.null_count
        values = _load_doubles(column.drop_null())
        missing, infinite = np.isnan(values), np.isinf(values)
        self.nans, self.infinite = int(missing.sum()), int(infinite.sum())
        self.finite = values[~(missing | infinite)] if self.nans or self.infinite else values

    @property
    def missing(self) -> float:
        return (self.nulls + self.nans) / self.num_rows

    def count(self, cuts: Doubles) -> list[int]:
        """Values per bin, then infinities, NaN and nulls."""
        found = np.bincount(np.searchsorted(cuts, self.finite, side="left"), minlength=len(cuts) + 1)
        return [*found.tolist(), self.infinite, self.nans, self.nulls]


def _measure_numbers(reference: _Numbers, current: _Numbers, data_type: Any) -> Measures:
    from scipy.stats import ks_2samp

    sides = {"reference": reference, "current": current}
    findings = [f"{side.infinite:,} infinite {name} values" for name, side in sides.items() if side.infinite]
    findings += _find_empty({name: side.finite.size for name, side in sides.items()}, "finite value")
    cuts = find_cuts(reference.finite)
    psi = compute_psi(reference.count(cuts), current.count(cuts))
    missing = (reference.missing, current.missing)
    if not (reference.finite.size and current.finite.size):
        return Measures(psi=psi, missing=missing, findings=tuple(findings))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the exact p value was out of reach: it is the asymptotic one
        found = ks_2samp(reference.finite, current.finite)
    return Measures(
        psi=psi,
        test="ks",
        statistic=float(found.statistic),
        p_value=float(found.pvalue),
        missing=missing,
        findings=tuple(findings),
        chart=_draw_numbers(reference.finite, current.finite, data_type),
    )


def _draw_numbers(reference: Doubles, current: Doubles, data_type: Any) -> Chart | None:
    with np.errstate(all="ignore"):  # what overflows is found below
        ends = np.array([np.quantile(values, [_TAIL, 1 - _TAIL]) for values in (reference, current)])
        low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
        if low == high:
            low, high = low - max(0.5, abs(low) / 1e3), high + max(0.5, abs(high) / 1e3)
        edges = np.linspace(low, high, _NB_BARS + 1)
    if not (np.isfinite(edges).all() and (edges[1:] > edges[:-1]).all()):
        return None  # from one end of the doubles to the other, or between two neighbours
    shares = [np.histogram(np.clip(values, low, high), edges)[0] / values.size for values in (reference, current)]
    return Chart(marks=_mark(edges, data_type), reference=shares[0].tolist(), current=shares[1].tolist())


def _mark(edges: Doubles, data_type: Any) -> list[float | str]:
    """Edges as they are read: of dates and timestamps as text."""
    if pa.types.is_date(data_type) or pa.types.is_timestamp(data_type):
        unit = "D" if pa.types.is_date(data_type) else _unit(data_type)
        moments: Any = np.round(edges).astype(np.int64).astype(f"datetime64[{unit}]")
        shown = moments.astype("datetime64[s]" if moments[-1] - moments[0] < _DAYS else "datetime64[D]")
        return [str(moment).replace("T", " ") for moment in shown]
    return list(map(float, edges))


def _measure_categories(reference: "pa.ChunkedArray[Any]", current: "pa.ChunkedArray[Any]") -> Measures:
    from scipy.stats import chi2_contingency

    columns = {"reference": reference, "current": current}
    nulls = [column.null_count for column in columns.values()]
    missing = (nulls[0] / len(reference), nulls[1] / len(current))
    values, counts = _count_values(reference, current)
    every = np.column_stack([counts, nulls]) if sum(nulls) else counts  # nobody's category would be expected 0 times
    found = chi2_contingency(every)
    new = counts[0] == 0
    bins = [
        [*side[:NB_CATEGORIES][~new[:NB_CATEGORIES]], side[NB_CATEGORIES:][~new[NB_CATEGORIES:]].sum(), side[new].sum()]
        for side in counts
    ]
    return Measures(
        psi=compute_psi(*([*side, null] for side, null in zip(bins, nulls, strict=True))),
        test="chi2",
        statistic=float(found.statistic),
        p_value=float(found.pvalue),
        missing=missing,
        only_reference=int((counts[1] == 0).sum()),
        only_current=int(new.sum()),
        findings=tuple(_find_empty({name: len(c) - c.null_count for name, c in columns.items()}, "value")),
        chart=_draw_categories(values, counts, (len(reference), len(current))),
    )


def _count_values(reference: "pa.ChunkedArray[Any]", current: "pa.ChunkedArray[Any]") -> tuple[Any, Any]:
    """k values that either side has, the reference's most frequent first, and how often: shape (2, k)."""
    sides: list[Any] = [pc.value_counts(column.drop_null()) for column in (reference, current)]
    tables = [pa.table({"value": side.field(0), f"count_{n}": side.field(1)}) for n, side in enumerate(sides)]
    names = ["count_0", "count_1"]
    both: Any = tables[0].join(tables[1], "value", join_type="full outer")
    for name in names:
        both = both.set_column(both.column_names.index(name), name, pc.fill_null(both[name], 0))
    both = both.sort_by([*((name, "descending") for name in names), ("value", "ascending")])
    return both["value"], np.array([both[name].to_numpy() for name in names])


def _draw_categories(values: Any, counts: Any, num_rows: tuple[int, int]) -> Chart | None:
    if not len(values):
        return None
    shares = counts / np.array(num_rows)[:, None]
    shown = np.argsort(-shares.max(axis=0), kind="stable")[:_NB_LABELS]
    drawn = shares[:, shown]
    labels = [value.hex() if isinstance(value, bytes) else str(value) for value in values.take(shown).to_pylist()]
    if len(values) > _NB_LABELS:
        labels.append(f"{len(values) - _NB_LABELS:,} others")
        drawn = np.column_stack([drawn, (shares.sum(axis=1) - drawn.sum(axis=1)).clip(0)])
    return Chart(marks=labels, reference=drawn[0].tolist(), current=drawn[1].tolist())


def _find_empty(nb_values: dict[str, int], what: str) -> list[str]:
    empty = [name for name, nb in nb_values.items() if not nb]
    return [f"no {what} in the {' and in the '.join(empty)} rows"] if empty else []


def _decode(column: "pa.ChunkedArray[Any]") -> "pa.ChunkedArray[Any]":
    """Values as they are, whatever the layout; categories as large_string or large_binary."""
    types: Any = pa.types
    column = unwrap(column)
    if _is_text(column.type) or types.is_boolean(column.type) or types.is_null(column.type):
        return column.cast(pa.large_string())
    return column.cast(pa.large_binary()) if _is_binary(column.type) else column


def _load_doubles(column: "pa.ChunkedArray[Any]") -> Doubles:
    """Times as the count of their unit, as it is in the canonical type: days, or milliseconds where it is seconds."""
    types, seconds = pa.types, getattr(column.type, "unit", None) == "s"
    if types.is_temporal(column.type):
        days = types.is_date(column.type)
        whole: Any = pa.int32() if days or types.is_time32(column.type) else pa.int64()
        column = (column.cast(pa.date32()) if days else column).cast(whole)
    values: Doubles = column.cast(pa.float64(), safe=False).to_numpy()
    if seconds:
        values = values * 1000
    return values


def _unit(data_type: Any) -> str:
    return "ms" if data_type.unit == "s" else str(data_type.unit)


def _is_number(data_type: Any) -> bool:
    types = pa.types
    number = types.is_integer(data_type) or types.is_floating(data_type) or types.is_decimal(data_type)
    return number or (types.is_temporal(data_type) and not types.is_interval(data_type))


def _is_category(data_type: Any) -> bool:
    return _is_text(data_type) or _is_binary(data_type)


def _is_text(data_type: Any) -> bool:
    return data_type in (pa.string(), pa.large_string(), pa.string_view())


def _is_binary(data_type: Any) -> bool:
    fixed = pa.types.is_fixed_size_binary(data_type) and not pa.types.is_decimal(data_type)
    return fixed or data_type in (pa.binary(), pa.large_binary(), pa.binary_view())
