"""Raw data → dataset: a processing run that logs the content once, under its digest."""

import tempfile
from dataclasses import asdict
from pathlib import Path

from mlflow import MlflowException

from modelyard.data.profile import profile_table
from modelyard.data.schema import describe_schema
from modelyard.data.splits import dataset_table, split_counts
from modelyard.errors import RecordLost
from modelyard.pipeline.attempt import Attempt, run_step
from modelyard.pipeline.raw import RawData
from modelyard.pipeline.request import CheckedData, TrainingRequest
from modelyard.pipeline.results import DatasetResult
from modelyard.pipeline.session import DATASETS_EXPERIMENT, Report, Session
from modelyard.store import datasets as store
from modelyard.tracking.datasets import (
    DatasetTables,
    LoggedDataset,
    RunSource,
    load_dataset,
    log_dataset_files,
    log_input,
    mlflow_schema,
)
from modelyard.tracking.runs import ActiveRun, is_finished
from modelyard.tracking.server import get_or_create_experiment


def name_dataset(workload: str, data_source: str) -> str:
    """The dataset's name; made-up data never shares a name, and so no versions, with real data."""
    return f"{workload}_sample" if data_source == "sample" else workload


def log_dataset(
    session: Session, request: TrainingRequest, checked: CheckedData, raw: RawData, *, attempt: Attempt, report: Report
) -> tuple[store.Dataset, DatasetResult]:
    """Log a processed dataset, or find it by its digest: the same content is never logged twice."""
    processed = checked.processed
    tables = DatasetTables(X=processed.X, y=processed.y, split=processed.split, extra=processed.extra)
    digest = tables.digest()
    name = name_dataset(request.workload.spec.name, raw.source)
    experiment_id = get_or_create_experiment(session.mlflow, DATASETS_EXPERIMENT)
    with store.lock_dataset(session.records, name=name, digest=digest):
        found = store.find_dataset(session.records, name=name, digest=digest)
        if found is None:
            report("processing", 0.3, "logging the dataset")
            recorded = _log(
                session,
                request,
                checked,
                raw,
                tables=tables,
                name=name,
                digest=digest,
                attempt=attempt,
                experiment_id=experiment_id,
            )
        else:
            recorded = found
            report("processing", 0.3, "verifying the dataset that was logged before")
            load_recorded(session, recorded)
            if not is_finished(session.mlflow, recorded.mlflow_run_id):  # its writer died after recording it
                _show(ActiveRun(session.mlflow, recorded.mlflow_run_id, experiment_id), recorded, tables)
                session.mlflow.set_terminated(recorded.mlflow_run_id, "FINISHED")
    return recorded, DatasetResult(
        dataset_id=str(recorded.dataset_id),
        name=recorded.name,
        version=recorded.version,
        digest=digest,
        raw_digest=raw.digest,
        num_rows=recorded.num_rows,
        split_counts=split_counts(processed.split),
        data_source=raw.source,
        run_url=session.pages.run(experiment_id, recorded.mlflow_run_id),
        reused=found is not None,
    )


def _log(
    session: Session,
    request: TrainingRequest,
    checked: CheckedData,
    raw: RawData,
    *,
    tables: DatasetTables,
    name: str,
    digest: str,
    attempt: Attempt,
    experiment_id: str,
) -> store.Dataset:
    """A processing run: upload, record in the store, and show it as the run's input, in that order."""
    spec = request.workload.spec
    content = dataset_table(tables.X, tables.y, tables.split, tables.extra)
    schema, profile = describe_schema(content), profile_table(content)
    counts = split_counts(tables.split)
    parameters = request.parameters.model_dump(mode="json")
    raw_files = [asdict(file) for file in raw.files]
    tags = request.tags(user=session.user) | {
        "data_source": raw.source,
        "mlflow.dataset.logged": "true",
        "mlflow.dataset.context": "training",
    }
    if raw.dvc_md5 is not None:
        tags["dvc_md5"] = raw.dvc_md5
    with run_step(
        session,
        attempt,
        step="processing",
        run_type="dataset",
        experiment_id=experiment_id,
        name=f"{name} {digest[:8]}",
        tags=tags,
    ) as run:
        files = log_dataset_files(
            run,
            tables,
            preprocessing=checked.processed.preprocessing,
            metadata={
                "name": name,
                "workload": spec.name,
                "digest": digest,
                "raw_digest": raw.digest,
                "raw_files": raw_files,
                "data_source": raw.source,
                "targets": list(spec.targets),
                "parameters": parameters,
                "schema": schema,
                "profile": profile,
                "split_counts": counts,
                "notes": dict(checked.processed.notes),
                "code": asdict(request.code),
            },
        )
        connection = session.records
        with attempt.fenced(connection):
            recorded = store.record_dataset(
                connection,
                name=name,
                workload=spec.name,
                digest=digest,
                raw_digest=raw.digest,
                raw_files=raw_files,
                location=f"runs:/{run.run_id}/metadata",
                mlflow_run_id=run.run_id,
                num_rows=tables.X.num_rows,
                num_elements=content.num_rows * content.num_columns,
                schema=schema,
                profile=profile,
                split_counts=counts,
                parameters=parameters,
                data_source=raw.source,
                files=files,
            )
        _show(run, recorded, tables)
    return recorded


def _show(run: ActiveRun, recorded: store.Dataset, tables: DatasetTables) -> None:
    """What MLflow shows of a recorded dataset on its processing run; written twice, it is the same."""
    log_input(run, describe_dataset(recorded, tables), context="training")
    run.log(
        params={
            **recorded.parameters,
            "dataset_name": recorded.name,
            "dataset_version": recorded.version,
            "dataset_digest": recorded.digest,
            "raw_digest": recorded.raw_digest,
            "data_source": recorded.data_source,
        },
        metrics={"num_rows": recorded.num_rows, **{f"{s}_rows": n for s, n in recorded.split_counts.items()}},
        tags={"dataset_version": recorded.version, "dataset_digest": recorded.digest},
    )


def load_recorded(session: Session, recorded: store.Dataset) -> DatasetTables:
    """A recorded dataset's content, each file and the digest verified.

    Raises:
        ContentMismatch: a file or the content is not what was recorded.
        RecordLost: MLflow no longer has its run.
    """
    files = store.list_dataset_files(session.records, dataset_id=recorded.dataset_id)
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        try:
            session.mlflow.get_run(recorded.mlflow_run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise RecordLost(
                f"MLflow has lost run {recorded.mlflow_run_id} with dataset {recorded.name} {recorded.version}; "
                "restore it from a backup, or train on another dataset (another seed or feature set makes one)"
            ) from None
        return load_dataset(
            session.mlflow, run_id=recorded.mlflow_run_id, files=files, digest=recorded.digest, folder=Path(folder)
        )


def describe_dataset(recorded: store.Dataset, tables: DatasetTables) -> LoggedDataset:
    """What MLflow shows of a dataset that is on record."""
    columns = dataset_table(tables.X, tables.y, tables.split, tables.extra)
    return LoggedDataset(
        source=RunSource(recorded.location, recorded.raw_digest),
        name=recorded.name,
        digest=recorded.digest,
        schema=mlflow_schema(columns),
        profile={"num_rows": recorded.num_rows, "num_elements": recorded.num_elements, "version": recorded.version},
    )
