"""MLflow is edited, killed, put back to an older state, and loses things: it shows what is on record again."""

import json
import subprocess
import sys
import threading
import time
from contextlib import suppress

import psutil
import pytest

from modelyard.errors import ServiceFailed, WorkHeld
from modelyard.pipeline.projection import project_model
from modelyard.pipeline.reconcile import reconcile
from modelyard.stack.accounts import ensure_service_account
from modelyard.stack.binaries import provide_programs
from modelyard.store.connections import connect, hold_lock
from modelyard.store.projections import list_needed_runs
from modelyard.store.reconciliations import find_newest_reconciliation
from modelyard.tracking import projection
from modelyard.tracking.server import connect as connect_mlflow
from modelyard.workers.config import WorkerConfig
from modelyard.workers.reconciler import Reconciler
from tests.integration.crew import open_crew
from tests.integration.registry import Registry, open_registries
from tests.integration.trainings import environment_of, run_command


@pytest.fixture(scope="module")
def crew():
    with open_crew() as crew:
        yield crew


@pytest.fixture(scope="module")
def shared(crew):
    with open_registries(crew.stack) as shared:
        yield shared


@pytest.fixture
def houses(shared):
    """A model of the test's own with two candidates, shown as they are on record."""
    registry = Registry(*shared)
    registry.add()
    registry.add()
    project_model(registry.session, registry.name)
    return registry


@pytest.fixture
def live(houses):
    """The same with its first version live."""
    houses.evaluate("1")
    houses.promote("1", expected=0)
    project_model(houses.session, houses.name)
    return houses


@pytest.fixture(scope="module")
def command(crew, tmp_path_factory):
    """Run a command of modelyard on this stack."""

    def run(*arguments, **options):
        environment = environment_of(crew.stack, crew.settings.mlflow_port)
        return run_command([*arguments], environment=environment, folder=tmp_path_factory.mktemp("c"), **options)

    return run


def test_what_nobody_has_shown_after_the_commit_is_shown_by_the_next_reconciliation(houses):
    houses.evaluate("1")
    houses.promote("1", expected=0)
    assert houses.show() == {"1": "candidate", "2": "candidate", "candidate": "2"}
    assert set(houses.reconcile()) == {("behind", "1"), ("behind", "alias production of")}
    assert houses.show() == {"1": "production", "2": "candidate", "candidate": "2", "production": "1"}
    houses.evaluate("2")
    houses.promote("2", expected=1)
    assert {kind for kind, _ in houses.reconcile()} == {"behind"}
    assert houses.show() == {"1": "archived", "2": "production", "production": "2"}
    assert houses.read_tags("2")["policy_version"] == "2"
    assert houses.reconcile() == []


@pytest.mark.parametrize("stage", ["production", "archived", "none", "prodution", "", "x" * 3000, "a\x1b[2J\nb"])
def test_a_stage_set_by_hand_is_put_back_with_the_reason_and_the_command(houses, stage):
    houses.tag("1", "stage", stage)
    assert houses.reconcile() == [("edited", "1")]
    tags = houses.read_tags("1")
    assert tags["stage"] == "candidate"
    assert "by hand" in tags["stage_refused"]
    assert f"{houses.policy_id} --version 1" in tags["stage_refused"]
    assert len(tags["stage_refused"]) < 500
    assert tags["stage_refused"].isprintable()
    assert houses.reconcile() == []


def test_a_command_that_puts_back_what_was_set_by_hand_says_so(live, command):
    live.tag("1", "stage", "archived")
    ended = command("archive", live.policy_id, "--version", "2", "--reason", "too slow")
    assert ended.code == 0, ended.printed
    assert f"edited: {live.name}/1: stage=archived was set by hand" in " ".join(ended.printed.split())
    assert live.show() == {"1": "production", "2": "archived", "production": "1"}


def test_the_reason_is_gone_once_the_version_has_moved(houses):
    houses.tag("1", "stage", "production")
    houses.reconcile()
    houses.evaluate("1")
    houses.promote("1", expected=0)
    houses.reconcile()
    assert houses.read_tags("1")["stage"] == "production"
    assert "stage_refused" not in houses.read_tags("1")


