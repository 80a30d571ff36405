"""Deleting a dataset: its files, run and record go together, also when it was interrupted."""

import os
import pty
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import boto3
import pytest
from mlflow.store.artifact import s3_artifact_repo

from modelyard.errors import BadInput, RecordLost, RemovalRefused, ServiceFailed
from modelyard.pipeline.gc import collect_garbage
from modelyard.pipeline.removal import find_version, remove_dataset
from modelyard.pipeline.session import open_session
from modelyard.store import datasets
from modelyard.store.catalogue import resolve_dataset
from modelyard.store.connections import connect
from modelyard.store.removals import list_interrupted
from modelyard.tracking.deletion import delete_artifacts, measure_artifacts
from tests.conftest import free_port
from tests.integration.minio_server import run_minio
from tests.integration.removal.files import assert_gone, list_files
from tests.integration.trainings import environment_of


def test_a_deleted_dataset_leaves_its_record_and_nothing_else(session, log, name):
    dataset = log("a")
    removed = remove_dataset(session, dataset, reason=" it held names ")
    assert (removed.removal_reason, removed.version) == ("it held names", dataset.version)
    assert_gone(session, dataset)
    with pytest.raises(RecordLost, match=f"{name} 1.0.0 was deleted by {session.user} at .* UTC: it held names"):
        resolve_dataset(session.records, f"{name}@1.0.0")
    again = log("a")
    assert (again.digest, again.version) == (dataset.digest, "1.1.0")
    assert list_files(session, again.mlflow_run_id) >= {"metadata/X.parquet", "metadata/y.parquet"}


def test_a_dataset_in_use_is_refused_before_any_file_is_touched(session, trainer, log):
    dataset = log("a")
    log("b", parent_dataset_id=dataset.dataset_id)
    with pytest.raises(RemovalRefused, match=r"cannot be deleted, it is used by: dataset .* 1\.1\.0"):
        remove_dataset(session, dataset, reason="no use")
    assert len(list_files(session, dataset.mlflow_run_id)) == 3
    assert session.mlflow.get_run(dataset.mlflow_run_id).info.lifecycle_stage == "active"


def test_the_command_deletes_says_what_stays_and_can_be_given_again(session, command, log, name):
    dataset = log("a")
    words = ("datasets", "delete", f"{name}@1.0.0", "--reason", "no use")
    unasked = command(*words)
    assert unasked.code == 2
    assert "nobody is there to ask, and nothing was deleted; --yes deletes it unasked" in unasked.printed
    assert datasets.get_dataset(session.records, dataset_id=dataset.dataset_id).removed_at is None
    done = command(*words, "--yes", "--json")
    assert done.code == 0, done.printed
    assert "kept     its row and version, the runs and lineage that name it, its raw data" in done.printed
    told = done.outcome
    assert (told["removed_by"], told["removal_reason"], told["deleted_before"]) == (session.user, "no use", False)
    assert_gone(session, dataset)
    again = command(*words[:-1], "another", "--yes", "--json")
    assert again.code == 0, again.printed
    assert (again.outcome["removal_reason"], again.outcome["deleted_before"]) == ("no use", True)


def test_the_command_asks_on_a_terminal_and_no_is_no(session, own_stack, own_settings, log, name):
    dataset = log("a")
    command = [sys.executable, "-m", "modelyard", "datasets", "delete", f"{name}@1.0.0", "--reason", "no use"]
    for answer, code in ((b"n\n", 2), (b"y\n", 0)):
        ours, theirs = pty.openpty()
        environment = {**os.environ, **environment_of(own_stack, own_settings.mlflow_port)}
        process = subprocess.Popen(
            command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True
        )
        os.close(theirs)
        os.write(ours, answer)
        process.communicate(timeout=120)
        shown = os.read(ours, 10_000).decode()
        os.close(ours)
        assert f"Delete dataset {name}@1.0.0, 10 rows? [y/N]" in shown
        assert process.returncode == code, shown
        row = datasets.get_dataset(session.records, dataset_id=dataset.dataset_id)
        assert (row.removed_at is None) == (answer == b"n\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("{}", "--reason", "r"), "names no version; give NAME@VERSION, one of: {}@1.0.0"),
        (("{}@9.0.0", "--reason", "r"), "there is no dataset '{}@9.0.0'; did you mean '{}@1.0.0'?"),
        (("{}@1.0.0", "--reason", "  "), "say why in 1 to 1000 characters"),
    ],
)
def test_what_is_no_dataset_or_has_no_reason_is_refused(session, command, log, name, words, said):
    dataset = log("a")
    refused = command("datasets", "delete", *(word.format(name) for word in words), "--yes")
    assert refused.code == 2
    assert said.format(name, name) in refused.printed
    assert datasets.get_dataset(session.records, dataset_id=dataset.dataset_id).removed_at is None


