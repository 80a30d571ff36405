"""A split that leaks or leaves nothing to train or test on is refused."""

from typing import Any

import pyarrow as pa
import pytest

from modelyard.data.splits import SplitCheck, check_split, dataset_table
from modelyard.errors import BadInput

SPLIT = pa.array(["train", "train", "test", "validation"])


def test_a_dataset_table_keeps_equal_names_apart() -> None:
    table = dataset_table(
        pa.table({"a": [1, 2]}), pa.table({"a": [3, 4]}), pa.array(["train", "test"]), pa.table({"a": [5, 6]})
    )
    assert table.to_pydict() == {"X.a": [1, 2], "y.a": [3, 4], "split": ["train", "test"], "extra.a": [5, 6]}


def test_parts_of_different_length_are_refused() -> None:
    with pytest.raises(BadInput, match="X 2, y 1, split 4"):
        dataset_table(pa.table({"a": [1, 2]}), pa.table({"b": [1]}), SPLIT)


def test_counts_name_the_sides_that_are_empty_too() -> None:
    check = SplitCheck()
    check.update(SPLIT.take([0, 1, 2]).dictionary_encode())
    assert check.counts == {"train": 2, "validation": 0, "test": 1}


@pytest.mark.parametrize(
    ("split", "groups", "says"),
    [
        (pa.array(["train", "test", "holdout", None]), None, "found None, holdout"),
        (pa.array(["train", "validation"]), None, "no row in test"),
        (pa.array([], pa.string()), None, "no row in train and test"),
        (SPLIT, pa.array(["a", "b", "b", "c"]), r"\(1 of 3\), e.g. 'b' \(test, train\)"),
        (SPLIT, pa.array(["a", "b", "c", "b"]).dictionary_encode(), r"'b' \(train, validation\)"),
        (SPLIT, pa.array([1, None, 2, 3]), "rows without a group"),
        (SPLIT, pa.array([1, 2]), "2 groups for 4 rows"),
    ],
)
def test_a_split_that_cannot_be_trusted_is_refused(split: Any, groups: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        check_split(split, groups)


@pytest.mark.parametrize("groups", [None, pa.array([7, 7, 8, 9]), pa.chunked_array([["a", "a"], ["b", "c"]])])
def test_a_sound_split_passes(groups: Any) -> None:
    check_split(SPLIT, groups)
    check_split(pa.chunked_array([SPLIT.slice(0, 1), SPLIT.slice(1)]), groups)
