"""What MLflow shows of a registered model: tags of its versions, and aliases. Data from outside, never trusted."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from mlflow import MlflowClient, MlflowException
from mlflow.entities import ViewType

from modelyard.errors import ServiceFailed
from modelyard.tracking.experiments import list_experiments

STAGE, POLICY_VERSION, SINCE, REFUSED = "stage", "policy_version", "stage_since", "stage_refused"
CANDIDATE, PRODUCTION = "candidate", "production"  # aliases
_VERSIONS_A_CALL = 1_000
_IDS_A_CALL = 200
_EXPERIMENTS_A_CALL = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownVersion:
    """A version in MLflow's registry; ``mlflow_run_id`` is empty where it was registered without a run."""

    mlflow_run_id: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownModel:
    """A registered model as MLflow has it: number → version, alias → number."""

    versions: Mapping[str, ShownVersion]
    aliases: Mapping[str, str]


def read_model(client: MlflowClient, name: str) -> ShownModel:
    """What MLflow shows of a registered model, in one call and one for each 1,000 versions; empty where it has none."""
    try:
        aliases = {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return ShownModel(versions={}, aliases={})
    versions: dict[str, ShownVersion] = {}
    token = None
    while True:
        page = client.search_model_versions(f"name = {_quote(name)}", max_results=_VERSIONS_A_CALL, page_token=token)
        for found in page:
            versions[str(found.version)] = ShownVersion(mlflow_run_id=found.run_id or "", tags=dict(found.tags))
        token = page.token
        if not token:
            return ShownModel(versions=versions, aliases=aliases)


def write_tag(client: MlflowClient, name: str, version: str, *, tag: str, value: str | None) -> None:
    """Set a tag of a version, or with None delete it."""
    if value is None:
        client.delete_model_version_tag(name, version, tag)
    else:
        client.set_model_version_tag(name, version, tag, value)


def write_alias(client: MlflowClient, name: str, *, alias: str, version: str | None) -> None:
    """Let an alias name this version, or nothing."""
    if version is None:
        client.delete_registered_model_alias(name, alias)
    else:
        client.set_registered_model_alias(name, alias, version)


def list_deleted_runs(client: MlflowClient, run_ids: list[str]) -> dict[str, str]:
    """Those of these runs that MLflow shows among the deleted ones: run → MLflow experiment."""
    return dict(_search_runs(client, run_ids, view=ViewType.DELETED_ONLY))


def list_known_runs(client: MlflowClient, run_ids: list[str]) -> set[str]:
    """Those of these runs that MLflow knows, deleted or not; it answers with all that they have logged."""
    return {run_id for run_id, _ in _search_runs(client, run_ids, view=ViewType.ALL)}


def list_known_models(client: MlflowClient, model_ids: list[str]) -> set[str]:
    """Those of these logged models that MLflow has and that nobody has deleted."""
    known = set()
    for ids, experiments in _list_calls(client, model_ids):
        found = client.search_logged_models(experiments, f"model_id IN ({_quote_all(ids)})", max_results=_IDS_A_CALL)
        known |= {model.model_id for model in found}
    return known


def restore_runs(client: MlflowClient, deleted: Mapping[str, str]) -> None:
    """Take runs (run → MLflow experiment) out of MLflow's deleted ones, and those MLflow experiments too."""
    for experiment_id in sorted({*deleted.values()}):
        if client.get_experiment(experiment_id).lifecycle_stage != "active":
            client.restore_experiment(experiment_id)  # and all its runs
            continue
        for run_id in (run_id for run_id, of in deleted.items() if of == experiment_id):
            client.restore_run(run_id)


@contextmanager
def answering() -> Iterator[None]:
    """Say that MLflow does not answer, where that is what ends the block.

    Raises:
        ServiceFailed: it does not, or refuses.
    """
    try:
        yield
    except (MlflowException, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ServiceFailed(
            f"MLflow does not show what the records say, since it did not answer as it should: {reason}; nothing on "
            "record is lost, and modelyard reconcile, or the evaluator within a minute, writes it again"
        ) from error


def _search_runs(client: MlflowClient, run_ids: list[str], *, view: int) -> Iterator[tuple[str, str]]:
    for ids, experiments in _list_calls(client, run_ids):
        condition = f"attributes.run_id IN ({_quote_all(ids)})"
        for run in client.search_runs(experiments, condition, run_view_type=view, max_results=_IDS_A_CALL):
            yield run.info.run_id, run.info.experiment_id


def _list_calls(client: MlflowClient, ids: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    if not ids:
        return
    experiments = [experiment.experiment_id for experiment in list_experiments(client, view=ViewType.ALL)]
    for first in range(0, len(ids), _IDS_A_CALL):
        for start in range(0, len(experiments), _EXPERIMENTS_A_CALL):
            yield ids[first : first + _IDS_A_CALL], experiments[start : start + _EXPERIMENTS_A_CALL]


def _quote(text: str) -> str:
    quote = '"' if "'" in text else "'"
    return f"{quote}{text}{quote}"


def _quote_all(ids: list[str]) -> str:
    return ", ".join(map(_quote, ids))
