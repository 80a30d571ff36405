"""Trainings on one dataset → one model: weights from their answers to validation rows, and a copy of each."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.data.hashes import digest_files
from modelyard.errors import BadInput, RecordLost
from modelyard.pipeline.attempt import Attempt, run_step
from modelyard.pipeline.blend_request import BlendRequest, find_trained_model
from modelyard.pipeline.datasets import tag_dataset, use_dataset
from modelyard.pipeline.environment import log_environment
from modelyard.pipeline.models import ask
from modelyard.pipeline.register import Registration
from modelyard.pipeline.request import describe_origin
from modelyard.pipeline.results import BlendedMember, BlendResult
from modelyard.pipeline.session import Report, Session
from modelyard.pipeline.training_data import load_processed
from modelyard.store import models
from modelyard.tracking.blend_log import Member, log_blend
from modelyard.tracking.blends import BLEND_FILE, Blend
from modelyard.tracking.contract import MODEL_ARTIFACT, Contract
from modelyard.tracking.models import download_model, open_model
from modelyard.tracking.runs import ActiveRun, list_job_runs
from modelyard.tracking.server import get_or_create_experiment
from modelyard.workloads.blending import weigh
from modelyard.workloads.contract import Processed, WorkloadSpec
from modelyard.workloads.registry import BLEND, read_parameters

if TYPE_CHECKING:
    import pandas as pd

SCORED = ("validation", "test")  # the splits that members and blend are compared on
Metrics = dict[str, float]


def blend_models(session: Session, request: BlendRequest, *, attempt: Attempt, report: Report) -> BlendResult:
    """A FINISHED blend run of this job: an earlier attempt's if there is one, else a new one.

    The weights follow from the members' answers to the dataset's validation rows, and from no others.

    Raises:
        StepFailed: a member is damaged, lost or no model that is opened; the run is FAILED.
        BadInput: no weights follow from the answers.
        AttemptLost: the job was taken over or cancelled.
    """
    experiment_id = get_or_create_experiment(session.mlflow, request.mlflow_experiment)
    run_id = _find_finished(session, request, attempt)
    resumed = run_id is not None
    if run_id is None:
        origin = describe_origin(request.workload, request.code, user=session.user, command="blend")
        tags = origin | {"model_type": BLEND} | tag_dataset(request.dataset)
        with run_step(
            session,
            attempt,
            step="blend",
            run_type="blend",
            experiment_id=experiment_id,
            name=f"blend of {len(request.run_ids)} {request.workload.spec.name} models",
            tags=tags,
        ) as active:
            _fill_run(session, active, request, attempt=attempt, report=report)
        run_id = active.run_id
    logged, names = session.mlflow.get_run(run_id).data.metrics, request.workload.spec.metrics
    return BlendResult(
        run_id=run_id,
        run_url=session.pages.run(experiment_id, run_id),
        weights=request.weights,
        members=tuple(
            BlendedMember(
                run_id=member["run_id"],
                model_type=member["model_type"],
                weight=member["weight"],
                metrics=member["metrics"],
            )
            for member in _load_members(session, run_id)
        ),
        metrics={name: value for name, value in logged.items() if name.partition("_")[0] in SCORED},
        baselines={
            of: {metric.name: logged[f"baseline_{of}_{metric.name}"] for metric in names}
            for of in request.workload.spec.baselines
        },
        resumed=resumed,
    )


def describe_blend(session: Session, request: BlendRequest, *, run_id: str) -> Registration:
    """What a blend run is registered as, and what it must have logged; its members are among its parameters."""
    spec, dataset = request.workload.spec, request.dataset
    metrics = [f"{split}_{metric.name}" for split in SCORED for metric in spec.metrics]
    metrics += [f"baseline_{name}_{metric.name}" for name in spec.baselines for metric in spec.metrics]
    tags: dict[str, str | None] = {
        "run_type": "blend",
        "workload": spec.name,
        "task": str(spec.task),
        "policy_id": spec.policy_id,
        "dataset_version": dataset.version,
        "dataset_digest": dataset.digest,
        "dataset_run_id": None,
    }
    members = _load_members(session, run_id)
    return Registration(
        model_name=spec.model_name,
        rules=spec.name,
        task=str(spec.task),
        policy_id=spec.policy_id,
        model_type=BLEND,
        parameters={**dataset.parameters, "weights": request.weights, "members": members},
        code_version=asdict(request.code),
        contract=Contract(
            params=("model_type", "weights", "members", "dataset_name", "dataset_version", "dataset_digest"),
            metrics=tuple(metrics),
            tags=tuple(tags.items()),
            artifacts=(BLEND_FILE,),
            dataset_digest=dataset.digest,
        ),
        mlflow_experiment=request.mlflow_experiment,
    )


def _find_finished(session: Session, request: BlendRequest, attempt: Attempt) -> str | None:
    """The blend run that an earlier attempt has finished."""
    if not attempt.resumed:
        return None
    runs = list_job_runs(session.mlflow, job_id=str(attempt.job_id), experiment_names=[request.mlflow_experiment])
    finished = [r for r in runs if (r.info.status, r.data.tags.get("run_type")) == ("FINISHED", "blend")]
    return finished[-1].info.run_id if finished else None


def _load_members(session: Session, run_id: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        text = Path(session.mlflow.download_artifacts(run_id, BLEND_FILE, folder)).read_text(encoding="utf-8")
    members: list[dict[str, Any]] = json.loads(text)["members"]
    return members


def _fill_run(session: Session, run: ActiveRun, request: BlendRequest, *, attempt: Attempt, report: Report) -> None:
    """Weigh, and log everything; the hashes of the blend's files are on record before the run is FINISHED."""
    dataset, spec = request.dataset, request.workload.spec
    parameters = read_parameters(request.workload, model_type=BLEND, values=dataset.parameters)
    params = {
        **parameters.model_dump(mode="json"),
        "model_type": BLEND,
        "model_class": f"{Blend.__module__}.{Blend.__name__}",
        "weights": request.weights,
        "members": ",".join(request.run_ids),
        "dataset_name": dataset.name,
        "dataset_version": dataset.version,
        "dataset_digest": dataset.digest,
    }
    run.log(params=params)
    use_dataset(session, attempt, run, dataset, run_type="blend", context="training")
    report("blending", 0.02, "loading and verifying the dataset")
    processed = load_processed(session, dataset)
    with _opened_members(session, request, report=report) as members:
        rows = {split: processed.load_rows(split) for split in SCORED}
        answers = {split: _ask_members(members, rows[split], processed, report=report) for split in SCORED}
        truth = rows["validation"][spec.targets[0] if len(spec.targets) == 1 else list(spec.targets)]
        weights = weigh(request.weights, truth, answers["validation"])
        report("blending", 0.8, "scoring members and blend on the same rows")

        def score(given: Mapping[str, Any]) -> Metrics:
            return {
                f"{split}_{name}": value
                for split in SCORED
                for name, value in request.workload.evaluate(rows[split], given[split], parameters=parameters).items()
            }

        blend = Blend([member.estimator for member in members], weights)
        blended = score({split: np.tensordot(weights, answers[split], axes=1) for split in SCORED})
        scores = [score({split: answers[split][place] for split in SCORED}) for place in range(len(members))]
        baselines = request.workload.baselines(processed, parameters=parameters)
        log_environment(run, blend, processed)
        described = [
            member.describe(weight) | {"metrics": metrics}
            for member, weight, metrics in zip(members, weights, scores, strict=True)
        ]
        run.log(
            metrics={
                **blended,
                **{f"baseline_{n}_{metric}": value for n, of in baselines.items() for metric, value in of.items()},
                **_name_member_metrics(described),
            }
        )
        run.log_files({BLEND_FILE: json.dumps({"weights": request.weights, "members": described}, indent=2)})
        report("blending", 0.9, "logging the blend with a copy of each member")
        logged = log_blend(
            run,
            members,
            weights,
            name=MODEL_ARTIFACT,
            input_example=processed.X.slice(0, 5).to_pandas(),
            params=params,
            tags={"workload": spec.name, "run_type": "blend"},
        )
    connection = session.records
    with attempt.fenced(connection):
        models.record_model_files(connection, mlflow_model_id=logged.model_id, files=logged.files)


