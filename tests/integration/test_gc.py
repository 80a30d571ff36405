"""Deleting on a real stack: files, runs and records go together, also when it was interrupted."""

import json
import os
import pty
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from mlflow import MlflowException
from mlflow.store.artifact import s3_artifact_repo
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from modelyard.data.hashes import hash_folder
from modelyard.errors import BadInput, RecordLost, RemovalRefused, ServiceFailed
from modelyard.pipeline.gc import collect_garbage, plan_gc
from modelyard.pipeline.removal import find_version, remove_dataset
from modelyard.pipeline.session import DATASETS_EXPERIMENT, open_session
from modelyard.settings import Settings
from modelyard.stack import embedded
from modelyard.store import datasets, jobs
from modelyard.store.attempts import begin_attempt, finish_job
from modelyard.store.catalogue import resolve_dataset
from modelyard.store.connections import connect
from modelyard.store.removals import list_interrupted
from modelyard.tracking.deletion import delete_artifacts, measure_artifacts, name_for_gc
from modelyard.tracking.runs import ATTEMPT_TAG, JOB_TAG, find_run
from modelyard.tracking.server import get_or_create_experiment
from tests.conftest import free_port, open_folder
from tests.integration.minio_server import run_minio
from tests.integration.registry import Registry, open_registries
from tests.integration.trainings import environment_of, run_command

NOW = timedelta(0)


@pytest.fixture(scope="module")
def own_settings():
    with open_folder() as folder:
        yield Settings(_env_file=None, home=folder / "home", mlflow_port=free_port(), data_dir=folder / "data")


@pytest.fixture(scope="module")
def own_stack(own_settings):
    """A stack of these tests' own: what nothing refers to in another one is somebody else's."""
    try:
        yield embedded.up(own_settings, print)
    finally:
        embedded.down(own_settings, print)


@pytest.fixture
def session(own_stack):
    """What a person works with."""
    with open_session(
        own_stack, dsn=own_stack.dsn(own_stack.person), application_name="tests", user=own_stack.person
    ) as session:
        yield session


@pytest.fixture(scope="module")
def store(own_stack, own_settings):
    """MLflow's own tables and ``mlflow gc``."""
    return embedded.get_mlflow_store(own_settings)


@pytest.fixture
def plan(session, store):
    """What a plan says of the datasets of one name."""

    def plan(name, **changes):
        found = plan_gc(session, store, **{"unused_for": NOW, **changes})
        return [one for one in found if one.name.startswith(f"{name}@")]

    return plan


@pytest.fixture
def trainer(own_stack):
    with connect(own_stack.dsn("trainer")) as connection:
        yield connection


@pytest.fixture
def command(own_stack, own_settings, tmp_path):
    """Run ``modelyard`` on this stack."""

    def run(*arguments, **fault):
        environment = environment_of(own_stack, own_settings.mlflow_port)
        return run_command(list(arguments), environment=environment, folder=tmp_path, **fault)

    return run


@pytest.fixture
def name():
    return f"houses_{uuid4().hex[:8]}"


@pytest.fixture
def start_run(session):
    """A processing run that has logged files and not ended; its id."""

    def start(workload="houses", **tags):
        experiment_id = get_or_create_experiment(session.mlflow, DATASETS_EXPERIMENT)
        tags |= {"run_type": "dataset"} | ({"workload": workload} if workload else {})
        run = session.mlflow.create_run(experiment_id, run_name="made by hand", tags=tags)
        for path, size in (("metadata/X.parquet", 3000), ("metadata/y.parquet", 400)):
            folder, _, file = path.partition("/")
            session.mlflow.log_text(run.info.run_id, "x" * size, f"{folder}/{file}")
        return run.info.run_id

    return start


