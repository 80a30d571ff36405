"""Times of any unit: as doubles to compute with, and as ISO text."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True)
class TimeScale:
    """How the integers of a column of times are read.

    Attributes:
        kind: ``date`` (days), ``time`` (of a day), ``timestamp`` or ``duration``.
        unit: ``D``, ``s``, ``ms``, ``us`` or ``ns``.
        is_utc: whether a timestamp has a zone; it is shown in UTC then.
    """

    kind: str
    unit: str
    is_utc: bool = False

    def scale(self, values: Any) -> Any:
        """As doubles: days of a date, seconds of all else."""
        return values / self._per_step

    def show_scaled(self, value: float) -> str:
        """ISO text of what ``scale`` gave."""
        bounds = np.iinfo(np.int64)
        return self.show(min(max(round(value * self._per_step), bounds.min + 1), bounds.max))

    def show(self, value: int) -> str:
        """ISO 8601 text: ``2026-01-31``, ``14:05:00``, ``2026-01-31T14:05:00Z`` or ``PT3.5S``."""
        if self.kind == "duration":
            return _show_duration(value, self._per_step)
        text = str(np.datetime_as_string(np.datetime64(value, self.unit)))  # type: ignore[call-overload]
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        if self.kind == "time":
            return text.partition("T")[2]
        return text + "Z" if self.is_utc else text

    @property
    def _per_step(self) -> int:
        return _PER_SECOND.get(self.unit, 1)


def find_time_scale(data_type: Any) -> TimeScale | None:
    """How a type's times are read, or None if it has none."""
    types = pa.types
    if types.is_date32(data_type):
        return TimeScale("date", "D")
    if types.is_time(data_type):
        return TimeScale("time", data_type.unit)
    if types.is_timestamp(data_type):
        return TimeScale("timestamp", data_type.unit, is_utc=data_type.tz is not None)
    return TimeScale("duration", data_type.unit) if types.is_duration(data_type) else None


def _show_duration(value: int, per_second: int) -> str:
    seconds, rest = divmod(abs(value), per_second)
    fraction = f".{rest:0{len(str(per_second)) - 1}d}".rstrip("0") if rest else ""
    return f"{'-' if value < 0 else ''}PT{seconds}{fraction}S"
