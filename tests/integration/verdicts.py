"""Model versions of a test's own, small and quick, and their evaluations in this process."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from modelyard.cli.worker import build_config
from modelyard.pipeline.datasets import load_recorded
from modelyard.pipeline.evaluation_request import build_evaluation
from modelyard.pipeline.results import EvaluationResult
from modelyard.pipeline.session import Session
from modelyard.settings import Settings
from modelyard.stack.addresses import Addresses
from modelyard.store import models
from modelyard.store.connections import connect
from modelyard.store.datasets import Dataset
from modelyard.store.gates import DeclaredGate, declare_gate
from modelyard.store.jobs import submit_job
from modelyard.store.models import ModelVersion
from modelyard.store.policies import find_live_version, find_owner
from modelyard.store.promotions import Promotion, promote
from modelyard.tracking.models import log_model
from modelyard.tracking.registry import register
from modelyard.workers.inline import run_inline
from tests.integration.notebook import NAME, own_run


@dataclass(frozen=True, kw_only=True)
class Court:
    """A stack on which models are registered, judged and promoted."""

    stack: Addresses
    settings: Settings
    session: Session

    def register(
        self,
        name: str,
        dataset: Dataset,
        make: Callable[[], Any],
        *,
        workload: str = NAME,
        task: str = "regression",
        parameters: dict[str, Any] | None = None,
        metrics: dict[str, float] | None = None,
        change: Callable[[Any], None] = lambda _: None,
    ) -> ModelVersion:
        """A version of the model ``name``: what ``make`` makes, fitted on all rows but the test rows, then changed."""
        session, tables = self.session, load_recorded(self.session, dataset)
        others = [part != "test" for part in tables.split.to_pylist()]
        X, y = tables.X.filter(others).to_pandas(), tables.y.column(0).filter(others).to_pandas()
        estimator = make().fit(X, y)
        change(estimator)
        with own_run(session) as run, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow warns of its own code
            logged = log_model(
                run,
                estimator,
                name="model",
                input_example=X[:2],
                predictions=estimator.predict(X[:2]),
                params={},
                tags={},
            )
            models.record_model_files(session.records, mlflow_model_id=logged.model_id, files=logged.files)
        number = register(session.mlflow, model_name=name, run_id=run.run_id, model_id=logged.model_id, tags={})
        return models.record_model_version(
            session.records,
            mlflow_model_name=name,
            mlflow_model_version=number,
            mlflow_run_id=run.run_id,
            mlflow_model_id=logged.model_id,
            workload=workload,
            task=task,
            model_type="ridge",
            dataset_id=dataset.dataset_id,
            parameters=parameters or {},
            code_version={},
            metrics=metrics or {},
        )

    def evaluate(
        self, version: ModelVersion, *, dataset: str | None = None, unseen_rows: bool = False
    ) -> EvaluationResult:
        """Ask for an evaluation and do it here, as the evaluator."""
        told: list[Any] = []
        with connect(self.stack.dsn(self.stack.person)) as connection:
            request = build_evaluation(connection, version, dataset=dataset, unseen_rows=unseen_rows)
            job_id = submit_job(connection, kind="evaluate", arguments=request.arguments(), inline=True)
            run_inline(
                build_config("evaluator", self.stack, self.settings),
                connection,
                job_id=job_id,
                started=lambda _: None,
                emit=told.append,
                report=lambda *_: None,
            )
        (result,) = told
        assert isinstance(result, EvaluationResult)
        return result

    def declare_gate(self, name: str, gate: dict[str, list[str]]) -> DeclaredGate:
        """Declare the gate of a model, as a person."""
        with connect(self.stack.dsn(self.stack.person)) as connection:
            return declare_gate(connection, mlflow_model_name=name, gate=gate, reason="of the tests")

    def promote(self, name: str, version: int) -> Promotion:
        """Put this version of the model's policy in production, in place of what is live."""
        with connect(self.stack.dsn(self.stack.person)) as connection:
            owner = find_owner(connection, mlflow_model_name=name)
            live = find_live_version(connection, mlflow_model_name=name)
            assert owner is not None
            return promote(connection, policy_id=owner.policy_id, version=version, expected=live.version if live else 0)

    def read_predictions(self, result: EvaluationResult, folder: Path) -> Any:
        """The file of all answers."""
        return pq.read_table(self.download(result, "evaluation/predictions.parquet", folder))

    def download(self, result: EvaluationResult, path: str, folder: Path) -> Path:
        """An artifact of the evaluation's run."""
        return Path(self.session.mlflow.download_artifacts(result.run_id, path, str(folder)))