@pytest.fixture
def log(session, trainer, start_run, tmp_path, name):
    """Log a dataset of these bytes, as a processing run does."""

    def log(content, **changes):
        run_id = start_run()
        folder = tmp_path / run_id
        session.mlflow.download_artifacts(run_id, "", str(folder.mkdir() or folder))
        session.mlflow.set_terminated(run_id, "FINISHED")
        new = datasets.NewDataset(
            name=name,
            workload=name,
            digest=sha256(content.encode()).hexdigest(),
            raw_digest="0" * 64,
            raw_files=[{"name": "houses.csv", "sha256": "0" * 64, "size_bytes": 10}],
            rows_digest=sha256(content.encode()).hexdigest(),
            location=f"runs:/{run_id}/metadata",
            mlflow_run_id=run_id,
            num_rows=10,
            num_elements=30,
            schema=[{"name": "X.rooms", "type": "float64"}],
            profile={},
            split_counts={"train": 7, "validation": 1, "test": 2},
            targets=["price"],
            parameters={},
            code_version={},
            notes={},
            data_source="file_path",
        )
        return datasets.record_dataset(trainer, replace(new, **changes), files=hash_folder(folder))

    return log


def list_files(session, run_id):
    found = session.mlflow.list_artifacts(run_id)
    return {entry.path for entry in found} | {
        inner.path for entry in found if entry.is_dir for inner in session.mlflow.list_artifacts(run_id, entry.path)
    }


def assert_gone(session, dataset):
    """Nothing of it is left but its record."""
    assert list_files(session, dataset.mlflow_run_id) == set()
    assert session.mlflow.get_run(dataset.mlflow_run_id).info.lifecycle_stage == "deleted"
    row = datasets.get_dataset(session.records, dataset_id=dataset.dataset_id)
    assert row.removed_by == session.user
    assert row.digest == dataset.digest
    assert dataset.dataset_id not in [stored.dataset_id for stored in list_interrupted(session.records)]


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


def test_a_plan_changes_nothing_and_yes_deletes_what_was_planned(session, plan, command, log, name):
    old, middle, new = (log(content) for content in "abc")
    [planned, second] = plan(name)
    assert [planned.name, second.name] == [f"{name}@1.0.0", f"{name}@1.1.0"]
    assert planned.size_bytes == 3400
    assert plan(name, unused_for=timedelta(hours=1)) == []
    shown = command("gc", "--older-than", "0h", "--keep", "2")
    assert shown.code == 0, shown.printed
    assert f"{name}@1.0.0" in shown.printed
    assert "nothing refers to it, and it is not among the newest 2 of its name" in " ".join(shown.printed.split())
    assert "gc --older-than 0h --keep 2 --yes" in shown.printed
    assert len(list_files(session, old.mlflow_run_id)) == 3
    done = command("gc", "--older-than", "0h", "--keep", "2", "--yes", "--json")
    assert done.code == 0, done.printed
    told = json.loads(done.printed[done.printed.index("\n{") :])
    assert f"{name}@1.0.0" in [one["name"] for one in told["deleted"]]
    assert told["total_bytes"] == sum(one["size_bytes"] for one in told["plan"])
    assert_gone(session, old)
    for kept in (middle, new):
        assert len(list_files(session, kept.mlflow_run_id)) == 3


def test_what_came_into_use_after_the_plan_is_kept_and_the_reason_told(session, plan, store, log, name):
    dataset = log("a")
    planned = plan(name, nb_kept=0)
    arguments = {"workload": name, "dataset_id": str(dataset.dataset_id)}
    job_id = jobs.submit_job(session.records, kind="train", arguments=arguments, inline=True)
    [kept] = collect_garbage(session, store, planned)
    assert f"it is used by: job {job_id}" in kept.kept
    assert datasets.get_dataset(session.records, dataset_id=dataset.dataset_id).removed_at is None
    jobs.cancel_job(session.records, job_id=job_id)


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_what_a_failed_processing_run_left_goes_and_its_traceback_stays(session, store, start_run, status):
    run_id = start_run()
    session.mlflow.log_text(run_id, "ValueError", "error/traceback.txt")
    session.mlflow.set_terminated(run_id, status)
    [planned] = [one for one in plan_gc(session, store, unused_for=NOW) if one.mlflow_run_id == run_id]
    assert (planned.kind, planned.size_bytes) == ("run", 3400)
    assert [one for one in plan_gc(session, store) if one.mlflow_run_id == run_id] == []
    [done] = collect_garbage(session, store, [planned])
    assert done.kept is None
    assert list_files(session, run_id) == {"error", "error/traceback.txt"}
    assert [one for one in plan_gc(session, store, unused_for=NOW) if one.mlflow_run_id == run_id] == []


