"""Raw card prices: Parquet, CSV or JSON with columns of any name, read strictly, every problem told at once."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from modelyard.data.files import read_table
from modelyard.errors import RawDataMalformed, RawDataNotFound
from modelyard.workloads.pokewatch.parameters import PokewatchProcessing

CARD, DATE, PRICE, GRADE = "card_id", "date", "market_price", "grade"
KNOWN_NAMES = {
    CARD: ("card_id", "card"),
    DATE: ("date", "month", "day"),
    PRICE: ("market_price", "price"),
    GRADE: ("grade_id", "grade"),
}
HINT = (
    "It must hold one price a row in the columns card_id, date and market_price (name others with --set card_column=…, "
    "date_column=… and price_column=…), or be JSON of the form {card: {date: price}}."
)
_SHOWN = 3

Array = np.ndarray[Any, np.dtype[Any]]
Faults = list[tuple[str, Array]]  # what is wrong, and in which rows


def read_prices(path: Path, parameters: PokewatchProcessing) -> pa.Table:
    """One file as a table of n prices: ``card_id``, ``date`` (midnight), ``market_price`` (USD), maybe ``grade``.

    Raises:
        RawDataNotFound: there is no such file.
        RawDataMalformed: with every problem, the number of its rows and the first of them.
    """
    table = _read_by_card(path)
    if table is None:
        table = read_table(path)
    named = {
        CARD: parameters.card_column,
        DATE: parameters.date_column,
        PRICE: parameters.price_column,
        GRADE: parameters.grade_column,
    }
    columns = {what: _find_column(table.column_names, what, name) for what, name in named.items()}
    missing = [what for what, name in columns.items() if name is None and (what != GRADE or named[what])]
    problems = [
        f"no column {named[what] or ' or '.join(KNOWN_NAMES[what])}"
        f"{'' if named[what] else f' for the {what}'}; it has {', '.join(table.column_names[:10])}"
        for what in missing
    ]
    if problems:
        raise RawDataMalformed(path, problems, hint=HINT)
    if not table.num_rows:
        raise RawDataMalformed(path, ["it has no rows"], hint=HINT)
    read: dict[str, Any] = {}
    for what, reader in ((CARD, _read_text), (DATE, _read_dates), (PRICE, _read_numbers), (GRADE, _read_text)):
        name = columns[what]
        if name is None:
            continue
        values: Any = table[name].combine_chunks()
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        read[what], faults = reader(values)
        problems += [_describe(name, fault, rows, values) for fault, rows in faults if len(rows)]
    if problems:
        raise RawDataMalformed(path, problems, hint=HINT)
    return pa.table(read)


def _read_by_card(path: Path) -> pa.Table | None:
    """JSON of the form ``{card: {date: price}}``; None of anything else."""
    if path.suffix.lower() != ".json":
        return None
    try:
        # objects as tuples of pairs: a date that stands twice must not vanish; a dict keeps the last one
        content = json.loads(path.read_bytes(), object_pairs_hook=tuple, parse_int=float)
    except FileNotFoundError:
        raise RawDataNotFound(path) from None
    except (ValueError, RecursionError, OSError):
        return None  # read_table says what is wrong with it
    if not isinstance(content, tuple) or not all(isinstance(prices, tuple) for _, prices in content):
        return None
    rows = [(card, date, price) for card, prices in content for date, price in prices]
    wrong = [f"{card} {date}: {price!r}" for card, date, price in rows if type(price) is not float]
    if wrong:
        text = f"price not a number in {len(wrong):,} places ({', '.join(wrong[:_SHOWN])})"
        raise RawDataMalformed(path, [text], hint=HINT)
    cards, dates, prices = ([row[place] for row in rows] for place in range(3))
    texts = {CARD: pa.array(cards, pa.string()), DATE: pa.array(dates, pa.string())}
    return pa.table(texts | {PRICE: pa.array(prices, pa.float64())})


def _find_column(names: Sequence[str], what: str, given: str | None) -> str | None:
    """The column that is named, or the first of those that are known; None if it is not there."""
    return next((name for name in ([given] if given else KNOWN_NAMES[what]) if name in names), None)


def _read_text(values: Any) -> tuple[Any, Faults]:
    try:
        text = values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None, [("not a text in UTF-8", np.arange(len(values)))]
    return text, [("blank", np.flatnonzero(text.to_pandas().fillna("").str.strip() == ""))]


def _read_dates(values: Any) -> tuple[Any, Faults]:
    """Midnights: of dates, of times (in UTC where they have a zone), or of ISO text."""
    import pandas as pd

    blank, kind, fault = np.asarray(values.is_null()), values.type, "not an ISO date like 2025-01-31"
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if not (is_text or pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        return None, [("blank", np.flatnonzero(blank)), (fault, np.flatnonzero(~blank))]
    dates = values.cast(pa.timestamp("us")) if pa.types.is_date(kind) else values
    parsed = pd.to_datetime(dates.to_pandas(), format="ISO8601", errors="coerce", utc=True)
    days = parsed.dt.tz_localize(None).dt.floor("D").to_numpy().astype("datetime64[us]")
    return pa.array(days), [("blank", np.flatnonzero(blank)), (fault, np.flatnonzero(np.isnat(days) & ~blank))]


def _read_numbers(values: Any) -> tuple[Any, Faults]:
    import pandas as pd

    blank, kind = np.asarray(values.is_null()), values.type
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind) or pa.types.is_nested(kind):
        return None, [("not a number", np.arange(len(values)))]
    numbers = pd.to_numeric(values.to_pandas(), errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    read = np.isfinite(numbers)
    return pa.array(numbers), [
        ("blank", np.flatnonzero(blank)),
        ("not a finite number", np.flatnonzero(~read & ~blank)),
        ("not above 0", np.flatnonzero(read & (numbers <= 0))),
    ]


def _describe(name: str, fault: str, rows: Array, values: Any) -> str:
    shown = ", ".join(f"row {row + 1}: {str(values[row].as_py())[:40]!r}" for row in rows[:_SHOWN].tolist())
    more = ", …" if len(rows) > _SHOWN else ""
    return f"{name} {fault} in {len(rows):,} row{'s'[: len(rows) > 1]} ({shown}{more})"
