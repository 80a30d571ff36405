"""Datasets on record: loaded again only if every byte is the recorded one, and shown on the runs that use them."""

import tempfile
from pathlib import Path

from modelyard.data.dataset import DatasetTables
from modelyard.data.dataset_reader import FILES, DatasetFiles
from modelyard.data.hashes import HashedFile
from modelyard.errors import ContentMismatch, RecordLost
from modelyard.pipeline.attempt import Attempt, recording
from modelyard.pipeline.session import Report, Session
from modelyard.store import datasets as store
from modelyard.tracking.datasets import ContentSource, LoggedDataset, download_files, log_input, show_schema
from modelyard.tracking.runs import ActiveRun, RunType, find_run


def use_dataset(
    session: Session,
    attempt: Attempt | None,
    run: ActiveRun,
    dataset: store.Dataset,
    *,
    run_type: RunType,
    context: str,
) -> None:
    """Show a dataset as an input of a run, and record that the run uses it; twice is once.

    Raises:
        AttemptLost: the job was taken over or cancelled.
    """
    log_input(run, describe_dataset(dataset), context=context)
    connection = session.records
    with recording(connection, attempt):
        store.record_use(
            connection, dataset_id=dataset.dataset_id, mlflow_run_id=run.run_id, run_type=run_type, context=context
        )


def describe_dataset(dataset: store.Dataset) -> LoggedDataset:
    """What MLflow shows of a dataset that is on record: of its content alone, which other runs and pipelines share."""
    return LoggedDataset(
        source=ContentSource(dataset.name, dataset.digest),
        name=dataset.name,
        digest=dataset.digest,
        schema=show_schema(dataset.schema),
        profile={"num_rows": dataset.num_rows, "num_elements": dataset.num_elements},
    )


def tag_dataset(dataset: store.Dataset) -> dict[str, str]:
    """Tags that say what a run was done on."""
    return {
        "dataset_version": dataset.version,
        "dataset_digest": dataset.digest,
        "dataset_run_id": dataset.mlflow_run_id,
    }


def load_recorded(session: Session, dataset: store.Dataset) -> DatasetTables:
    """A recorded dataset's content in memory, each file and the digest verified; raises what ``open_recorded`` does."""
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        tables = download_recorded(session, dataset, Path(folder)).read()
    found = tables.digest()
    if found != dataset.digest:
        raise ContentMismatch(_name(dataset), expected=dataset.digest, found=found)
    return tables


def open_recorded(
    session: Session, dataset: store.Dataset, *, folder: Path, report: Report | None = None
) -> DatasetFiles:
    """A recorded dataset's files in ``folder``, each and the digest verified, in memory that does not grow with it.

    ``report`` is told of each file, and of the rows as they are verified.

    Raises:
        ContentMismatch: a file or the content is not what was recorded.
        RecordLost: it was deleted, or MLflow no longer has its run.
    """
    files = download_recorded(session, dataset, folder, report)

    def tell(rows: int) -> None:
        if report is not None:
            report("loading", (1 + rows / dataset.num_rows) / 2, f"{rows:,} of {dataset.num_rows:,} rows verified")

    files.verify(dataset.digest, what=_name(dataset), told=tell)
    return files


def verify_recorded(session: Session, dataset: store.Dataset) -> None:
    """Load a recorded dataset, only to see that it can be; raises what ``open_recorded`` does."""
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        open_recorded(session, dataset, folder=Path(folder))


def check_there(session: Session, dataset: store.Dataset) -> None:
    """Refuse a dataset that was deleted, also since its row was read.

    Raises:
        RecordLost: by whom, when and why.
    """
    now = store.get_dataset(session.records, dataset_id=dataset.dataset_id)
    if now.removed_at is not None:
        raise RecordLost(
            f"{_name(now)} was deleted by {now.removed_by} at {now.removed_at:%Y-%m-%d %H:%M} UTC: {now.removal_reason}"
        )


def download_recorded(
    session: Session, dataset: store.Dataset, folder: Path, report: Report | None = None
) -> DatasetFiles:
    """A recorded dataset's files in ``folder``, each verified; the digest is left to whoever reads all rows anyway.

    Raises:
        ContentMismatch: a file is not what was recorded.
        RecordLost: it was deleted, or MLflow no longer has its run.
    """
    check_there(session, dataset)
    if find_run(session.mlflow, dataset.mlflow_run_id) is None:
        raise RecordLost(
            f"MLflow has lost run {dataset.mlflow_run_id} with {_name(dataset)}; "
            "restore it from a backup, or train on another dataset (another seed or feature set makes one)"
        )
    recorded = store.list_dataset_files(session.records, dataset_id=dataset.dataset_id)
    tables = [file for file in recorded if file.path in FILES]
    total, done = sum(file.size_bytes for file in tables), 0

    def tell(file: HashedFile) -> None:
        nonlocal done
        done += file.size_bytes
        if report is not None:
            report("loading", done / total / 2, f"{done:,} of {total:,} bytes loaded")

    download_files(session.mlflow, run_id=dataset.mlflow_run_id, files=tables, folder=folder, told=tell)
    return DatasetFiles(folder)


def _name(dataset: store.Dataset) -> str:
    return f"dataset {dataset.name} {dataset.version}"
