"""Answers that come in batches become columns of one type; a model that changes its mind is named."""

import numpy as np
import pyarrow as pa
import pytest

from modelyard.errors import ModelFailed
from modelyard.pipeline.answer_columns import AnswerColumns


def test_the_first_batch_says_the_type():
    columns = AnswerColumns("houses_model/4")
    assert columns.convert(np.array([1.5]))[0].type == pa.float64()
    assert columns.convert(np.array([2]))[0].to_pylist() == [2.0]
    texts = AnswerColumns("houses_model/4")
    assert [texts.convert(np.array([text]))[0].to_pylist() for text in ("a", "bcd")] == [["a"], ["bcd"]]
    several = AnswerColumns("houses_model/4").convert(np.array([[1, 2], [3, 4]]))
    assert [column.to_pylist() for column in several] == [[1, 3], [2, 4]]


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ([1, 2], [1.5], "float64 after int64"),
        ([1, 2], [np.nan], "float64 after int64"),
        ([1.0, 2.0], ["a"], "after double"),
        (["a", "b"], [1], "int64 after string"),
        ([1.0, 2.0], [[1.0, 2.0]], "2 answers a row after 1"),
        ([1, 2], [2**70], "object after int64"),
    ],
)
def test_another_type_is_refused_with_the_model_and_the_rows(first, then, said):
    columns = AnswerColumns("houses_model/4")
    columns.convert(np.array(first))
    with pytest.raises(ModelFailed, match=f"houses_model/4 answered with .*{said}.* in rows 2 to 2"):
        columns.convert(np.array(then))


def test_what_is_no_column_is_refused_at_once():
    with pytest.raises(ModelFailed, match="complex128, which is no column"):
        AnswerColumns("houses_model/4").convert(np.array([1j]))


def test_whole_numbers_at_first_are_no_harm_where_doubles_are_asked_for():
    columns = AnswerColumns("houses_model/4", doubles=True)
    assert [columns.convert(np.array(values))[0].to_pylist() for values in ([1, 2], [0.5])] == [[1.0, 2.0], [0.5]]

    mixed = AnswerColumns("cards_model/1", names=("fair_value", "signal"), doubles=True)
    answers = [np.array([[value, "HOLD"]], dtype=object) for value in (2, 0.5)]
    assert [mixed.convert(batch)[0].to_pylist() for batch in answers] == [[2.0], [0.5]]


def test_columns_of_several_types_keep_theirs():
    columns = AnswerColumns("cards_model/1", names=("fair_value", "signal"))
    answers = np.array([[1.5, "BUY"], [np.nan, "HOLD"]], dtype=object)
    value, signal = columns.convert(answers)
    assert (value.type, signal.type) == (pa.float64(), pa.string())
    assert value.null_count == 0, "what is no number stays NaN, as in an array of numbers"
    assert signal.to_pylist() == ["BUY", "HOLD"]
    with pytest.raises(ModelFailed, match="object after double"):
        columns.convert(np.array([["BUY", 1.5]], dtype=object))
