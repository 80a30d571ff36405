"""Jobs of workers that are gone are taken from them, and the queue's hints follow the jobs."""

import time

import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.types.json import Jsonb

from modelyard.errors import AttemptLost
from modelyard.store.attempts import (
    begin_attempt,
    check_attempt,
    finish_attempt,
    finish_job,
    list_attempts,
    renew_claim,
    sweep_jobs,
    tidy_job,
)
from modelyard.store.connections import connect, find_value
from modelyard.store.jobs import cancel_job, get_job, retry_job, submit_job

NEVER_S = 3600.0


@pytest.fixture
def job_id(person):
    return submit_job(person, kind="train", arguments={"seed": 42})


@pytest.fixture
def hints(database):
    """What waits in the queue or is being looked at, as (queue, job, status, seconds until it is due)."""
    owner = database.connect("postgres")
    query = """
        SELECT queue_name, args->>'job_id' AS job_id, status::text,
            extract(epoch FROM scheduled_at - clock_timestamp())::float AS due_in_s
        FROM queue.procrastinate_jobs ORDER BY id
    """
    return lambda: [tuple(row.values()) for row in owner.execute(query).fetchall()]


def begin(connection, job_id, claim_s=60, **options):
    return begin_attempt(connection, job_id=job_id, worker="w", claim_s=claim_s, **options)


def sweep(connection, unseen_s=NEVER_S):
    return sweep_jobs(connection, unseen_s=unseen_s)


def lose(trainer, job_id, **options):
    """An attempt whose worker is not heard from again."""
    begin(trainer, job_id, claim_s=0, **options)
    assert sweep(trainer, unseen_s=0) == 1


def drop_hints(database):
    database.connect("postgres").execute("SET search_path = queue; DELETE FROM procrastinate_jobs")


def lose_connection(database, job_id, attempt):
    """The worker's connection ends, and a sweep has seen that."""
    with connect(database.dsn("trainer")) as claim:
        renew_claim(claim, job_id=job_id, attempt=attempt, claim_s=60)
        assert sweep(claim, unseen_s=0) == 0
    observer = database.connect("trainer")
    while find_value(observer, "SELECT unseen_since FROM exp.attempts") is None:
        assert sweep(observer) == 0


def test_a_worker_that_renews_its_claim_keeps_its_job(trainer, job_id):
    attempt = begin(trainer, job_id, claim_s=0)
    renew_claim(trainer, job_id=job_id, attempt=attempt, claim_s=60)
    assert sweep(trainer) == 0
    check_attempt(trainer, job_id=job_id, attempt=attempt)


def test_a_job_whose_claim_is_over_is_taken_and_given_to_the_next(database, trainer, job_id):
    attempt = begin(trainer, job_id, claim_s=0)
    assert sweep(trainer, unseen_s=5) == 0, "its worker may be about to say that it has stopped"
    assert sweep(database.connect("evaluator"), unseen_s=0) == 1, "whichever worker is there does it"
    assert sweep(trainer, unseen_s=0) == 0
    with pytest.raises(AttemptLost):
        check_attempt(trainer, job_id=job_id, attempt=attempt)
    [lost] = list_attempts(trainer, job_id=job_id)
    assert (lost.state, lost.error) == ("lost", "worker w was not heard from")
    assert get_job(trainer, job_id=job_id).error == "worker w was not heard from", "whoever waits sees why"
    assert begin(trainer, job_id) == attempt + 1


def test_a_worker_without_a_connection_for_a_while_has_lost_its_job(database, trainer, job_id):
    attempt = begin(trainer, job_id)
    lose_connection(database, job_id, attempt)
    assert sweep(trainer, unseen_s=5) == 0, "it may be back in a moment"
    time.sleep(0.1)
    assert sweep(trainer, unseen_s=0.1) == 1


def test_a_worker_that_connects_again_in_time_keeps_its_job(database, trainer, job_id):
    attempt = begin(trainer, job_id)
    lose_connection(database, job_id, attempt)
    renew_claim(trainer, job_id=job_id, attempt=attempt, claim_s=60)
    time.sleep(0.1)
    assert sweep(trainer, unseen_s=0.1) == 0
    check_attempt(trainer, job_id=job_id, attempt=attempt)


def test_a_worker_that_stopped_its_work_in_time_is_heard_after_a_sweep_too(trainer, job_id):
    attempt = begin(trainer, job_id, claim_s=0)
    assert sweep(trainer, unseen_s=0) == 1
    state = finish_attempt(trainer, job_id=job_id, attempt=attempt, state="interrupted", error="no database")
    assert state == "queued"
    [interrupted] = list_attempts(trainer, job_id=job_id)
    assert (interrupted.state, interrupted.error) == ("interrupted", "no database"), "and does not count"
    begin(trainer, job_id)
    with pytest.raises(AttemptLost):
        finish_attempt(trainer, job_id=job_id, attempt=attempt, state="interrupted", error="no database")


def test_an_inline_job_whose_process_died_is_given_to_workers(trainer, person, hints):
    job_id = submit_job(person, kind="train", arguments={"seed": 1}, inline=True)
    assert hints() == []
    lose(trainer, job_id, inline=True)
    assert not get_job(trainer, job_id=job_id).inline
    assert [hint[1] for hint in hints()] == [str(job_id)]
    assert begin(trainer, job_id) == 2