def test_candidate_set_by_hand_queues_an_evaluation_once_and_is_no_candidate(houses, shared):
    version = houses.add(passed=False)
    houses.tag(version, "stage", "candidate")
    assert houses.reconcile() == [("requested", version)]
    assert houses.show()[version] == "none"
    assert houses.show()["candidate"] == "2"
    houses.reconcile()
    query = "SELECT kind FROM exp.jobs WHERE state = 'queued' AND arguments->>'model_name' = %s"
    with connect(shared[0].database.dsn) as connection:
        assert connection.execute(query, [houses.name]).fetchall() == [{"kind": "evaluate"}]
    assert "jobs follow" in houses.read_tags(version)["stage_refused"]


def test_an_evaluation_asked_for_by_hand_of_a_model_of_another_tool_is_queued_too(houses):
    version = houses.add(passed=False, workload="regression")
    houses.tag(version, "stage", "candidate")
    assert houses.reconcile() == [("requested", version)]
    assert "jobs follow" in houses.read_tags(version)["stage_refused"]


def test_a_request_waits_for_who_may_queue_an_evaluation(houses):
    version = houses.add(passed=False)
    houses.tag(version, "stage", "candidate")
    project_model(houses.session, houses.name)  # a promotion's, which is no evaluator's work
    assert houses.show()[version] == "candidate"
    assert houses.reconcile() == [("requested", version)]


@pytest.mark.parametrize("change", ["moved", "deleted", "both deleted", "beyond"])
def test_an_alias_set_by_hand_is_put_back_with_the_reason(live, change):
    client, name = live.client, live.name
    noted = "1"
    if change == "moved":
        client.set_registered_model_alias(name, "production", "2")
        noted = "2"
    if change == "beyond":
        client.set_registered_model_alias(name, "candidate", "1")
    if change in ("deleted", "both deleted"):
        client.delete_registered_model_alias(name, "production")
    if change == "both deleted":
        client.delete_registered_model_alias(name, "candidate")
    assert {kind for kind, _ in live.reconcile()} == {"edited"}
    assert live.show() == {"1": "production", "2": "candidate", "production": "1", "candidate": "2"}
    assert "by hand" in live.read_tags(noted)["stage_refused"]
    assert live.reconcile() == []


def test_other_tags_and_aliases_are_left_alone(live):
    live.client.set_registered_model_alias(live.name, "shadow", "2")
    live.tag("1", "owner", "ada")
    assert live.reconcile() == []
    assert (live.show()["shadow"], live.read_tags("1")["owner"]) == ("2", "ada")


def test_a_version_registered_by_hand_is_told_and_shows_no_stage(live):
    version, run_id, _ = live.register()
    live.tag(version, "stage", "production")
    live.client.set_registered_model_alias(live.name, "production", version)
    assert set(live.reconcile()) == {("unrecorded", version), ("edited", "alias production of")}
    assert live.show() == {"1": "production", "2": "candidate", version: None, "production": "1", "candidate": "2"}
    assert f"modelyard register {run_id}" in live.read_tags(version)["stage_refused"]
    live.client.delete_model_version(live.name, version)
    assert live.reconcile() == []


def test_a_version_that_is_being_registered_is_not_told(live, shared):
    version, run_id, _ = live.register()
    with connect(shared[0].database.dsn) as other, hold_lock(other, f"registration {run_id}", what="", wait_s=0):
        assert live.reconcile() == []
    assert live.reconcile() == [("unrecorded", version)]


def test_a_deleted_version_is_lost_and_nothing_stands_in_for_it(live, command):
    live.client.delete_model_version(live.name, "1")
    assert ("lost", "1") in live.reconcile()
    assert live.show() == {"2": "candidate", "candidate": "2"}
    ended = command("reconcile", "--json")
    assert ended.code == 1
    assert "LOST" in ended.printed
    assert f"{live.name}/1" in ended.printed
    assert "restore MLflow" in ended.printed
    assert f"{live.name}/1" in command("status").printed
    assert f"{live.name}/1" in json.dumps(json.loads(command("status", "--json").printed)["lost"])
    [check] = [one for one in json.loads(command("doctor", "--json").printed) if one["name"] == "losses"]
    assert check["state"] == "fail"
    assert "modelyard reconcile" in check["remedy"]


