"""The file of a workload that does not ship: kept in the raw store by content, and loaded from there by workers."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.errors import BadInput, InvalidWorkload
from modelyard.pipeline.raw_store import open_raw_store
from modelyard.workloads.contract import Workload
from modelyard.workloads.own import check_name, find_own, find_own_file, load_own
from modelyard.workloads.registry import get_workload


def store_workload(workload: Workload, *, raw_uri: str) -> None:
    """Keep a workload's file in the raw store, for a job to name; of one that ships there is none.

    Raises:
        ContentMismatch: the store holds other bytes under that digest.
        ServiceFailed: the store does not answer, or refuses.
    """
    file = find_own_file(workload)
    if file is None:
        return
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        copy = Path(folder, file.file_name)
        copy.write_bytes(file.content)
        open_raw_store(raw_uri).keep(copy, name=f"{file.sha256}/{file.file_name}", sha256=file.sha256)


def load_recorded_workload(name: str, recorded: Mapping[str, Any], *, raw_uri: str) -> Workload:
    """A workload as a job, a dataset or a model version names it; a file of somebody's own is run by this.

    Args:
        name: the workload's.
        recorded: arguments of a job, or a code version: ``workload_file`` is the sha256 of a file that does not ship.
        raw_uri: address of the raw store.

    Raises:
        UnknownName: none ships under this name.
        BadInput: no workload can be called so.
        RecordLost: the store has no such file.
        ContentMismatch: the file in the store is another.
        InvalidWorkload: this release does not take it any more.
        ServiceFailed: the store does not answer, or refuses.
    """
    digest = recorded.get("workload_file")
    if digest is None:
        return get_workload(name)
    if (known := find_own(name, digest)) is not None:
        return known
    if problem := check_name(name, reserved=()):  # it becomes part of a path
        raise BadInput(f"{name!r} cannot be the name of a workload: {problem}")
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        file_name = f"{name}.py"
        path = open_raw_store(raw_uri).fetch(f"{digest}/{file_name}", sha256=digest, folder=Path(folder))
        workload = load_own(path)
    if find_own(name, digest) is None:
        raise InvalidWorkload(path, ["it was changed while it was being read"])
    return workload