@pytest.mark.parametrize(
    "at",
    [
        "before modelyard.pipeline.removal:delete_artifacts",
        "before modelyard.pipeline.removal:delete_run",
        "before modelyard.store.removals:note_files_deleted",
    ],
)
@pytest.mark.parametrize("finish", ["the same command", "gc"])
def test_a_deletion_that_was_killed_anywhere_is_gone_on_with(session, plan, command, log, name, at, finish):
    dataset = log("a")
    words = ("datasets", "delete", f"{name}@1.0.0", "--reason", "no use", "--yes")
    assert command(*words, at=at).code < 0
    with pytest.raises(RecordLost):
        resolve_dataset(session.records, name)
    [left] = plan(name, unused_for=timedelta(days=30))
    assert (left.kind, left.why) == ("files", "its deletion was interrupted")
    done = command(*words) if finish == "the same command" else command("gc", "--yes")
    assert done.code == 0, done.printed
    assert_gone(session, dataset)
    assert plan(name, nb_kept=0) == []


def test_a_run_that_mlflow_has_forgotten_does_not_stop_a_deletion(session, log):
    dataset = log("a", mlflow_run_id="0" * 32)
    removed = remove_dataset(session, dataset, reason="no use")
    assert removed.removed_at is not None
    assert dataset.dataset_id not in [stored.dataset_id for stored in list_interrupted(session.records)]


def test_raw_data_stays_whatever_is_deleted(session, own_stack, command, log, name):
    raw = Path(own_stack.raw_uri.removeprefix("file://")) / ("0" * 64) / "houses.csv"
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.write_text("rooms,price\n")
    log("a")
    done = command("gc", "--older-than", "0h", "--keep", "0", "--yes")
    assert done.code == 0, done.printed
    assert f"deleted  dataset {name}@1.0.0" in done.printed
    assert raw.read_text() == "rooms,price\n"


def test_only_a_person_who_may_train_deletes_and_a_plan_is_everybodys(
    session, plan, store, own_stack, trainer, log, name
):
    dataset = log("a")
    with connect(own_stack.dsn(own_stack.person)) as owner:
        assert owner.execute("SELECT pg_has_role('modelyard_trainer', 'MEMBER') AS may").fetchone()["may"]
    stranger = open_session(own_stack, dsn=own_stack.dsn("evaluator"), application_name="tests", user="evaluator")
    planned = plan(name, nb_kept=0)
    with stranger as refused_session:
        for work in (
            lambda: remove_dataset(refused_session, dataset, reason="no use"),
            lambda: collect_garbage(refused_session, store, planned),
        ):
            with pytest.raises(RemovalRefused, match="evaluator may not delete anything"):
                work()
    assert len(list_files(session, dataset.mlflow_run_id)) == 3


def test_a_deletion_while_mlflow_is_away_says_so_and_goes_on_later(session, own_settings, log, monkeypatch):
    dataset = log("a")
    with monkeypatch.context() as patch:
        away = f"mlflow-artifacts://127.0.0.1:{free_port()}/0/run/artifacts"
        patch.setattr("modelyard.pipeline.removal.delete_artifacts", lambda _: delete_artifacts(away))
        with pytest.raises(ServiceFailed, match="cannot be listed or deleted"):
            remove_dataset(session, dataset, reason="no use")
    assert remove_dataset(session, find_version(session, f"{dataset.name}@1.0.0"), reason="no use").removed_at
    assert_gone(session, dataset)


def test_a_name_without_a_version_never_means_the_newest(session, log, name):
    log("a")
    for text in (name, f"{name}@", "@1.0.0", ""):
        with pytest.raises(BadInput):
            find_version(session, text)


@pytest.fixture(scope="module")
def minio():
    with run_minio() as minio:
        minio.prepare()
        yield minio


def test_in_a_bucket_only_the_keys_of_gc_delete_and_a_refusal_is_no_silence(minio, monkeypatch, tmp_path):
    uri, neighbour = "s3://modelyard/runs/0/gone/artifacts", "runs/0/gone/artifacts-of-another/X.parquet"
    root = minio.connect(minio.root)
    for key in (*(f"runs/0/gone/artifacts/metadata/{n}.parquet" for n in range(3)), neighbour):
        root.put_object(Bucket="modelyard", Key=key, Body=b"x" * 10)

    def act_as(user):
        minio.use_keys(monkeypatch, tmp_path, user)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers whose keys it has read
        s3_artifact_repo._cached_get_s3_client.cache_clear()

    for user in ("client", "trainer", "notebook"):
        act_as(user)
        with pytest.raises(ServiceFailed, match=r"3 files of .* could not be deleted, metadata/0.parquet is the first"):
            delete_artifacts(uri)
        assert measure_artifacts(uri) == 30
    act_as("gc")
    delete_artifacts(uri)
    assert measure_artifacts(uri) is None
    delete_artifacts(uri)
    versions = root.list_object_versions(Bucket="modelyard", Prefix="runs/0/gone/artifacts/")
    assert len(versions["Versions"]) == len(versions["DeleteMarkers"]) == 3, "they can be had back"
    assert root.get_object(Bucket="modelyard", Key=neighbour)["Body"].read() == b"x" * 10
    s3_artifact_repo._cached_get_s3_client.cache_clear()
