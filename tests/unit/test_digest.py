"""The digest is the same for the same content in any form, and different for any change of it."""

import io
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from digest_reference import KINDS, SCALARS, STRING, build_table, columns_and_rows, node
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from modelyard.data.digest import BLOCK_ROWS, Digest, digest_batches, digest_table
from modelyard.data.schema import describe_schema
from modelyard.errors import DigestRefused

COMPRESSIONS = ("none", "snappy", "zstd")
IN_PARQUET = KINDS.filter(lambda kind: not any(word in kind.text for word in ("interval", "fixed_size_list")))
quick = settings(max_examples=50, deadline=None)


@quick
@given(columns_and_rows(), st.lists(st.integers(0, 8), max_size=3), st.integers(0, 3))
def test_chunks_batches_and_slices_do_not_count(drawn: tuple[list[Any], int], cuts: list[int], skipped: int) -> None:
    columns, num_rows = drawn
    assume(columns)
    table = build_table(columns)
    expected = digest_table(table)
    bounds = sorted({0, num_rows, *(cut for cut in cuts if cut < num_rows)})
    parts = [table.slice(start, stop - start) for start, stop in pairwise(bounds)]
    assert digest_batches(table.schema, parts) == expected
    assert digest_table(pa.concat_tables([table.slice(0, 0), *parts])) == expected
    longer = pa.concat_tables([table.slice(0, skipped), table, table]).combine_chunks()
    assert digest_table(longer.slice(min(skipped, num_rows), num_rows)) == expected


@quick
@given(columns_and_rows(IN_PARQUET), st.sampled_from(COMPRESSIONS), st.integers(1, 9))
def test_parquet_and_its_compression_do_not_count(
    drawn: tuple[list[Any], int], compression: str, row_group_rows: int
) -> None:
    table = build_table([(f"{name}{i}", kind, values) for i, (name, kind, values) in enumerate(drawn[0])])
    file = io.BytesIO()
    pq.write_table(table, file, compression=compression, row_group_size=row_group_rows)
    assert digest_table(pq.read_table(file)) == digest_table(table)


