"""Whatever happens to containers in the middle of a job: it has one outcome, and nothing that is on record is lost.

A fault holds each job at an exact point; then the test does to containers what an engine, a person or a disk would do.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from modelyard.store.connections import connect
from modelyard.store.jobs import get_job
from modelyard.tracking.runs import ORPHAN_TAG
from tests.conftest import open_folder
from tests.integration.crew import Fault, wait_until
from tests.integration.outcomes import Outcome
from tests.stack.project import Ended, Project, docker
from tests.stack.site import LONG_RUNNING, TRAINERS, Site

FIT = "before modelyard.workloads.california_housing:Trained"
UPLOAD = "before mlflow:MlflowClient.log_model_artifacts"
REGISTRATION = "before mlflow:MlflowClient.create_model_version"
VERDICT = "before modelyard.store.evaluations:record_evaluation"
NOTICED_S = 60.0  # checks fail several times before they count
RECORDED = ("jobs", "attempts", "datasets", "model_files", "model_versions", "evaluations", "policy_versions")


@dataclass(frozen=True)
class Opened:
    """The stack, and how the two ``init`` ended that prepared it at once."""

    site: Site
    inits: list[Ended]


@pytest.fixture(scope="module")
def opened(project: Project, open_another: Callable[..., AbstractContextManager[Project]]) -> Iterator[Opened]:
    """Prepared twice at once, then brought up by Docker Compose alone; the session's project has made the images."""
    with (
        open_folder() as folder,
        open_another(**Site.options(folder, MODELYARD_TRAINER_MEMORY="800m")) as other,
        pytest.MonkeyPatch.context() as patch,
    ):
        other.compose("up", "--detach", "--wait", "postgres", "minio").checked()
        with ThreadPoolExecutor(2) as pool:
            inits = list(pool.map(lambda _: other.compose("run", "--rm", "--no-deps", "init"), range(2)))
        other.compose("up", "--detach", "--wait", "--scale", f"trainer={TRAINERS}").checked()
        site = Site(other, folder)
        key, secret = other.keys("client")
        patch.setenv("AWS_ENDPOINT_URL_S3", other.s3_url)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        assert site.raw  # stored once; the trainings name it
        yield Opened(site, inits)


@pytest.fixture
def site(opened: Opened) -> Site:
    return opened.site


def test_two_init_at_once_prepare_an_empty_stack(opened: Opened) -> None:
    for ended in opened.inits:
        assert ended.checked().stderr.endswith("everything is prepared\n")


def test_three_trainers_do_three_jobs_at_a_time_and_each_once(site: Site) -> None:
    held = site.hold(FIT, UPLOAD, REGISTRATION)
    waiting = site.order()
    assert len({site.find_worker(job_id) for job_id in held}) == TRAINERS
    time.sleep(3)  # longer than a trainer takes to find a job
    with connect(site.dsn) as connection:
        assert get_job(connection, job_id=waiting).state == "queued"
    for job_id in held:
        site.release(job_id)
    for job_id in (*held, waiting):
        outcome = site.check_succeeded(job_id)
        assert outcome.states == outcome.evaluation_states == ["succeeded"]


def test_a_trainer_and_an_evaluator_that_are_killed_leave_one_of_each(site: Site) -> None:
    """``docker kill`` counts as stopped by hand: another trainer goes on, and the evaluator waits for ``make up``."""
    job_id = site.order(Fault(do="hold", at=FIT), Fault(do="hold", at=VERDICT, kind="evaluate"))
    site.wait_struck(job_id)
    docker("kill", site.find_worker(job_id)[0])
    site.wait_struck(job_id, kind="evaluate")
    docker("kill", site.find_worker(job_id, kind="evaluate")[0])
    assert len(site.list_healthy()) == len(LONG_RUNNING) + TRAINERS - 1 - 2
    assert f"{TRAINERS} trainer(s)" in site.project.launch("up").checked().stderr
    outcome = site.check_succeeded(job_id)
    assert outcome.states == outcome.evaluation_states == ["lost", "succeeded"]
    [run] = [run for run in outcome.list_runs(attempt=1) if run.data.tags["run_type"] == "training"]
    assert (run.info.status, run.data.tags[ORPHAN_TAG]) == ("FAILED", "taken over by attempt 2")


def test_a_worker_whose_process_is_killed_is_started_again_by_the_engine(site: Site) -> None:
    job_id = site.order(Fault(do="hold", at=UPLOAD), Fault(do="hold", at=VERDICT, kind="evaluate"))
    killed = []
    for kind in ("train", "evaluate"):
        site.wait_struck(job_id, kind=kind)
        container, process = site.find_worker(job_id, kind=kind)
        docker("exec", container, "sh", "-c", f"kill -9 {process}")
        killed.append(container)
    outcome = site.check_succeeded(job_id)
    assert outcome.states == outcome.evaluation_states == ["lost", "succeeded"]
    site.wait_healthy()
    for container in killed:
        assert docker("inspect", "--format", "{{.RestartCount}}", container).strip() == "1"


