"""What a workload expects of the rows of its datasets: declarations only, nothing is checked here."""

from dataclasses import KW_ONLY, asdict, dataclass, fields
from typing import Any, Literal, get_args

TypeFamily = Literal["bool", "integer", "float", "decimal", "number", "text", "date", "timestamp", "time", "duration"]
TYPE_FAMILIES: tuple[str, ...] = get_args(TypeFamily)
Value = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Expectation:
    """What holds for every value of one column; what is not said is not expected.

    A null is a missing value, and so is a NaN, which is no number: ``nullable=False`` forbids both, and every other
    rule passes over both. Dates and times are given as ISO text (``2025-01-03``, ``2025-01-03T10:00:00Z``; a column
    with a time zone needs the ``Z`` or an offset), and durations in seconds.

    Attributes:
        column: a column of X, y or extra as the workload names it; ``X.name`` where the name alone is not enough.
        type: the family of its type; ``number`` is an integer, a float or a decimal, ``time`` the time of a day.
        low: the least value; ``low_included=False`` forbids it too.
        high: the largest value; ``high_included=False`` forbids it too.
        nullable: whether values may be missing.
        unique: whether a value stands in one row only.
        allowed: the only values that there are, or None.
        pattern: regular expression that the whole text matches; without look-around and back references.
        required: whether a dataset must have the column.
    """

    column: str
    _: KW_ONLY
    type: TypeFamily | None = None
    low: int | float | str | None = None
    high: int | float | str | None = None
    low_included: bool = True
    high_included: bool = True
    nullable: bool = True
    unique: bool = False
    allowed: tuple[Value, ...] | None = None
    pattern: str | None = None
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What a workload expects of its datasets.

    Attributes:
        columns: at most one expectation for each column.
        unique_key: columns whose values together stand in one row only; rows that lack one of them are passed over.
        min_rows: the least number of rows, all splits together; ``max_rows`` the largest, or None.
    """

    columns: tuple[Expectation, ...] = ()
    unique_key: tuple[str, ...] = ()
    min_rows: int = 0
    max_rows: int | None = None

    def describe(self) -> dict[str, Any]:
        """What is expected, as JSON values, without what is not said."""
        columns = []
        for expected in self.columns:
            values = asdict(expected)
            said = {known.name for known in fields(Expectation) if values[known.name] != known.default}
            columns.append({name: _as_list(value) for name, value in values.items() if name in said})
        whole = {"unique_key": list(self.unique_key), "min_rows": self.min_rows, "max_rows": self.max_rows}
        return {"columns": columns} | {name: value for name, value in whole.items() if value}


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
