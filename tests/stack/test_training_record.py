"""What is on record after a training, on the Compose stack: rows, runs, versions, and the objects that they name."""

from hashlib import sha256
from urllib.parse import urlparse

import pytest

from modelyard.workloads.registry import get_workload
from tests.training_record import TrainingRecord


@pytest.fixture(scope="module", params=["sample", "real data"])
def raw_file(request, real_data, tmp_path_factory):
    if request.param == "sample":
        return get_workload("california_housing").sample(tmp_path_factory.mktemp("raw"))[0]
    if real_data is None:
        pytest.skip("no real data: set MODELYARD_TEST_DATA_DIR to a folder with california_housing/cal_housing.data")
    return real_data / "california_housing" / "cal_housing.data"


@pytest.fixture(scope="module")
def outcome(project, raw_file):
    words = ("train", "california_housing", "--data", str(raw_file), "--run-name", "on record", "--json")
    return project.launch(*words).checked().outcome


def read_objects(project, uri):
    """Contents of the objects under an ``s3://`` address by their path there, with the keys of who makes backups."""
    store, bucket, prefix = project.s3("backup"), urlparse(uri).netloc, urlparse(uri).path.strip("/") + "/"
    listed = store.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [entry["Key"] for page in listed for entry in page.get("Contents", [])]
    return {key.removeprefix(prefix): store.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


@pytest.mark.usefixtures("notebook")
class TestCompose(TrainingRecord):
    @pytest.fixture
    def addresses(self, project):
        return project.addresses

    @pytest.fixture
    def read_raw(self, project):
        return lambda digest, name: read_objects(project, f"s3://{project.bucket}/raw/{digest}")[name]

    def test_the_objects_of_dataset_and_model_are_those_that_are_on_record(self, project, client, outcome, rows):
        (dataset,) = rows("SELECT * FROM exp.datasets WHERE dataset_id = %s", outcome["dataset"]["dataset_id"])
        number = outcome["registration"]["version"]
        (version,) = rows("SELECT * FROM exp.model_versions WHERE mlflow_model_version = %s", number)
        for table, owner, place in (
            ("dataset_files", dataset["dataset_id"], client.get_run(dataset["mlflow_run_id"]).info.artifact_uri),
            (
                "model_files",
                version["mlflow_model_id"],
                client.get_logged_model(version["mlflow_model_id"]).artifact_location,
            ),
        ):
            column = "dataset_id" if table == "dataset_files" else "mlflow_model_id"
            recorded = rows(f"SELECT path, sha256, size_bytes FROM exp.{table} WHERE {column} = %s", owner)
            assert place.startswith(f"s3://{project.bucket}/runs/")
            objects = read_objects(project, place)
            for file in recorded:
                content = objects[file["path"]]
                assert (sha256(content).hexdigest(), len(content)) == (file["sha256"], file["size_bytes"])
            assert table == "dataset_files" or set(objects) == {file["path"] for file in recorded}

    def test_the_links_lead_to_this_machine(self, project, outcome):
        links = [outcome["training"]["run_url"], outcome["dataset"]["run_url"], outcome["registration"]["url"]]
        port = project.environment["MODELYARD_MLFLOW_PORT"]
        assert all(link.startswith(f"http://localhost:{port}/#/") for link in links)

    def test_the_model_is_as_good_as_its_reference(self, outcome, raw_file):
        bound = {"sample.csv": 0.4200, "cal_housing.data": 0.4660}[raw_file.name]
        assert 0.39 < outcome["training"]["metrics"]["test_rmse"] <= bound
