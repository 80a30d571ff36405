"""The profile of a table: counts and statistics of each column in one pass, as JSON values."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from modelyard.data.column_profile import ColumnProfile
from modelyard.data.row_sample import RowSample
from modelyard.data.schema import canonical_type
from modelyard.errors import BadInput

_SLICE_ROWS = 131_072
_INLINE_BYTES = 131_072  # below, a thread costs more than it saves
_EXACT, _EXACT_OF_ALL, _EXACT_AT_LEAST = 65_536, 8_388_608, 2_048
_TEXTS, _TEXTS_OF_ALL, _TEXTS_AT_LEAST = 10_000, 2_000_000, 500
_TEXT_SHARE = 8  # a text takes that much more room than a number


class Profiler:
    """A profile that is fed a batch of rows at a time, in memory that does not grow with the rows.

    The same rows give the same profile, whatever the batches, but for two things: ``num_bytes`` is what the batches
    took in memory, and other batches may change the last digits of ``mean`` and ``std``. Batches may differ in
    physical form (dictionary or plain, string or large_string), not in type. Cores are shared as ``Digest`` does.

    Args:
        schema: names and types of the columns.

    Raises:
        DigestRefused: a column's type has no canonical form.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._fields = [(field.name, canonical_type(field)) for field in schema]
        num_columns = max(1, len(schema))
        # A table of very many columns gets less of each, so that memory stays bounded.
        self._exact = min(_EXACT, max(_EXACT_AT_LEAST, _EXACT_OF_ALL // num_columns))
        texts = min(_TEXTS, max(_TEXTS_AT_LEAST, _TEXTS_OF_ALL // num_columns))
        self._columns = [ColumnProfile(field, exact=self._exact, counted_texts=texts) for field in schema]
        self._rows, self._text_rows = RowSample(self._exact), RowSample(self._exact // _TEXT_SHARE)
        self._pool = ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, num_columns)), "profile")
        self._pending: list[Future[None]] = []
        self._num_rows = self._num_bytes = 0

    def update(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add the rows of ``batch`` after those before.

        Raises:
            BadInput: another schema than the first, or, here or later, a value that its type cannot hold.
        """
        if batch.schema is not self._schema and not batch.schema.equals(self._schema):
            found = [(field.name, canonical_type(field)) for field in batch.schema]
            if found != self._fields:
                raise BadInput(f"a batch has the columns {found}, the first one had {self._fields}")
        self._num_bytes += batch.nbytes
        for start in range(0, batch.num_rows, _SLICE_ROWS):
            self._update_slice(batch.slice(start, _SLICE_ROWS))

    def result(self) -> dict[str, Any]:
        """The profile of all rows so far, as JSON values; what a key does not apply to is None.

        Returns:
            ``num_rows``, ``num_elements``, ``num_bytes`` (in memory), ``exact_up_to`` (see below; 65,536, and fewer
            above 128 columns), and ``columns``: for each, in order,

            - ``name``, ``type`` (canonical) and ``nulls``; of a nested column no more,
            - ``nan`` and ``infinite`` of floats,
            - ``distinct``: values that are neither null nor NaN. Exact for so many values; beyond, ``distinct_exact``
              is False and it is an estimate, with a standard error of 1 / sqrt(``exact_up_to`` - 2), that is 0.4 %,
            - ``mean`` and ``std`` (population) of numbers, and ``min`` and ``max`` of numbers and times, of the values
              that are neither null nor NaN; None if infinite,
            - ``quantiles`` of numbers and times, by share as text: the smallest value that this share of the values
              does not exceed. Exact for so many rows; beyond, those of a uniform sample of so many rows: the share that
              a quantile really has is off by less than 0.8 points in 999 of 1,000 tables (Dvoretzky, Kiefer and
              Wolfowitz: sqrt(ln(2 / 0.001) / (2 x 65,536))),
            - ``histogram`` of the finite numbers and times: ``edges`` and exact ``counts``, at most 40 bins,
            - ``top``: up to 20 ``value`` and ``count``, most frequent first, of texts, bytes, booleans, and of numbers
              and times with at most 20 distinct values. Of more than 10,000 texts (fewer above 200 columns)
              ``top_exact`` is False: estimates from a sample of an eighth of so many rows, rare values left out.

            Decimals count as their nearest doubles; a column of dictionaries or runs as what it stands for. Texts are
            cut at 100 characters, bytes are hexadecimal, times ISO text, with a zone in UTC.
        """
        self._wait()
        for sample, is_ordered in ((self._rows, True), (self._text_rows, False)):
            staying = sample.trim()
            for column in self._columns:
                if column.is_ordered is is_ordered:
                    column.keep(staying)
        return {
            "num_rows": self._num_rows,
            "num_elements": self._num_rows * len(self._columns),
            "num_bytes": self._num_bytes,
            "exact_up_to": self._exact,
            "columns": [column.result() for column in self._columns],
        }

    def _update_slice(self, part: pa.RecordBatch | pa.Table) -> None:
        self._wait()
        rows = self._rows.choose(self._num_rows, part.num_rows)
        text_rows = self._text_rows.choose(self._num_rows, part.num_rows)
        self._num_rows += part.num_rows
        pairs = zip(self._columns, part.columns, strict=True)
        work = [(column, values, *(rows if column.is_ordered else text_rows)) for column, values in pairs]
        if part.nbytes < _INLINE_BYTES:
            for column, values, joining, staying in work:
                column.update(values, joining, staying)
        else:
            self._pending = [
                self._pool.submit(column.update, values, joining, staying) for column, values, joining, staying in work
            ]

    def _wait(self) -> None:
        pending, self._pending = self._pending, []
        for future in pending:
            future.result()


def profile_table(table: pa.Table) -> dict[str, Any]:
    """The profile of a table in memory; see ``Profiler.result``.

    Raises:
        DigestRefused: a column's type has no canonical form.
    """
    profiler = Profiler(table.schema)
    profiler.update(table)
    return profiler.result()


def count_infinite(table: pa.Table) -> dict[str, int]:
    """How many values are infinite, for each column of floats that has any."""
    counts = {
        name: int(np.isinf(table[name].to_numpy()).sum())
        for name in table.column_names
        if pa.types.is_floating(table[name].type)
    }
    return {name: count for name, count in counts.items() if count}