def test_a_number_that_mlflow_gave_to_another_run_is_not_the_version_on_record(live):
    live.client.delete_registered_model(live.name)
    version, _, _ = live.register()  # MLflow counts from 1 again
    live.tag(version, "stage", "production")
    live.client.set_registered_model_alias(live.name, "production", version)
    found = live.reconcile()
    assert version == "1"
    assert {("lost", "1"), ("lost", "2"), ("unrecorded", "1")} <= set(found)
    assert live.show() == {"1": None}


def test_a_deleted_run_is_back_and_told_once(live):
    live.client.delete_run(live.runs["1"])
    live.client.delete_run(live.dataset.mlflow_run_id)
    assert set(live.reconcile()) == {
        ("restored", "training run of /1"),
        ("restored", f"run of dataset houses{live.number}@{live.dataset.version}"),
    }
    for run_id in (live.runs["1"], live.dataset.mlflow_run_id):
        assert live.client.get_run(run_id).info.lifecycle_stage == "active"
    assert live.reconcile() == []


def test_runs_of_a_deleted_experiment_are_back(houses):
    experiment_id = houses.client.create_experiment(f"gone{houses.number}")
    runs = [houses.client.create_run(experiment_id).info.run_id for _ in range(3)]
    houses.client.delete_experiment(experiment_id)
    deleted = projection.list_deleted_runs(houses.client, runs)
    assert deleted == dict.fromkeys(runs, experiment_id)
    projection.restore_runs(houses.client, deleted)
    assert projection.list_deleted_runs(houses.client, runs) == {}


def test_a_lost_run_is_found_by_its_part_and_told_by_each_look_after(live, shared):
    records = shared[1]
    records.dataset(name=f"lost{live.number}", mlflow_run_id=f"{live.number:032x}")

    def look(part):
        return [one for one in reconcile(live.session, part=part).lost if f"lost{live.number}@" in one.subject]

    place = [run.mlflow_run_id for run in list_needed_runs(records.evaluator)].index(f"{live.number:032x}")
    assert look(place + 1) == []
    assert len(look(place)) == 1
    assert len(look(place + 1)) == 1
    newest = find_newest_reconciliation(records.evaluator)
    assert newest is not None and any(f"lost{live.number}@" in finding["subject"] for finding in newest.lost)


def test_a_model_that_somebody_holds_keeps_nothing_else_from_being_reconciled(live, shared, monkeypatch):
    monkeypatch.setattr("modelyard.pipeline.projection._WAIT_S", 0.1)
    other = Registry(*shared)
    other.add()
    live.client.delete_model_version(live.name, "1")
    live.reconcile()
    live.client.delete_run(live.runs["2"])
    with connect(shared[0].database.dsn) as held, hold_lock(held, f"projection {live.name}", what="", wait_s=0):
        done = reconcile(live.session)
    assert done.held == (live.name,)
    assert other.show()["1"] == "candidate"
    kinds = {(one.kind, one.subject) for one in done.findings}
    assert ("restored", f"training run of {live.name}/2") in kinds
    assert ("lost", f"{live.name}/1") in kinds, "what was lost before is lost"


def test_a_deleted_logged_model_is_lost_and_says_that_nothing_can_load_it(live):
    live.client.delete_logged_model(live.models["1"])
    assert live.reconcile() == [("lost", "logged model of /1")]
    lost = [one for one in reconcile(live.session).lost if live.name in one.subject]
    assert "nothing can load" in lost[0].found
    assert "rollback" in lost[0].remedy


def test_mlflow_away_is_told_in_seconds_and_later_it_shows_everything(live, crew):
    live.evaluate("2")
    connect_mlflow(crew.stack.tracking_uri)  # its bounded waiting, which no test inherits from another
    crew.kill_mlflow()
    try:
        live.promote("2", expected=1)
        began_s = time.monotonic()
        with pytest.raises(ServiceFailed, match="nothing on record is lost"):
            project_model(live.session, live.name)
        assert time.monotonic() - began_s < 30
    finally:
        crew.start_mlflow()
    assert {kind for kind, _ in live.reconcile()} == {"behind"}
    assert live.show() == {"1": "archived", "2": "production", "production": "2"}