def test_trainings_outlast_a_service_that_is_killed(site: Site) -> None:
    """MLflow and the object store, both at once; PostgreSQL has a test of its own."""
    jobs = site.hold(FIT, UPLOAD, REGISTRATION)
    site.kill("mlflow")
    site.kill("minio")
    for job_id in jobs:
        site.release(job_id)
    time.sleep(2)  # they meet their absence
    site.start_again("minio")
    site.start_again("mlflow")
    for job_id in jobs:
        site.check_succeeded(job_id)


def test_a_database_that_is_away_shows_everywhere_and_everything_goes_on_by_itself(site: Site) -> None:
    jobs = site.hold(FIT, UPLOAD, REGISTRATION)
    site.wait_healthy()
    before = site.read_states()
    site.kill("postgres")
    wait_until(lambda: site.list_healthy() == ["minio-1"], what="ill health", crew=site, timeout_s=NOTICED_S)
    for job_id in jobs:
        site.release(job_id)
    site.start_again("postgres")
    site.wait_healthy()
    for job_id in jobs:
        site.check_succeeded(job_id)
    after = site.read_states()
    del before["postgres-1"], after["postgres-1"]
    assert list_starts(after) == list_starts(before)


def test_trainings_outlast_restarts_of_all_that_they_need(site: Site) -> None:
    jobs = site.hold(FIT, UPLOAD, REGISTRATION)
    site.project.compose("restart", "postgres", "minio", "mlflow").checked()
    for job_id in jobs:
        site.release(job_id)
    for job_id in jobs:
        site.check_succeeded(job_id)
    site.wait_healthy()


def test_a_job_that_takes_all_memory_is_named_so_and_takes_nothing_along(site: Site) -> None:
    before = site.read_states()
    job_id = site.order(*(Fault(do="eat", at=FIT, attempt=attempt) for attempt in (1, 2, 3)))
    for attempt in (1, 2, 3):
        site.wait_struck(job_id, attempt=attempt)
        site.release(job_id, attempt=attempt)
    site.wait_settled(job_id)
    outcome = Outcome(site.stack, job_id).check()
    assert (outcome.job.state, outcome.states) == ("failed", ["failed"] * 3)
    assert "memory ran out: the system ended the job's process" in str(outcome.job.error)
    assert list_starts(site.read_states()) == list_starts(before)
    assert site.list_healthy() == sorted(before)


def test_every_service_stops_in_its_grace_and_nothing_is_lost_over_down_and_up(site: Site) -> None:
    """A training that is under way is given back, and done after the start."""
    site.check_succeeded(site.order())
    [job_id] = site.hold(FIT)
    before = read_everything(site)
    site.project.compose("stop").checked()
    codes = {name: state["ExitCode"] for name, state in site.read_states().items()}
    assert codes == dict.fromkeys(codes, 0)  # what is not done in its grace is killed: 137
    site.project.launch("down").checked()
    assert site.project.list_containers() == []
    site.project.compose("up", "--detach", "--wait").checked()
    outcome = site.check_succeeded(job_id)
    assert outcome.states == ["interrupted", "succeeded"]
    assert outcome.attempts[0].error == "its worker was stopped"
    after = read_everything(site)
    for what, things in before.items():
        assert things <= after[what], what
    assert site.project.read_secrets() == site.project.secrets


def list_starts(states: dict[str, dict[str, Any]]) -> dict[str, tuple[str, int]]:
    """When each container was started, and how often by the engine: the same as long as nobody and nothing did."""
    return {name: (state["StartedAt"], state["RestartCount"]) for name, state in states.items()}


def read_everything(site: Site) -> dict[str, set[str]]:
    """What is on record and will not change any more, and every version of every object."""
    found: dict[str, set[str]] = {}
    for table in RECORDED:
        ended = "state NOT IN ('queued', 'running')" if table in ("jobs", "attempts") else "true"
        rows = site.project.rows(f"SELECT to_jsonb(t)::text AS row FROM exp.{table} AS t WHERE {ended}")
        found[table] = {row["row"] for row in rows}
    pages: Any = site.project.s3("root").get_paginator("list_object_versions").paginate(Bucket=site.project.bucket)
    found["objects"] = {
        f"{version['Key']} {version['VersionId']} {version['ETag']}"
        for page in pages
        for version in page.get("Versions", ())
    }
    assert all(found.values()), {what: len(things) for what, things in found.items()}
    return found