def test_a_job_fails_with_its_third_lost_attempt_and_is_put_in_order_once(trainer, job_id, hints, database):
    for _ in range(3):
        lose(trainer, job_id)
    job = get_job(trainer, job_id=job_id)
    assert (job.state, job.orphaned, job.error) == ("failed", True, "worker w was not heard from (attempt 3)")
    assert len(hints()) == 1, "somebody has to tell MLflow"
    drop_hints(database)
    sweep(trainer)
    assert len(hints()) == 1, "and is asked again until it is done"
    drop_hints(database)
    tidy_job(trainer, job_id=job_id, attempt=2)
    assert get_job(trainer, job_id=job_id).orphaned, "there was a later attempt"
    tidy_job(trainer, job_id=job_id, attempt=3)
    sweep(trainer)
    assert not get_job(trainer, job_id=job_id).orphaned
    assert hints() == []


def test_a_cancelled_job_whose_worker_is_gone_is_cancelled(person, trainer, job_id):
    begin(trainer, job_id, claim_s=0)
    cancel_job(person, job_id=job_id)
    assert sweep(trainer, unseen_s=0) == 1
    job = get_job(trainer, job_id=job_id)
    assert (job.state, job.error, job.orphaned) == ("cancelled", "cancelled by alice_trainer", True)


def test_a_job_that_waits_after_a_lost_attempt_is_put_in_order_when_it_is_cancelled(person, trainer, job_id):
    lose(trainer, job_id)
    assert cancel_job(person, job_id=job_id) == "cancelled"
    assert get_job(trainer, job_id=job_id).orphaned


def test_a_hint_that_was_lost_is_given_again(database, trainer, job_id, hints):
    before = hints()
    drop_hints(database)
    sweep(trainer)
    assert hints() == before
    sweep(trainer)
    assert hints() == before, "and no second one"


def test_a_hint_that_a_dead_worker_took_is_given_again(database, trainer, job_id, hints):
    owner = database.connect("postgres")
    owner.execute("SET search_path = queue")
    take = "SELECT id FROM procrastinate_fetch_job_v2(ARRAY['trainer']::varchar[], %s)"
    [worker] = owner.execute("SELECT worker_id FROM procrastinate_register_worker_v1()").fetchall()
    taken = owner.execute(take, [worker["worker_id"]]).fetchone()
    sweep(trainer)
    assert [hint[2] for hint in hints()] == ["doing", "todo"], "another may look at it too: one gets the job"
    owner.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '2 minutes'")
    sweep(trainer)
    assert [hint[1:3] for hint in hints()] == [(str(job_id), "todo")]
    again = owner.execute(take, [worker["worker_id"]]).fetchone()
    assert again["id"] > taken["id"]
    owner.execute("SELECT procrastinate_unregister_worker_v1(%s)", [worker["worker_id"]])
    sweep(trainer)
    assert [hint[1:3] for hint in hints()] == [(str(job_id), "todo")], "nor is it lost with a worker that ended"


def test_one_sweep_is_done_at_a_time(database, trainer, job_id):
    begin(trainer, job_id, claim_s=0)
    other = database.connect("evaluator")
    with other.transaction():
        assert sweep(other, unseen_s=0) == 1
        assert sweep(trainer, unseen_s=0) == 0
    assert sweep(trainer, unseen_s=0) == 0


def test_a_hint_is_for_the_workers_whose_work_it_is_and_at_most_one_waits_per_job(person, trainer, hints):
    ids = [submit_job(person, kind=kind, arguments={}) for kind in ("process", "train", "evaluate")]
    for job_id in ids:
        submit_job(person, kind=get_job(person, job_id=job_id).kind, arguments={})
    assert [(queue, job) for queue, job, *_ in hints()] == list(
        zip(["trainer", "trainer", "evaluator"], map(str, ids), strict=True)
    )


def test_a_hint_is_due_when_its_job_is(person, trainer, hints):
    job_id = submit_job(person, kind="train", arguments={}, delay_s=100)
    assert 90 < hints()[0][3] <= 100
    cancel_job(person, job_id=job_id)
    retry_job(person, job_id=job_id)
    [(_, _, _, due_in_s)] = hints()
    assert due_in_s is None, "at once"
    attempt = begin(trainer, job_id)
    finish_attempt(trainer, job_id=job_id, attempt=attempt, state="failed", error="no disk", pause_s=50)
    [(_, _, _, due_in_s)] = hints()
    assert 40 < due_in_s <= 50


def test_what_has_ended_or_runs_inline_gets_no_hint(database, person, trainer, hints):
    inline = submit_job(person, kind="train", arguments={"seed": 1}, inline=True)
    ended = submit_job(person, kind="train", arguments={"seed": 2})
    finish_job(trainer, job_id=ended, attempt=begin(trainer, ended), state="succeeded", result={})
    finish_attempt(trainer, job_id=inline, attempt=begin(trainer, inline, inline=True), state="failed", error="no disk")
    assert get_job(trainer, job_id=inline).state == "queued"
    drop_hints(database)
    sweep(trainer)
    assert hints() == []


def test_evaluators_are_told_that_work_comes_soon_when_a_training_begins(database, trainer, job_id):
    listener = database.connect("evaluator")
    listener.execute("LISTEN modelyard_soon")
    begin(trainer, job_id)
    assert [told.payload for told in listener.notifies(timeout=0.5, stop_after=1)] == ["evaluator"]


def test_a_hint_alone_gives_no_job_to_anybody(database, person, trainer, hints):
    inline = submit_job(person, kind="train", arguments={"seed": 1}, inline=True)
    trainer.execute("SET search_path = queue")
    forge = "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('evaluator', 'run_job', %s)"
    trainer.execute(forge, [Jsonb({"job_id": str(inline)})])
    assert [hint[:2] for hint in hints()] == [("evaluator", str(inline))]
    assert begin(trainer, inline) is None
    with pytest.raises(InsufficientPrivilege, match="train jobs are the work of trainer"):
        begin(database.connect("evaluator"), inline)