def test_two_at_once_are_one_after_the_other(live, shared):
    session, _ = shared
    with connect(session.database.dsn) as other:
        with hold_lock(other, "reconciliation", what="", wait_s=0), pytest.raises(WorkHeld):
            reconcile(session, wait_s=0)
        with hold_lock(other, "reconciliation", what="", wait_s=0):
            ended = []
            waiting = threading.Thread(target=lambda: ended.append(reconcile(session, wait_s=20)))
            waiting.start()
            time.sleep(0.3)
            assert not ended
        waiting.join()
        assert ended


def test_what_was_found_is_recorded_when_it_changes_and_not_before(live, shared):
    live.reconcile()
    rows = "SELECT count(*) AS nb FROM exp.reconciliations"
    with connect(shared[0].database.dsn) as connection:
        before = connection.execute(rows).fetchone()["nb"]
        live.reconcile()
        assert connection.execute(rows).fetchone()["nb"] == before
        live.tag("1", "stage", "none")
        live.reconcile()
        newest = find_newest_reconciliation(connection)
        assert newest is not None
        assert f"{live.name}/1" in json.dumps(newest.findings)
        assert connection.execute(rows).fetchone()["nb"] == before + 1


def test_mlflow_restored_from_an_older_backup_shows_what_is_live_and_says_what_it_lost(live, crew, tmp_path):
    backup = tmp_path / "mlflow.sql"
    run_program(crew, "pg_dump", "--schema=mlflow", "--clean", "--if-exists", f"--file={backup}")
    live.evaluate("2")
    live.promote("2", expected=1)
    newer = live.add()
    live.evaluate(newer)
    live.promote(newer, expected=2)
    live.reconcile()
    crew.kill_mlflow()
    run_program(crew, "psql", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", f"--file={backup}")
    crew.start_mlflow()
    assert live.show() == {"1": "production", "2": "candidate", "production": "1", "candidate": "2"}
    found = live.reconcile()
    assert {("lost", newer), ("lost", f"training run of /{newer}"), ("lost", f"logged model of /{newer}")} <= set(found)
    assert ("behind", "1") in found
    assert live.show() == {"1": "archived", "2": "archived"}  # and never a version that is not live
    assert {kind for kind, _ in live.reconcile()} == {"lost"}


def test_an_evaluator_reconciles_in_a_process_of_its_own_and_says_what_it_found(live, crew, shared):
    config = WorkerConfig(
        role="evaluator", dsn=crew.stack.dsn("evaluator"), tracking_uri=crew.stack.tracking_uri,
        ui_url=crew.stack.ui_url, raw_uri=crew.stack.raw_uri, claim_s=60, pause_s=1,
    )  # fmt: skip
    said: list[str] = []
    reconciler = Reconciler(config, say=said.append, every_s=0)
    live.reconcile()
    live.tag("2", "stage", "production")
    records = shared[1].evaluator
    processes = set()
    try:
        give_up_s = time.monotonic() + 120
        while not said and time.monotonic() < give_up_s:
            reconciler.step(records)
            running = list_reconciling()
            assert len(running) <= 1
            processes |= running
            time.sleep(0.05)
    finally:
        reconciler.close()
    assert live.show()["2"] == "candidate"
    assert [line for line in said if f"edited: {live.name}/2" in line]
    assert len(processes) == 1
    assert list_reconciling() == set()


def test_a_worker_holds_nothing_of_mlflow():
    code = "import sys, modelyard.workers.worker; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def list_reconciling():
    found = set()
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if "modelyard.workers.reconciling" in child.cmdline():
                found.add(child.pid)
    return found


def run_program(crew, program, *arguments):
    """A program of PostgreSQL's, as its superuser."""
    programs = provide_programs(crew.home.path, ensure_service_account())
    subprocess.run([programs / program, f"--dbname={crew.stack.dsn('postgres')}", *arguments], check=True)
