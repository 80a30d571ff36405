"""Values without the wrapping that Arrow has for them: extensions, dictionaries, runs."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

ZERO_SIGN = "\N{SYMBOL FOR NULL}"  # is kept and shown for a character of zero, which a database's text cannot hold


def unwrap(column: Any) -> Any:
    """An array or chunked array of the same values in their ``unwrapped_type``."""
    if isinstance(column, pa.ChunkedArray):
        target = unwrapped_type(column.type)
        return column if target == column.type else pa.chunked_array([unwrap(chunk) for chunk in column.chunks], target)
    while True:
        if isinstance(column.type, pa.BaseExtensionType):
            column = column.storage
        elif pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        elif pa.types.is_run_end_encoded(column.type):
            column = pc.call_function("run_end_decode", [column])
        else:
            return column


def unwrapped_type(data_type: Any) -> Any:
    """The type of the values, whatever extension, dictionary or runs they are stored in."""
    while True:
        if isinstance(data_type, pa.BaseExtensionType):
            data_type = data_type.storage_type
        elif pa.types.is_dictionary(data_type) or pa.types.is_run_end_encoded(data_type):
            data_type = data_type.value_type
        else:
            return data_type
