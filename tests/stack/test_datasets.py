"""Datasets on the Compose stack: from files in the bucket to a model, what is told of both, and the way back."""

import json
from hashlib import sha256

import pyarrow.parquet as pq
import pytest

from modelyard.data.digest import digest_table
from tests.stack.project import PERSON, run

PROCESS = ("process", "california_housing", "--json")
TRAIN = ("train", "california_housing", "--set", "max_iter=50", "--json")
DRIFT = ("drift", "california_housing", "--json")
PYTHON = """
import json
import pandas as pd
import modelyard

frame = pd.DataFrame({"rooms": range(30), "price": range(30), "split": ["train", "validation", "test"] * 10})
with modelyard.connect() as session:
    _, logged = modelyard.log_dataset(session, frame, name="houses by hand", targets=["price"])
    _, again = modelyard.log_dataset(session, frame, name="houses by hand", targets=["price"])
    tables, loaded = modelyard.load_dataset(session, "houses by hand@1.0.0")
    outcome = modelyard.train(session, "california_housing", dataset="DATASET", model_type="ridge")
    model = modelyard.load_model(session, "california_housing_model/" + outcome["registration"]["version"])
    houses, _ = modelyard.load_dataset(session, "DATASET")
    predicted = model.predict(houses.X.to_pandas())
print()
print(json.dumps({
    "digests": [row.digest for row in (logged, again, loaded)], "rows": tables.y.num_rows,
    "dataset_id": outcome["dataset"]["dataset_id"], "predicted": len(predicted),
}))
"""
EXPORT = 'sh infra/launch.sh datasets export "$1" --full-names > "$2"'


@pytest.fixture(scope="module")
def folder(write_houses, tmp_path_factory):
    """Two files of one layout, in a folder with a blank in its name."""
    folder = tmp_path_factory.mktemp("dropped") / "new houses"
    write_houses(folder / "april.csv", 0, 1000)
    write_houses(folder / "may.csv", 1000, 1900)
    return folder


@pytest.fixture(scope="module")
def first(outcome):
    """The dataset of the first training, of the whole sample."""
    return outcome["dataset"]


@pytest.fixture(scope="module")
def dropped(project, first, folder):
    """The dataset of those files, after a person has put them into the bucket; the newest from then on."""
    for file in folder.iterdir():
        project.s3("notebook").upload_file(str(file), project.bucket, f"incoming/houses/{file.name}")
    address = f"s3://{project.bucket}/incoming/houses"
    return project.launch(*PROCESS, "--data", address).checked().outcome


@pytest.fixture(scope="module")
def newest(project, dropped):
    """A training that was told of no data."""
    return project.launch(*TRAIN).checked()


def call(dataset):
    return f"{dataset['name']}@{dataset['version']}"


def count_jobs(project):
    return project.rows("SELECT count(*) FROM exp.jobs")


def read_artifact(project, run_id, path):
    """An artifact of a run, with the keys of a person."""
    uri = project.mlflow().get_run(run_id).info.artifact_uri
    key = f"{uri.removeprefix(f's3://{project.bucket}/')}/{path}"
    return project.s3("notebook").get_object(Bucket=project.bucket, Key=key)["Body"].read()


