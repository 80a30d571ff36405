"""A random walk of use and faults over real workers; its seed is printed, and WALK_SEED walks it again."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from uuid import UUID

import pytest

from modelyard.errors import JobRefused
from modelyard.store.connections import connect
from modelyard.store.jobs import cancel_job, retry_job
from tests.integration.crew import Crew, list_children, open_crew, signal_if_there
from tests.integration.outcomes import Outcome

WALK_S = 30.0
NB_JOBS = 5


class Walk:
    """Steps that a user, the system or bad luck may take."""

    def __init__(self, crew: Crew, chance: random.Random) -> None:
        self._crew, self._chance = crew, chance
        self.jobs: list[UUID] = []
        self._stopped: list[int] = []

    def step(self) -> str:
        """Take a step; return its name."""
        steps: dict[Callable[[], None], int] = {
            self.submit: 4 if len(self.jobs) < NB_JOBS else 0,
            self.kill_worker: 1,
            self.kill_process: 2,
            self.stop_worker: 1,
            self.continue_worker: 2,
            self.end_worker: 1,
            self.cancel: 1,
            self.retry: 2,
        }
        [step] = self._chance.choices(list(steps), list(steps.values()))
        step()
        return step.__name__

    def submit(self) -> None:
        self.jobs.append(self._crew.submit(len(self.jobs)))

    def kill_worker(self) -> None:
        signal_if_there(self._choose_worker(), signal.SIGKILL)

    def kill_process(self) -> None:
        for child in list_children(self._choose_worker()):
            signal_if_there(child, signal.SIGKILL)

    def stop_worker(self) -> None:
        """Sometimes with its processes."""
        worker = self._choose_worker()
        stopped = [worker, *(list_children(worker) if self._chance.random() < 0.5 else [])]
        for pid in stopped:
            signal_if_there(pid, signal.SIGSTOP)
        self._stopped += stopped

    def continue_worker(self) -> None:
        for pid in self._stopped:
            signal_if_there(pid, signal.SIGCONT)
        self._stopped.clear()

    def end_worker(self) -> None:
        signal_if_there(self._choose_worker(), signal.SIGTERM)

    def cancel(self) -> None:
        if self.jobs:
            with connect(self._crew.dsn) as person, suppress(JobRefused):
                cancel_job(person, job_id=self._chance.choice(self.jobs))

    def retry(self) -> None:
        """Whatever has failed or was cancelled, evaluations too."""
        with connect(self._crew.dsn) as person:
            query = "SELECT job_id FROM exp.jobs WHERE state IN ('failed', 'cancelled')"
            for row in person.execute(query).fetchall():
                with suppress(JobRefused):
                    retry_job(person, job_id=row["job_id"])

    def _choose_worker(self) -> int:
        return self._chance.choice(self._crew.list_pids())


@pytest.fixture
def crew() -> Iterator[Crew]:
    with open_crew() as crew:
        crew.start(trainers=3, evaluators=1)
        yield crew


def test_after_a_random_walk_each_job_has_one_outcome_and_a_retry_brings_the_rest_home(crew: Crew) -> None:
    seed = int(os.environ.get("WALK_SEED") or random.SystemRandom().randrange(10**6))
    print(f"WALK_SEED={seed}")
    chance = random.Random(seed)
    walk = Walk(crew, chance)
    give_up_s = time.monotonic() + WALK_S
    while time.monotonic() < give_up_s:
        print(f"{time.monotonic() - give_up_s + WALK_S:5.1f} s {walk.step()}")
        time.sleep(chance.uniform(0.2, 1.5))
    walk.continue_worker()
    for job_id in walk.jobs:
        crew.wait_settled(job_id)
        Outcome(crew.stack, job_id).check()
    walk.retry()
    for job_id in walk.jobs:
        crew.wait_settled(job_id)
        outcome = Outcome(crew.stack, job_id).check()
        print(outcome.job.state, outcome.states, outcome.evaluation_states)
        assert outcome.job.state == "succeeded", outcome.job.error
        assert outcome.evaluation is not None
        assert outcome.evaluation.state == "succeeded", outcome.evaluation.error
