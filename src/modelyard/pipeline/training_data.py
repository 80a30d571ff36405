"""What a model is trained on: a dataset on record with its content, loaded again or just processed."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from modelyard.data.splits import check_split
from modelyard.pipeline.datasets import check_there, load_recorded, tag_dataset
from modelyard.pipeline.results import DatasetResult
from modelyard.pipeline.session import Session
from modelyard.pipeline.workload_file import load_recorded_workload
from modelyard.store import datasets
from modelyard.store.catalogue import find_by_run
from modelyard.tracking import pipelines
from modelyard.workloads.contract import Processed

DataSource = Literal["mlflow_dataset", "provided_dataset", "file_path", "sample"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """A dataset as a training takes it.

    Attributes:
        processed: its content.
        dataset: its row.
        loaded: it was chosen among those on record, and no raw file was read.
        data_source: ``mlflow_dataset``, ``provided_dataset`` (handed over from Python), ``file_path`` or ``sample``.
        raw_source: where its raw data came from: ``file_path``, ``download`` or ``sample``.
        dvc_md5: md5 of its raw file as DVC computes it, if known.
        fallback: why a file was read though none was named; None if one was, or a dataset was chosen.
    """

    processed: Processed
    dataset: datasets.Dataset
    loaded: bool
    data_source: DataSource
    raw_source: str
    dvc_md5: str | None = None
    fallback: str | None = None

    def params(self) -> dict[str, Any]:
        """What a training run says about its dataset."""
        return {
            "used_mlflow_dataset": self.loaded,
            "dataset_name": self.dataset.name,
            "dataset_version": self.dataset.version,
            "dataset_digest": self.dataset.digest,
            "data_source": self.data_source,
        }

    def tags(self) -> dict[str, str]:
        """By what a training run can be found."""
        return {
            **tag_dataset(self.dataset),
            "data_source": self.data_source,
            "raw_source": self.raw_source,
            **({"dvc_md5": self.dvc_md5} if self.dvc_md5 else {}),
            **({"dataset_fallback": self.fallback} if self.fallback else {}),
        }


def describe_processed(
    dataset: datasets.Dataset, processed: Processed, *, dvc_md5: str | None, raw_source: str, fallback: str | None
) -> TrainingData:
    """Data that was just processed from raw files."""
    return TrainingData(
        processed=processed,
        dataset=dataset,
        loaded=False,
        data_source="sample" if raw_source == "sample" else "file_path",
        raw_source=raw_source,
        dvc_md5=dvc_md5,
        fallback=fallback,
    )


def describe_loaded(session: Session, dataset: datasets.Dataset) -> DatasetResult:
    """What is told of a dataset that was on record before it was asked for."""
    run = session.mlflow.get_run(dataset.mlflow_run_id)
    return DatasetResult(
        dataset_id=str(dataset.dataset_id),
        name=dataset.name,
        version=dataset.version,
        digest=dataset.digest,
        raw_digest=dataset.raw_digest,
        num_rows=dataset.num_rows,
        split_counts=dataset.split_counts,
        data_source=dataset.data_source,
        run_url=session.pages.run(run.info.experiment_id, dataset.mlflow_run_id),
        reused=True,
        violations=len(dataset.violations),
    )


def load_training_data(session: Session, dataset_id: str, *, data_source: DataSource) -> TrainingData:
    """The dataset that was chosen when the training was asked for, verified; no raw file is read.

    Raises:
        RecordNotFound: there is none with this id.
        RecordLost: it was deleted since, or MLflow has lost it.
        ContentMismatch: it is not what was recorded.
    """
    dataset = datasets.get_dataset(session.records, dataset_id=UUID(dataset_id))
    processed = load_processed(session, dataset)
    tags = session.mlflow.get_run(dataset.mlflow_run_id).data.tags
    return TrainingData(
        processed=processed,
        dataset=dataset,
        loaded=True,
        data_source=data_source,
        raw_source=dataset.data_source,
        dvc_md5=tags.get("dvc_md5"),
    )


def load_processed(session: Session, dataset: datasets.Dataset) -> Processed:
    """A recorded dataset as processing returned it: every file, the digest and the unfitted preprocessing verified.

    Raises:
        RecordLost: it was deleted, or MLflow has lost it.
        ContentMismatch: it is not what was recorded.
        BadInput: its split cannot be trained and tested on.
    """
    tables = load_recorded(session, dataset)
    processed = Processed(
        X=tables.X,
        y=tables.y,
        split=tables.split,
        extra=tables.extra,
        preprocessing=load_pipeline(session, dataset),
        notes=dataset.notes,
    )
    workload = load_recorded_workload(dataset.workload, dataset.code_version, raw_uri=session.raw_uri)
    check_split(processed.split, processed.load_groups(workload.spec.group_column))
    return processed


def load_pipeline(session: Session, of: datasets.Dataset | str, *, sha256: str | None = None) -> Any:
    """The unfitted preprocessing of a dataset, named by its row or by its processing run; None if it has none.

    A run of an earlier release, which stored it as a model, is read with a warning.

    Args:
        session: open connections.
        of: the dataset, or the id of its run.
        sha256: of the pickle that a run of an earlier release has and nothing on record vouches for.

    Raises:
        ContentMismatch: the file is not what was recorded, or not what ``sha256`` says; nothing of it was opened.
        RecordLost: the dataset was deleted.
        DatasetRefused: there is no such run, or none with a pipeline.
        UntrustedModel: nothing vouches for the file.
    """
    dataset = find_by_run(session.records, mlflow_run_id=of) if isinstance(of, str) else of
    if dataset is None:
        return pipelines.load_old_pipeline(session.mlflow, run_id=str(of), sha256=sha256)
    check_there(session, dataset)
    files = datasets.list_dataset_files(session.records, dataset_id=dataset.dataset_id)
    return pipelines.load_pipeline(session.mlflow, run_id=dataset.mlflow_run_id, files=files)