@quick
@given(columns_and_rows(), st.sampled_from([None, "zstd", "lz4"]))
def test_arrow_files_do_not_count(drawn: tuple[list[Any], int], compression: str | None) -> None:
    table = build_table(drawn[0])
    file = io.BytesIO()
    with pa.ipc.new_file(file, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    assert digest_table(pa.ipc.open_file(file.getvalue()).read_all()) == digest_table(table)


@quick
@given(st.lists(st.none() | st.sampled_from(["a", "b", ""])), st.permutations(["a", "b", "", "unused", None]))
def test_dictionaries_and_runs_do_not_count(values: list[str | None], categories: list[str | None]) -> None:
    plain = pa.array(values, pa.string())
    indices = pa.array([categories.index(value) for value in values], pa.int8())
    hidden_nulls = pa.DictionaryArray.from_arrays(indices, pa.array(categories, pa.string()))
    forms = [plain, plain.dictionary_encode(), hidden_nulls, pc.run_end_encode(plain)]
    assert len({digest_table(pa.table({"a": form})) for form in forms}) == 1
    assert {describe_schema(pa.table({"a": form}))[0]["nullable"] for form in forms} == {None in values}


def _change_of(cell: Any, kind: Any, data: st.DataObject) -> Any:
    """Another value of the kind: not one that stands for the same content."""
    other = data.draw(st.none() | kind.values)
    assume(node(kind, [cell]) != node(kind, [other]))
    return other


@quick
@given(columns_and_rows(), st.data())
def test_one_changed_cell_changes_the_digest(drawn: tuple[list[Any], int], data: st.DataObject) -> None:
    columns, num_rows = drawn
    assume(columns and num_rows)
    column, row = data.draw(st.integers(0, len(columns) - 1)), data.draw(st.integers(0, num_rows - 1))
    name, kind, values = columns[column]
    changed = [*values[:row], _change_of(values[row], kind, data), *values[row + 1 :]]
    after = [*columns[:column], (name, kind, changed), *columns[column + 1 :]]
    assert digest_table(build_table(after)) != digest_table(build_table(columns))


@quick
@given(st.permutations(range(5)), st.permutations(range(3)))
def test_the_order_of_rows_and_columns_counts(rows: list[int], columns: list[int]) -> None:
    table = pa.table({"a": [1, 2, 3, 4, 5], "b": [1.0, 2.0, None, 4.0, 5.0], "c": ["v", "w", "x", "y", "z"]})
    same = rows == sorted(rows) and columns == sorted(columns)
    assert (digest_table(table.take(rows).select(columns)) == digest_table(table)) is same


@quick
@given(st.lists(STRING.values, min_size=2), st.lists(STRING.values, min_size=2))
def test_where_one_value_ends_and_the_next_begins_counts(one: list[str], two: list[str]) -> None:
    lists = [pa.table({"a": [texts, []]}) for texts in (one, two)]
    moved = pa.table({"a": [one[:-1], one[-1:]]})
    assert (digest_table(pa.table({"a": one})) == digest_table(pa.table({"a": two}))) is (one == two)
    assert (digest_table(lists[0]) == digest_table(lists[1])) is (one == two)
    assert digest_table(moved) != digest_table(lists[0])


def test_every_type_and_name_counts() -> None:
    digests = {digest_table(pa.table({"a": pa.nulls(2, kind.arrow_types[0])})) for kind in SCALARS}
    digests |= {digest_table(pa.table({name: pa.nulls(2)})) for name in ("b", "", "A", "é")}
    digests |= {digest_table(pa.table({"a": pa.nulls(rows)})) for rows in (0, 1, 3)}
    assert len(digests) == len(SCALARS) + 4 + 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array(["", None]), pa.array([None, ""])),
        (pa.array([0, None]), pa.array([0, 0])),
        (pa.array([False, None]), pa.array([False, False])),
        (pa.array([0.0]), pa.array([-0.0])),
        (pa.array([np.nan]), pa.array([None], pa.float64())),
        (pa.array([[], None]), pa.array([None, []])),
        (pa.array([[None]]), pa.array([[]], pa.list_(pa.null()))),
        (pa.array([{"b": None}], pa.struct({"b": pa.int8()})), pa.array([None], pa.struct({"b": pa.int8()}))),
        (pa.array([0], pa.timestamp("us", "UTC")), pa.array([0], pa.timestamp("us", "Europe/Berlin"))),
    ],
)
def test_values_that_look_alike_differ(one: Any, other: Any) -> None:
    assert digest_table(pa.table({"a": one})) != digest_table(pa.table({"a": other}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([5], pa.timestamp("s")), pa.array([5000], pa.timestamp("ms"))),
        (pa.array([5], pa.time32("s")), pa.array([5000], pa.time32("ms"))),
        (pa.array([5], pa.duration("s")), pa.array([5000], pa.duration("ms"))),
        (pa.array([86_400_000], pa.date64()), pa.array([1], pa.date32())),
        (pa.array([1]).cast(pa.decimal128(20, 0)), pa.array([1]).cast(pa.decimal256(20, 0))),
        (pa.array([[1], None], pa.list_(pa.int8())), pa.array([[1], None], pa.list_view(pa.int8()))),
        (pa.array(np.array([0x7FF0000000000001, 0xFFF8000000000000], "u8").view("f8")), pa.array([np.nan, np.nan])),
        (pa.array(np.array([0xFFC00001], "u4").view("f4")), pa.array([np.nan], pa.float32())),
    ],
)
def test_other_forms_of_one_value_are_the_same(one: Any, other: Any) -> None:
    assert digest_table(pa.table({"a": one})) == digest_table(pa.table({"a": other}))


def test_what_lies_under_a_null_does_not_count() -> None:
    bits = pa.py_buffer(b"\x05")  # values 0 and 2 of three
    numbers = pa.Array.from_buffers(pa.int64(), 3, [bits, pa.py_buffer(np.array([1, 99, 3]).tobytes())])
    offsets = pa.py_buffer(np.array([0, 1, 5, 6], "i4").tobytes())
    texts = pa.Array.from_buffers(pa.string(), 3, [bits, offsets, pa.py_buffer(b"ajunkb")])
    lists = pa.Array.from_buffers(pa.list_(pa.int64()), 3, [bits, offsets], children=[pa.array([1, 7, 7, 7, 7, 2])])
    structs = pa.StructArray.from_arrays([pa.array([1, 99, 3])], ["b"], mask=pa.array([False, True, False]))
    hidden = pa.table({"n": numbers, "t": texts, "l": lists, "s": structs})
    clean = pa.table({"n": [1, None, 3], "t": ["a", None, "b"], "l": [[1], None, [2]], "s": [{"b": 1}, None, {"b": 3}]})
    assert digest_table(hidden) == digest_table(clean)


def test_runs_and_views_inside_a_struct_with_nulls_do_not_count() -> None:
    mask = pa.array([True, False, True, False])
    numbers, texts = pa.array([9, 1, 1, 2]), pa.array([["a"], ["b", None], None, []])
    odd = [pc.run_end_encode(numbers), texts.cast(pa.list_(pa.string_view()))]
    tables = [
        pa.table({"s": pa.StructArray.from_arrays(children, ["n", "t"], mask=mask)})
        for children in ([numbers, texts], odd)
    ]
    assert digest_table(tables[0]) == digest_table(tables[1])


