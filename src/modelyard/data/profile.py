"""The profile of a table: counts and simple statistics, as JSON values."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelyard.data.schema import canonical_type, count_nulls


def count_infinite(table: pa.Table) -> dict[str, int]:
    """How many values are infinite, for each column of floats that has any."""
    counts = {
        name: int(np.isinf(table[name].to_numpy()).sum())
        for name in table.column_names
        if pa.types.is_floating(table[name].type)
    }
    return {name: count for name, count in counts.items() if count}


def profile_table(table: pa.Table) -> dict[str, Any]:
    """Counts of a table, and statistics of its columns of numbers.

    Returns:
        ``num_rows``, ``num_elements``, ``num_bytes`` (in memory) and ``columns``: for each, in order, ``name``,
        ``type`` and ``nulls``, and for integers, floats and decimals ``mean``, ``std`` (of the population), ``min``
        and ``max`` of the values that are neither null nor NaN; None where there is none or it is infinite.

    Raises:
        DigestRefused: a column's type has no canonical form.
    """
    return {
        "num_rows": table.num_rows,
        "num_elements": table.num_rows * table.num_columns,
        "num_bytes": table.nbytes,
        "columns": [_describe(field, table.column(index)) for index, field in enumerate(table.schema)],
    }


def _describe(field: "pa.Field[Any]", column: Any) -> dict[str, Any]:
    described = {"name": field.name, "type": canonical_type(field), "nulls": count_nulls(column)}
    types = pa.types
    if types.is_dictionary(column.type) or not (
        types.is_integer(column.type) or types.is_floating(column.type) or types.is_decimal(column.type)
    ):
        return described
    # As doubles, because the sum of large integers does not fit an integer.
    numbers = column.cast(pa.float64(), safe=False)
    if not types.is_integer(column.type):
        numbers = numbers.filter(pc.invert(pc.is_nan(numbers)))
    extremes: Any = pc.min_max(column if types.is_integer(column.type) else numbers).as_py()
    statistics = {"mean": pc.mean(numbers).as_py(), "std": pc.stddev(numbers).as_py(), **extremes}
    return described | {name: _finite(value) for name, value in statistics.items()}


def _finite(value: Any) -> Any:
    return value if value is not None and math.isfinite(value) else None
