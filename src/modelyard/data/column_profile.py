"""The profile of one column, whose values come in batches."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelyard.data.distinct import DistinctValues, hash_texts, hash_words
from modelyard.data.histogram import Histogram
from modelyard.data.moments import Moments
from modelyard.data.plain import ZERO_SIGN, unwrap, unwrapped_type
from modelyard.data.row_sample import Indexes
from modelyard.data.schema import canonical_type
from modelyard.data.times import find_time_scale
from modelyard.errors import BadInput

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
SHOWN_CHARACTERS = 100  # of a text; of bytes the hexadecimal digits
TOP_VALUES = 20
_COUNTED_NUMBERS = 256  # more than are shown, because counting few is faster than hashing all
_NOT_OF_NESTED = ("mean", "std", "min", "max", "quantiles", "histogram", "top", "top_exact")
_BLOCK_VALUES = 32_768  # of doubles 256 kB: what is made of them stays in the cache
_SAMPLED_OFTEN = 10  # below, an estimate from the sample says nothing


class ColumnProfile:
    """Counts and statistics of one column.

    Args:
        field: name and type.
        exact: up to how many distinct values their number is exact.
        counted_texts: up to how many distinct texts each is counted.

    Raises:
        DigestRefused: the type has no canonical form.
    """

    def __init__(self, field: "pa.Field[Any]", *, exact: int, counted_texts: int) -> None:
        self._head = {"name": field.name, "type": canonical_type(field)}
        self._type = _plain_type(field.type)
        self._time = find_time_scale(self._type)
        self._is_number = pa.types.is_integer(self._type) or pa.types.is_floating(self._type)
        self.is_ordered = self._is_number or self._time is not None
        self._is_counted = self.is_ordered or _is_text(self._type) or pa.types.is_boolean(self._type)
        self._rows = self._nulls = self._nan = self._infinite = 0
        self._low: Any = None
        self._high: Any = None
        self._moments = Moments()
        self._histogram = Histogram(0) if pa.types.is_integer(self._type) else Histogram()
        counted, hash_values = (_COUNTED_NUMBERS, hash_words) if self.is_ordered else (counted_texts, hash_texts)
        self._distinct = DistinctValues(exact, counted, hash_values, _shorten)
        self._sample: list[Any] = []

    def update(self, column: Any, joining: Indexes, staying: Indexes | None) -> None:
        """Add a batch's values, and to the sample those at ``joining``, of which then only ``staying`` remain.

        Raises:
            BadInput: a value that its type cannot hold, such as text that is not UTF-8.
        """
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # what is beyond a double is None in the end
                self._update(column, joining, staying)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise BadInput(f"column {self._head['name']!r} of type {self._head['type']}: {error}") from None

    def keep(self, staying: Indexes | None) -> None:
        """Leave these of the sampled rows; all of them if None."""
        if staying is not None and self._sample:
            self._sample = [pa.concat_arrays(self._sample).take(pa.array(staying))]

    def result(self) -> dict[str, Any]:
        """The column's part of a profile, as JSON values."""
        described: dict[str, Any] = self._head | {"nulls": self._nulls}
        if not self._is_counted:
            distinct = 0 if pa.types.is_null(self._type) else None
            described |= {"nan": None, "infinite": None, "distinct": distinct, "distinct_exact": None}
            return described | dict.fromkeys(_NOT_OF_NESTED)
        is_float = pa.types.is_floating(self._type)
        has_moments = self._is_number and not self._infinite
        return described | {
            "nan": self._nan if is_float else None,
            "infinite": self._infinite if is_float else None,
            **self._describe_distinct(),
            "mean": self._moments.mean() if has_moments else None,
            "std": self._moments.std() if has_moments else None,
            "min": self._show(self._low),
            "max": self._show(self._high),
            "quantiles": self._quantiles(),
            "histogram": self._describe_histogram(),
            **self._describe_top(),
        }

    def _update(self, column: Any, joining: Indexes, staying: Indexes | None) -> None:
        values = _plain(column, self._type)
        self._rows += len(values)
        self._nulls += values.null_count
        if not self._is_counted:
            return
        if not pa.types.is_boolean(self._type):
            self._sample.append(_cut(values.take(pa.array(joining))))
            self.keep(staying)
        if values.null_count:
            values = values.drop_null()
        for start in range(0, len(values), _BLOCK_VALUES):
            block = values.slice(start, _BLOCK_VALUES)
            if self.is_ordered:
                self._update_ordered(block)
            else:
                self._distinct.update(block)

    def _update_ordered(self, block: Any) -> None:
        numbers = block.to_numpy()
        if pa.types.is_floating(self._type):
            low, high = float(numbers.min()), float(numbers.max())  # NaN if any value is
            if not (math.isfinite(low) and math.isfinite(high)):
                numbers = numbers[~np.isnan(numbers)]
                self._nan += len(block) - len(numbers)
                block = pa.array(numbers)
        if len(numbers):
            low, high = numbers.min().item(), numbers.max().item()
            self._low = low if self._low is None else min(low, self._low)
            self._high = high if self._high is None else max(high, self._high)
            self._distinct.update(block)
            self._update_doubles(numbers, low, high)

    def _update_doubles(self, numbers: Any, low: float, high: float) -> None:
        if self._time is not None:
            numbers, low, high = self._time.scale(numbers), self._time.scale(low), self._time.scale(high)
        elif numbers.dtype != np.float64:
            numbers, low, high = numbers.astype(np.float64), float(low), float(high)
        elif not (math.isfinite(low) and math.isfinite(high)):
            finite = numbers[np.isfinite(numbers)]
            self._infinite += len(numbers) - len(finite)
            if not len(finite):
                return
            numbers, low, high = finite, float(finite.min()), float(finite.max())
        self._histogram.update(numbers, low, high)
        if self._is_number:
            self._moments.update(numbers)

    def _describe_distinct(self) -> dict[str, Any]:
        number, is_exact = self._distinct.number()
        present = self._rows - self._nulls - self._nan
        return {"distinct": min(number, present), "distinct_exact": is_exact}

    def _quantiles(self) -> dict[str, Any] | None:
        """Each the smallest value that this share of the values does not exceed, so always one that occurs."""
        if not self.is_ordered:
            return None
        numbers = pa.concat_arrays(self._sample).drop_null().to_numpy() if self._sample else np.empty(0)
        numbers = np.sort(numbers[~np.isnan(numbers)] if numbers.dtype.kind == "f" else numbers)
        if not len(numbers):
            return None
        # less a hair, so that 0.01 of 100 values, not quite 1 as a double, is the first and not the second
        places = [max(0, math.ceil(share * len(numbers) - 1e-9) - 1) for share in QUANTILES]
        return {str(share): self._show(numbers[place].item()) for share, place in zip(QUANTILES, places, strict=True)}

    def _describe_histogram(self) -> dict[str, Any] | None:
        binned = self._histogram.result()
        if binned is None:
            return None
        edges, counts = binned
        shown: list[Any] = edges if self._time is None else [self._time.show_scaled(edge) for edge in edges]
        return {"edges": shown, "counts": counts}

    def _describe_top(self) -> dict[str, Any]:
        counts = self._distinct.find_counts()
        is_exact = counts is not None
        if self.is_ordered and (counts is None or len(counts) > TOP_VALUES):
            return {"top": None, "top_exact": None}
        if counts is None:
            found = pc.value_counts(pa.concat_arrays(self._sample).drop_null())
            whole = self._rows / sum(len(part) for part in self._sample)
            texts, often = found.field("values").to_pylist(), found.field("counts").to_pylist()
            pairs = zip(texts, often, strict=True)
            counts = [(_shorten(text), round(count * whole)) for text, count in pairs if count >= _SAMPLED_OFTEN]
        counts.sort(key=lambda item: item[0])
        counts.sort(key=lambda item: item[1], reverse=True)
        shown = [{"value": self._show(value), "count": count} for value, count in counts[:TOP_VALUES]]
        return {"top": shown, "top_exact": is_exact}

    def _show(self, value: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        if self._time is not None:
            return self._time.show(value)
        return value if isinstance(value, int) or math.isfinite(value) else None


def _plain_type(data_type: Any) -> Any:
    """The type in which values are counted, whatever their physical form: every kind of text is one, and so on."""
    types, data_type = pa.types, unwrapped_type(data_type)
    if types.is_floating(data_type) or types.is_decimal(data_type):
        return pa.float64()
    if types.is_signed_integer(data_type):
        return pa.int64()
    if types.is_unsigned_integer(data_type):
        return pa.uint64()
    if types.is_string(data_type) or types.is_large_string(data_type) or types.is_string_view(data_type):
        return pa.large_string()
    if types.is_binary(data_type) or types.is_large_binary(data_type) or types.is_binary_view(data_type):
        return pa.large_binary()
    if types.is_fixed_size_binary(data_type):
        return pa.large_binary()
    if types.is_timestamp(data_type) and data_type.unit == "s":
        return pa.timestamp("ms", data_type.tz)
    if types.is_duration(data_type) and data_type.unit == "s":
        return pa.duration("ms")
    if types.is_time32(data_type):
        return pa.time32("ms")
    return pa.date32() if types.is_date64(data_type) else data_type


def _is_text(data_type: Any) -> bool:
    return bool(pa.types.is_large_string(data_type) or pa.types.is_large_binary(data_type))


def _plain(column: Any, target: Any) -> Any:
    """One array of ``target``, times as integers; a null that a dictionary or a run hides is a null there."""
    types = pa.types
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    column = unwrap(column)
    if column.type != target and (_is_text(target) or types.is_primitive(target)):
        if types.is_decimal(column.type) or types.is_float16(column.type):
            column = column.cast(pa.float64(), safe=False)
        column = column.cast(target)
    if types.is_date(target) or types.is_time32(target):
        return column.view(pa.int32()).cast(pa.int64())
    return column.view(pa.int64()) if types.is_temporal(target) and types.is_primitive(target) else column


def _cut(values: Any) -> Any:
    """Texts no longer than what is shown of them, and a sign more where they were."""
    if pa.types.is_large_string(values.type):
        return pc.utf8_slice_codeunits(values, 0, SHOWN_CHARACTERS + 1)
    if pa.types.is_large_binary(values.type):
        return pc.binary_slice(values, 0, SHOWN_CHARACTERS // 2 + 1)
    return values


def _shorten(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value[: SHOWN_CHARACTERS // 2 + 1].hex()
    if isinstance(value, str):
        value = value.replace("\0", ZERO_SIGN)
        return value if len(value) <= SHOWN_CHARACTERS else value[:SHOWN_CHARACTERS] + "…"
    return value
