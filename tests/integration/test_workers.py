"""Whatever happens to workers, processes and services: each job has one outcome, and nothing is done twice.

Most of a case's time is waiting, so those that leave the services alone are all begun at once.
"""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

import pytest

from modelyard.store.connections import connect
from modelyard.store.jobs import cancel_job, retry_job
from modelyard.tracking.runs import ATTEMPT_TAG, ORPHAN_TAG
from tests.integration.crew import CLAIM_S, Crew, Fault, is_running, open_crew, signal_if_there, wait_until
from tests.integration.memory_limit import MemoryLimit, find_obstacle
from tests.integration.outcomes import Outcome

FIT = "before modelyard.workloads.california_housing:Trained"
UPLOAD = "before mlflow:MlflowClient.log_model_artifacts"
TRAINING_POINTS = {
    "before the run": "before modelyard.pipeline.flow:log_dataset",
    "during the fit": FIT,
    "after the upload": "after modelyard.pipeline.flow:train_model",
    "registered in MLflow only": "after modelyard.pipeline.register:register",
    "after the registration": "after modelyard.pipeline.flow:register_model",
}
EVALUATION_POINTS = {
    "before the verdict": "before modelyard.store.evaluations:record_evaluation",
    "after the verdict": "after modelyard.pipeline.evaluate:_record",
}
TAKEN_OVER = "taken over by attempt 2"
Case = Callable[[Crew], None]
SEEDS = count(1)


def kill(crew: Crew, victim: str, point: str, evaluation_point: str | None) -> None:
    """Kill the process (``kill``) or its worker (``kill-worker``) in the training and perhaps in its evaluation."""
    faults = [Fault(do=victim, at=TRAINING_POINTS[point])]
    if evaluation_point is not None:
        faults.append(Fault(do=victim, at=EVALUATION_POINTS[evaluation_point], kind="evaluate"))
    job_id = crew.submit(next(SEEDS), *faults)
    crew.wait_settled(job_id)
    outcome = Outcome(crew.stack, job_id).check()
    assert outcome.job.state == "succeeded", outcome.job.error
    died = "failed" if victim == "kill" else "lost"
    states = ["succeeded"] if point == "after the registration" else [died, "succeeded"]
    assert outcome.states == states, outcome.attempts
    evaluation_states = ["succeeded"] if evaluation_point is None else [died, "succeeded"]
    assert outcome.evaluation_states == evaluation_states, outcome.evaluation_attempts
    for attempt in (*outcome.attempts[:-1], *outcome.evaluation_attempts[:-1]):
        if victim == "kill":
            assert "the job's process was ended by signal 9" in str(attempt.error)
        else:
            assert attempt.error == f"worker {attempt.worker} was not heard from"
    assert outcome.job.result["training"]["resumed"] == (point in ("after the upload", "registered in MLflow only"))
    assert outcome.evaluation is not None
    assert outcome.evaluation.result["evaluation"]["resumed"] == (evaluation_point == "after the verdict")
    if point == "during the fit":
        [run] = [run for run in outcome.list_runs(attempt=1) if run.data.tags["run_type"] == "training"]
        assert run.info.status == "FAILED"
        assert run.data.tags[ORPHAN_TAG] == (outcome.attempts[0].error if died == "failed" else TAKEN_OVER)


KILLS = [
    ("before the run", None),
    ("during the fit", "before the verdict"),
    ("after the upload", "after the verdict"),
    ("registered in MLflow only", None),
    ("after the registration", None),
]


