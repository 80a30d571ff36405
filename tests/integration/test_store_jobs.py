"""Jobs: the same request is one job, and what a person may do with it in each of its states."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import get_args
from uuid import uuid4

import pytest
from psycopg.errors import InsufficientPrivilege

from modelyard.errors import InvalidParameter, JobRefused, RecordConflict, RecordNotFound, WorkHeld
from modelyard.store.attempts import begin_attempt, finish_attempt, finish_job, keep_result
from modelyard.store.connections import connect, find_value
from modelyard.store.jobs import (
    JobKind,
    cancel_job,
    find_child,
    fingerprint_job,
    get_asker,
    get_job,
    hold_job,
    list_jobs,
    list_jobs_by_prefix,
    name_worker_role,
    retry_job,
    submit_job,
)

ARGUMENTS = {"workload": "houses", "parameters": {"seed": 42, "depth": 6}}
TRAIN = {"kind": "train", "arguments": ARGUMENTS}


def begin(connection, job_id, **options):
    return begin_attempt(connection, job_id=job_id, worker="w", **({"claim_s": 60} | options))


def end(trainer, job_id, state="succeeded", **options):
    finish_job(trainer, job_id=job_id, attempt=begin(trainer, job_id), state=state, **options)


def count_jobs(connection):
    return find_value(connection, "SELECT count(*) FROM exp.jobs")


def test_a_submitted_job_waits_with_all_that_was_asked_for(person):
    job = get_job(person, job_id=submit_job(person, **TRAIN))
    assert (job.kind, job.arguments, job.created_by) == ("train", ARGUMENTS, "alice_trainer")
    assert (job.state, job.attempt, job.worker, job.ended, job.inline) == ("queued", 0, None, False, False)
    assert (job.result, job.error, job.results, job.progress_step) == (None, None, [], "")


def test_whose_work_a_kind_of_job_is_is_said_alike_in_python_and_in_the_database(database):
    owner = database.connect("postgres")  # nobody else calls it
    for kind in get_args(JobKind):
        found = find_value(owner, "SELECT exp.name_worker_role(%(kind)s)", {"kind": kind})
        assert found == name_worker_role(kind), kind


def test_the_fingerprint_is_the_same_for_any_order_of_keys():
    turned = {"parameters": {"depth": 6, "seed": 42}, "workload": "houses"}
    assert fingerprint_job("train", turned) == fingerprint_job("train", ARGUMENTS)
    assert fingerprint_job("evaluate", turned) != fingerprint_job("train", ARGUMENTS)
    with pytest.raises(InvalidParameter, match="not a JSON value"):
        fingerprint_job("train", {"depth": float("nan")})


def test_the_same_request_is_one_job_until_it_has_ended(person, trainer):
    job_id = submit_job(person, **TRAIN)
    assert submit_job(trainer, **TRAIN) == job_id
    assert submit_job(person, kind="train", arguments=ARGUMENTS | {"run_name": "another"}) != job_id
    attempt = begin(trainer, job_id)
    assert submit_job(person, **TRAIN) == job_id
    finish_job(trainer, job_id=job_id, attempt=attempt, state="failed", error="no data")
    assert submit_job(person, **TRAIN) != job_id


def test_the_same_request_submitted_at_once_is_one_job(database, person):
    def submit(_):
        with connect(database.dsn("alice_trainer")) as connection:
            return submit_job(connection, **TRAIN)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(submit, range(8)))) == 1
    assert count_jobs(person) == 1


def train_and_queue_evaluation(trainer, job_id):
    """What a training does in the transaction that records its registration."""
    attempt = begin(trainer, job_id)
    evaluation = submit_job(trainer, kind="evaluate", arguments={"model_version": "7"}, parent_job_id=job_id)
    finish_job(trainer, job_id=job_id, attempt=attempt, state="succeeded", result={"registration": {}})
    return evaluation


def test_a_training_is_unfinished_until_its_evaluation_has_ended(database, person, trainer):
    job_id = submit_job(person, **TRAIN)
    evaluation = train_and_queue_evaluation(trainer, job_id)
    assert submit_job(person, **TRAIN) == job_id
    end(database.connect("evaluator"), evaluation, result={})
    assert submit_job(person, **TRAIN) != job_id


def test_an_evaluation_follows_from_its_training_and_from_whoever_asked_for_that(person, trainer):
    job_id = submit_job(person, **TRAIN)
    assert find_child(person, job_id=job_id) is None
    evaluation = train_and_queue_evaluation(trainer, job_id)
    child = find_child(person, job_id=job_id)
    assert child is not None
    assert (child.job_id, child.parent_job_id, child.created_by) == (evaluation, job_id, "trainer")
    assert get_asker(person, child) == get_asker(person, get_job(person, job_id=job_id)) == "alice_trainer"


def test_only_the_attempt_that_runs_makes_another_job_follow_from_its_own(person, trainer):
    job_id = submit_job(person, **TRAIN)
    child = {"kind": "evaluate", "arguments": {}, "parent_job_id": job_id}
    for connection in (person, trainer):
        with pytest.raises(InsufficientPrivilege, match=f"job {job_id} is not yours to go on from"):
            submit_job(connection, **child)
    end(trainer, job_id)
    with pytest.raises(InsufficientPrivilege):
        submit_job(trainer, **child)
    assert count_jobs(person) == 1


def test_what_is_being_cancelled_is_asked_for_anew(person, trainer):
    job_id = submit_job(person, **TRAIN)
    begin(trainer, job_id)
    cancel_job(person, job_id=job_id)
    assert submit_job(person, **TRAIN) != job_id


def test_an_id_of_the_callers_choice_is_one_job_for_ever(person, trainer):
    job_id = uuid4()
    assert submit_job(person, job_id=job_id, **TRAIN) == job_id
    end(trainer, job_id)
    assert submit_job(person, job_id=job_id, **TRAIN) == job_id
    assert count_jobs(person) == 1
    for other in ({"kind": "train", "arguments": {}}, {"kind": "process", "arguments": ARGUMENTS}):
        with pytest.raises(RecordConflict, match=f"{job_id} was asked for before, with other arguments"):
            submit_job(person, job_id=job_id, **other)


def test_a_forged_fingerprint_gives_nobody_another_job_than_was_asked_for(person, trainer):
    forge = "SELECT exp.submit_job('train', '{}', %s, gen_random_uuid())"
    person.execute(forge, [fingerprint_job("train", ARGUMENTS)])
    job_id = submit_job(trainer, **TRAIN)
    assert get_job(trainer, job_id=job_id).arguments == ARGUMENTS


def test_an_inline_job_that_waits_is_left_to_workers_when_somebody_queues_the_same(person, trainer):
    job_id = submit_job(person, inline=True, **TRAIN)
    assert begin(trainer, job_id) is None
    assert submit_job(person, inline=True, **TRAIN) == job_id
    assert get_job(person, job_id=job_id).inline
    assert submit_job(person, **TRAIN) == job_id
    assert not get_job(person, job_id=job_id).inline
    assert begin(trainer, job_id) == 1


def test_jobs_are_listed_newest_first_by_state_and_by_how_their_id_begins(person, trainer):
    ids = [submit_job(person, kind="train", arguments={"n": n}) for n in range(4)]
    end(trainer, ids[1], "failed")
    assert [job.job_id for job in list_jobs(person)] == ids[::-1]
    assert [job.job_id for job in list_jobs(person, nb_jobs=2)] == ids[:1:-1]
    assert [job.job_id for job in list_jobs(person, states=["failed", "cancelled"])] == [ids[1]]
    assert [job.job_id for job in list_jobs_by_prefix(person, prefix=str(ids[2])[:13])] == [ids[2]]
    assert list_jobs_by_prefix(person, prefix="%") == []


def test_an_unknown_job_is_said(person):
    for ask in (get_job, cancel_job, retry_job):
        with pytest.raises(RecordNotFound, match="there is no job"):
            ask(person, job_id=uuid4())


def test_a_job_that_waits_is_cancelled_at_once(person, trainer):
    job_id = submit_job(person, **TRAIN)
    assert cancel_job(person, job_id=job_id) == "cancelled"
    job = get_job(person, job_id=job_id)
    assert (job.state, job.error, job.cancelled_by) == ("cancelled", "cancelled by alice_trainer", "alice_trainer")
    assert job.ended
    with pytest.raises(JobRefused, match=rf"job {job_id} has ended already \(cancelled\)"):
        cancel_job(person, job_id=job_id)


def test_a_job_that_runs_is_cancelled_when_its_attempt_has_stopped(person, trainer):
    job_id = submit_job(person, **TRAIN)
    attempt = begin(trainer, job_id)
    assert cancel_job(person, job_id=job_id) == "running"
    assert cancel_job(person, job_id=job_id) == "running"
    assert not get_job(person, job_id=job_id).ended
    state = finish_attempt(trainer, job_id=job_id, attempt=attempt, state="failed", error="killed")
    job = get_job(person, job_id=job_id)
    assert state == job.state == "cancelled"
    assert job.error == "cancelled by alice_trainer"
    assert find_value(person, "SELECT state FROM exp.attempts") == "interrupted"


def test_a_job_whose_result_is_certain_is_not_cancelled(person, trainer):
    job_id = submit_job(person, **TRAIN)
    attempt = begin(trainer, job_id)
    keep_result(trainer, job_id=job_id, attempt=attempt, result={"evaluation_id": "e"})
    with pytest.raises(JobRefused, match="has its result already and is about to end"):
        cancel_job(person, job_id=job_id)
    finish_job(trainer, job_id=job_id, attempt=attempt, state="succeeded", result={"evaluation_id": "e"})
    with pytest.raises(JobRefused, match=r"has ended already \(succeeded\)"):
        cancel_job(person, job_id=job_id)


@pytest.mark.parametrize("ended", ["failed", "cancelled"])
def test_a_job_that_failed_or_was_cancelled_gets_three_more_attempts(person, trainer, ended):
    job_id = submit_job(person, **TRAIN)
    if ended == "cancelled":
        cancel_job(person, job_id=job_id)
    else:
        end(trainer, job_id, "failed", error="no data")
    retry_job(person, job_id=job_id)
    job = get_job(person, job_id=job_id)
    assert (job.state, job.cancelled_by, job.result, job.ended) == ("queued", None, None, False)
    before = job.attempt
    states = [
        finish_attempt(trainer, job_id=job_id, attempt=begin(trainer, job_id), state="failed", error="no data")
        for _ in range(3)
    ]
    assert states == ["queued", "queued", "failed"]
    assert get_job(person, job_id=job_id).attempt == before + 3


def test_a_job_that_waits_runs_or_has_succeeded_is_not_tried_again(person, trainer):
    job_id = submit_job(person, **TRAIN)
    with pytest.raises(JobRefused, match="cannot be tried again: it is queued"):
        retry_job(person, job_id=job_id)
    attempt = begin(trainer, job_id)
    with pytest.raises(JobRefused, match="cannot be tried again: it is running"):
        retry_job(person, job_id=job_id)
    finish_job(trainer, job_id=job_id, attempt=attempt, state="succeeded", result={})
    with pytest.raises(JobRefused, match="cannot be tried again: it is succeeded"):
        retry_job(person, job_id=job_id)


def test_a_job_is_not_tried_again_beside_another_that_does_the_same_work(person):
    job_id = submit_job(person, **TRAIN)
    cancel_job(person, job_id=job_id)
    other = submit_job(person, **TRAIN)
    with pytest.raises(JobRefused, match=f"job {other} does the same work"):
        retry_job(person, job_id=job_id)


def test_a_held_job_is_refused_to_others_until_its_holder_lets_go(database):
    holder, other = database.connect("trainer"), database.connect("trainer")
    job_id = uuid4()
    with hold_job(holder, job_id=job_id):
        with pytest.raises(WorkHeld, match="in the hands of another process"), hold_job(other, job_id=job_id):
            pass
        with hold_job(other, job_id=uuid4()):
            pass
    with hold_job(other, job_id=job_id):
        pass


def test_a_dead_holder_frees_its_job(database):
    dying, other = database.connect("trainer"), database.connect("trainer")
    job_id = uuid4()
    with hold_job(dying, job_id=job_id):
        death = threading.Timer(0.2, dying.close)
        death.start()
        with hold_job(other, job_id=job_id, wait_s=10):
            pass
        death.join()
