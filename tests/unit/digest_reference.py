"""The digest computed a second time, slowly, value by value, from docs/digest.md alone; and random tables for both."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from hashlib import sha256
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st


@dataclass(frozen=True)
class Kind:
    """A type: its text, the Arrow types that count as it, its values as Arrow takes them, and how one is packed."""

    text: str
    arrow_types: tuple[pa.DataType, ...]
    values: st.SearchStrategy[Any]
    pack: Callable[[Any], bytes] = lambda value: b""
    length: Callable[[Any], int] | None = None
    children: tuple["Kind", ...] = ()
    parts: Callable[[Sequence[Any]], list[list[Any]]] = field(default=lambda values: [])


def u64(number: int) -> bytes:
    return struct.pack("<Q", number)


def streams(kind: Kind, values: Sequence[Any]) -> list[bytes]:
    """The nulls, the lengths and the values of a node."""
    present = [value for value in values if value is not None]
    nulls = b"" if kind.text == "null" else b"".join(u64(i) for i, value in enumerate(values) if value is None)
    lengths = b"".join(struct.pack("<I", kind.length(value)) for value in present) if kind.length else b""
    return [nulls, lengths, b"".join(kind.pack(value) for value in present)]


def node(kind: Kind, values: Sequence[Any]) -> bytes:
    present = [value for value in values if value is not None]
    parts = [node(child, part) for child, part in zip(kind.children, kind.parts(present), strict=True)]
    return sha256(b"".join([sha256(stream).digest() for stream in streams(kind, values)] + parts)).digest()


def preimage(columns: Sequence[tuple[str, Kind, Sequence[Any]]], num_rows: int) -> bytes:
    """The bytes whose sha256 is the digest."""
    whole = b"modelyard-digest-1\n" + u64(num_rows) + u64(len(columns))
    for name, kind, values in columns:
        for text in (name.encode(), kind.text.encode()):
            whole += u64(len(text)) + text
        whole += node(kind, values)
    return whole


def _integer(width: int, signed: bool, text: str, *arrow_types: pa.DataType, top: int | None = None) -> Kind:
    low = -(2 ** (width - 1)) if signed else 0
    high = top if top is not None else 2 ** (width - 1 if signed else width) - 1
    values = st.integers(low if top is None else 0, high) | st.sampled_from([0, 1])
    return Kind(text, arrow_types, values, lambda value: value.to_bytes(width // 8, "little", signed=signed))


def _float(width: int, code: str, nan: str) -> Kind:
    def pack(value: float) -> bytes:
        return bytes.fromhex(nan)[::-1] if value != value else struct.pack(f"<{code}", value)

    values = st.floats(width=width) | st.sampled_from([0.0, -0.0, float("nan"), float("inf")])
    return Kind(f"float{width}", (pa.type_for_alias(f"float{width}"),), values, pack)


def _decimal(precision: int, scale: int, width: int, *arrow_types: pa.DataType) -> Kind:
    context = Context(prec=100)
    values = st.integers(-(10**precision) + 1, 10**precision - 1).map(
        lambda unscaled: Decimal(unscaled).scaleb(-scale, context)
    )

    def pack(value: Decimal) -> bytes:
        return int(value.scaleb(scale, context)).to_bytes(width, "little", signed=True)

    return Kind(f"decimal({precision}, {scale})", arrow_types, values, pack)


STRING = Kind(
    "string",
    (pa.string(), pa.large_string(), pa.string_view()),
    st.text(max_size=5),
    lambda value: value.encode(),
    lambda value: len(value.encode()),
)
FLOAT64 = _float(64, "d", "7ff8000000000000")
SCALARS = [
    Kind("null", (pa.null(),), st.none()),
    Kind("bool", (pa.bool_(),), st.booleans(), lambda value: b"\1" if value else b"\0"),
    *[_integer(w, True, f"int{w}", pa.type_for_alias(f"int{w}")) for w in (8, 16, 32, 64)],
    *[_integer(w, False, f"uint{w}", pa.type_for_alias(f"uint{w}")) for w in (8, 16, 32, 64)],
    _float(16, "e", "7e00"),
    _float(32, "f", "7fc00000"),
    FLOAT64,
    _decimal(5, 2, 16, pa.decimal128(5, 2), pa.decimal256(5, 2)),
    _decimal(40, 3, 32, pa.decimal256(40, 3)),
    _integer(32, True, "date", pa.date32()),
    _integer(32, True, "time[ms]", pa.time32("ms"), top=86_399_999),
    _integer(64, True, "time[us]", pa.time64("us"), top=86_399_999_999),
    _integer(64, True, "timestamp[us]", pa.timestamp("us")),
    _integer(64, True, 'timestamp[ns, "UTC"]', pa.timestamp("ns", "UTC"), pa.timestamp("ns", "+00:00")),
    _integer(64, True, 'timestamp[ms, "Europe/Berlin"]', pa.timestamp("ms", "Europe/Berlin")),
    _integer(64, True, "duration[ms]", pa.duration("ms")),
    Kind(
        "interval[month_day_nano]",
        (pa.month_day_nano_interval(),),
        st.tuples(*[st.integers(-1000, 1000)] * 3),
        lambda value: struct.pack("<iiq", *value),
    ),
    STRING,
    Kind("binary", (pa.binary(), pa.large_binary(), pa.binary_view()), st.binary(max_size=5), bytes, len),
    Kind("fixed_size_binary[3]", (pa.binary(3),), st.binary(min_size=3, max_size=3), bytes),
]


def list_of(child: Kind) -> Kind:
    return Kind(
        f"list<{child.text}>",
        tuple(make(t) for t in child.arrow_types for make in (pa.list_, pa.large_list, pa.list_view)),
        st.lists(st.none() | child.values, max_size=3),
        length=len,
        children=(child,),
        parts=lambda values: [[element for value in values for element in value]],
    )


def fixed_list_of(child: Kind) -> Kind:
    return Kind(
        f"fixed_size_list<{child.text}>[2]",
        tuple(pa.list_(t, 2) for t in child.arrow_types),
        st.lists(st.none() | child.values, min_size=2, max_size=2),
        children=(child,),
        parts=lambda values: [[element for value in values for element in value]],
    )


def struct_of(first: Kind, second: Kind) -> Kind:
    return Kind(
        f'struct<"a": {first.text}, "\\"b\\\\": {second.text}>',
        tuple(pa.struct([("a", one), ('"b\\', other)]) for one in first.arrow_types for other in second.arrow_types),
        st.fixed_dictionaries({"a": st.none() | first.values, '"b\\': st.none() | second.values}),
        children=(first, second),
        parts=lambda values: [[value[name] for value in values] for name in ("a", '"b\\')],
    )


def map_of(child: Kind) -> Kind:
    entry = Kind(
        "",
        (),
        st.nothing(),
        children=(STRING, child),
        parts=lambda entries: [[entry[index] for entry in entries] for index in (0, 1)],
    )
    return Kind(
        f"map<string, {child.text}>",
        tuple(pa.map_(pa.string(), t) for t in child.arrow_types),
        st.lists(st.tuples(STRING.values, st.none() | child.values), max_size=3),
        length=len,
        children=(entry,),
        parts=lambda values: [[entry for value in values for entry in value]],
    )


KINDS = st.recursive(
    st.sampled_from(SCALARS),
    lambda kinds: (
        kinds.map(list_of) | kinds.map(fixed_list_of) | st.builds(struct_of, kinds, kinds) | kinds.map(map_of)
    ),
    max_leaves=3,
)


@st.composite
def columns_and_rows(draw: st.DrawFn, kinds: st.SearchStrategy[Kind] = KINDS) -> tuple[list[Any], int]:
    """Columns (name, kind, values) of up to 8 rows, and the number of rows."""
    num_rows = draw(st.integers(0, 8))
    chosen = draw(st.lists(st.tuples(st.text(max_size=3), kinds), max_size=4))
    columns = []
    for name, kind in chosen:
        cells = st.none() | kind.values | kind.values
        columns.append((name, kind, draw(st.lists(cells, min_size=num_rows, max_size=num_rows))))
    return columns, num_rows


def build_table(columns: Sequence[tuple[str, Kind, Sequence[Any]]], *, form: int = 0) -> pa.Table:
    """The table in one of its physical forms."""
    arrays = [pa.array(values, kind.arrow_types[form % len(kind.arrow_types)]) for _, kind, values in columns]
    return pa.Table.from_arrays(arrays, names=[name for name, _, _ in columns])
