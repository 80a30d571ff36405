"""Model versions: none without the hashes of its files, one per run."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from uuid import uuid4

import pytest

from modelyard.data.hashes import HashedFile
from modelyard.errors import RecordConflict, RecordNotFound, WorkHeld
from modelyard.stack.checks import Check
from modelyard.stack.losses import check_losses
from modelyard.store.connections import connect, find_value
from modelyard.store.models import (
    find_model_version_by_run,
    get_model_version,
    list_model_files,
    lock_registration,
    record_model_files,
    record_model_version,
)
from modelyard.store.reconciliations import record_reconciliation

FILES = [HashedFile("model.skops", "d" * 64, 5), HashedFile("MLmodel", "e" * 64, 6)]


def test_a_model_version_is_read_back_by_name_and_by_run(records):
    version = records.model_version()
    assert version.created_by == "trainer"
    assert get_model_version(records.trainer, mlflow_model_name="houses_model", mlflow_model_version="1") == version
    assert find_model_version_by_run(records.trainer, mlflow_run_id="run-1") == version
    assert find_model_version_by_run(records.trainer, mlflow_run_id="run-2") is None
    with pytest.raises(RecordNotFound, match="houses_model version 2 was not registered"):
        get_model_version(records.trainer, mlflow_model_name="houses_model", mlflow_model_version="2")


def test_a_run_is_registered_once(records):
    first = records.model_version()
    assert records.model_version() == first
    with pytest.raises(RecordConflict, match="run-1 is registered already"):
        records.model_version(version="2", mlflow_run_id="run-1")


def test_a_version_belongs_to_one_run(records):
    records.model_version()
    with pytest.raises(RecordConflict, match=r"belongs to another run: .*\(houses_model, 1\)"):
        records.model_version(mlflow_run_id="run-2")


def test_a_model_without_recorded_files_is_refused(records):
    values = {"workload": "houses", "task": "t", "model_type": "m", "parameters": {}, "code_version": {}}
    with pytest.raises(RecordNotFound, match="no file of its model m-9 is recorded"):
        record_model_version(
            records.trainer,
            mlflow_model_name="houses_model",
            mlflow_model_version="1",
            mlflow_run_id="r",
            mlflow_model_id="m-9",
            dataset_id=records.dataset().dataset_id,
            metrics={},
            **values,
        )


def test_an_unknown_dataset_is_refused(records):
    with pytest.raises(RecordNotFound, match="the dataset of this model version is not recorded"):
        records.model_version(dataset_id=uuid4())


def test_files_are_recorded_once_and_never_others(records):
    record_model_files(records.trainer, mlflow_model_id="m-1", files=FILES)
    record_model_files(records.trainer, mlflow_model_id="m-1", files=list(reversed(FILES)))
    assert list_model_files(records.trainer, mlflow_model_id="m-1") == sorted(FILES, key=lambda file: file.path)
    with pytest.raises(RecordConflict, match=r"differ in model\.skops"):
        record_model_files(
            records.trainer, mlflow_model_id="m-1", files=[HashedFile("model.skops", "f" * 64, 5), FILES[1]]
        )


def test_the_files_of_a_registered_model_are_closed_and_may_be_recorded_again(records):
    records.model_version()
    record_model_files(records.trainer, mlflow_model_id="m-1", files=FILES)
    with pytest.raises(RecordConflict, match=r"differ in extra\.py"):
        record_model_files(records.trainer, mlflow_model_id="m-1", files=[*FILES, HashedFile("extra.py", "f" * 64, 5)])


def test_a_registration_is_one_at_a_time(database):
    first, second = database.connect("trainer"), database.connect("trainer")
    with (
        lock_registration(first, mlflow_run_id="r"),
        pytest.raises(WorkHeld, match="registration of run r"),
        lock_registration(second, mlflow_run_id="r", wait_s=0),
    ):
        pass


def test_registrations_at_once_end_in_one_version(records):
    records.dataset()

    def register(_: int) -> None:
        with connect(records.database.dsn("trainer")) as connection, lock_registration(connection, mlflow_run_id="r"):
            if find_model_version_by_run(connection, mlflow_run_id="r") is None:
                number = find_value(connection, "SELECT count(*) + 1 FROM exp.model_versions")
                records.model_version(version=str(number), mlflow_run_id="r")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(register, range(6)))
    assert find_value(records.trainer, "SELECT count(*) FROM exp.model_versions") == 1


def test_that_nobody_has_looked_for_losses_is_told_once_a_model_is_on_record(records):
    viewer = SimpleNamespace(dsn=records.database.dsn, person="alice_viewer")
    assert check_losses(viewer).state == "ok", "there is nothing to lose"
    records.model_version()
    unknown = check_losses(viewer)
    assert unknown.state == "warn"
    assert "nobody has looked yet" in unknown.found
    assert record_reconciliation(records.evaluator, findings=[]), "that nothing was found is known from now on"
    assert check_losses(viewer) == Check("losses", "ok", "no loss is on record of what MLflow must have")
    assert not record_reconciliation(records.evaluator, findings=[])
