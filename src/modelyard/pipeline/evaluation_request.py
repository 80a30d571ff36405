"""What an evaluation scores: checked when it is asked for, read again by whoever does it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from modelyard.data.compatibility import compare_columns, compare_targets, list_features
from modelyard.errors import BadInput, RecordNotFound
from modelyard.pipeline.scorer import Scorer, find_scorer
from modelyard.store import datasets, jobs, models, policies
from modelyard.store.catalogue import resolve_dataset
from modelyard.store.connections import Connection
from modelyard.workloads.registry import find_spec


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """An evaluation as asked for: a model version on record, and the dataset whose test rows it is scored on.

    ``unseen_rows``: test rows that it or the live version was trained on are left out; without that they are refused.
    """

    version: models.ModelVersion
    dataset: datasets.Dataset
    mlflow_experiment: str
    unseen_rows: bool = False

    @cached_property
    def scorer(self) -> Scorer:
        """How its answers are scored; takes and raises what ``find_scorer`` does."""
        return find_scorer(self.version, self.dataset)

    def arguments(self) -> dict[str, Any]:
        """The request as a job's arguments."""
        return build_arguments(
            self.version, self.dataset, mlflow_experiment=self.mlflow_experiment, unseen_rows=self.unseen_rows
        )


def build_arguments(
    version: models.ModelVersion, dataset: datasets.Dataset, *, mlflow_experiment: str, unseen_rows: bool = False
) -> dict[str, Any]:
    """The arguments of a job that evaluates a model version on a dataset: references only."""
    return {
        "workload": version.workload,
        **name_file(version),
        "model_name": version.mlflow_model_name,
        "model_version": version.mlflow_model_version,
        "dataset_id": str(dataset.dataset_id),
        "dataset_name": dataset.name,
        "dataset_digest": dataset.digest,
        "mlflow_experiment": mlflow_experiment,
        **({"unseen_rows": True} if unseen_rows else {}),
    }


def build_evaluation(
    connection: Connection, version: models.ModelVersion, *, dataset: str | None = None, unseen_rows: bool = False
) -> EvaluationRequest:
    """Check an evaluation that somebody asks for.

    Args:
        connection: as whoever asks.
        version: the model version.
        dataset: ``NAME[@VERSION]`` or a digest; default: the dataset that it was trained on.
        unseen_rows: leave test rows out that a model was trained on.

    Raises:
        UnknownName: no dataset is called so.
        RecordLost: the one that was named was deleted.
        BadInput: the dataset lacks columns that the version or the live one takes.
    """
    chosen = (
        datasets.get_dataset(connection, dataset_id=version.dataset_id)
        if dataset is None
        else resolve_dataset(connection, dataset)
    )
    request = EvaluationRequest(
        version=version,
        dataset=chosen,
        mlflow_experiment=find_experiment(connection, version),
        unseen_rows=unseen_rows,
    )
    if version.workload_file is None:  # another's file is run with a worker's rights, not with those of who asks
        find_scorer(version, chosen)
    check_columns(connection, request, find_live(connection, version.mlflow_model_name))
    return request


def name_file(version: models.ModelVersion) -> dict[str, str]:
    """The file of a version's workload where none ships, as a job's arguments name it; else nothing."""
    return {"workload_file": version.workload_file} if version.workload_file else {}


def read_evaluation(connection: Connection, arguments: Mapping[str, Any]) -> EvaluationRequest:
    """An evaluation from recorded arguments, perhaps of an earlier release.

    Raises:
        BadInput: this release has no such workload, or it does not take the model's parameters any more.
        RecordNotFound: no such model version or dataset is on record.
    """
    version = models.get_model_version(
        connection, mlflow_model_name=arguments["model_name"], mlflow_model_version=arguments["model_version"]
    )
    dataset = _get_dataset(connection, arguments)
    find_scorer(version, dataset)
    return EvaluationRequest(
        version=version,
        dataset=dataset,
        mlflow_experiment=arguments["mlflow_experiment"],
        unseen_rows=arguments.get("unseen_rows", False),
    )


def _get_dataset(connection: Connection, arguments: Mapping[str, Any]) -> datasets.Dataset:
    if "dataset_id" in arguments:
        return datasets.get_dataset(connection, dataset_id=UUID(arguments["dataset_id"]))
    name, digest = arguments["dataset_name"], arguments["dataset_digest"]  # as 0.1.0 names it
    dataset = datasets.find_dataset(connection, name=name, digest=digest)
    if dataset is None:
        raise RecordNotFound(f"there is no dataset {name} {digest}")
    return dataset


def find_experiment(connection: Connection, version: models.ModelVersion) -> str:
    """The MLflow experiment of a version's evaluations: that of its training, else its workload's or its own."""
    if version.job_id is not None:
        return str(jobs.get_job(connection, job_id=version.job_id).arguments["mlflow_experiment"])
    spec = find_spec(version.workload)
    return spec.mlflow_experiment if spec else version.mlflow_model_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What is in production for a model: the policy version, and the model version that it names."""

    policy_version: policies.PolicyVersion
    version: models.ModelVersion


def find_live(connection: Connection, model_name: str) -> Live | None:
    """The live version of the policy that owns a registered model; None where there is none."""
    live = policies.find_live_version(connection, mlflow_model_name=model_name)
    if live is None:
        return None
    version = models.get_model_version(
        connection, mlflow_model_name=live.mlflow_model_name, mlflow_model_version=live.mlflow_model_version
    )
    return Live(policy_version=live, version=version)


def check_columns(connection: Connection, request: EvaluationRequest, live: Live | None) -> None:
    """Refuse a dataset that lacks features or targets of the version or the live one; further features are no harm.

    Raises:
        BadInput: with every difference, and what to do.
    """
    dataset, problems = request.dataset, []
    for version, role in ((request.version, ""), (live.version if live else None, ", which is in production,")):
        if version is None:
            continue
        trained_on = datasets.get_dataset(connection, dataset_id=version.dataset_id)
        wanted = {column["name"]: place for place, column in enumerate(list_features(trained_on.schema))}
        found = [column for column in list_features(dataset.schema) if column["name"] in wanted]
        found.sort(key=lambda column: wanted[column["name"]])
        differences = compare_columns(found, list_features(trained_on.schema))
        differences += compare_targets(dataset.schema, trained_on.schema)
        if differences:
            problems.append(f"{version.label}{role} takes the columns of {trained_on.name} {trained_on.version} "
                            f"({'; '.join(differences)})")  # fmt: skip
    if problems:
        raise BadInput(
            f"dataset {dataset.name} {dataset.version} cannot be scored: {'; and '.join(problems)}. Evaluate on a "
            f"dataset that has the columns of all: modelyard evaluate {request.version.label} --dataset NAME@VERSION"
        )