def test_a_running_run_is_dead_only_when_its_job_has_ended_or_another_attempt_has_begun(
    session, store, trainer, start_run
):
    arguments = {"workload": uuid4().hex}
    job_id = jobs.submit_job(session.records, kind="process", arguments=arguments, inline=True)
    begin_attempt(trainer, job_id=job_id, worker="w", claim_s=60, inline=True)
    by_job = start_run(**{JOB_TAG: str(job_id), ATTEMPT_TAG: "1"})
    in_a_notebook = start_run()

    def list_dead():
        return {one.mlflow_run_id for one in plan_gc(session, store, unused_for=NOW)} & {by_job, in_a_notebook}

    assert list_dead() == set()
    finish_job(trainer, job_id=job_id, attempt=1, state="failed", error="no disk")
    assert list_dead() == {by_job}


def test_a_run_deleted_in_mlflow_goes_for_good_unless_a_record_names_it(session, store, log, start_run):
    dataset, unneeded, strange = log("a"), start_run(), start_run(workload=None)
    for run_id in (dataset.mlflow_run_id, unneeded, strange):
        session.mlflow.delete_run(run_id)
    planned = {one.mlflow_run_id: one for one in plan_gc(session, store, unused_for=NOW) if one.kind == "deleted run"}
    assert unneeded in planned
    assert not planned.keys() & {dataset.mlflow_run_id, strange}
    # one that is recorded between the plan and its deletion stays, and is taken back
    late = replace(planned[unneeded], mlflow_run_id=dataset.mlflow_run_id)
    gone, kept = collect_garbage(session, store, [planned[unneeded], late])
    assert gone.kept is None
    assert find_run(session.mlflow, unneeded) is None
    assert kept.kept == "it is not among the deleted runs any more"
    assert session.mlflow.get_run(dataset.mlflow_run_id).info.lifecycle_stage == "active"
    assert len(list_files(session, dataset.mlflow_run_id)) == 3
    assert session.mlflow.get_run(strange).info.lifecycle_stage == "deleted"
    assert len(list_files(session, strange)) == 3


@pytest.fixture
def registry(own_stack):
    """A registered model with a version on record."""
    with open_registries(own_stack) as shared:
        registry = Registry(*shared)
        registry.add()
        yield registry


@pytest.fixture
def make_model(session):
    """A logged model of a run, with a file; a pair of its id and where that is."""

    def make(run_id, *, experiment_id=None):
        experiment_id = experiment_id or session.mlflow.get_run(run_id).info.experiment_id
        model = session.mlflow.create_logged_model(experiment_id, source_run_id=run_id)
        get_artifact_repository(model.artifact_location).log_artifact(__file__)
        return model.model_id, model.artifact_location

    return make


def is_active(session, model_id):
    """Whether MLflow shows a logged model."""
    try:
        return session.mlflow.get_logged_model(model_id) is not None
    except MlflowException:
        return False


def test_mlflow_gc_takes_what_nothing_needs_and_never_what_a_record_names(
    session, store, command, registry, start_run, make_model
):
    client, needed = session.mlflow, (registry.runs["1"], registry.models["1"])
    unneeded, strange = start_run(), start_run(workload=None)
    strange_experiment = client.create_experiment(uuid4().hex)
    (ours, place), (theirs, their_place), (active, _) = make_model(unneeded), make_model(strange), make_model(strange)
    for model_id in (ours, theirs, needed[1]):
        client.delete_logged_model(model_id)
    for run_id in (unneeded, needed[0]):
        client.delete_run(run_id)
    client.delete_experiment(strange_experiment)

    shown = command("gc", "--older-than", "0h", "--json")
    assert shown.code == 0, shown.printed
    assert {(one["kind"], one["mlflow_id"]) for one in shown.outcome["restore"]} >= {("model", needed[1])}
    planned = {one["mlflow_model_id"] or one["mlflow_run_id"] for one in shown.outcome["plan"]}
    assert planned >= {unneeded, ours}
    assert not planned & {*needed, strange, theirs, active}
    assert client.get_run(unneeded).info.lifecycle_stage == "deleted", "a plan deletes nothing"

    done = command("gc", "--older-than", "0h", "--yes")
    assert done.code == 0, done.printed
    assert find_run(client, unneeded) is None
    assert measure_artifacts(place) is None
    with pytest.raises(ServiceFailed, match=f"mlflow gc failed: .*{ours}"):
        store.run_gc(name_for_gc(client, run_ids=[], model_ids=[ours]))
    assert client.get_run(needed[0]).info.lifecycle_stage == "active"
    assert is_active(session, needed[1])
    assert client.get_experiment(strange_experiment).lifecycle_stage == "deleted", "it is somebody else's"
    assert measure_artifacts(their_place)

    store.run_gc([])  # as people do it
    assert measure_artifacts(their_place) is None
    assert client.get_run(needed[0]).info.lifecycle_stage == "active"
    assert is_active(session, needed[1])
    assert is_active(session, active)


