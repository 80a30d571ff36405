"""Removal of datasets in the database: never under what uses them, by whom it may be, and with its record kept."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from modelyard.errors import RecordLost, RecordNotFound, RemovalRefused
from modelyard.store import jobs
from modelyard.store.catalogue import find_newest, resolve_dataset
from modelyard.store.connections import connect
from modelyard.store.datasets import find_dataset, get_dataset, record_use
from modelyard.store.removals import (
    check_right,
    check_unused,
    list_dependents,
    list_interrupted,
    list_unreferenced,
    note_files_deleted,
    remove_dataset,
)

NOW = timedelta(0)
REGISTRATION = """
    INSERT INTO exp.model_versions (mlflow_model_name, mlflow_model_version, mlflow_run_id, mlflow_model_id, workload,
        task, model_type, dataset_id, parameters, code_version, metrics)
    VALUES ('houses_model', %(version)s, %(version)s, %(model_id)s, 'houses', 'regression', 'ridge', %(dataset_id)s,
        '{}', '{}', '{}')"""


def list_names(rows):
    return [f"{row.name}@{row.version}" for row in rows]


def record_files(connection, model_id):
    connection.execute(
        "INSERT INTO exp.model_files (mlflow_model_id, path, sha256, size_bytes) VALUES (%s, 'm', repeat('d', 64), 1)",
        [model_id],
    )


def register(connection, dataset, version):
    """What the trainer's registration writes."""
    record_files(connection, f"m-{version}")
    values = {"version": version, "model_id": f"m-{version}", "dataset_id": dataset.dataset_id}
    connection.execute(REGISTRATION, values)


def test_a_removed_dataset_is_found_by_nobody_and_says_who_removed_it_when_and_why(records, person):
    dataset = records.dataset()
    remove_dataset(person, dataset, reason="it holds names")
    gone = get_dataset(person, dataset_id=dataset.dataset_id)
    assert (gone.removed_by, gone.removal_reason) == ("alice_trainer", "it holds names")
    assert gone.removed_at >= dataset.created_at
    assert find_dataset(person, name="houses", digest=dataset.digest) is None
    assert find_newest(person, workload="houses") is None
    for text in ("houses", "houses@1.0.0", dataset.digest):
        with pytest.raises(RecordLost, match=r"houses 1.0.0 was deleted by alice_trainer at .* UTC: it holds names"):
            resolve_dataset(person, text)


def test_the_same_content_logged_again_is_a_new_version_and_no_version_is_used_twice(records, person):
    first = records.dataset()
    remove_dataset(person, first, reason="wrong")
    again = records.dataset()
    assert again.digest == first.digest
    assert (first.version, again.version) == ("1.0.0", "1.1.0")
    remove_dataset(person, again, reason="wrong again")
    assert records.dataset(digest="b").version == "1.2.0"


def test_removed_twice_is_removed_once_and_the_first_reason_stays(records, person):
    dataset = records.dataset()
    remove_dataset(person, dataset, reason="first")
    before = get_dataset(person, dataset_id=dataset.dataset_id)
    remove_dataset(person, dataset, reason="second")
    assert get_dataset(person, dataset_id=dataset.dataset_id) == before


def test_everything_that_uses_a_dataset_is_listed_in_the_refusal(records, person):
    records.policy_version()
    dataset = records.dataset()
    child = records.dataset(digest="c", parent_dataset_id=dataset.dataset_id)
    asked = [
        jobs.submit_job(person, kind="train", arguments={"dataset_id": str(dataset.dataset_id)}),
        jobs.submit_job(person, kind="drift", arguments={"current_dataset_id": str(dataset.dataset_id)}),
    ]
    listed = [
        f"dataset houses {child.version}",
        "evaluation houses_model/1",
        *sorted(f"job {job_id}" for job_id in asked),
        "model version houses_model/1",
        "policy version houses_policy version 1",
    ]
    for refuse in (lambda: check_unused(person, dataset), lambda: remove_dataset(person, dataset, reason="no use")):
        with pytest.raises(RemovalRefused) as refused:
            refuse()
        assert [str(dependent) for dependent in refused.value.dependents] == listed
        text = "dataset houses@1.0.0 cannot be deleted, it is used by: "
        assert str(refused.value) == text + ", ".join(listed)
        assert refused.value.exit_code == 2
    assert get_dataset(person, dataset_id=dataset.dataset_id).removed_at is None


