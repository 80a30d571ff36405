"""A Compose stack in which faults strike at exact points of its jobs, and what the tests do to its containers."""

from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from modelyard.settings import Settings
from modelyard.store.attempts import list_attempts
from modelyard.store.connections import connect
from modelyard.store.jobs import JobKind, find_child
from tests.integration.crew import CLAIM_S, Crew, Fault, wait_until
from tests.integration.outcomes import Outcome
from tests.stack.project import Project, docker

TRAINERS = 3
LONG_RUNNING = ("postgres", "minio", "mlflow", "trainer", "evaluator")
_PAUSE_S = 0.2
_SEEDS = count(1)


class Site(Crew):
    """A project's workers in their containers, in place of processes of the test's.

    Args:
        project: a healthy one, with the settings and overlays of ``options``.
        folder: where the folder of its faults lies.
    """

    def __init__(self, project: Project, folder: Path) -> None:
        settings = Settings(_env_file=None, claim_s=CLAIM_S, retry_pause_s=_PAUSE_S)
        super().__init__(settings, project.addresses, folder)
        self.project = project
        self.faults.chmod(0o777)  # the containers' user says there what has struck

    @staticmethod
    def options(folder: Path, **environment: str) -> dict[str, Any]:
        """What the project is opened with: short claims, and faults in this folder."""
        return {
            "overlays": ("tests/stack/door.yml", "tests/stack/faults.yml"),
            "environment": {
                "FAULTS_PARENT": str(folder),
                "MODELYARD_MLFLOW_WORKERS": "1",
                "MODELYARD_CLAIM_S": str(CLAIM_S),
                "MODELYARD_RETRY_PAUSE_S": str(_PAUSE_S),
                **environment,
            },
        }

    def read_logs(self) -> str:
        return self.project.compose("logs", "--tail=40", *LONG_RUNNING).stdout + self.project.describe_trouble()

    # jobs

    def order(self, *faults: Fault) -> UUID:
        """Queue a training unlike all before."""
        return self.submit(next(_SEEDS), *faults)

    def hold(self, *points: str) -> list[UUID]:
        """Trainings that wait at these points, each in a trainer of its own."""
        jobs = [self.order(Fault(do="hold", at=point)) for point in points]
        for job_id in jobs:
            self.wait_struck(job_id)
        return jobs

    def check_succeeded(self, job_id: UUID) -> Outcome:
        """Wait for the end of a training and its evaluation: there is one of each."""
        self.wait_settled(job_id)
        outcome = Outcome(self.stack, job_id).check()
        assert outcome.job.state == "succeeded", outcome.job.error
        assert outcome.evaluation is not None
        assert outcome.evaluation.state == "succeeded", outcome.evaluation.error
        return outcome

    # containers

    def find_worker(self, job_id: UUID, *, kind: JobKind = "train") -> tuple[str, str]:
        """Who works on a training or its evaluation: the container's id, and the worker's process id in there."""
        with connect(self.dsn) as connection:
            if kind == "evaluate":
                child = find_child(connection, job_id=job_id)
                assert child is not None
                job_id = child.job_id
            name = list_attempts(connection, job_id=job_id)[-1].worker
        container, _, process = name.split()[1].partition(":")
        return container, process

    def read_states(self) -> dict[str, dict[str, Any]]:
        """What the engine says of each long-running container, by its name: ``trainer-1``, …"""
        return {
            name: {**container["State"], "RestartCount": container["RestartCount"]}
            for name, container in self.project.inspect().items()
            if name.rsplit("-", 1)[0] in LONG_RUNNING
        }

    def list_healthy(self) -> list[str]:
        states = self.read_states().items()
        return sorted(name for name, s in states if s["Running"] and s["Health"]["Status"] == "healthy")

    def wait_healthy(self) -> None:
        """Wait until every long-running container is healthy without anybody's doing."""
        everyone = sorted(self.read_states())
        wait_until(lambda: self.list_healthy() == everyone, what="everything healthy", crew=self, timeout_s=120)

    def kill(self, service: str) -> None:
        """Kill the one container of a service, as ``docker kill`` does."""
        docker("kill", *self.project.list_containers(service))

    def start_again(self, service: str) -> None:
        docker("start", *self.project.list_containers(service))
