"""Drift on a stack: measured by the evaluator, on record, shown in MLflow, and an exit code that can be relied on."""

import csv
import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from modelyard.pipeline.code_version import find_code_version
from modelyard.pipeline.drift import measure_drift
from modelyard.pipeline.drift_request import DriftRequest
from modelyard.pipeline.session import open_session
from modelyard.store.catalogue import resolve_dataset
from modelyard.workloads.registry import get_workload
from tests.integration.test_bad_input import refuse  # noqa: F401
from tests.integration.trainings import environment_of, run_command, workers_asleep

NAME = "california_housing"


@pytest.fixture(scope="module")
def modelyard(stack, stack_settings, tmp_path_factory):
    """Run a command on the stack."""
    settings = environment_of(stack, stack_settings.mlflow_port)

    def run(*words, **fault):
        return run_command([*words], environment=settings, folder=tmp_path_factory.mktemp("drift"), **fault)

    return run


@pytest.fixture(scope="module")
def raw_file(tmp_path_factory):
    [sample] = get_workload(NAME).sample(tmp_path_factory.mktemp("raw"))
    return sample.rename(sample.with_name("houses of 1990.csv"))


@pytest.fixture(scope="module")
def dataset(modelyard, raw_file):
    """The dataset that is the reference."""
    ended = modelyard("process", NAME, "--data", str(raw_file), "--json")
    assert ended.code == 0, ended.printed
    return ended.outcome["dataset"]


@pytest.fixture(scope="module")
def richer_file(raw_file):
    """The same block groups, each with 1.5 times the income."""
    rows = list(csv.DictReader(raw_file.read_text().splitlines()))
    path = raw_file.with_name("richer.csv")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"median_income": f"{float(row['median_income']) * 1.5:.4f}"} for row in rows)
    return path


@pytest.fixture(scope="module")
def shifted(modelyard, dataset, richer_file):
    ended = modelyard("drift", NAME, "--data", str(richer_file), "--reference", dataset["digest"], "--json")
    assert ended.code == 3, ended.printed
    return ended


@pytest.fixture
def client(stack):
    return MlflowClient(stack.tracking_uri)


def test_the_column_that_moved_is_told_first_and_alone(shifted):
    result = shifted.outcome["drift"]
    assert result["drifted"]
    assert [column["name"] for column in result["columns"] if column["reasons"]] == ["X.MedInc"]
    assert result["columns"][0]["name"] == "X.MedInc" and result["columns"][0]["psi"] > 0.2
    assert "DRIFTED: 1 of 9 columns" in shifted.printed and result["run_url"] in shifted.printed


def test_a_report_is_on_record_as_the_evaluators(shifted, dataset, rows):
    (row,) = rows(
        "SELECT * FROM exp.drift_reports WHERE drift_report_id = %s", shifted.outcome["drift"]["drift_report_id"]
    )
    assert (str(row["dataset_id"]), row["current_dataset_id"]) == (dataset["dataset_id"], None)
    assert row["current_raw_digest"] == shifted.outcome["raw"]["digest"]
    assert (row["created_by"], row["drifted"]) == ("evaluator", True)
    assert row["columns"] == json.loads(json.dumps(shifted.outcome["drift"]["columns"]))
    assert row["limits"] == {"psi": 0.2, "ks": 0.1, "p_value": None, "ignored": []}
    assert str(row["job_id"]) == shifted.outcome["job"]["job_id"]
    (use,) = rows("SELECT * FROM exp.dataset_uses WHERE mlflow_run_id = %s", row["mlflow_run_id"])
    assert (str(use["dataset_id"]), use["context"], use["run_type"]) == (
        dataset["dataset_id"],
        "reference",
        "evaluation",
    )
    assert rows("SELECT FROM exp.datasets WHERE digest = %s", row["current_digest"]) == [], "nothing of it is logged"


