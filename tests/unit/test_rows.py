"""Rows of raw data: what a training needs of their split, and what is said of rows that cannot be used."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from modelyard.data.expectations import Expectations
from modelyard.errors import BadInput, RawDataMalformed
from modelyard.pipeline.drift_request import read_drift
from modelyard.pipeline.raw import LocatedData
from modelyard.pipeline.rows import check_rows, process_rows
from modelyard.workloads.contract import Processed
from modelyard.workloads.registry import get_workload

FILES = LocatedData(files=(Path("/f/a.csv"), Path("/f/b.csv")), source="file_path", why="named", folder=Path("/f"))


def make_workload(values, split):
    """A workload whose rows are these, one participant."""
    processed = Processed(
        X=pa.table({"x": values}),
        y=pa.table({"t": [1.0] * len(values)}),
        split=pa.array([split] * len(values)),
        extra=pa.table({"participant": ["p1"] * len(values)}),
    )
    return SimpleNamespace(
        spec=replace(get_workload("california_housing").spec, group_column="participant"),
        load_raw=lambda files, parameters: None,
        process=lambda raw, parameters: processed,
    )


def test_rows_of_one_split_only_can_be_compared_and_not_trained_on():
    workload = make_workload([1.0, 2.0], "test")
    [rows] = process_rows(workload, FILES, parameters=None, trainable=False)
    assert rows.X.num_rows == 2
    asked = {"parameters": None, "expectations": Expectations(), "report": print}
    check_rows(workload, FILES, **asked, trainable=False)
    for refused in (
        lambda: check_rows(workload, FILES, **asked),
        lambda: [*process_rows(workload, FILES, parameters=None)],
    ):
        with pytest.raises(BadInput, match="the split leaves no row in train"):
            refused()


def test_of_several_files_not_the_first_is_blamed_for_what_another_may_hold():
    workload = make_workload([1.0, float("inf")], "test")
    with pytest.raises(RawDataMalformed, match=r"^2 files in /f: x becomes infinite in 1 rows"):
        [*process_rows(workload, FILES, parameters=None)]
    with pytest.raises(RawDataMalformed, match=r"^/f/a\.csv: x becomes infinite"):
        [*process_rows(workload, replace(FILES, files=FILES.files[:1]), parameters=None)]


def test_a_job_whose_parameters_are_not_taken_any_more_is_bad_input():
    arguments = {"workload": "california_housing", "raw": {}, "parameters": {"gone": 1}}
    with pytest.raises(BadInput, match=r"does not take the job's parameters: .*gone.*; ask for it anew"):
        read_drift(None, arguments)
