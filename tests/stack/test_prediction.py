"""Predictions and model files on Compose: into and out of the caller's folder, through a container."""

from hashlib import sha256

import numpy as np
import pyarrow.parquet as pq
import pytest

from modelyard.data.files import read_table
from tests.stack.project import run

TO_STDOUT = 'sh infra/launch.sh predict "$1" --in "$2" --format csv > "$3"'


@pytest.fixture(scope="module")
def model(outcome):
    """The model version of the first training, which no test puts live."""
    return f"{outcome['registration']['model_name']}/{outcome['registration']['version']}"


@pytest.fixture(scope="module")
def model_id(project, outcome):
    query = "SELECT mlflow_model_id FROM exp.model_versions WHERE mlflow_run_id = %s"
    [row] = project.rows(query, outcome["training"]["run_id"])
    return row["mlflow_model_id"]


@pytest.fixture(scope="module")
def policy_version(outcome):
    return f"{outcome['evaluation']['policy_id']}@{outcome['evaluation']['policy_version']}"


@pytest.fixture(scope="module")
def rows(project, outcome, tmp_path_factory):
    """The rows of its dataset, in a folder with a blank in its name."""
    path = tmp_path_factory.mktemp("given") / "my rows.parquet"
    project.launch("datasets", "export", outcome["dataset"]["digest"], "--output", str(path)).checked()
    return path


@pytest.fixture(scope="module")
def predicted(project, policy_version, rows):
    path = rows.with_name("my predictions.parquet")
    told = project.launch("predict", policy_version, "--in", str(rows), "--out", str(path), "--json").checked().outcome
    return path, told


def test_a_file_of_the_callers_is_predicted_into_another(outcome, rows, predicted, model):
    path, told = predicted
    found = pq.read_table(path)
    assert found.num_rows == told["num_rows"] == pq.read_metadata(rows).num_rows
    assert set(found["policy_version"].to_pylist()) == {outcome["evaluation"]["policy_version"]}
    assert found.schema.metadata[b"modelyard.model"].decode() == told["model"] == model
    test = found.filter(np.array(found["split"].to_pylist()) == "test")
    error = test["prediction"].to_numpy() - test["MedHouseVal"].to_numpy()
    assert np.sqrt((error**2).mean()) == pytest.approx(outcome["evaluation"]["metrics"]["rmse"])


def test_predictions_go_to_stdout_too(project, model, rows, predicted, tmp_path):
    piped = tmp_path / "piped.csv"
    command = ["sh", "-c", TO_STDOUT, "sh", model, str(rows), str(piped)]
    run(command, project.environment, cwd=project.folder).checked()
    expected = pq.read_table(predicted[0])["prediction"].to_numpy()
    np.testing.assert_allclose(read_table(piped)["prediction"].to_numpy(), expected, rtol=1e-12)


def test_what_cannot_be_predicted_is_refused_and_leaves_nothing(project, model, rows, predicted):
    before = sorted(rows.parent.iterdir())
    out = rows.with_name("out.csv")
    for words, says in (
        (("--in", str(predicted[0]), "--out", str(out)), "missing: MedInc"),
        (("--in", str(rows), "--out", str(predicted[0])), "is there already"),
        (("--in", str(rows), "--out", str(out.with_suffix(".xlsx"))), "there is no format 'xlsx'"),
        (("--in", str(rows.with_name("absent.csv")), "--out", str(out)), "name one that exists with --in"),
    ):
        refused = project.launch("predict", model, *words)
        assert refused.code == 2
        assert says in refused.stderr
    assert sorted(rows.parent.iterdir()) == before


def test_model_files_come_into_the_callers_folder_as_recorded(project, model, tmp_path):
    folder = tmp_path / "my model"
    told = project.launch("download", model, str(folder), "--json").checked().outcome
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert {path: sha256(file.read_bytes()).hexdigest() for path, file in found.items()} == {
        file["path"]: file["sha256"] for file in told["files"]
    }
    refused = project.launch("download", model, str(folder))
    assert refused.code == 2
    assert "is there already and not empty" in refused.stderr


def test_a_model_file_that_was_swapped_in_the_bucket_is_refused(project, model_id, model, rows, tmp_path):
    root = project.s3("root")
    uri = project.mlflow().get_logged_model(model_id).artifact_location
    one = {"Bucket": project.bucket, "Key": f"{uri.removeprefix(f's3://{project.bucket}/')}/model.skops"}
    swapped = root.put_object(**one, Body=b"swapped")["VersionId"]
    try:
        answers = [
            project.launch("download", model, str(tmp_path / "model")),
            project.launch("predict", model, "--in", str(rows), "--out", str(tmp_path / "out.csv")),
        ]
    finally:
        root.delete_object(**one, VersionId=swapped)
    for answer in answers:
        assert answer.code == 1
        assert "model.skops" in answer.stderr
        assert "is not what was recorded" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_application_role_loads_from_this_machine_with_addresses_and_a_password(
    project, notebook, model_id, policy_version, tmp_path, monkeypatch
):
    import modelyard

    monkeypatch.setenv("MODELYARD_CACHE", str(tmp_path))
    addresses = project.addresses
    with modelyard.connect(dsn=addresses.dsn("application"), tracking_uri=addresses.tracking_uri) as session:
        model = modelyard.load(policy_version, session=session)
    assert model.source.mlflow_model_id == model_id
    assert model.features[0]["name"] == "MedInc"
