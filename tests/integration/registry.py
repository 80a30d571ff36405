"""A registered model of a test's own on a real stack: versions made in moments, recorded as the services do it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from mlflow.entities import LoggedModelStatus

from modelyard.pipeline.reconcile import reconcile
from modelyard.pipeline.session import Session, open_session
from modelyard.stack.addresses import Addresses
from modelyard.store import gates, policies, promotions
from modelyard.store.connections import Connection, connect
from modelyard.tracking.registry import register
from tests.integration.conftest import Records

GATE = {"always": ["rmse <= 0.7"], "against_production": [], "first_version": []}
_NUMBERS = count(1)


@dataclass
class _Site:
    """The database of a stack, as ``Records`` needs it."""

    stack: Addresses
    open: ExitStack

    def dsn(self, role: str) -> str:
        return self.stack.dsn(role)

    def connect(self, role: str) -> Connection:
        return self.open.enter_context(connect(self.stack.dsn(role)))


class Registry:
    """One registered model and its policy; ``add`` gives it versions."""

    def __init__(self, session: Session, records: Records) -> None:
        self.session, self.records, self.client = session, records, session.mlflow
        self.number = next(_NUMBERS)
        self.name, self.policy_id = f"houses{self.number}_model", f"houses{self.number}_policy"
        self.runs: dict[str, str] = {}
        self.models: dict[str, str] = {}
        schema = [{"name": name, "type": "float64"} for name in ("X.rooms", "y.price")]
        self.dataset = records.dataset(name=f"houses{self.number}", schema=schema, mlflow_run_id=self.make_run())
        gates.declare_gate(records.evaluator, mlflow_model_name=self.name, gate=GATE)

    def make_run(self) -> str:
        run_id: str = self.client.create_run("0").info.run_id
        self.client.update_run(run_id, status="FINISHED")
        return run_id

    def register(self) -> tuple[str, str, str]:
        """A version that no record names: its number, run and logged model."""
        run_id = self.make_run()
        logged = self.client.create_logged_model("0", name="model", source_run_id=run_id)
        self.client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        tags = {"stage": "none"}
        version = register(self.client, model_name=self.name, run_id=run_id, model_id=logged.model_id, tags=tags)
        return version, run_id, logged.model_id

    def add(self, *, passed: bool = True, workload: str = "california_housing") -> str:
        """A version on record; one that has passed is a candidate."""
        version, run_id, model_id = self.register()
        self.runs[version], self.models[version] = run_id, model_id
        self.records.model_version(
            version=version, mlflow_model_name=self.name, mlflow_run_id=run_id, mlflow_model_id=model_id,
            dataset_id=self.dataset.dataset_id, workload=workload,
        )  # fmt: skip
        if passed:
            self.evaluate(version)
            policies.add_policy_version(
                self.records.evaluator,
                policy_id=self.policy_id,
                mlflow_model_name=self.name,
                mlflow_model_version=version,
            )
        return version

    def evaluate(self, version: str) -> None:
        """A verdict: passed, against what is live now."""
        policy = policies.find_policy(self.records.evaluator, policy_id=self.policy_id)
        self.records.evaluation(
            version=version, mlflow_model_name=self.name, dataset_id=self.dataset.dataset_id, gate=GATE,
            baseline_policy_version_id=policy.live_policy_version_id if policy else None, mlflow_run_id=self.make_run(),
        )  # fmt: skip

    def promote(self, version: str, *, expected: int) -> None:
        """In the database alone, as by somebody who was killed before MLflow was told; ``evaluate`` it before."""
        promotions.promote(
            self.session.records, policy_id=self.policy_id, version=int(version), expected=expected, reason="better"
        )

    def tag(self, version: str, name: str, value: str) -> None:
        self.client.set_model_version_tag(self.name, version, name, value)

    def read_tags(self, version: str) -> dict[str, str]:
        return dict(self.client.get_model_version(self.name, version).tags)

    def show(self) -> dict[str, Any]:
        """What MLflow shows: stage of each version, and what each alias names."""
        found = self.client.search_model_versions(f"name = '{self.name}'")
        shown: dict[str, Any] = {str(one.version): one.tags.get("stage") for one in found}
        return shown | dict(self.client.get_registered_model(self.name).aliases)

    def reconcile(self) -> list[tuple[str, str]]:
        """What a reconciliation has found of this model: kind and subject, without the model's name."""
        found = reconcile(self.session).findings
        return [
            (one.kind, one.subject.replace(self.name, "").strip("/").strip())
            for one in found
            if self.name in one.subject or f"houses{self.number}@" in one.subject
        ]


@contextmanager
def open_registries(stack: Addresses) -> Iterator[tuple[Session, Records]]:
    """What registries of a stack share."""
    with (
        ExitStack() as opened,
        open_session(stack, dsn=stack.dsn(stack.person), application_name="tests", user=stack.person) as session,
    ):
        yield session, Records(_Site(stack, opened))  # type: ignore[arg-type]  it has what records need
