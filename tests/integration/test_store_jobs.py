"""Jobs: whoever was only slow cannot finish what another has taken over."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from modelyard.errors import AttemptLost, InvalidParameter, RecordConflict, RecordNotFound, WorkHeld
from modelyard.store.connections import connect, find_value
from modelyard.store.jobs import (
    begin_attempt,
    check_attempt,
    find_unfinished,
    fingerprint_job,
    finish_attempt,
    finish_job,
    get_job,
    hold_job,
    report_progress,
    submit_job,
)

ARGUMENTS = {"workload": "houses", "parameters": {"seed": 42, "depth": 6}}


@pytest.fixture
def trainer(database):
    return database.connect("trainer")


@pytest.fixture
def job_id(database):
    return submit_job(database.connect("alice_trainer"), kind="train", arguments=ARGUMENTS)


def test_a_job_goes_from_a_person_to_its_result(database, trainer, job_id):
    attempt = begin_attempt(trainer, job_id=job_id, worker="w1")
    report_progress(trainer, job_id=job_id, attempt=attempt, share=0.5, message="fitting")
    person = database.connect("alice_viewer")
    job = get_job(person, job_id=job_id)
    assert (job.state, job.attempt, job.worker, job.progress_share) == ("running", 1, "w1", 0.5)
    assert (job.created_by, job.progress_message, job.arguments) == ("alice_trainer", "fitting", ARGUMENTS)
    finish_job(trainer, job_id=job_id, attempt=attempt, state="succeeded", result={"version": "7"})
    job = get_job(person, job_id=job_id)
    assert (job.state, job.result) == ("succeeded", {"version": "7"})
    assert job.finished_at is not None


def test_the_fingerprint_is_the_same_for_any_order_of_keys():
    turned = {"parameters": {"depth": 6, "seed": 42}, "workload": "houses"}
    assert fingerprint_job("train", turned) == fingerprint_job("train", ARGUMENTS)
    assert fingerprint_job("evaluate", turned) != fingerprint_job("train", ARGUMENTS)
    with pytest.raises(InvalidParameter, match="not a JSON value"):
        fingerprint_job("train", {"depth": float("nan")})


def test_an_unfinished_job_is_found_until_it_ends(trainer, job_id):
    fingerprint = fingerprint_job("train", ARGUMENTS)
    attempt = begin_attempt(trainer, job_id=job_id, worker="w")
    found = find_unfinished(trainer, fingerprint=fingerprint)
    assert found is not None
    assert found.job_id == job_id
    finish_job(trainer, job_id=job_id, attempt=attempt, state="failed", error="no data")
    assert find_unfinished(trainer, fingerprint=fingerprint) is None
    assert get_job(trainer, job_id=job_id).error == "no data"


def test_the_same_request_is_one_job_and_other_arguments_are_refused(trainer):
    job_id = uuid4()
    assert submit_job(trainer, kind="train", arguments=ARGUMENTS, job_id=job_id) == job_id
    assert submit_job(trainer, kind="train", arguments=ARGUMENTS, job_id=job_id) == job_id
    assert find_value(trainer, "SELECT count(*) FROM exp.jobs") == 1
    with pytest.raises(RecordConflict, match="with other arguments"):
        submit_job(trainer, kind="train", arguments={}, job_id=job_id)


def test_a_lost_attempt_writes_nothing_more(trainer, job_id):
    slow = begin_attempt(trainer, job_id=job_id, worker="slow")
    check_attempt(trainer, job_id=job_id, attempt=slow)
    fast = begin_attempt(trainer, job_id=job_id, worker="fast")
    assert fast == slow + 1
    for write in (
        lambda: check_attempt(trainer, job_id=job_id, attempt=slow),
        lambda: report_progress(trainer, job_id=job_id, attempt=slow, share=0.9, message="late"),
        lambda: finish_attempt(trainer, job_id=job_id, attempt=slow, state="failed"),
        lambda: finish_job(trainer, job_id=job_id, attempt=slow, state="succeeded"),
    ):
        with pytest.raises(AttemptLost, match=f"attempt {slow} of job {job_id} writes nothing more"):
            write()
    finish_job(trainer, job_id=job_id, attempt=fast, state="succeeded", result={})
    states = trainer.execute("SELECT state FROM exp.attempts ORDER BY attempt").fetchall()
    assert [row["state"] for row in states] == ["lost", "succeeded"]


def test_an_interrupted_attempt_leaves_its_job_to_the_next(trainer, job_id):
    first = begin_attempt(trainer, job_id=job_id, worker="w")
    finish_attempt(trainer, job_id=job_id, attempt=first, state="interrupted", error="stopped by its user")
    assert get_job(trainer, job_id=job_id).state == "queued"
    assert begin_attempt(trainer, job_id=job_id, worker="w") == 2


def test_a_job_that_has_ended_takes_no_attempt(trainer, job_id):
    attempt = begin_attempt(trainer, job_id=job_id, worker="w")
    finish_job(trainer, job_id=job_id, attempt=attempt, state="cancelled")
    with pytest.raises(AttemptLost, match="has cancelled already"):
        begin_attempt(trainer, job_id=job_id, worker="w")
    with pytest.raises(AttemptLost):
        finish_job(trainer, job_id=job_id, attempt=attempt, state="succeeded")


def test_an_unknown_job_is_said(trainer):
    with pytest.raises(RecordNotFound, match="there is no job"):
        begin_attempt(trainer, job_id=uuid4(), worker="w")
    with pytest.raises(RecordNotFound, match="there is no job"):
        get_job(trainer, job_id=uuid4())


def test_of_attempts_begun_at_once_exactly_one_goes_on(database, trainer, job_id):
    def begin(worker: int) -> int:
        with connect(database.dsn("trainer")) as connection:
            return begin_attempt(connection, job_id=job_id, worker=str(worker))

    with ThreadPoolExecutor(8) as pool:
        attempts = list(pool.map(begin, range(8)))
    assert sorted(attempts) == list(range(1, 9))
    assert find_value(trainer, "SELECT array_agg(attempt) FROM exp.attempts WHERE state = 'running'") == [8]


def test_a_held_job_is_refused_to_others_until_its_holder_lets_go(database):
    holder, other = database.connect("trainer"), database.connect("trainer")
    with hold_job(holder, fingerprint="f"):
        with pytest.raises(WorkHeld, match="in the hands of another process"), hold_job(other, fingerprint="f"):
            pass
        with hold_job(other, fingerprint="g"):
            pass
    with hold_job(other, fingerprint="f"):
        pass


def test_a_dead_holder_frees_its_job(database):
    dying, other = database.connect("trainer"), database.connect("trainer")
    with hold_job(dying, fingerprint="f"):
        death = threading.Timer(0.2, dying.close)
        death.start()
        with hold_job(other, fingerprint="f", wait_s=10):
            pass
        death.join()