def test_mlflow_shows_the_report(shifted, dataset, client, tmp_path):
    run = client.get_run(shifted.outcome["drift"]["run_id"])
    assert run.info.status == "FINISHED"
    tags = run.data.tags
    assert (tags["run_type"], tags["evaluation"], tags["drifted"]) == ("evaluation", "drift", "true")
    assert run.data.metrics["psi_X.MedInc"] == shifted.outcome["drift"]["columns"][0]["psi"]
    assert run.data.metrics["nb_drifted"] == 1 and "ks_y.MedHouseVal" in run.data.metrics
    (shown,) = run.inputs.dataset_inputs
    assert shown.dataset.digest == dataset["digest"][:32]
    assert {tag.key: tag.value for tag in shown.tags}["mlflow.data.context"] == "reference"
    page = Path(client.download_artifacts(run.info.run_id, "drift/report.html", str(tmp_path))).read_text()
    assert "1 of 9 drifted" in page and "richer.csv" in page and page.count("<svg") == 9
    text = Path(client.download_artifacts(run.info.run_id, "drift/drift.json", str(tmp_path))).read_text()
    assert json.loads(text)["columns"] == shifted.outcome["drift"]["columns"]


def test_a_dataset_has_not_drifted_from_itself(modelyard, dataset, client, rows):
    named = f"{dataset['name']}@{dataset['version']}"
    ended = modelyard("drift", NAME, "--dataset", named, "--reference", named, "--inline", "--json")
    assert ended.code == 0, ended.printed
    result = ended.outcome["drift"]
    assert not result["drifted"] and not any(column["reasons"] for column in result["columns"])
    assert "no column of 9 has drifted" in ended.printed
    (row,) = rows("SELECT * FROM exp.drift_reports WHERE mlflow_run_id = %s", result["run_id"])
    assert row["dataset_id"] == row["current_dataset_id"]
    assert row["current_digest"] == dataset["digest"]
    used = rows("SELECT context FROM exp.dataset_uses WHERE mlflow_run_id = %s ORDER BY context", result["run_id"])
    assert [use["context"] for use in used] == ["current", "reference"]
    assert client.get_run(result["run_id"]).info.status == "FINISHED"


def test_drift_is_measured_from_python_without_a_job(stack, dataset, rows, client):
    with open_session(stack, dsn=stack.dsn("evaluator"), application_name="test", user="ana") as session:
        logged = resolve_dataset(session.records, dataset["digest"])
        workload = get_workload(NAME)
        request = DriftRequest(workload=workload, code=find_code_version(workload), reference=logged, current=logged)
        found = [measure_drift(session, request, attempt=None, report=lambda *_: None) for _ in range(2)]
    assert [one.drifted for one in found] == [False, False]
    reports = rows("SELECT * FROM exp.drift_reports WHERE job_id IS NULL AND dataset_id = %s", logged.dataset_id)
    assert {str(row["drift_report_id"]) for row in reports} == {one.drift_report_id for one in found}
    assert len(reports) == 2, "without a job each call is a report of its own"
    assert {client.get_run(one.run_id).info.status for one in found} == {"FINISHED"}


def test_what_cannot_be_computed_is_drift_and_no_failure_is_a_verdict(modelyard, dataset, raw_file, tmp_path):
    lines = raw_file.read_text().splitlines()
    places = lines[0].split(",").index("total_bedrooms")

    def blank(line):
        return ",".join("" if place == places else cell for place, cell in enumerate(line.split(",")))

    path = tmp_path / "no bedrooms.csv"
    path.write_text("\n".join([lines[0], *map(blank, lines[1:])]) + "\n")
    ended = modelyard("drift", NAME, "--data", str(path), "--reference", dataset["digest"], "--json")
    assert ended.code == 3, ended.printed
    [column] = [one for one in ended.outcome["drift"]["columns"] if one["reasons"]]
    assert column["name"] == "X.AveBedrms" and "no finite value in the current rows" in column["reasons"][0]
    assert column["statistic"] is None and ended.outcome["drift"]["columns"][0] == column


def test_current_data_is_processed_as_the_reference_was(modelyard, raw_file, richer_file, client):
    made = modelyard("process", NAME, "--data", str(raw_file), "--set", "features=engineered", "--json")
    reference = made.outcome["dataset"]["digest"]
    ended = modelyard("drift", NAME, "--data", str(raw_file), "--reference", reference, "--inline", "--json")
    assert ended.code == 0, ended.printed
    assert len(ended.outcome["drift"]["columns"]) == 19
    words = ["--reference", reference, "--set", "features=basic", "--inline", "--json"]
    ended = modelyard("drift", NAME, "--data", str(raw_file), *words)
    assert ended.code == 3, ended.printed
    lacking = [column for column in ended.outcome["drift"]["columns"] if column["reasons"]]
    assert len(lacking) == 10 and {column["reasons"][0] for column in lacking} == {"the current rows lack this column"}


