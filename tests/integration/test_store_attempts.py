"""Attempts: whoever was only slow cannot write what another has taken over."""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from modelyard.errors import AttemptLost, RecordNotFound, WorkHeld
from modelyard.store.attempts import (
    begin_attempt,
    check_attempt,
    end_earlier_sessions,
    fenced,
    finish_attempt,
    finish_job,
    get_attempt,
    keep_result,
    list_attempts,
    name_session,
    renew_claim,
    report_progress,
    report_result,
)
from modelyard.store.connections import connect, hold_lock
from modelyard.store.jobs import cancel_job, get_job, submit_job

ARGUMENTS = {"workload": "houses", "seed": 42}


@pytest.fixture
def job_id(person):
    return submit_job(person, kind="train", arguments=ARGUMENTS)


def begin(connection, job_id, worker="w", **options):
    return begin_attempt(connection, job_id=job_id, worker=worker, **({"claim_s": 60} | options))


def test_a_job_goes_from_a_person_to_its_result(database, trainer, job_id):
    attempt = begin(trainer, job_id, "w1")
    report_progress(trainer, job_id=job_id, attempt=attempt, step="training", share=0.5, message="fitting")
    report_result(trainer, job_id=job_id, attempt=attempt, name="dataset", value={"rows": 9})
    viewer = database.connect("alice_viewer")
    job = get_job(viewer, job_id=job_id)
    assert (job.state, job.attempt, job.worker) == ("running", 1, "w1")
    assert (job.progress_step, job.progress_share, job.progress_message) == ("training", 0.5, "fitting")
    assert job.results == [{"name": "dataset", "value": {"rows": 9}}]
    assert job.started_at is not None
    finish_job(trainer, job_id=job_id, attempt=attempt, state="succeeded", result={"version": "7"})
    job = get_job(viewer, job_id=job_id)
    assert (job.state, job.result, job.ended) == ("succeeded", {"version": "7"}, True)
    assert get_attempt(viewer, job_id=job_id, attempt=1).state == "succeeded"


def test_a_job_that_is_held_by_a_worker_is_given_to_nobody_else(trainer, job_id):
    assert begin(trainer, job_id) == 1
    assert begin(trainer, job_id) is None
    assert begin(trainer, job_id, inline=True) is None
    assert [attempt.state for attempt in list_attempts(trainer, job_id=job_id)] == ["running"]


def test_of_attempts_begun_at_once_exactly_one_gets_the_job(database, job_id):
    def try_it(worker):
        with connect(database.dsn("trainer")) as connection:
            return begin(connection, job_id, str(worker))

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(try_it, range(8)), key=str) == [1, *[None] * 7]


def let_time_pass(database, job_id):
    """The job's next attempt is due from now on."""
    owner = database.connect("postgres")
    owner.execute("UPDATE exp.jobs SET due_at = clock_timestamp() WHERE job_id = %s", [job_id])


def test_a_job_is_not_begun_before_it_is_due(database, person, trainer):
    job_id = submit_job(person, kind="train", arguments=ARGUMENTS, delay_s=60)
    assert begin(trainer, job_id) is None
    let_time_pass(database, job_id)
    assert begin(trainer, job_id) == 1


def test_what_is_not_due_yet_may_be_begun_inline(person, trainer):
    job_id = submit_job(person, kind="train", arguments=ARGUMENTS, delay_s=60)
    assert begin(trainer, job_id, inline=True) == 1


def test_an_inline_attempt_that_still_runs_is_taken_over_inline_only(person, trainer):
    job_id = submit_job(person, kind="train", arguments=ARGUMENTS, inline=True)
    assert begin(trainer, job_id, inline=True) == 1
    assert begin(trainer, job_id) is None
    assert begin(trainer, job_id, inline=True) == 2
    lost, running = list_attempts(trainer, job_id=job_id)
    assert (lost.state, lost.error, running.state) == ("lost", "its process ended without a word", "running")


def test_an_attempt_that_was_taken_over_writes_nothing_more(trainer, job_id):
    slow = begin(trainer, job_id, inline=True)
    check_attempt(trainer, job_id=job_id, attempt=slow)
    fast = begin(trainer, job_id, inline=True)
    assert_writes_nothing(trainer, job_id, slow, f"attempt {slow} of job {job_id} writes nothing more: attempt {fast}")
    finish_job(trainer, job_id=job_id, attempt=fast, state="succeeded", result={})
    assert_writes_nothing(trainer, job_id, fast, "has state succeeded")


