"""Raw data → rows of a dataset: in one part where the workload works in memory, in several where it streams."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from typing import TypeGuard

import numpy as np

from modelyard.data.dataset import DatasetTables
from modelyard.data.expectations import Expectations
from modelyard.data.profile import count_infinite
from modelyard.data.splits import SplitCheck, check_split
from modelyard.data.validation import Validator
from modelyard.errors import DataInvalid, RawDataMalformed
from modelyard.pipeline.raw import LocatedData
from modelyard.workloads.contract import Parameters, Processed, StreamingWorkload, Workload


def streams(workload: Workload) -> TypeGuard[StreamingWorkload]:
    """Whether a workload gives its rows in parts."""
    return hasattr(workload, "process_batches")


def process_rows(
    workload: Workload, located: LocatedData, *, parameters: Parameters, trainable: bool = True
) -> Generator[Processed, None, None]:
    """Read and process raw data.

    Args:
        workload: whose data.
        located: the raw files.
        parameters: those that processing takes.
        trainable: whether all rows together must have a split that can be trained and tested on.

    Raises:
        RawDataMalformed: with every problem that was found.
        BadInput: a split that cannot be trained and tested on.
    """
    if streams(workload):
        for part in workload.process_batches(located.files, parameters=parameters):
            _check_finite(part, located)
            yield part
        return
    raw = workload.load_raw(located.files, parameters=parameters)
    with np.errstate(all="ignore"):  # what overflows is found below, and named
        processed = workload.process(raw, parameters=parameters)
    _check_finite(processed, located)
    if trainable:
        check_split(processed.split, processed.load_groups(workload.spec.group_column))
    yield processed


def check_rows(
    workload: Workload,
    located: LocatedData,
    *,
    parameters: Parameters,
    expectations: Expectations,
    allow_invalid: bool = False,
    trainable: bool = True,
    report: Callable[[str], None],
) -> None:
    """Process raw data and keep nothing of it, so that what cannot be used is said before anything is stored.

    Of a workload that streams only the first part is looked at: the rest may take hours, and the job sees all of it.

    Args:
        workload: whose data.
        located: the raw files.
        parameters: those that processing takes.
        expectations: what must hold of the rows.
        allow_invalid: what does not hold is no error.
        trainable: whether a split is needed that can be trained and tested on.
        report: told what was left to the job.

    Raises:
        RawDataMalformed: with every problem that was found, or no row.
        DataInvalid: rows that break an expectation.
        InvalidExpectation: an expectation that cannot be checked.
        BadInput: a split that cannot be trained and tested on.
    """
    with closing(process_rows(workload, located, parameters=parameters, trainable=trainable)) as parts:
        first = next(parts, None)
    if first is None:
        raise RawDataMalformed(_name(located), ["no row is left of it"])
    rows = "the data"
    if streams(workload):
        rows = f"the first part of the data ({first.X.num_rows:,} rows)"
        if trainable:
            SplitCheck().update(first.split, first.load_groups(workload.spec.group_column))
        expectations = replace(expectations, min_rows=0)
        report(f"{first.X.num_rows:,} rows are checked here, the first part; the job checks all of them")
    with Validator(expectations) as validator:
        validator.update(DatasetTables(X=first.X, y=first.y, split=first.split, extra=first.extra))
        violations = validator.result()
    if violations and not allow_invalid:
        raise DataInvalid(violations, rows=rows)


def _check_finite(processed: Processed, located: LocatedData) -> None:
    infinite = {**count_infinite(processed.X), **count_infinite(processed.y)}
    if infinite:
        problems = [f"{name} becomes infinite in {count:,} rows" for name, count in infinite.items()]
        raise RawDataMalformed(_name(located), problems, hint="Some of its numbers are too large or too small.")


def _name(located: LocatedData) -> str:
    """Raw data for people, who are not sent to the first of several files for what stands in another."""
    if len(located.files) == 1:
        return str(located.files[0])
    return f"{len(located.files)} files in {located.folder}" if located.folder else f"{len(located.files)} files"
