"""Recorded datasets held against what is stored of them: every file by its sha256, the content by its digest."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from uuid import UUID

from modelyard.data.dataset_reader import FILES
from modelyard.errors import ContentMismatch, RecordLost
from modelyard.pipeline.datasets import open_recorded
from modelyard.pipeline.session import Report, Session
from modelyard.store.datasets import get_dataset, list_dataset_files
from modelyard.tracking.datasets import download_files

_NOTHING = "nothing"  # what is found of a file that is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How a dataset's content was found.

    Attributes:
        state: ``ok``; ``mismatch``: bytes are others than recorded; ``lost``: a file, or the whole run, is gone.
        what: the file or the content that is not as recorded, and why nothing was found; None where all is.
        expected: its sha256 on record, ``found`` that of what is there; None where there is nothing to compare.
    """

    name: str
    version: str
    digest: str
    state: Literal["ok", "mismatch", "lost"]
    nb_files: int
    size_bytes: int
    what: str | None = None
    expected: str | None = None
    found: str | None = None


def verify_datasets(session: Session, dataset_ids: Sequence[UUID], *, report: Report) -> Iterator[Verification]:
    """Load each dataset only to see that it can be, in memory that does not grow with it, and say how it was found.

    One that is bad does not keep the others from being looked at. ``report`` is told the share of the datasets.

    Raises:
        RecordNotFound: there is no dataset with an id.
    """
    for index, dataset_id in enumerate(dataset_ids):
        dataset = get_dataset(session.records, dataset_id=dataset_id)  # not before: a profile may be large
        files = list_dataset_files(session.records, dataset_id=dataset_id)
        size_bytes = sum(file.size_bytes for file in files)
        tell = partial(_report_part, report, f"{dataset.name} {dataset.version}", index, len(dataset_ids))
        tell("loading", 0.0, f"{size_bytes:,} bytes")
        state: Literal["ok", "mismatch", "lost"] = "ok"
        what = expected = found = None
        try:
            with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
                open_recorded(session, dataset, folder=Path(folder), report=tell)
                rest = [file for file in files if file.path not in FILES]
                download_files(session.mlflow, run_id=dataset.mlflow_run_id, files=rest, folder=Path(folder))
        except ContentMismatch as error:
            state = "lost" if error.found == _NOTHING else "mismatch"
            what, expected, found = error.what, error.expected, error.found
        except RecordLost as error:
            state, what = "lost", str(error)
        yield Verification(
            name=dataset.name,
            version=dataset.version,
            digest=dataset.digest,
            state=state,
            nb_files=len(files),
            size_bytes=size_bytes,
            what=what,
            expected=expected,
            found=found,
        )


def _report_part(
    report: Report, name: str, index: int, count: int, _: str, share: float | None, message: str, /
) -> None:
    """How far one of several datasets is, as a share of all of them."""
    report("verifying", (index + (share or 0.0)) / count, f"{name}, {message}")