def a_workload_that_always_fails_is_tried_three_times_with_pauses(crew: Crew) -> None:
    job_id = crew.submit(
        next(SEEDS),
        Fault(do="fail", at=FIT),
        Fault(do="memory-error", at=FIT, attempt=2),
        Fault(do="fail", at=FIT, attempt=3),
    )
    crew.wait_settled(job_id)
    outcome = Outcome(crew.stack, job_id).check()
    assert (outcome.job.state, outcome.states) == ("failed", ["failed"] * 3), outcome.attempts
    assert "training failed: RuntimeError: made to fail (traceback: http" in str(outcome.job.error)
    assert "memory ran out (MemoryError: cannot allocate 8 TiB)" in str(outcome.attempts[1].error)
    for earlier, later, factor in zip(outcome.attempts, outcome.attempts[1:], (1, 4), strict=False):
        assert earlier.ended_at is not None
        assert (later.started_at - earlier.ended_at).total_seconds() >= crew.settings.retry_pause_s * factor
    runs = [run for run in outcome.list_runs() if run.data.tags["run_type"] == "training"]
    assert sorted((run.data.tags[ATTEMPT_TAG], run.info.status) for run in runs) == [(n, "FAILED") for n in "123"]
    for run in runs:
        assert (
            "made to fail"
            if run.data.tags[ATTEMPT_TAG] != "2"
            else "MemoryError" in outcome.read_artifact(run, "error/traceback.txt")
        )
        assert "fitting the training rows" in outcome.read_artifact(run, "error/output.txt")


def a_waiting_job_is_cancelled_at_once(crew: Crew) -> None:
    job_id = crew.submit(next(SEEDS), delay_s=600)
    with connect(crew.dsn) as person:
        assert cancel_job(person, job_id=job_id) == "cancelled"
    outcome = Outcome(crew.stack, job_id).check()
    assert (outcome.states, outcome.list_runs()) == ([], [])
    assert outcome.job.error == f"cancelled by {crew.stack.person}"


def a_job_cancelled_during_the_fit_stops_at_once_and_registers_nothing(crew: Crew) -> None:
    job_id = crew.submit(next(SEEDS), Fault(do="hold", at=FIT))
    struck = crew.wait_struck(job_id)
    with connect(crew.dsn) as person:
        assert cancel_job(person, job_id=job_id) == "running"
    wait_until(lambda: not is_running(struck.child), what="the fit stopped", crew=crew, timeout_s=10)
    crew.wait_settled(job_id)
    outcome = Outcome(crew.stack, job_id).check()
    assert (outcome.job.state, outcome.states) == ("cancelled", ["interrupted"])
    [run] = [run for run in outcome.list_runs() if run.data.tags["run_type"] == "training"]
    assert run.info.status == "KILLED"


def a_job_cancelled_during_the_registration_takes_its_version_back_and_may_be_tried_again(crew: Crew) -> None:
    job_id = crew.submit(next(SEEDS), Fault(do="hold", at="after modelyard.pipeline.register:register"))
    crew.wait_struck(job_id)
    with connect(crew.dsn) as person:
        cancel_job(person, job_id=job_id)
        time.sleep(1)  # the worker has told its process to end by now
        crew.release(job_id)
        crew.wait_settled(job_id)
        outcome = Outcome(crew.stack, job_id).check()
        assert (outcome.job.state, outcome.states, outcome.list_versions()) == ("cancelled", ["interrupted"], [])
        retry_job(person, job_id=job_id)
    crew.wait_settled(job_id)
    assert Outcome(crew.stack, job_id).check().states == ["interrupted", "succeeded"]


def a_worker_told_to_stop_gives_its_attempt_back_at_once(crew: Crew) -> None:
    job_id = crew.submit(next(SEEDS), Fault(do="hold", at=FIT))
    worker = crew.wait_struck(job_id).worker
    signal_if_there(worker, signal.SIGTERM)
    began_s = time.monotonic()
    crew.wait_for(job_id, lambda job: job.state == "queued" or job.attempt > 1, what="the attempt given back")
    assert time.monotonic() - began_s < 5
    crew.wait_settled(job_id)
    outcome = Outcome(crew.stack, job_id).check()
    assert outcome.states == ["interrupted", "succeeded"]
    assert outcome.attempts[0].error == "its worker was stopped"
    assert crew.ended[worker] == 0