def test_a_job_that_has_ended_keeps_no_dataset(records, person):
    dataset = records.dataset()
    job_id = jobs.submit_job(person, kind="train", arguments={"dataset_id": str(dataset.dataset_id)})
    assert [dependent.kind for dependent in list_dependents(person, dataset_id=dataset.dataset_id)] == ["job"]
    jobs.cancel_job(person, job_id=job_id)
    remove_dataset(person, dataset, reason="no use")


@pytest.mark.parametrize("table", ["model_versions", "evaluations", "datasets"])
def test_nothing_new_refers_to_a_removed_dataset(records, person, table):
    dataset = records.dataset()
    other = records.model_version(dataset_id=records.dataset(digest="e").dataset_id)
    remove_dataset(person, dataset, reason="no use")
    make = {
        "model_versions": lambda: records.model_version(version="2", dataset_id=dataset.dataset_id),
        "evaluations": lambda: records.evaluation(version=other.mlflow_model_version, dataset_id=dataset.dataset_id),
        "datasets": lambda: records.dataset(digest="c", parent_dataset_id=dataset.dataset_id),
    }[table]
    with pytest.raises((RecordLost, psycopg.errors.IntegrityError), match="was deleted by alice_trainer and cannot"):
        make()


def test_a_dataset_that_does_not_exist_is_not_removed(records, person):
    dataset = records.dataset()
    with connect(records.database.dsn("postgres")) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute("DELETE FROM exp.datasets")
    with pytest.raises(RecordNotFound, match=str(dataset.dataset_id)):
        remove_dataset(person, dataset, reason="no use")


@pytest.mark.parametrize("role", ["trainer", "evaluator", "alice_viewer", "alice_promoter", "alice_approver"])
def test_only_a_person_who_may_train_may_delete(records, database, role):
    dataset = records.dataset()
    connection = database.connect(role)
    with pytest.raises(RemovalRefused, match=f"{role} may not delete anything; a person in"):
        check_right(connection)
    for change in ("exp.remove_dataset(%s, 'mine')", "exp.note_files_deleted(%s)"):
        with pytest.raises(InsufficientPrivilege):
            connection.execute(f"SELECT {change}", [dataset.dataset_id])
    check_right(database.connect("alice_trainer"))


def test_files_are_noted_as_deleted_for_removed_datasets_only(records, person):
    dataset, kept = records.dataset(), records.dataset(digest="b")
    note_files_deleted(person, dataset_id=kept.dataset_id)
    remove_dataset(person, dataset, reason="no use")
    assert list_names(list_interrupted(person)) == ["houses@1.0.0"]
    note_files_deleted(person, dataset_id=dataset.dataset_id)
    assert list_interrupted(person) == []
    remove_dataset(person, kept, reason="no use")
    assert list_names(list_interrupted(person)) == ["houses@1.1.0"], "what is there still was not noted as gone"


def test_the_newest_of_each_name_the_recent_and_the_used_stay(records, person):
    records.model_version()
    for digest in "123":
        records.dataset(digest=digest)
    records.dataset(digest="4", name="flats")
    unreferenced = [list_names(list_unreferenced(person, unused_for=NOW, nb_kept=n)) for n in range(4)]
    assert unreferenced == [
        ["houses@1.1.0", "houses@1.2.0", "houses@1.3.0", "flats@1.0.0"],
        ["houses@1.1.0", "houses@1.2.0"],
        ["houses@1.1.0"],
        [],
    ]
    assert list_unreferenced(person, unused_for=timedelta(hours=1), nb_kept=0) == []


