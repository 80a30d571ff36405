"""``modelyard gc``: what nothing refers to goes, what a record names stays."""

import json
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from modelyard.pipeline.gc import collect_garbage, plan_gc
from modelyard.store import datasets, jobs
from modelyard.store.attempts import begin_attempt, finish_job
from modelyard.tracking.runs import ATTEMPT_TAG, JOB_TAG, find_run
from tests.integration.removal.conftest import NOW
from tests.integration.removal.files import assert_gone, list_files


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


def test_a_failed_run_that_is_none_of_ours_stays(session, store, start_run):
    run_id = start_run(workload=None)
    session.mlflow.set_terminated(run_id, "FAILED")
    assert [one for one in plan_gc(session, store, unused_for=NOW) if one.mlflow_run_id == run_id] == []


def test_a_failed_run_whose_dataset_is_on_record_stays(session, store, log):
    dataset = log("a")
    session.mlflow.set_terminated(dataset.mlflow_run_id, "FAILED")
    assert [one for one in plan_gc(session, store, unused_for=NOW) if one.mlflow_run_id == dataset.mlflow_run_id] == []


@pytest.mark.parametrize("age", ["30", "a month", "-1d", "1.5d", ""])
def test_an_age_that_cannot_be_read_is_refused(command, age):
    refused = command("gc", "--older-than", age)
    assert refused.code == 2
    assert f"--older-than {age!r} is no age; give days or hours, e.g. 30d or 12h" in refused.printed