def test_files_in_the_bucket_and_in_a_folder_are_the_same_dataset(project, dropped, folder):
    recorded = {file["name"]: file["sha256"] for file in dropped["raw"]["files"]}
    assert recorded == {file.name: sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    assert dropped["dataset"]["num_rows"] == 1900
    again = project.launch(*PROCESS, "--data", str(folder)).checked().outcome["dataset"]
    assert again == dropped["dataset"] | {"reused": True}


def test_what_the_command_line_may_not_read_in_the_bucket_is_refused(project, dropped):
    before = count_jobs(project)
    refused = project.launch(*PROCESS, "--data", f"s3://{project.bucket}/raw/")
    assert refused.code == 2
    assert f"refused s3://{project.bucket}/raw/" in refused.stderr
    assert "reads incoming/ of the stack's own bucket and nothing else" in refused.stderr
    assert count_jobs(project) == before


def test_a_training_that_is_told_of_no_data_takes_the_newest_dataset_and_says_so(project, dropped, newest):
    assert f"dataset  {dropped['dataset']['name']} {dropped['dataset']['version']}: the newest" in newest.stderr
    assert newest.outcome["dataset"]["dataset_id"] == dropped["dataset"]["dataset_id"]
    params = project.mlflow().get_run(newest.outcome["training"]["run_id"]).data.params
    assert {name: params[name] for name in ("used_mlflow_dataset", "data_source", "dataset_version")} == {
        "used_mlflow_dataset": "True",
        "data_source": "mlflow_dataset",
        "dataset_version": dropped["dataset"]["version"],
    }


@pytest.mark.parametrize("how", ["--dataset", "--use-dataset-from-run"])
def test_a_training_takes_the_dataset_that_is_named(project, first, newest, how):
    [run_id] = project.rows("SELECT mlflow_run_id FROM exp.datasets WHERE dataset_id = %s", first["dataset_id"])
    named = call(first) if how == "--dataset" else run_id["mlflow_run_id"]
    trained = project.launch(*TRAIN, how, named, "--strict").checked().outcome
    assert trained["dataset"]["digest"] == first["digest"]


def test_a_strict_training_that_would_read_a_file_is_refused(project, newest):
    before = count_jobs(project)
    refused = project.launch("train", "california_housing", "--strict", "--set", "test_share=0.3")
    assert refused.code == 2
    assert "--strict" in refused.stderr
    assert count_jobs(project) == before


def test_an_exported_file_has_the_datasets_digest(project, first, tmp_path):
    piped, named = tmp_path / "piped.parquet", tmp_path / "my houses.parquet"
    run(["sh", "-c", EXPORT, "sh", call(first), str(piped)], project.environment, cwd=project.folder).checked()
    words = ("datasets", "export", call(first), "--full-names", "--output", str(named))
    project.launch(*words).checked()
    assert piped.read_bytes() == named.read_bytes()
    assert digest_table(pq.read_table(named)) == first["digest"]
    refused = project.launch(*words)
    assert refused.code == 2
    assert "is there already" in refused.stderr


def test_the_catalogue_lists_shows_and_compares(project, first, dropped, newest):
    listed = project.launch("datasets", "list", "--json").checked().outcome
    counts = {call(one): (one["num_rows"], one["nb_model_versions"] > 0) for one in listed}
    assert counts[call(first)] == (2000, True)
    assert counts[call(dropped["dataset"])] == (1900, True)
    shown = project.launch("datasets", "show", first["digest"][:12]).checked().stdout
    assert first["digest"] in shown
    found = project.launch("datasets", "diff", call(first), call(dropped["dataset"]), "--json").checked().outcome
    [rows] = [change for change in found["rows"] if change["name"] == "all"]
    assert (rows["first"], rows["second"]) == (2000, 1900)


def test_a_byte_that_was_flipped_in_the_bucket_is_found_and_named(project, dropped):
    dataset, root = dropped["dataset"], project.s3("root")
    [row] = project.rows("SELECT mlflow_run_id FROM exp.datasets WHERE dataset_id = %s", dataset["dataset_id"])
    uri = project.mlflow().get_run(row["mlflow_run_id"]).info.artifact_uri
    one = {"Bucket": project.bucket, "Key": f"{uri.removeprefix(f's3://{project.bucket}/')}/metadata/X.parquet"}
    content = bytearray(root.get_object(**one)["Body"].read())
    project.launch("datasets", "verify", call(dataset)).checked()
    content[len(content) // 2] ^= 1
    swapped = root.put_object(**one, Body=bytes(content))["VersionId"]
    try:
        told = project.launch("datasets", "verify", call(dataset))
    finally:
        root.delete_object(**one, VersionId=swapped)
    assert told.code == 1
    assert f"MISMATCH {dataset['name']} {dataset['version']}" in told.stdout
    assert f"found    sha256 {sha256(content).hexdigest()}" in told.stdout
    project.launch("datasets", "verify", call(dataset)).checked()


def test_drift_is_found_by_the_evaluator_and_recorded(project, first, write_houses, tmp_path):
    richer = write_houses(tmp_path / "richer.csv", 0, 2000, income=1.7)
    ended = project.launch(*DRIFT, "--data", str(richer), "--reference", call(first))
    assert ended.code == 3
    found = ended.outcome["drift"]
    query = "SELECT * FROM exp.drift_reports WHERE drift_report_id = %s"
    [row] = project.rows(query, found["drift_report_id"])
    assert (row["created_by"], row["drifted"], row["current_rows"]) == ("evaluator", True, 2000)
    assert str(row["dataset_id"]) == first["dataset_id"]
    assert [column["name"] for column in row["columns"] if column["reasons"]] == ["X.MedInc"]
    assert b"MedInc" in read_artifact(project, row["mlflow_run_id"], "drift/report.html")
    assert json.loads(read_artifact(project, row["mlflow_run_id"], "drift/drift.json"))["drifted"] is True


def test_without_drift_the_exit_code_says_so(project, first, dropped):
    same = project.launch(*DRIFT, "--dataset", call(dropped["dataset"]), "--reference", call(first)).checked()
    assert same.outcome["drift"]["drifted"] is False


def test_a_model_trained_anew_in_the_same_image_is_equal(project, newest):
    registered = newest.outcome["registration"]
    model = f"{registered['model_name']}/{registered['version']}"
    ended = project.launch("reproduce", model, "--json").checked()
    found = ended.outcome["reproduction"]
    assert (found["equal"], found["differing_rows"], found["differences"]) == (True, 0, [])
    assert found["digest_then"] == found["digest_now"]
    assert "verdict  EQUAL: all 380 test rows" in ended.stderr
    [row] = project.rows("SELECT * FROM exp.reproductions WHERE mlflow_run_id = %s", found["run_id"])
    assert (row["created_by"], row["equal_predictions"]) == ("trainer", True)
    assert row["mlflow_model_version"] == registered["version"]


def test_lineage_leads_from_a_model_to_the_raw_files_and_back(project, dropped, newest):
    registered = newest.outcome["registration"]
    model = f"{registered['model_name']}/{registered['version']}"
    back = project.launch("lineage", model, "--json").checked().outcome
    raw = {node["facts"]["sha256"] for node in back["nodes"] if node["kind"] == "raw file"}
    assert raw == {file["sha256"] for file in dropped["raw"]["files"]}
    forth = project.launch("lineage", dropped["dataset"]["digest"]).checked().stdout
    assert f"model version {model}" in forth
    assert "april.csv" in forth
    drawn = project.launch("lineage", model, "--mermaid").checked().stdout
    assert drawn.startswith("flowchart LR\n")
    assert model in drawn


def test_what_was_logged_was_logged_by_the_trainer_for_the_person(project, dropped):
    [row] = project.rows("SELECT * FROM exp.datasets WHERE dataset_id = %s", dropped["dataset"]["dataset_id"])
    [job] = project.rows("SELECT * FROM exp.jobs WHERE job_id = %s", row["job_id"])
    assert (row["created_by"], job["created_by"]) == ("trainer", PERSON)


def test_python_in_the_trainers_container_logs_loads_trains_and_predicts(project, first):
    ended = project.execute("trainer", "python", "-", text=PYTHON.replace("DATASET", call(first))).checked()
    told = json.loads(ended.stdout.splitlines()[-1])
    assert len(set(told.pop("digests"))) == 1
    assert told == {"rows": 30, "dataset_id": first["dataset_id"], "predicted": first["num_rows"]}
    assert project.rows("SELECT created_by, version FROM exp.datasets WHERE name = 'houses by hand'") == [
        {"created_by": "trainer", "version": "1.0.0"}
    ]
