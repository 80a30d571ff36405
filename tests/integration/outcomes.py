"""What must hold of a training that has ended, however it came to that: read from the database and from MLflow."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from uuid import UUID

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus, Run
from mlflow.entities.model_registry import ModelVersion
from psycopg.rows import tuple_row

from modelyard.stack.addresses import Addresses
from modelyard.store.attempts import AttemptRecord, list_attempts
from modelyard.store.connections import connect
from modelyard.store.jobs import Job, find_child, get_job
from modelyard.tracking.runs import ATTEMPT_TAG, JOB_TAG


@dataclass(frozen=True)
class Outcome:
    """A training and its evaluation as everybody can see them; ``check`` it once both have ended."""

    stack: Addresses
    job_id: UUID

    @cached_property
    def job(self) -> Job:
        with connect(self.stack.dsn(self.stack.person)) as connection:
            return get_job(connection, job_id=self.job_id)

    @cached_property
    def evaluation(self) -> Job | None:
        with connect(self.stack.dsn(self.stack.person)) as connection:
            return find_child(connection, job_id=self.job_id)

    @cached_property
    def attempts(self) -> list[AttemptRecord]:
        return self._list_attempts(self.job_id)

    @cached_property
    def evaluation_attempts(self) -> list[AttemptRecord]:
        return self._list_attempts(self.evaluation.job_id) if self.evaluation else []

    @property
    def states(self) -> list[str]:
        return [attempt.state for attempt in self.attempts]

    @property
    def evaluation_states(self) -> list[str]:
        return [attempt.state for attempt in self.evaluation_attempts]

    def list_runs(self, job_id: UUID | None = None, *, attempt: int | None = None) -> list[Run]:
        """The MLflow runs of the training, or of another job; of one attempt, or of all."""
        client = MlflowClient(self.stack.tracking_uri)
        wanted = f"tags.`{JOB_TAG}` = '{job_id or self.job_id}'"
        if attempt is not None:
            wanted += f" and tags.`{ATTEMPT_TAG}` = '{attempt}'"
        return list(client.search_runs([e.experiment_id for e in client.search_experiments()], wanted))

    def list_versions(self) -> list[ModelVersion]:
        """The versions that MLflow has of any run of the training."""
        client = MlflowClient(self.stack.tracking_uri)
        return [v for run in self.list_runs() for v in client.search_model_versions(f"run_id = '{run.info.run_id}'")]

    def read_artifact(self, run: Run, path: str) -> str:
        uri = f"runs:/{run.info.run_id}/{path}"
        return Path(mlflow.artifacts.download_artifacts(uri, tracking_uri=self.stack.tracking_uri)).read_text()

    def check(self) -> "Outcome":
        """One outcome, in the database and in MLflow; return itself."""
        assert self.job.ended, self.job
        assert (self.evaluation is not None) == (self.job.state == "succeeded")
        for job, attempts in ((self.job, self.attempts), (self.evaluation, self.evaluation_attempts)):
            if job is not None:
                self._check_attempts(job, attempts)
                self._check_runs(job, attempts)
        self._check_versions()
        return self

    def _check_attempts(self, job: Job, attempts: list[AttemptRecord]) -> None:
        states = [attempt.state for attempt in attempts]
        assert not job.orphaned
        assert (job.error is None) == (job.state == "succeeded"), job.error
        assert all(attempt.ended_at for attempt in attempts), states
        assert states.count("succeeded") == (job.state == "succeeded"), states
        assert "succeeded" not in states[:-1], states
        for attempt in attempts:
            assert (attempt.error is None) == (attempt.state == "succeeded"), attempt

    def _check_runs(self, job: Job, attempts: list[AttemptRecord]) -> None:
        kind = {"train": "training", "evaluate": "evaluation"}[job.kind]
        client, runs = MlflowClient(self.stack.tracking_uri), self.list_runs(job.job_id)
        finished = [run for run in runs if run.info.status == "FINISHED" and run.data.tags["run_type"] == kind]
        assert {run.info.status for run in runs} <= {"FINISHED", "FAILED", "KILLED"}
        assert len(finished) == 1 if job.state == "succeeded" else len(finished) <= 1, finished
        for run in runs:
            outputs = run.outputs.model_outputs if run.outputs else []
            models = {client.get_logged_model(output.model_id).status for output in outputs}
            assert LoggedModelStatus.PENDING not in models, run
            assert run not in finished or models <= {LoggedModelStatus.READY}, run
        for attempt in attempts:
            if attempt.state == "failed":
                mine = [run for run in runs if run.data.tags[ATTEMPT_TAG] == str(attempt.attempt)]
                assert "FAILED" in {run.info.status for run in mine} or finished, attempt

    def _check_versions(self) -> None:
        """A training that succeeded has one of each; of any other nothing is on record."""
        query = """
            SELECT v.mlflow_model_version, v.mlflow_run_id, count(DISTINCT e.evaluation_id),
                count(DISTINCT p.policy_version_id), min(s.stage)
            FROM exp.model_versions AS v
            LEFT JOIN exp.evaluations AS e USING (mlflow_model_name, mlflow_model_version)
            LEFT JOIN exp.policy_versions AS p USING (mlflow_model_name, mlflow_model_version)
            LEFT JOIN exp.stages AS s USING (mlflow_model_name, mlflow_model_version)
            WHERE v.job_id = %s GROUP BY 1, 2
        """
        with (
            connect(self.stack.dsn(self.stack.person)) as connection,
            connection.cursor(row_factory=tuple_row) as cursor,
        ):
            recorded = cursor.execute(query, [self.job_id]).fetchall()
        shown = [(str(v.version), v.run_id, v.tags["stage"]) for v in self.list_versions()]
        assert len(recorded) == (self.job.state == "succeeded")
        if self.job.state != "succeeded":
            # it may have been killed between the two registries; the next attempt would have taken it from there
            assert [stage for _, _, stage in shown] in ([], ["none"])
            return
        assert [row[:2] for row in recorded] == [row[:2] for row in shown], (recorded, shown)
        if self.evaluation is not None and self.evaluation.state == "succeeded":
            assert [row[2:] for row in recorded] == [(1, 1, "candidate")]
            assert shown[0][2] == "candidate"

    def _list_attempts(self, job_id: UUID) -> list[AttemptRecord]:
        with connect(self.stack.dsn(self.stack.person)) as connection:
            return list_attempts(connection, job_id=job_id)
