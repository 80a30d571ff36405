"""The canonical text of Arrow types, and schemas as plain JSON values."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from modelyard.errors import DigestRefused

_ATOMS: dict[Any, str] = {
    pa.null(): "null",
    pa.bool_(): "bool",
    **{pa.type_for_alias(name): name for name in ("int8", "int16", "int32", "int64")},
    **{pa.type_for_alias(name): name for name in ("uint8", "uint16", "uint32", "uint64")},
    **{pa.type_for_alias(name): name for name in ("float16", "float32", "float64")},
    **dict.fromkeys((pa.string(), pa.large_string(), pa.string_view()), "string"),
    **dict.fromkeys((pa.binary(), pa.large_binary(), pa.binary_view()), "binary"),
    **dict.fromkeys((pa.date32(), pa.date64()), "date"),
    pa.month_day_nano_interval(): "interval[month_day_nano]",
}
_UTC_NAMES = ("UTC", "Etc/UTC", "+00:00", "Z")
_EXTENSIONS_WITHOUT_PARAMETERS = ("arrow.uuid", "arrow.json", "arrow.bool8")


def canonical_type(field: "pa.Field[Any]") -> str:
    """The text under which a column's type counts in the digest: the same for every physical form of one type.

    Raises:
        DigestRefused: the type has no canonical form; the text names column and type.
    """
    try:
        return _type_text(field)
    except _NoCanonicalFormError as error:
        part = f" (in {field.type})" if str(error) != str(field.type) else ""
        raise DigestRefused(
            f"column {field.name!r} is of type {error}{part}, which has no canonical form; cast it or leave it out"
        ) from None


def describe_schema(source: pa.Table | pa.Schema) -> list[dict[str, Any]]:
    """A schema as JSON values: ``name``, canonical ``type`` and ``nullable`` of each column, in order.

    ``nullable`` says of a table whether the column holds a null, and of a schema what its field declares.

    Raises:
        DigestRefused: a column's type has no canonical form.
    """
    schema = source if isinstance(source, pa.Schema) else source.schema
    nullable = (
        [field.nullable for field in schema]
        if isinstance(source, pa.Schema)
        else [count_nulls(column) > 0 for column in source.columns]
    )
    return [
        {"name": field.name, "type": canonical_type(field), "nullable": may_be_null}
        for field, may_be_null in zip(schema, nullable, strict=True)
    ]


def count_nulls(column: "pa.ChunkedArray[Any]") -> int:
    """How many values are null, those counted that a dictionary or a run hides."""
    logical = pa.types.is_dictionary(column.type) or pa.types.is_run_end_encoded(column.type)
    return int(pc.count(column, mode="only_null").as_py()) if logical else column.null_count


class _NoCanonicalFormError(Exception):
    """Carries the type that has no canonical form."""


def _type_text(field: Any) -> str:
    data_type, types = field.type, pa.types
    name, parameters = _extension(field)
    if name is not None:
        storage = data_type.storage_type if isinstance(data_type, pa.BaseExtensionType) else data_type
        return f"extension<{_quoted(name)}, {parameters.hex()}, {_type_text(pa.field('', storage))}>"
    if types.is_dictionary(data_type) or types.is_run_end_encoded(data_type):
        return _type_text(pa.field("", data_type.value_type))
    if data_type in _ATOMS:
        return _ATOMS[data_type]
    if types.is_decimal(data_type):
        return f"decimal({data_type.precision}, {data_type.scale})"
    if types.is_time(data_type) or types.is_duration(data_type):
        # Parquet and others know no seconds: they count as milliseconds everywhere.
        unit = "ms" if data_type.unit == "s" else data_type.unit
        return f"{'duration' if types.is_duration(data_type) else 'time'}[{unit}]"
    if types.is_timestamp(data_type):
        unit = "ms" if data_type.unit == "s" else data_type.unit
        zone = "UTC" if data_type.tz in _UTC_NAMES else data_type.tz
        return f"timestamp[{unit}]" if zone is None else f"timestamp[{unit}, {_quoted(zone)}]"
    if types.is_fixed_size_binary(data_type):
        return f"fixed_size_binary[{data_type.byte_width}]"
    return _nested_text(data_type)


def _nested_text(data_type: Any) -> str:
    types = pa.types
    if types.is_fixed_size_list(data_type):
        return f"fixed_size_list<{_type_text(data_type.value_field)}>[{data_type.list_size}]"
    if types.is_map(data_type):
        return f"map<{_type_text(data_type.key_field)}, {_type_text(data_type.item_field)}>"
    if types.is_struct(data_type):
        return f"struct<{', '.join(f'{_quoted(child.name)}: {_type_text(child)}' for child in data_type)}>"
    if is_any_list(data_type):
        return f"list<{_type_text(data_type.value_field)}>"
    raise _NoCanonicalFormError(data_type)


def is_any_list(data_type: Any) -> bool:
    """Whether the type is a list of any length, in any of Arrow's four layouts."""
    types = pa.types
    return (
        types.is_list(data_type)
        or types.is_large_list(data_type)
        or types.is_list_view(data_type)
        or types.is_large_list_view(data_type)
    )


def _extension(field: Any) -> tuple[str | None, bytes]:
    """Name and parameters of an extension type, whether this process has it registered or not."""
    data_type = field.type
    if isinstance(data_type, pa.ExtensionType):
        return data_type.extension_name, data_type.__arrow_ext_serialize__()
    if isinstance(data_type, pa.BaseExtensionType):
        # pyarrow does not hand out the parameters of the types that it implements itself.
        if data_type.extension_name not in _EXTENSIONS_WITHOUT_PARAMETERS:
            raise _NoCanonicalFormError(data_type)
        return data_type.extension_name, b""
    metadata = field.metadata or {}
    name = metadata.get(b"ARROW:extension:name")
    return (name.decode() if name else None), metadata.get(b"ARROW:extension:metadata", b"")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