def _name_member_metrics(described: Sequence[Mapping[str, Any]]) -> Metrics:
    """The metrics of the members, and their weights, beside those of the blend: ``member_1_ridge_test_mae``."""
    return {
        f"member_{place}_{member['model_type']}_{name}": value
        for place, member in enumerate(described, 1)
        for name, value in {**member["metrics"], "weight": member["weight"]}.items()
    }


@contextmanager
def _opened_members(session: Session, request: BlendRequest, *, report: Report) -> Iterator[list[Member]]:
    """The members, every file verified against what is on record before it is opened."""
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        members = []
        for place, run_id in enumerate(request.run_ids):
            report("blending", 0.1 + 0.3 * place / len(request.run_ids), f"loading and verifying member {place + 1}")
            members.append(_open_member(session, request.workload.spec, run_id, folder=Path(folder, str(place))))
        yield members


def _open_member(session: Session, spec: WorkloadSpec, run_id: str, *, folder: Path) -> Member:
    logged = find_trained_model(session.mlflow, spec, run_id)
    if logged is None:
        raise RecordLost(f"MLflow no longer has run {run_id} with its model; restore it from a backup, or blend others")
    model_id = logged.model_id
    files = models.list_model_files(session.records, mlflow_model_id=model_id)
    if not files:
        raise BadInput(f"no file of the model of run {run_id} is on record, so nothing vouches for it; train it anew")
    root = download_model(session.mlflow, model_id=model_id, files=files, folder=folder)
    return Member(
        run_id=run_id,
        model_id=model_id,
        model_type=session.mlflow.get_run(run_id).data.params["model_type"],
        sha256=digest_files(files),
        root=root,
        estimator=open_model(root, files, model_id=model_id),
    )


def _ask_members(members: Sequence[Member], rows: "pd.DataFrame", processed: Processed, *, report: Report) -> Any:
    """Their answers to n rows, of shape (m, n) or (m, n, k)."""
    frame, answers = rows[processed.X.column_names], []
    for member in members:
        report("blending", None, f"asking the {member.model_type} of run {member.run_id} about {len(frame):,} rows")
        answers.append(ask(member.estimator, frame, name=f"the model of run {member.run_id}"))
    return np.stack(answers).astype(float)