def a_stopped_worker_that_goes_on_later_leaves_the_second_attempt_alone(crew: Crew) -> None:
    """The first attempt's process has gone on alone, and ended because its job was taken over."""
    job_id = crew.submit(next(SEEDS), Fault(do="hold", at=FIT), Fault(do="hold", at=UPLOAD, attempt=2))
    struck = crew.wait_struck(job_id)
    signal_if_there(struck.worker, signal.SIGSTOP)
    crew.wait_struck(job_id, attempt=2)
    crew.release(job_id)
    wait_until(lambda: not is_running(struck.child), what="the first attempt's process ended", crew=crew)
    signal_if_there(struck.worker, signal.SIGCONT)
    wait_until_given_up(crew, job_id)
    crew.release(job_id, attempt=2)
    crew.wait_settled(job_id)
    check_taken_over(crew, job_id)


def a_worker_and_its_process_that_go_on_later_write_nothing_more(crew: Crew) -> None:
    job_id = crew.submit(next(SEEDS), Fault(do="hold", at=FIT), Fault(do="hold", at=UPLOAD, attempt=2))
    struck = crew.wait_struck(job_id)
    for pid in (struck.worker, struck.child):
        signal_if_there(pid, signal.SIGSTOP)
    crew.wait_struck(job_id, attempt=2)
    crew.release(job_id)
    for pid in (struck.child, struck.worker):
        signal_if_there(pid, signal.SIGCONT)
    wait_until_given_up(crew, job_id)
    crew.release(job_id, attempt=2)
    crew.wait_settled(job_id)
    check_taken_over(crew, job_id)


def a_process_that_goes_on_in_the_middle_of_its_registration_makes_no_second_version(crew: Crew) -> None:
    job_id = crew.submit(
        next(SEEDS),
        Fault(do="hold", at="before mlflow:MlflowClient.create_model_version"),
        Fault(do="pause", at="before modelyard.pipeline.register:_take_back"),
    )
    struck = crew.wait_struck(job_id)
    for pid in (struck.worker, struck.child):
        signal_if_there(pid, signal.SIGSTOP)
    crew.wait_settled(job_id)
    crew.release(job_id)
    for pid in (struck.child, struck.worker):
        signal_if_there(pid, signal.SIGCONT)
    wait_until_given_up(crew, job_id)
    check_taken_over(crew, job_id)


def wait_until_given_up(crew: Crew, job_id) -> None:
    """Until the first attempt's worker has found that it was taken over, and is done with it."""
    said = (f"job {job_id}: attempt 1 of job", f"job {job_id}, attempt 1 is over")
    wait_until(lambda: any(text in crew.read_logs() for text in said), what="attempt 1 given up", crew=crew)


def check_taken_over(crew: Crew, job_id) -> None:
    outcome = Outcome(crew.stack, job_id).check()
    assert outcome.states == ["lost", "succeeded"], outcome.attempts
    for run in outcome.list_runs(attempt=2):
        assert ORPHAN_TAG not in run.data.tags


CASES: list[Case] = [
    a_stopped_worker_that_goes_on_later_leaves_the_second_attempt_alone,
    a_worker_and_its_process_that_go_on_later_write_nothing_more,
    a_process_that_goes_on_in_the_middle_of_its_registration_makes_no_second_version,
    a_workload_that_always_fails_is_tried_three_times_with_pauses,
    a_waiting_job_is_cancelled_at_once,
    a_job_cancelled_during_the_fit_stops_at_once_and_registers_nothing,
    a_job_cancelled_during_the_registration_takes_its_version_back_and_may_be_tried_again,
    a_worker_told_to_stop_gives_its_attempt_back_at_once,
]


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with open_crew() as crew:
        crew.start(trainers=5, evaluators=2)
        yield crew


