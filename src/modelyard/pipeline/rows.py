"""Raw data → rows of a dataset: in one part where the workload works in memory, in several where it streams."""

from collections.abc import Iterator

import numpy as np

from modelyard.data.profile import count_infinite
from modelyard.data.splits import check_split
from modelyard.errors import RawDataMalformed
from modelyard.pipeline.raw import LocatedData
from modelyard.workloads.contract import Parameters, Processed, Workload


def streams(workload: Workload) -> bool:
    """Whether a workload gives its rows in parts."""
    return hasattr(workload, "process_batches")


def process_rows(workload: Workload, located: LocatedData, *, parameters: Parameters) -> Iterator[Processed]:
    """Read and process raw data.

    Args:
        workload: whose data.
        located: the raw files.
        parameters: those that processing takes.

    Raises:
        RawDataMalformed: with every problem that was found.
        BadInput: a split that cannot be trained and tested on.
    """
    if hasattr(workload, "process_batches"):
        for part in workload.process_batches(located.files, parameters=parameters):
            _check_finite(part, located)
            yield part
        return
    raw = workload.load_raw(located.files, parameters=parameters)
    with np.errstate(all="ignore"):  # what overflows is found below, and named
        processed = workload.process(raw, parameters=parameters)
    _check_finite(processed, located)
    check_split(processed.split, processed.load_groups(workload.spec.group_column))
    yield processed


def _check_finite(processed: Processed, located: LocatedData) -> None:
    infinite = {**count_infinite(processed.X), **count_infinite(processed.y)}
    if infinite:
        problems = [f"{name} becomes infinite in {count:,} rows" for name, count in infinite.items()]
        raise RawDataMalformed(located.files[0], problems, hint="Some of its numbers are too large or too small.")
