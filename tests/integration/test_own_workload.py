"""A workload in a file of somebody's own, on the embedded stack: the page about it, followed literally."""

import csv
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from mlflow import MlflowClient
from psycopg.rows import dict_row

from modelyard.store.connections import connect
from modelyard.store.promotions import submit_evaluation
from tests.integration.trainings import environment_of, run_command
from tests.own_workload_page import list_blocks


@pytest.fixture(scope="module")
def environment(stack, stack_settings):
    own = environment_of(stack, stack_settings.mlflow_port) | {"MODELYARD_STACK": "embedded", "OMP_NUM_THREADS": "1"}
    return own | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "HOME": os.environ["HOME"]}


@pytest.fixture(scope="module")
def followed(environment, tmp_path_factory):
    """The page was followed from its first command to its last: the folder, what was printed, and the files' sha256."""
    folder, said, digests = tmp_path_factory.mktemp("page"), [], []
    for block in list_blocks():
        done = subprocess.run(
            ["sh", "-ec", block], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout)
        file = folder / "flat_rents.py"
        if file.exists():
            shutil.copy(file, folder / f"{len(said)}.txt")
            digests.append(sha256(file.read_bytes()).hexdigest())
    return folder, said, list(dict.fromkeys(digests))


@pytest.fixture
def rows(stack):
    def query(sql, *values):
        with psycopg.connect(stack.dsn(stack.person), row_factory=dict_row) as connection:
            return connection.execute(sql, values).fetchall()

    return query


def test_the_page_leads_from_a_new_file_to_answers_of_a_promoted_model(followed):
    folder, said, _ = followed
    assert "dataset  flat_rents 1.0.0: 400 rows" in said[1]
    assert "flat_rents 1.0.0: the newest" in said[2] or "dataset  flat_rents 1.0.0" in said[2]
    assert "flat_rents_model version 1" in said[2] and "PASSED" in said[2]
    assert not any("code has changed since this was asked for" in text for text in said)
    assert "flat_rents_model version 2" in said[3] and "PASSED" in said[3]
    assert "promoted version 2" in said[4]
    with (folder / "rents.csv").open() as file:
        small, large = (float(row["prediction"]) for row in csv.DictReader(file))
    assert 300 < small < large < 2000


def test_a_model_is_made_again_after_its_file_is_gone(followed):
    folder, said, _ = followed
    assert not (folder / "flat_rents.py").exists()
    assert "EQUAL: all 80 test rows are predicted as then" in said[5]


def test_each_version_records_the_file_that_made_it_and_the_run_and_the_store_have_it(followed, rows, stack):
    _, _, (first, second) = followed
    versions = rows("SELECT * FROM exp.model_versions WHERE mlflow_model_name = 'flat_rents_model' ORDER BY created_at")
    assert [version["code_version"]["workload_file"] for version in versions] == [first, second]
    client = MlflowClient(stack.tracking_uri)
    for version, digest in zip(versions, (first, second), strict=True):
        run = client.get_run(version["mlflow_run_id"])
        assert run.data.tags["workload_file"] == digest
        path = client.download_artifacts(run.info.run_id, "workload/flat_rents.py")
        assert sha256(Path(path).read_bytes()).hexdigest() == digest
        stored = Path(stack.home, "raw", digest, "flat_rents.py")
        assert sha256(stored.read_bytes()).hexdigest() == digest
    [dataset] = rows("SELECT code_version FROM exp.datasets WHERE name = 'flat_rents'")
    assert dataset["code_version"]["workload_file"] == first
    jobs = rows("SELECT kind, arguments FROM exp.jobs WHERE arguments ->> 'workload' = 'flat_rents'")
    assert {job["kind"] for job in jobs} == {"process", "train", "evaluate", "reproduce"}
    assert {job["arguments"]["workload_file"] for job in jobs} == {first, second}


def test_a_job_can_be_followed_and_evaluated_again_without_the_file_and_without_running_it(
    followed, rows, environment, tmp_path
):
    [job] = rows("SELECT job_id FROM exp.jobs WHERE kind = 'reproduce' AND arguments ->> 'workload' = 'flat_rents'")
    shown = run_command(["jobs", "follow", str(job["job_id"])], environment=environment, folder=tmp_path)
    assert shown.code == 0 and "test_rmse" in shown.printed, shown.printed
    again = run_command(["evaluate", "flat_rents_model/1", "--json"], environment=environment, folder=tmp_path)
    assert again.code == 0 and again.outcome["evaluation"]["passed"], again.printed


def test_who_asks_for_an_evaluation_names_no_code(followed, rows, environment, stack, tmp_path):
    [job, *_] = rows(
        "SELECT arguments FROM exp.jobs WHERE kind = 'evaluate' AND arguments ->> 'workload' = 'flat_rents'"
    )
    evil = f"open({str(tmp_path / 'ran')!r}, 'w')\n".encode()
    path = Path(stack.home, "raw", sha256(evil).hexdigest(), "flat_rents.py")
    path.parent.mkdir()
    path.write_bytes(evil)
    with connect(stack.dsn(stack.person)) as connection:
        asked = submit_evaluation(connection, arguments=job["arguments"] | {"workload_file": path.parent.name})
    ended = run_command(["jobs", "follow", str(asked)], environment=environment, folder=tmp_path)
    assert ended.code == 0 and "PASSED" in ended.printed, ended.printed
    assert not (tmp_path / "ran").exists()


def test_a_run_is_registered_from_the_file_on_record_and_no_tag_makes_another_file_run(
    followed, rows, environment, stack, tmp_path
):
    [run_id, *_] = (
        row["mlflow_run_id"]
        for row in rows("SELECT mlflow_run_id FROM exp.model_versions WHERE mlflow_model_name = 'flat_rents_model'")
    )
    met = run_command(["contract", "check", run_id], environment=environment, folder=tmp_path)
    assert met.code == 0 and "MET" in met.printed, met.printed
    client = MlflowClient(stack.tracking_uri)
    run = client.create_run(client.get_run(run_id).info.experiment_id)
    digest = sha256(b"raise SystemExit").hexdigest()
    for name, value in {"workload": "flat_rents", "workload_file": digest}.items():
        client.set_tag(run.info.run_id, name, value)
    refused = run_command(["contract", "check", run.info.run_id], environment=environment, folder=tmp_path)
    assert refused.code == 2 and "it is not run" in refused.printed, refused.printed
    client.delete_run(run.info.run_id)
