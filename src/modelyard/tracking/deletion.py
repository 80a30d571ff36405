"""Deletion in MLflow: a run's artifacts, and the run itself."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError
from mlflow import MlflowClient, MlflowException
from mlflow.entities import FileInfo, Run, ViewType
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from modelyard.errors import ServiceFailed
from modelyard.tracking.experiments import list_experiments
from modelyard.tracking.runs import TRACEBACK_PATH, RunType

ERRORS = PurePosixPath(TRACEBACK_PATH).parts[0]  # the folder of what an attempt that failed has left to read
_EXPERIMENTS_PER_SEARCH = 100


def list_unfinished_runs(client: MlflowClient, *, run_type: RunType) -> Iterator[Run]:
    """The runs of a type that have not ended well, of all MLflow experiments, deleted ones left out."""
    yield from _search(client, f"tags.run_type = '{run_type}' and attributes.status != 'FINISHED'")


def list_deleted_runs(client: MlflowClient, *, run_type: RunType) -> Iterator[Run]:
    """The runs of a type that MLflow shows among the deleted ones."""
    yield from _search(client, f"tags.run_type = '{run_type}'", view=ViewType.DELETED_ONLY)


def _search(client: MlflowClient, condition: str, *, view: int = ViewType.ACTIVE_ONLY) -> Iterator[Run]:
    # runs of an experiment that was deleted are deleted ones
    experiments = ViewType.ALL if view == ViewType.DELETED_ONLY else ViewType.ACTIVE_ONLY
    ids = [experiment.experiment_id for experiment in list_experiments(client, view=experiments)]
    for start in range(0, len(ids), _EXPERIMENTS_PER_SEARCH):
        token = None
        while True:
            searched = ids[start : start + _EXPERIMENTS_PER_SEARCH]
            found = client.search_runs(searched, condition, run_view_type=view, page_token=token)
            yield from found
            token = found.token
            if not token:
                break


def measure_artifacts(artifact_uri: str, *, keep: Collection[str] = ()) -> int | None:
    """Bytes of all artifacts below an address; None: there are none.

    Args:
        artifact_uri: of a run, e.g. ``s3://bucket/runs/0/<run>/artifacts`` or ``mlflow-artifacts:/0/<run>/artifacts``.
        keep: names at its top that do not count.

    Raises:
        ServiceFailed: where they are stored does not answer, or refuses.
    """
    repository = get_artifact_repository(artifact_uri)
    with _translated(artifact_uri):
        files = list(_walk(repository, None, keep))
    return sum(file.file_size or 0 for file in files) if files else None


def delete_artifacts(artifact_uri: str, *, keep: Collection[str] = ()) -> None:
    """Delete all artifacts below an address, but those named ``keep`` at its top; what is not there is no error.

    Raises:
        ServiceFailed: where they are stored does not answer or refuses; some may be left.
    """
    repository = get_artifact_repository(artifact_uri)
    with _translated(artifact_uri):
        for entry in repository.list_artifacts():
            if entry.path not in keep:
                repository.delete_artifacts(entry.path)
        # an S3 store's answer to a deletion lists what it refused, and MLflow does not read that; files only, because
        # MinIO goes on listing a folder of which the bucket keeps old versions
        left = list(_walk(repository, None, keep))
    if left:
        raise ServiceFailed(
            f"{len(left)} files of {artifact_uri} could not be deleted, {left[0].path} is the first: these keys may "
            "not; modelyard gc is the command whose keys may"
        )


def delete_run(client: MlflowClient, run_id: str) -> None:
    """Have MLflow show a run among the deleted ones only; its tags, parameters and metrics stay; twice is once."""
    client.delete_run(run_id)


def is_registered(client: MlflowClient, run_id: str) -> bool:
    """Whether any version in MLflow's registry comes from a run."""
    return bool(run_id and client.search_model_versions(f"run_id = '{run_id}'", max_results=1))


def name_for_gc(client: MlflowClient, *, run_ids: Collection[str], model_ids: Collection[str]) -> list[str]:
    """The words that let ``mlflow gc`` take these deleted runs and logged models, and nothing else.

    Of each kind that no word names it takes all that is deleted: a deleted experiment with every run in it too (seen
    with MLflow 3.17). So one of each is made here, deleted, and named.
    """
    experiment_id = client.create_experiment(f"modelyard gc {uuid4()}")
    run_id = client.create_run(experiment_id).info.run_id
    model_id = client.create_logged_model(experiment_id).model_id
    client.delete_logged_model(model_id)
    client.delete_experiment(experiment_id)  # and the run
    return [
        *("--run-ids", ",".join([*run_ids, run_id])),
        *("--logged-model-ids", ",".join([*model_ids, model_id])),
        *("--experiment-ids", experiment_id),
    ]


def _walk(repository: ArtifactRepository, folder: str | None, keep: Collection[str]) -> Iterator[FileInfo]:
    for entry in repository.list_artifacts(folder):
        if entry.path in keep:
            continue
        if entry.is_dir:
            yield from _walk(repository, entry.path, ())
        else:
            yield entry


@contextmanager
def _translated(artifact_uri: str) -> Iterator[None]:
    try:
        yield
    except (MlflowException, ClientError, BotoCoreError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ServiceFailed(
            f"{artifact_uri} cannot be listed or deleted: {reason}; modelyard status shows what runs, and the same "
            "command goes on with what is left"
        ) from None