def test_a_removed_dataset_is_none_of_the_newest_that_stay(records, person):
    old, new = records.dataset(), records.dataset(digest="b")
    remove_dataset(person, new, reason="no use")
    assert list_unreferenced(person, unused_for=NOW, nb_kept=1) == []
    assert list_names(list_unreferenced(person, unused_for=NOW, nb_kept=0)) == [f"houses@{old.version}"]


def test_a_dataset_that_a_run_uses_is_as_young_as_that_use(records, person):
    dataset = records.dataset()
    time.sleep(0.3)
    record_use(
        records.trainer, dataset_id=dataset.dataset_id, mlflow_run_id="t", run_type="training", context="training"
    )
    [stored] = list_unreferenced(person, unused_for=NOW, nb_kept=0)
    assert stored.size_bytes == 100
    assert stored.used_at - dataset.created_at >= timedelta(seconds=0.3)
    assert list_unreferenced(person, unused_for=timedelta(seconds=60), nb_kept=0) == []


def test_a_deletion_waits_for_a_registration_that_has_begun_and_is_refused(records, database):
    dataset = records.dataset()
    with ThreadPoolExecutor() as pool, connect(database.dsn("trainer")) as trainer:
        with trainer.transaction():
            register(trainer, dataset, "1")
            deletion = pool.submit(remove_dataset, database.connect("alice_trainer"), dataset, reason="no use")
            time.sleep(0.5)
            assert not deletion.done()
        with pytest.raises(RemovalRefused, match="it is used by: model version houses_model/1"):
            deletion.result(timeout=30)
    assert get_dataset(records.trainer, dataset_id=dataset.dataset_id).removed_at is None


def test_a_registration_waits_for_a_deletion_that_has_begun_and_is_refused(records, database):
    dataset = records.dataset()
    record_files(records.trainer, "m-1")
    with ThreadPoolExecutor() as pool, connect(database.dsn("alice_trainer")) as person:
        with person.transaction():
            remove_dataset(person, dataset, reason="no use")
            values = {"version": "1", "model_id": "m-1", "dataset_id": dataset.dataset_id}
            registration = pool.submit(database.connect("trainer").execute, REGISTRATION, values)
            time.sleep(0.5)
            assert not registration.done()
        with pytest.raises(psycopg.errors.IntegrityError, match="was deleted by alice_trainer and cannot be used"):
            registration.result(timeout=30)
    assert records.trainer.execute("SELECT count(*) AS n FROM exp.model_versions").fetchone()["n"] == 0


def test_of_many_deletions_and_registrations_at_once_one_kind_wins_for_each_dataset(records, database):
    datasets = [records.dataset(name=f"houses_{uuid4().hex[:8]}") for _ in range(40)]

    def delete(dataset):
        with connect(database.dsn("alice_trainer")) as person:
            try:
                remove_dataset(person, dataset, reason="no use")
            except RemovalRefused:
                return False
        return True

    def use(dataset):
        with connect(database.dsn("trainer")) as trainer:
            try:
                register(trainer, dataset, uuid4().hex[:8])
            except psycopg.errors.IntegrityError:
                return False
        return True

    works = [(work, dataset) for dataset in datasets for work in (delete, use, delete, use)]
    with ThreadPoolExecutor(max_workers=6) as pool:
        done = list(pool.map(lambda work: work[0](work[1]), works))
    rows = records.trainer.execute("""
        SELECT d.dataset_id, d.removed_at IS NOT NULL AS removed, count(v.*) AS nb_versions
        FROM exp.datasets AS d LEFT JOIN exp.model_versions AS v USING (dataset_id) GROUP BY d.dataset_id
    """).fetchall()
    found = {row["dataset_id"]: (row["removed"], row["nb_versions"]) for row in rows}
    for number, dataset in enumerate(datasets):
        first, second, third, fourth = done[4 * number : 4 * number + 4]
        assert found[dataset.dataset_id] == (first or third, second + fourth)
        assert (first or third) != (second or fourth), "deleted, or used, and never both or neither"
