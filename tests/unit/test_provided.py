"""Frames handed over from Python: what the dataset holds is what Arrow makes of them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from modelyard.pipeline.provided import cut_rows

FRAME = pd.DataFrame(
    {
        "whole": [1.0, 2.0, 3.0],
        "holes": [1.0, np.nan, np.inf],
        "narrow": np.array([1, 2, 3], "float32"),
        7: [1, 2, 3],
        "text": ["a", None, "c"],
        "kind": pd.Categorical(["u", "v", "u"]),
        "at": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03"]),
        "masked": pd.array([1.5, None, 2.5], dtype="Float64"),
        "price": [3.0, 2.0, 1.0],
        "split": ["train", "train", "test"],
    }
)


@pytest.mark.parametrize("frame", [FRAME, FRAME.iloc[::-1], FRAME[["price", "whole", "split"]]])
def test_a_frame_becomes_the_table_that_arrow_makes_of_it(frame):
    [processed] = cut_rows(frame, targets=["price"], split="split")
    expected = pa.Table.from_pandas(frame, preserve_index=False)
    assert processed.X.equals(expected.drop_columns(["price", "split"]))
    assert processed.y.equals(expected.select(["price"]))
    assert processed.split.equals(expected.column("split").combine_chunks())