def test_a_reference_that_was_changed_is_a_failure_and_no_verdict(modelyard, raw_file, stack, rows, client, tmp_path):
    made = modelyard("process", NAME, "--data", str(raw_file), "--set", "seed=99", "--json")
    dataset = made.outcome["dataset"]
    (row,) = rows("SELECT mlflow_run_id FROM exp.datasets WHERE dataset_id = %s", dataset["dataset_id"])
    [stored] = stack.home.rglob(f"{row['mlflow_run_id']}/artifacts/metadata/X.parquet")
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)
    ended = modelyard("drift", NAME, "--data", str(raw_file), "--reference", dataset["digest"], "--inline")
    assert ended.code == 1, ended.printed
    assert "is not what was recorded" in ended.printed and "drift failed" in ended.printed
    assert rows("SELECT FROM exp.drift_reports WHERE dataset_id = %s", dataset["dataset_id"]) == []
    [experiment] = client.search_experiments(filter_string="name = 'california_housing_price'")
    runs = client.search_runs([experiment.experiment_id], "tags.evaluation = 'drift' AND attributes.status = 'FAILED'")
    assert runs[0].data.tags["dataset_digest"] == dataset["digest"]


@pytest.mark.parametrize(
    "point",
    [
        "before modelyard.pipeline.drift:record_drift_report",
        "after modelyard.pipeline.drift:_measure",
        "before modelyard.store.attempts:finish_job",
    ],
)
def test_a_report_that_was_killed_and_asked_for_again_is_one(modelyard, dataset, stack, rows, client, tmp_path, point):
    made = modelyard("process", NAME, "--data", str(made_again(tmp_path, point)), "--json").outcome["dataset"]
    words = ["drift", NAME, "--dataset", made["digest"], "--reference", dataset["digest"], "--inline", "--json"]
    with workers_asleep(stack):
        assert modelyard(*words, at=point).code < 0
        ended = modelyard(*words)
    assert ended.code in (0, 3), ended.printed
    reports = rows("SELECT * FROM exp.drift_reports WHERE current_dataset_id = %s", made["dataset_id"])
    assert [str(row["drift_report_id"]) for row in reports] == [ended.outcome["drift"]["drift_report_id"]]
    assert client.get_run(reports[0]["mlflow_run_id"]).info.status == "FINISHED"


def made_again(folder, point):
    """Other raw data for each case."""
    return get_workload(NAME).sample(folder, seed=len(point))[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "either raw data with --data, or --dataset NAME"),
        (["--data", "x.csv", "--dataset", "y"], "either raw data with --data, or --dataset NAME"),
        (["--dataset", "y", "--set", "features=basic"], "with --dataset nothing is"),
        (["--data", "/absent/new.csv"], "/absent/new.csv"),
        (["--data", ""], "--data is empty"),
        (["--data", "x.csv", "--set", "max_iter=3"], "there is no parameter of processing 'max_iter'"),
        (["--dataset", "y", "--inline", "--no-wait"], "give one of them"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_started(refuse, words, said):  # noqa: F811
    assert said in refuse(NAME, *words, command="drift")


def test_a_dataset_that_is_not_there_is_named(modelyard, dataset, raw_file):
    ended = modelyard("drift", NAME, "--dataset", "california_house")
    assert ended.code == 2 and "there is no dataset 'california_house'" in ended.printed
    ended = modelyard("drift", NAME, "--dataset", "")
    assert ended.code == 2 and "there is no dataset ''" in ended.printed
    ended = modelyard("drift", NAME, "--data", str(raw_file), "--reference", "california_housing@77")
    assert ended.code == 2 and "california_housing@77" in ended.printed


def test_raw_data_that_cannot_be_read_is_refused_before_it_is_stored(modelyard, dataset, stack, tmp_path):
    path = tmp_path / "broken.csv"
    path.write_text("a,b\n1,2\n")
    ended = modelyard("drift", NAME, "--data", str(path), "--reference", dataset["digest"])
    assert ended.code == 2 and str(path) in ended.printed
    assert list(stack.home.glob("raw/*/broken.csv")) == []