def test_a_run_and_a_model_that_a_registered_version_comes_from_stay(session, store, registry, start_run):
    _, run_id, model_id = registry.register()
    for tag, value in (("workload", "houses"), ("run_type", "training")):
        session.mlflow.set_tag(run_id, tag, value)
    session.mlflow.delete_logged_model(model_id)
    session.mlflow.delete_run(run_id)
    assert run_id not in {one.mlflow_run_id for one in plan_gc(session, store, unused_for=NOW)}


def test_a_run_stays_as_long_as_a_model_of_it_that_was_deleted_later(session, store, start_run, make_model):
    run_id = start_run()
    model_id, _ = make_model(run_id)
    session.mlflow.delete_run(run_id)
    time.sleep(0.5)
    between = datetime.now(UTC)
    time.sleep(0.5)
    session.mlflow.delete_logged_model(model_id)

    def list_planned(unused_for):
        return {
            one.mlflow_model_id or one.mlflow_run_id
            for one in plan_gc(session, store, unused_for=unused_for)
            if one.mlflow_run_id == run_id
        }

    assert list_planned(datetime.now(UTC) - between) == set()
    assert list_planned(NOW) == {run_id, model_id}


def test_a_collection_that_was_killed_before_mlflow_gc_is_gone_on_with(session, command, start_run):
    run_id = start_run()
    session.mlflow.delete_run(run_id)
    words = ("gc", "--older-than", "0h", "--yes")
    assert command(*words, at="before modelyard.pipeline.erasure:name_for_gc").code < 0
    assert list_files(session, run_id) == set()
    assert session.mlflow.get_run(run_id).info.lifecycle_stage == "deleted"
    done = command(*words)
    assert done.code == 0, done.printed
    assert find_run(session.mlflow, run_id) is None


def test_a_failed_run_that_is_none_of_ours_stays(session, store, start_run):
    run_id = start_run(workload=None)
    session.mlflow.set_terminated(run_id, "FAILED")
    assert [one for one in plan_gc(session, store, unused_for=NOW) if one.mlflow_run_id == run_id] == []


def test_a_failed_run_whose_dataset_is_on_record_stays(session, store, log):
    dataset = log("a")
    session.mlflow.set_terminated(dataset.mlflow_run_id, "FAILED")
    assert [one for one in plan_gc(session, store, unused_for=NOW) if one.mlflow_run_id == dataset.mlflow_run_id] == []


def test_raw_data_stays_whatever_is_deleted(session, own_stack, command, log, name):
    raw = Path(own_stack.raw_uri.removeprefix("file://")) / ("0" * 64) / "houses.csv"
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.write_text("rooms,price\n")
    log("a")
    done = command("gc", "--older-than", "0h", "--keep", "0", "--yes")
    assert done.code == 0, done.printed
    assert f"deleted  dataset {name}@1.0.0" in done.printed
    assert raw.read_text() == "rooms,price\n"


@pytest.mark.parametrize("age", ["30", "a month", "-1d", "1.5d", ""])
def test_an_age_that_cannot_be_read_is_refused(command, age):
    refused = command("gc", "--older-than", age)
    assert refused.code == 2
    assert f"--older-than {age!r} is no age; give days or hours, e.g. 30d or 12h" in refused.printed


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
