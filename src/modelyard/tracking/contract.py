"""The contract: what a training run must have logged before its model may be registered."""

import sys
from dataclasses import dataclass

import mlflow.models
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

from modelyard.errors import ContractNotMet
from modelyard.tracking.datasets import MLFLOW_DIGEST_LENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """Names that must be there, and tags with the value they must have (None: any).

    Every metric that was logged must be finite. ``dataset_digest`` is that of the dataset input, None for any.
    """

    params: tuple[str, ...]
    metrics: tuple[str, ...]
    tags: tuple[tuple[str, str | None], ...]
    artifacts: tuple[str, ...] = ()
    dataset_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRun:
    """A training run that meets its contract."""

    run_id: str
    model_id: str
    metrics: dict[str, float]


def check_contract(client: MlflowClient, run_id: str, *, contract: Contract) -> CheckedRun:
    """Hold a run against its contract.

    Raises:
        ContractNotMet: with everything that is missing, at once.
    """
    run = client.get_run(run_id)
    missing = [] if run.info.status == "FINISHED" else [f"status FINISHED (it is {run.info.status})"]
    missing += [f"param {name}" for name in contract.params if name not in run.data.params]
    missing += [f"metric {name}" for name in contract.metrics if name not in run.data.metrics]
    # MLflow stores infinity as the largest double
    missing += [
        f"a finite metric {name} (it is {value})"
        for name, value in run.data.metrics.items()
        if not abs(value) < sys.float_info.max
    ]
    for name, value in contract.tags:
        found = run.data.tags.get(name)
        if found is None or (value is not None and found != value):
            wanted = name if value is None else f"{name}={value}"
            missing.append(f"tag {wanted}" if found is None else f"tag {wanted} (it is {found!r})")
    inputs = run.inputs.dataset_inputs if run.inputs else []
    digests = [
        entry.dataset.digest
        for entry in inputs
        if any(tag.key == "mlflow.data.context" and tag.value == "training" for tag in entry.tags)
    ]
    wanted_digest = (contract.dataset_digest or "")[:MLFLOW_DIGEST_LENGTH]
    if not any(digest == wanted_digest or not wanted_digest for digest in digests):
        missing.append(f"a dataset input with context training and a digest {wanted_digest}".rstrip())
    for path in contract.artifacts:
        parent, _, _ = path.rpartition("/")
        if path not in {entry.path for entry in client.list_artifacts(run_id, parent or None)}:
            missing.append(f"artifact {path}")
    outputs = run.outputs.model_outputs if run.outputs else []
    model_id = outputs[-1].model_id if outputs else ""
    if not model_id or client.get_logged_model(model_id).status != LoggedModelStatus.READY:
        missing.append("a logged model")
    elif mlflow.models.get_model_info(f"models:/{model_id}").signature is None:
        missing.append("a signature of its model")
    if missing:
        raise ContractNotMet(run_id, missing)
    return CheckedRun(run_id=run_id, model_id=model_id, metrics=dict(run.data.metrics))
