"""A dataset's lineage as OpenLineage events, as data catalogues read them; from our rows alone."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlparse
from uuid import NAMESPACE_URL, UUID, uuid5

from openlineage.client import event_v2 as events
from openlineage.client import facet_v2 as facets
from openlineage.client.generated import data_quality_metrics_dataset as quality
from openlineage.client.serde import Serde

from modelyard.store.connections import Connection
from modelyard.store.datasets import Dataset, get_dataset
from modelyard.store.lineage import trace
from modelyard.store.usage import list_uses

NAMESPACE = "modelyard"
PRODUCER = "pkg:pypi/modelyard"  # who says all this: a package URL, because we have no page
_VERBS = {"training": "train", "evaluation": "evaluate", "blend": "blend", "dataset": "process"}


def write_events(connection: Connection, dataset: Dataset, sink: BinaryIO, *, raw_uri: str, namespace: str) -> int:
    """Write the events of a dataset, a JSON object a line, the oldest run first; return how many.

    Takes what ``list_events`` takes.
    """
    found = 0
    for event in list_events(connection, dataset, raw_uri=raw_uri, namespace=namespace):
        sink.write(f"{Serde.to_json(event)}\n".encode())
        found += 1
    return found


def list_events(
    connection: Connection, dataset: Dataset, *, raw_uri: str, namespace: str = NAMESPACE
) -> Iterator[events.RunEvent]:
    """A COMPLETE event for the processing run of a dataset, and one for each run that used it.

    Raw files and a parent dataset are inputs of the processing run, the dataset is its output. It is the input of each
    training, whose output is the model version, and of each evaluation, which reads the model version too and makes
    nothing. Which column came from which is not on record, so no event says it.

    Args:
        connection: as anybody who may read.
        dataset: which one.
        raw_uri: where raw data is stored by content: ``file://`` or ``s3://``.
        namespace: of the jobs, datasets and models in the catalogue; tells several stacks apart.
    """
    events.set_producer(PRODUCER)  # of the library, for whatever is made from here on
    parent = get_dataset(connection, dataset_id=dataset.parent_dataset_id) if dataset.parent_dataset_id else None
    sources = [_describe_raw_file(file, raw_uri) for file in dataset.raw_files]
    if parent is not None:
        sources.append(_describe_input(parent, namespace))
    yield _build_event(
        dataset,
        namespace=namespace,
        run_id=dataset.mlflow_run_id,
        run_type="dataset",
        at=dataset.created_at,
        code=dataset.code_version,
        inputs=sources,
        outputs=[events.OutputDataset(namespace, dataset.name, facets=_describe_facets(dataset))],
    )
    nodes = trace(connection, f"{dataset.name}@{dataset.version}").nodes.values()
    codes = {node.facts["mlflow_run_id"]: node.facts["code_version"] for node in nodes if node.kind == "model version"}
    judged = {
        node.facts["mlflow_run_id"]: "{mlflow_model_name}/{mlflow_model_version}".format_map(node.facts)
        for node in nodes
        if node.kind == "evaluation"
    }
    runs = {use.mlflow_run_id: use for use in list_uses(connection, dataset_id=dataset.dataset_id)}
    for use in runs.values():
        if use.run_type == "dataset":
            continue
        made, read = use.model_version, judged.get(use.mlflow_run_id)
        yield _build_event(
            dataset,
            namespace=namespace,
            run_id=use.mlflow_run_id,
            run_type=use.run_type,
            at=use.created_at,
            code=codes.get(use.mlflow_run_id),
            inputs=[
                _describe_input(dataset, namespace),
                *([events.InputDataset(**_describe_model(read, namespace))] if read else []),
            ],
            outputs=[events.OutputDataset(**_describe_model(made, namespace))] if made else [],
        )


def _build_event(
    dataset: Dataset,
    *,
    namespace: str,
    run_id: str,
    run_type: str,
    at: datetime,
    code: Mapping[str, Any] | None,
    inputs: list[events.InputDataset],
    outputs: list[events.OutputDataset],
) -> events.RunEvent:
    about: dict[str, Any] = {
        "jobType": facets.job_type_job.JobTypeJobFacet(
            processingType="BATCH", integration="MODELYARD", jobType=run_type.upper()
        )
    }
    if code and (code.get("commit") or code.get("release")):
        about["sourceCodeLocation"] = _locate_code(code, dataset.workload)
    engine = facets.processing_engine_run.ProcessingEngineRunFacet(
        version=str((code or dataset.code_version).get("release", "unknown")), name="modelyard"
    )
    return events.RunEvent(
        eventTime=at.isoformat(),
        eventType=events.RunState.COMPLETE,
        run=events.Run(_as_uuid(run_id, namespace), facets={"processing_engine": engine}),
        job=events.Job(namespace, f"{dataset.workload}.{_VERBS[run_type]}", facets=about),
        inputs=inputs,
        outputs=outputs,
    )


def _as_uuid(run_id: str, namespace: str) -> str:
    """MLflow's ids are UUIDs without hyphens; another one gets a UUID that is always the same."""
    try:
        return str(UUID(run_id))
    except ValueError:
        return str(uuid5(NAMESPACE_URL, f"{namespace}/{run_id}"))


