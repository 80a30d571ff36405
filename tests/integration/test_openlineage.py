"""A data catalogue is told what a dataset was made from and what came of it."""

import io
import json
from uuid import UUID

import pytest

from modelyard.pipeline.openlineage import list_events, write_events
from modelyard.store.datasets import record_use

RUN = "0123456789abcdef0123456789abcdef"
JUDGED = "fedcba9876543210fedcba9876543210"
RAW_URI = "s3://modelyard/raw"


@pytest.fixture
def dataset(records):
    """A dataset with a parent, a model version that was trained on it and judged, and a drift report's use."""
    parent = records.dataset(digest="b", name="all_houses")
    return records.dataset(
        mlflow_run_id=RUN,
        parent_dataset_id=parent.dataset_id,
        schema=[{"name": "X.rooms", "type": "float64", "nullable": True}],
        profile={
            "num_bytes": 80,
            "columns": [
                {"name": "X.rooms", "nulls": 3, "distinct": 5, "min": 1.0, "max": 9, "quantiles": {"0.5": 4.0}},
                {"name": "split", "nulls": 0, "min": "test", "max": "train", "quantiles": None},
            ],
        },
        code_version={"commit": "c" * 40, "release": "0.1.0"},
    )


@pytest.fixture
def events(records, dataset, trainer):
    """What is written, with the runs of a training, its evaluation and a drift report."""
    uses = [("run-1", "training", "training"), (JUDGED, "evaluation", "evaluation"), ("d1", "evaluation", "reference")]
    records.model_version(dataset_id=dataset.dataset_id)
    records.evaluation(dataset_id=dataset.dataset_id, mlflow_run_id=JUDGED)
    for run_id, run_type, context in uses:
        record_use(trainer, dataset_id=dataset.dataset_id, mlflow_run_id=run_id, run_type=run_type, context=context)
    sink = io.BytesIO()
    assert write_events(trainer, dataset, sink, raw_uri=RAW_URI, namespace="ours") == 4
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def test_the_processing_run_made_the_dataset_from_the_raw_files_and_the_parent(events, dataset):
    made = events[0]
    assert made["eventType"] == "COMPLETE"
    assert made["schemaURL"] == "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
    assert UUID(made["run"]["runId"]).hex == RUN
    assert made["job"]["name"] == "houses.process"
    code = made["job"]["facets"]["sourceCodeLocation"]
    assert (code["type"], code["version"]) == ("git", "c" * 40)
    raw, parent = made["inputs"]
    assert (raw["namespace"], raw["name"]) == ("s3://modelyard", f"raw/{'0' * 64}/houses.csv")
    assert (parent["namespace"], parent["name"]) == ("ours", "all_houses")
    [output] = made["outputs"]
    assert (output["namespace"], output["name"]) == ("ours", "houses")
    facets = output["facets"]
    assert facets["version"]["datasetVersion"] == dataset.version
    assert facets["dataSource"]["uri"] == dataset.location
    assert facets["schema"]["fields"][0] | {"fields": []} == {
        **{"name": "X.rooms", "type": "float64", "ordinal_position": 1, "fields": []}
    }
    assert dataset.digest in facets["documentation"]["description"]
    assert "columnLineage" not in facets, "which column came from which is not on record"
    quality = facets["dataQualityMetrics"]
    assert (quality["rowCount"], quality["bytes"]) == (10, 80)
    rooms = quality["columnMetrics"]["X.rooms"]
    assert (rooms["nullCount"], rooms["distinctCount"], rooms["count"]) == (3, 5, 7)
    assert (rooms["min"], rooms["max"], rooms["quantiles"]) == (1.0, 9.0, {"0.5": 4.0})
    assert "min" not in quality["columnMetrics"]["split"], "a text is no number"


def test_a_training_makes_the_model_version_and_an_evaluation_reads_it(events, dataset):
    trained, judged, drift = events[1:]
    for event in (trained, judged, drift):
        used = event["inputs"][0]
        assert (used["name"], used["facets"]["version"]["datasetVersion"]) == ("houses", dataset.version)
        UUID(event["run"]["runId"])
    assert [event["job"]["name"] for event in events[1:]] == ["houses.train", "houses.evaluate", "houses.evaluate"]
    for model in (*trained["outputs"], judged["inputs"][1]):
        assert (model["name"], model["facets"]["version"]["datasetVersion"]) == ("models/houses_model", "1")
    assert [len(event["inputs"]) for event in (trained, judged, drift)] == [1, 2, 1]
    assert [len(event["outputs"]) for event in (trained, judged, drift)] == [1, 0, 0]
    assert UUID(judged["run"]["runId"]).hex == JUDGED


def test_the_same_rows_give_the_same_events_and_every_facet_names_its_schema(records, dataset, trainer):
    def write():
        sink = io.BytesIO()
        write_events(trainer, dataset, sink, raw_uri=RAW_URI, namespace="ours")
        return sink.getvalue()

    assert write() == write()
    [event] = [json.loads(line) for line in write().splitlines()]
    for facet in event["outputs"][0]["facets"].values():
        assert facet["_schemaURL"].startswith("https://openlineage.io/spec/facets/")
        assert facet["_producer"] == event["producer"] == "pkg:pypi/modelyard"


def test_raw_data_in_a_folder_is_a_file(dataset, trainer):
    [event] = list_events(trainer, dataset, raw_uri="file:///my%20data/raw")
    assert event.inputs[0].namespace == "file"
    assert event.inputs[0].name == f"/my data/raw/{'0' * 64}/houses.csv"