@pytest.fixture(scope="module")
def underway(crew: Crew, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """All chosen cases, begun at once."""
    chosen = {item.name: item.callspec.params for item in request.session.items if "underway" in item.fixturenames}
    with ThreadPoolExecutor(len(chosen)) as pool:
        yield {
            name: pool.submit(case, crew)
            if (case := params.get("case"))
            else pool.submit(kill, crew, params["victim"], params["point"], params["evaluation_point"])
            for name, params in chosen.items()
        }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_whatever_is_done_to_workers_and_jobs(
    underway: dict[str, Future[None]], request: pytest.FixtureRequest, case: Case
) -> None:
    underway[request.node.name].result()


@pytest.mark.parametrize(("point", "evaluation_point"), KILLS, ids=[point for point, _ in KILLS])
@pytest.mark.parametrize("victim", ["kill", "kill-worker"])
def test_a_job_whose_process_or_worker_is_killed_ends_in_one_of_each(
    underway: dict[str, Future[None]],
    request: pytest.FixtureRequest,
    victim: str,
    point: str,
    evaluation_point: str | None,
) -> None:
    underway[request.node.name].result()


@pytest.fixture
def alone(crew: Crew, request: pytest.FixtureRequest) -> None:
    """Nothing else is under way: what this test does to a service would reach it."""
    if "underway" in [name for item in request.session.items for name in item.fixturenames]:
        cases: dict[str, Future[None]] = request.getfixturevalue("underway")
        for case in cases.values():
            case.exception()


@pytest.mark.usefixtures("alone")
def test_a_process_that_the_system_ends_for_want_of_memory_is_named(crew: Crew) -> None:
    if reason := find_obstacle():
        pytest.skip(reason)
    job_id = crew.submit(next(SEEDS), Fault(do="eat", at=FIT))
    with MemoryLimit(limit_bytes=64 * 2**20) as limit:
        limit.take_in(crew.wait_struck(job_id).child)
        crew.release(job_id)
        crew.wait_settled(job_id)
    outcome = Outcome(crew.stack, job_id).check()
    assert outcome.states == ["failed", "succeeded"]
    error = str(outcome.attempts[0].error)
    assert error.startswith("memory ran out: the system ended the job's process, after it had used ")
    assert error.endswith("; give the machine or container more")


@pytest.mark.usefixtures("alone")
def test_after_a_pause_of_postgres_longer_than_the_claim_the_training_is_done_once(crew: Crew) -> None:
    job_id = crew.submit(next(SEEDS), Fault(do="hold", at=FIT))
    struck = crew.wait_struck(job_id)
    crew.signal_postgres(signal.SIGSTOP)
    try:
        wait_until(lambda: not is_running(struck.child), what="the process stopped", crew=crew, timeout_s=3 * CLAIM_S)
    finally:
        crew.signal_postgres(signal.SIGCONT)
    crew.wait_settled(job_id)
    outcome = Outcome(crew.stack, job_id).check()
    assert outcome.states in (["interrupted", "succeeded"], ["lost", "succeeded"])
    assert outcome.attempts[0].error in (
        f"its claim could not be renewed for {CLAIM_S:.0f} s, so it was stopped",
        f"worker {outcome.attempts[0].worker} was not heard from",
    )


@pytest.mark.usefixtures("alone")
def test_a_training_whose_mlflow_is_killed_in_the_upload_ends_in_one_of_each(crew: Crew) -> None:
    job_id = crew.submit(next(SEEDS), Fault(do="hold", at=UPLOAD))
    crew.wait_struck(job_id)
    crew.kill_mlflow()
    crew.release(job_id)
    crew.start_mlflow()
    crew.wait_settled(job_id)
    outcome = Outcome(crew.stack, job_id).check()
    assert outcome.job.state == "succeeded", outcome.job.error


@pytest.mark.usefixtures("alone")
def test_a_training_survives_a_postgres_that_is_killed_and_comes_back(crew: Crew) -> None:
    crew.environment["MODELYARD_CLAIM_S"] = "30"  # it may take its time to recover
    crew.replace_workers()
    job_id = crew.submit(next(SEEDS), Fault(do="hold", at=FIT))
    crew.wait_struck(job_id)
    crew.signal_postgres(signal.SIGKILL)
    crew.start_postgres()
    crew.release(job_id)
    crew.wait_settled(job_id)
    assert Outcome(crew.stack, job_id).check().states == ["succeeded"]