def _locate_code(code: Mapping[str, Any], workload: str) -> facets.source_code_location_job.SourceCodeLocationJobFacet:
    """The commit, where one is known. Where the repository is, is not on record: the release stands for it."""
    commit, release = code.get("commit"), code.get("release")
    return facets.source_code_location_job.SourceCodeLocationJobFacet(
        type="git" if commit else "pypi",
        url=f"{PRODUCER}@{release}" if release else PRODUCER,
        path=str(PurePosixPath("src", "modelyard", "workloads", f"{workload}.py")),
        version=commit or release,
    )


def _describe_raw_file(file: Mapping[str, Any], raw_uri: str) -> events.InputDataset:
    address = urlparse(raw_uri)
    name = f"{unquote(address.path).rstrip('/')}/{file['sha256']}/{file['name']}"
    namespace = f"s3://{address.netloc}" if address.scheme == "s3" else "file"
    return events.InputDataset(
        namespace,
        name if namespace == "file" else name.lstrip("/"),
        facets={
            "version": facets.dataset_version_dataset.DatasetVersionDatasetFacet(file["sha256"]),
            "dataSource": facets.datasource_dataset.DatasourceDatasetFacet(name=namespace, uri=raw_uri),
            "documentation": facets.documentation_dataset.DocumentationDatasetFacet(
                f"raw file {file['name']}, {file['size_bytes']:,} bytes, stored by content"
            ),
        },
    )


def _describe_input(dataset: Dataset, namespace: str) -> events.InputDataset:
    return events.InputDataset(namespace, dataset.name, facets=_describe_facets(dataset))


def _describe_model(model: str, namespace: str) -> dict[str, Any]:
    name, _, version = model.rpartition("/")
    return {
        "namespace": namespace,
        "name": f"models/{name}",
        "facets": {
            "version": facets.dataset_version_dataset.DatasetVersionDatasetFacet(version),
            "dataSource": facets.datasource_dataset.DatasourceDatasetFacet(name="mlflow", uri=f"models:/{model}"),
            "documentation": facets.documentation_dataset.DocumentationDatasetFacet(f"MLflow registered model {name}"),
        },
    }


def _describe_facets(dataset: Dataset) -> dict[str, Any]:
    splits = ", ".join(f"{count:,} {split}" for split, count in dataset.split_counts.items())
    return {
        "schema": facets.schema_dataset.SchemaDatasetFacet(
            fields=[
                facets.schema_dataset.SchemaDatasetFacetFields(
                    name=column["name"], type=column["type"], ordinal_position=number
                )
                for number, column in enumerate(dataset.schema, start=1)
            ]
        ),
        "version": facets.dataset_version_dataset.DatasetVersionDatasetFacet(dataset.version),
        "dataSource": facets.datasource_dataset.DatasourceDatasetFacet(name="mlflow", uri=dataset.location),
        "documentation": facets.documentation_dataset.DocumentationDatasetFacet(
            f"{dataset.name} {dataset.version} of workload {dataset.workload}: {dataset.num_rows:,} rows ({splits}), "
            f"targets {', '.join(dataset.targets) or 'none'}, sha256 of the content {dataset.digest}"
        ),
        "dataQualityMetrics": _describe_quality(dataset),
    }


def _describe_quality(dataset: Dataset) -> quality.DataQualityMetricsDatasetFacet:
    """From the profile; a statistic that it lacks, or that is no number, is left out."""
    metrics = {}
    for column in dataset.profile.get("columns", ()):
        quantiles = column.get("quantiles")
        metrics[column["name"]] = quality.ColumnMetrics(
            nullCount=column.get("nulls"),
            distinctCount=column.get("distinct"),
            count=dataset.num_rows - (column.get("nulls") or 0),
            min=_as_number(column.get("min")),
            max=_as_number(column.get("max")),
            quantiles={str(share): float(value) for share, value in quantiles.items() if _as_number(value) is not None}
            if isinstance(quantiles, dict)
            else None,
        )
    return quality.DataQualityMetricsDatasetFacet(
        columnMetrics=metrics,
        rowCount=dataset.num_rows,
        bytes=dataset.profile.get("num_bytes"),
        captureDate=dataset.created_at.isoformat(),
    )


def _as_number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