def test_a_map_of_lists_of_nulls_is_digested() -> None:
    kind = pa.list_(pa.map_(pa.string(), pa.list_(pa.null(), 2)))
    rows = [[[("k", [None, None]), ("k", None)], None], [[("k", None)], [("k", [None, None])]]]
    digests = [digest_table(pa.table({"a": pa.array(values, kind)})) for values in (rows, rows[::-1])]
    assert digests[0] != digests[1]


def test_metadata_and_declared_nullability_do_not_count() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    from_pandas = pa.Table.from_pandas(frame)
    declared = pa.schema([pa.field("a", pa.int64(), nullable=False, metadata={"unit": "m"}), ("b", pa.string())])
    assert digest_table(from_pandas) == digest_table(pa.table({"a": [1, 2], "b": ["x", None]}, schema=declared))


def test_all_of_pandas_missing_values_count_as_null() -> None:
    frame = pd.DataFrame(
        {
            "object": pd.Series(["x", None, np.nan, pd.NA], dtype=object),
            "float": [1.0, None, np.nan, np.nan],
            "Int64": pd.array([1, None, pd.NA, None], dtype="Int64"),
            "time": pd.to_datetime(["2026-01-01", None, pd.NaT, None]).astype("datetime64[us]"),
        }
    )
    expected = pa.table(
        {
            "object": ["x", None, None, None],
            "float": [1.0, None, None, None],
            "Int64": [1, None, None, None],
            "time": pa.array([pd.Timestamp("2026-01-01"), None, None, None], pa.timestamp("us")),
        }
    )
    assert digest_table(pa.Table.from_pandas(frame)) == digest_table(expected)


def test_an_extension_type_counts_with_its_parameters() -> None:
    periods = [pd.DataFrame({"p": pd.PeriodIndex.from_ordinals([600, 601], freq=freq)}) for freq in ("M", "D")]
    tables = [pa.Table.from_pandas(frame) for frame in periods]
    storage = pa.table({"p": pa.array([600, 601])})
    assert len({digest_table(table) for table in [*tables, storage]}) == 3
    unregistered = pa.field("p", pa.int64(), metadata={
        "ARROW:extension:name": "pandas.period", "ARROW:extension:metadata": '{"freq": "M"}'
    })  # fmt: skip
    assert digest_table(storage.cast(pa.schema([unregistered]))) == digest_table(tables[0])


@pytest.mark.parametrize(
    ("column", "named"),
    [
        (pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]), "sparse_union"),
        (pa.array([pa.scalar([1, 2], pa.list_(pa.int8(), 2))], pa.list_(pa.int8(), 2)), None),
        (pa.array([2**62], pa.timestamp("s")), "out of bounds"),
        (pa.array([5], pa.int64()).view(pa.date64()), "lose data"),
        (pa.LargeListArray.from_arrays([0, 2**32], pa.nulls(2**32)), "elements or more"),
    ],
)
def test_what_has_no_canonical_form_is_refused_by_name(column: Any, named: str | None) -> None:
    table = pa.table({"fine": [1], "odd": column})
    if named is None:
        tensor = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.int8(), [2]), column)
        table, named = pa.table({"odd": tensor}), "fixed_shape_tensor"
    with pytest.raises(DigestRefused, match=f"(?s)column 'odd'.*{named}"):
        digest_table(table)


@pytest.mark.parametrize("change", [lambda t: t.rename_columns(["b"]), lambda t: t.cast(pa.schema({"a": pa.int32()}))])
def test_a_batch_with_other_columns_is_refused(change: Callable[[pa.Table], pa.Table]) -> None:
    table = pa.table({"a": [1, 2]})
    digest = Digest(table.schema)
    digest.update(table)
    with pytest.raises(DigestRefused, match="the first one had"):
        digest.update(change(table))


def test_columns_longer_than_a_block_do_not_depend_on_its_bounds() -> None:
    n = 2 * BLOCK_ROWS + 77
    rng = np.random.default_rng(0)
    numbers, texts = rng.normal(size=n), pa.array(rng.integers(0, 1000, n)).cast(pa.string())
    numbers[[3, n - 1]] = np.nan
    holes = pa.array(np.arange(n), mask=rng.random(n) < 0.1)
    table = pa.table({"n": numbers, "t": texts, "h": holes, "d": texts.dictionary_encode(), "b": rng.random(n) < 0.5})
    expected = digest_table(table)
    for chunk_rows in (1_000, BLOCK_ROWS - 1, 200_000):
        assert digest_batches(table.schema, table.to_batches(max_chunksize=chunk_rows)) == expected
    last = pa.concat_tables([table.slice(0, n - 1), table.slice(0, 1).cast(table.schema)], promote_options="none")
    assert digest_table(last) != expected