def test_a_cancelled_attempt_may_only_end(person, trainer, job_id):
    attempt = begin(trainer, job_id)
    cancel_job(person, job_id=job_id)
    with pytest.raises(AttemptLost, match="alice_trainer has cancelled the job"):
        check_attempt(trainer, job_id=job_id, attempt=attempt)
    assert renew_claim(trainer, job_id=job_id, attempt=attempt, claim_s=60) is True
    assert finish_attempt(trainer, job_id=job_id, attempt=attempt, state="interrupted") == "cancelled"


def test_an_attempt_of_another_login_is_not_written_to(database, trainer, job_id):
    attempt = begin(trainer, job_id)
    assert_writes_nothing(database.connect("evaluator"), job_id, attempt, "writes nothing more|lost its claim")
    assert get_job(trainer, job_id=job_id).state == "running"


def assert_writes_nothing(connection, job_id, attempt, said):
    key = {"job_id": job_id, "attempt": attempt}
    for write in (
        lambda: check_attempt(connection, **key),
        lambda: report_progress(connection, **key, step="training", share=0.9, message="late"),
        lambda: report_result(connection, **key, name="dataset", value={}),
        lambda: keep_result(connection, **key, result={}),
        lambda: finish_attempt(connection, **key, state="failed"),
        lambda: finish_job(connection, **key, state="succeeded"),
    ):
        with pytest.raises(AttemptLost, match=said):
            write()
    with pytest.raises(AttemptLost, match=f"attempt {attempt} of job {job_id} has lost its claim"):
        renew_claim(connection, **key, claim_s=60)


def test_facts_of_a_lost_attempt_are_not_recorded_and_those_of_a_running_one_whole_or_not(records, person):
    job_id = submit_job(person, kind="train", arguments=ARGUMENTS, inline=True)
    attempt = begin(records.trainer, job_id, inline=True)
    with pytest.raises(ZeroDivisionError), fenced(records.trainer, job_id=job_id, attempt=attempt):
        records.dataset(digest="a")
        raise ZeroDivisionError
    with fenced(records.trainer, job_id=job_id, attempt=attempt):
        records.dataset(digest="b")
    begin(records.trainer, job_id, inline=True)
    with pytest.raises(AttemptLost), fenced(records.trainer, job_id=job_id, attempt=attempt):
        records.dataset(digest="c")
    recorded = records.trainer.execute("SELECT digest FROM exp.datasets").fetchall()
    assert [row["digest"][0] for row in recorded] == ["b"]


def test_a_job_is_not_taken_over_while_its_facts_are_being_recorded(database, trainer, person):
    job_id = submit_job(person, kind="train", arguments=ARGUMENTS, inline=True)
    attempt = begin(trainer, job_id, inline=True)
    with ThreadPoolExecutor(1) as pool:
        with fenced(trainer, job_id=job_id, attempt=attempt):
            other = pool.submit(begin, database.connect("trainer"), job_id, inline=True)
            time.sleep(0.2)
            assert not other.done()
        assert other.result(10) == attempt + 1


def test_a_failed_attempt_is_followed_by_the_next_after_a_pause(database, trainer, job_id):
    attempt = begin(trainer, job_id)
    state = finish_attempt(trainer, job_id=job_id, attempt=attempt, state="failed", error="no disk", pause_s=60)
    job = get_job(trainer, job_id=job_id)
    assert state == job.state == "queued"
    assert job.error == "no disk", "whoever waits sees why it has not succeeded yet"
    assert begin(trainer, job_id) is None
    let_time_pass(database, job_id)
    assert begin(trainer, job_id) == 2


def test_a_job_fails_with_its_third_failed_attempt_and_interrupted_ones_do_not_count(trainer, job_id):
    ends = ["failed", "interrupted", "failed", "interrupted", "interrupted", "failed"]
    states = [
        finish_attempt(trainer, job_id=job_id, attempt=begin(trainer, job_id), state=state, error=f"error {number}")
        for number, state in enumerate(ends, 1)
    ]
    assert states == ["queued"] * 5 + ["failed"]
    job = get_job(trainer, job_id=job_id)
    assert (job.state, job.error, job.orphaned) == ("failed", "error 6", False)
    assert [attempt.state for attempt in list_attempts(trainer, job_id=job_id)] == ends


