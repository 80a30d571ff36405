"""Rows of two datasets are the same by their values, whatever their physical form and their part."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelyard.data.dataset_reader import DatasetFiles
from modelyard.pipeline.group_overlap import find_seen_groups
from modelyard.pipeline.overlap import choose_type, hash_rows

SPLIT = ["train", "test", "test", "validation"]


@pytest.fixture
def write(tmp_path):
    """Files of a dataset with one feature and the target y, two rows a row group."""

    def run(name, values, groups=None):
        folder = tmp_path / name / "metadata"
        folder.mkdir(parents=True)
        for part, table in (
            ("X", pa.table({"x": values})),
            ("y", pa.table({"y": [1.0, 2.0, 3.0, 4.0]})),
            ("split", pa.table({"split": SPLIT})),
        ):
            pq.write_table(table, folder / f"{part}.parquet", row_group_size=2)
        if groups is not None:
            pq.write_table(pa.table({"who": groups}), folder / "extra.parquet", row_group_size=2)
        return DatasetFiles(tmp_path / name)

    return run


def hash_all(files, data_type):
    types = {"X": {"x": data_type}, "y": {"y": pa.float64()}}
    return np.concatenate(list(hash_rows(files, types, ("train", "validation", "test")))).tolist()


FORMS = {
    "integers, one null": (
        pa.array([1, 2, None, 4]), pa.array([1.0, 2.0, None, 4.0]), pa.int64(),
    ),
    "minus zero": (pa.array([0.0, 1.0, 2.0, 3.0]), pa.array([-0.0, 1.0, 2.0, 3.0]), pa.float64()),
    "a dictionary": (
        pa.array(["a", "b", None, "a"]), pa.array(["a", "b", None, "a"]).dictionary_encode(), pa.string(),
    ),
    "booleans, one null": (pa.array([True, False, None, True]), pa.array([True, False, None, True]), pa.bool_()),
    "lists": (pa.array([[1], [2, 3], None, []]), pa.array([[1], [2, 3], None, []]), pa.list_(pa.int64())),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_equal_rows_hash_alike_and_others_do_not(write, form):
    one, other, data_type = FORMS[form]
    hashes = hash_all(write("one", one), data_type)
    assert hashes == hash_all(write("other", other), data_type)
    assert len(set(hashes)) == 4


def test_only_the_named_splits_are_hashed(write):
    files = write("one", pa.array([1.0, 2.0, 3.0, 4.0]))
    types = {"X": {"x": pa.float64()}, "y": {"y": pa.float64()}}
    every = hash_all(files, pa.float64())
    assert np.concatenate(list(hash_rows(files, types, ("test",)))).tolist() == every[1:3]


NARROWER = {
    "float32": (pa.array([0.1, 0.2, None, 3e7]), pa.float32()),
    "integers as doubles": (pa.array([1, 2, None, 4]), pa.float64()),
    "seconds": (pa.array([1500, 2000, None, 4000], pa.timestamp("ms", "UTC")), pa.timestamp("s", "UTC")),
    "categories": (pa.array(["a", "b", None, "d"]), pa.dictionary(pa.int8(), pa.string())),
    "booleans as numbers": (pa.array([True, False, None, True]), pa.float32()),
}  # fmt: skip


@pytest.mark.parametrize("form", NARROWER)
@pytest.mark.parametrize("turned", [False, True])
def test_rows_that_were_logged_in_another_type_are_the_same(write, form, turned):
    wide, data_type = NARROWER[form]
    both = [wide, wide.cast(data_type, safe=False)][:: -1 if turned else 1]
    chosen = choose_type(*(values.type for values in both))
    one, other = (hash_all(write(name, values), chosen) for name, values in zip("ab", both, strict=True))
    assert one == other


def test_a_null_is_no_zero(write):
    null, zero = write("null", pa.array([1, None, 3, 4])), write("zero", pa.array([1, 0, 3, 4]))
    found = [a == b for a, b in zip(hash_all(null, pa.int64()), hash_all(zero, pa.int64()), strict=True)]
    assert found == [True, False, True, True]


@pytest.mark.parametrize(
    ("theirs", "seen", "named"),
    [
        (pa.array(["7", "9", "9", "3"]), [True, True], ["3", "7"]),  # trained on 7 and 3; 9 was tested there, too
        (pa.array(["1", "7", "3", "2"]), [False, False], []),
        (pa.array(["7", None, None, "1"]).dictionary_encode(), [True, False], ["7"]),
        (pa.array([3, 7, 7, 3]), [False, True], ["3"]),  # the same participant by another type
    ],
)
def test_rows_of_a_group_that_was_trained_on_are_found_in_another_dataset(write, theirs, seen, named):
    x = pa.array([1.0, 2.0, 3.0, 4.0])
    ours, others = write("ours", x, pa.array(["5", "7", "3", "5"])), write("theirs", x, theirs)
    found, groups = find_seen_groups(
        ours, "extra.who", others=others, their_column="extra.who", trained_on=("train", "validation")
    )
    assert (found.tolist(), groups) == (seen, named)


def test_a_group_on_both_sides_of_one_split_is_found_in_that_dataset_itself(write):
    files = write("torn", pa.array([1.0, 2.0, 3.0, 4.0]), pa.array(["a", "b", "a", "c"]))
    found, groups = find_seen_groups(
        files, "extra.who", others=files, their_column="extra.who", trained_on=("train", "validation")
    )
    assert (found.tolist(), groups) == ([False, True], ["a"])
