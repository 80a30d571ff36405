"""All of MLflow against all records: what it shows is written again, and what it lost is told."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from psycopg.errors import InsufficientPrivilege

from modelyard.errors import BadInput, RecordLost, RecordNotFound, WorkHeld
from modelyard.pipeline.projection import Finding, project_model
from modelyard.pipeline.session import Session
from modelyard.store.connections import hold_lock
from modelyard.store.jobs import submit_job
from modelyard.store.models import get_model_version
from modelyard.store.projections import NeededRun, StagedVersion, list_model_names, list_needed_runs
from modelyard.store.reconciliations import Reconciliation, find_newest_reconciliation, record_reconciliation
from modelyard.tracking import projection

_WHAT = "a reconciliation"
_CHEAP_LOOKS = 2_000  # for what was deleted, in a part
_RUN_PARTS = 60  # MLflow answers a look for a run with all that it has logged


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What was found; ``recorded`` says whether it differs from what was found the time before.

    ``held``: models that another process projects in this moment, of which only what was lost before is told.
    """

    findings: tuple[Finding, ...]
    held: tuple[str, ...]
    recorded: bool

    @property
    def lost(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.kind == "lost")


def reconcile(
    session: Session, *, part: int | None = None, wait_s: float = 60, tell: Callable[[Finding], object] = lambda _: None
) -> Reconciled:
    """Let MLflow show what is on record of every model, take back what was deleted, and record what was found.

    Args:
        session: open connections, the database's as the evaluator or as a person.
        part: which part of the runs and logged models to look for, beside those that were lost before: who counts it
            up from 0 looks for each within 60 parts, or one for each 2,000 of them. None: all of them.
        wait_s: for another reconciliation to end.
        tell: hears of each finding at once.

    Raises:
        ServiceFailed: MLflow does not answer; some of it may be done, and nothing was recorded.
        WorkHeld: another reconciliation goes on.
        RightMissing: who asks may not record what was found.
    """
    connection = session.records
    findings: list[Finding] = []
    held: list[str] = []
    with hold_lock(connection, "reconciliation", what=_WHAT, wait_s=wait_s), projection.answering():
        before = find_newest_reconciliation(connection)
        for found in _find(session, before, held, part=part):
            findings.append(found)
            tell(found)
        recorded = record_reconciliation(connection, findings=[asdict(finding) for finding in findings])
    return Reconciled(findings=tuple(findings), held=tuple(held), recorded=recorded)


def _find(session: Session, before: Reconciliation | None, held: list[str], *, part: int | None) -> Iterator[Finding]:
    lost = before.lost if before else []
    for name in list_model_names(session.records):
        try:
            yield from project_model(session, name, request=lambda row: _request_evaluation(session, row))
        except WorkHeld:
            held.append(name)
            yield from (Finding(**finding) for finding in lost if finding["subject"].startswith(f"{name}/"))
    yield from _find_lost(session, {finding["subject"] for finding in lost}, part=part)


def _request_evaluation(session: Session, row: StagedVersion) -> str | None:
    """Queue the evaluation on the dataset that the version was trained on, as ``modelyard evaluate`` does."""
    # takes a second, and is seldom needed
    from modelyard.pipeline.evaluation_request import build_evaluation

    connection = session.records
    version = get_model_version(
        connection, mlflow_model_name=row.mlflow_model_name, mlflow_model_version=row.mlflow_model_version
    )
    try:
        arguments = build_evaluation(connection, version).arguments()
        job_id = submit_job(connection, kind="evaluate", arguments=arguments)
    except InsufficientPrivilege:
        return None  # the evaluator may, within a minute
    except (BadInput, RecordLost, RecordNotFound) as error:
        return f"it cannot be evaluated: {error}"
    return f"job {job_id} evaluates it, and decides (modelyard jobs follow {job_id})"


def _find_lost(session: Session, before: set[str], *, part: int | None) -> Iterator[Finding]:
    client, needed = session.mlflow, list_needed_runs(session.records)
    deleted = projection.list_deleted_runs(client, [run.mlflow_run_id for run in _choose(needed, part)])
    projection.restore_runs(client, deleted)
    runs = _choose(needed, part, at_least=_RUN_PARTS, also=lambda run: _name_run(run) in before)
    looked = {run.mlflow_run_id for run in runs} - deleted.keys()
    missing = looked - projection.list_known_runs(client, sorted(looked))
    models = _choose(needed, part, also=lambda run: _name_model(run) in before)
    looked = {run.mlflow_model_id for run in models if run.mlflow_model_id}
    missing |= looked - projection.list_known_models(client, sorted(looked))
    for run in needed:
        if run.mlflow_run_id in deleted:
            yield Finding(
                kind="restored", subject=_name_run(run), found=f"run {run.mlflow_run_id} was deleted, and is back"
            )
        elif run.mlflow_run_id in missing:
            yield Finding(
                kind="lost",
                subject=_name_run(run),
                found=f"MLflow has no run {run.mlflow_run_id} any more",
                remedy="restore MLflow's database from a backup; what the run had logged is on record in part only",
            )
        if run.mlflow_model_id in missing:
            yield Finding(
                kind="lost",
                subject=_name_model(run),
                found=f"MLflow has no logged model {run.mlflow_model_id} any more, so nothing can load this version",
                remedy="modelyard gc shows one that was only deleted as restore, and with --yes takes it back; else "
                "put another version in its place (modelyard rollback), then restore MLflow from a backup",
            )


def _name_run(run: NeededRun) -> str:
    return f"run of dataset {run.name}" if run.kind == "dataset" else f"{run.kind} run of {run.name}"


def _name_model(run: NeededRun) -> str:
    return f"logged model of {run.name}"


def _choose(
    needed: Sequence[NeededRun],
    part: int | None,
    *,
    at_least: int = 1,
    also: Callable[[NeededRun], bool] = lambda _: False,
) -> list[NeededRun]:
    """What to look for in a part: of ``at_least`` parts, or more where they would be large."""
    nb_parts = max(at_least, -(-len(needed) // _CHEAP_LOOKS))
    return [run for place, run in enumerate(needed) if part is None or (place - part) % nb_parts == 0 or also(run)]