def test_a_last_attempt_that_mlflow_was_not_told_of_leaves_that_to_be_done(trainer, job_id):
    for _ in range(3):
        attempt = begin(trainer, job_id)
        finish_attempt(trainer, job_id=job_id, attempt=attempt, state="failed", error="no MLflow", orphaned=True)
    job = get_job(trainer, job_id=job_id)
    assert (job.state, job.orphaned) == ("failed", True)


def test_a_job_that_has_ended_takes_no_attempt(trainer, person, job_id):
    cancel_job(person, job_id=job_id)
    with pytest.raises(AttemptLost, match=r"has ended \(cancelled\); ask for a new one"):
        begin(trainer, job_id)


def test_an_unknown_job_or_attempt_is_said(trainer, job_id):
    with pytest.raises(RecordNotFound, match="there is no job"):
        begin(trainer, uuid4())
    with pytest.raises(RecordNotFound, match=f"job {job_id} has no attempt 1"):
        get_attempt(trainer, job_id=job_id, attempt=1)


def test_a_claim_is_renewed_by_the_servers_clock(trainer, job_id):
    attempt = begin(trainer, job_id, claim_s=1)
    assert renew_claim(trainer, job_id=job_id, attempt=attempt, claim_s=3600) is False
    row = trainer.execute(
        "SELECT claimed_until - clock_timestamp() AS left, session_pid = pg_backend_pid() AS mine FROM exp.attempts"
    ).fetchone()
    assert 3590 < row["left"].total_seconds() <= 3600
    assert row["mine"]


def test_sessions_of_earlier_attempts_are_ended_and_their_locks_are_free(database, person):
    job_id = submit_job(person, kind="train", arguments=ARGUMENTS)
    other = uuid4()
    names = [name_session(job_id, 1), name_session(job_id, 2), name_session(other, 1)]
    dsn = database.dsn("trainer")
    first, second, foreign = (connect(dsn, application_name=name) for name in names)
    with pytest.raises(psycopg.OperationalError), first, hold_lock(first, "registration r", what="it", wait_s=0):
        with pytest.raises(WorkHeld), hold_lock(second, "registration r", what="it", wait_s=0):
            pass
        end_earlier_sessions(second, job_id=job_id, attempt=2)
        with hold_lock(second, "registration r", what="it", wait_s=5):
            first.execute("SELECT 1")
    second.execute("SELECT 1")
    foreign.execute("SELECT 1")
    second.close()
    foreign.close()


@pytest.mark.parametrize(
    ("change", "tables"),
    [
        ("progress", {"attempts"}),
        ("result", {"attempts"}),
        ("kept", {"jobs"}),
        ("cancelled", {"jobs"}),
        ("failed", {"attempts", "jobs"}),
        ("succeeded", {"attempts", "jobs"}),
    ],
)
def test_whoever_follows_a_job_is_told_of_each_change_and_of_no_renewed_claim(
    database, trainer, person, job_id, change, tables
):
    key = {"job_id": job_id, "attempt": begin(trainer, job_id)}
    listener = database.connect("alice_viewer")
    listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(f"modelyard_job_{job_id}")))
    other = submit_job(person, kind="train", arguments={"another": "job"})
    cancel_job(person, job_id=other)
    renew_claim(trainer, **key, claim_s=60)
    assert list(listener.notifies(timeout=0.2)) == []
    match change:
        case "progress":
            report_progress(trainer, **key, step="training", share=0.1, message="fitting")
        case "result":
            report_result(trainer, **key, name="dataset", value={})
        case "kept":
            keep_result(trainer, **key, result={})
        case "cancelled":
            cancel_job(person, job_id=job_id)
        case "failed":
            finish_attempt(trainer, **key, state="failed", error="no disk")
        case "succeeded":
            finish_job(trainer, **key, state="succeeded", result={})
    assert {told.payload for told in listener.notifies(timeout=0.5)} == tables
