"""Records → MLflow: tags and aliases are made what the records say, and what stood there instead is told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from mlflow import MlflowClient

from modelyard.errors import WorkHeld
from modelyard.pipeline.session import Session
from modelyard.store.connections import Connection, hold_lock
from modelyard.store.models import find_model_version, lock_registration
from modelyard.store.projections import StagedVersion, list_staged_versions
from modelyard.tracking import projection
from modelyard.tracking.projection import CANDIDATE, POLICY_VERSION, PRODUCTION, REFUSED, SINCE, STAGE, ShownModel

_WAIT_S = 30.0  # for another process that projects the same model
_SHOWN_LIMIT = 40  # characters of a value from outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that MLflow showed otherwise than the records.

    Attributes:
        kind: ``behind``: nobody had written it yet; ``edited``: set by hand, and put back; ``requested``: an evaluation
            asked for by hand, and queued; ``restored``: deleted by hand, and taken back; ``unrecorded``: a version that
            no record names; ``lost``: gone for good.
        subject: e.g. ``houses_model/3``, ``alias production of houses_model``, ``training run of houses_model/3``.
        found: what was found, and what was done.
        remedy: what to do; empty where nothing is left to do.
    """

    kind: Literal["behind", "edited", "requested", "restored", "unrecorded", "lost"]
    subject: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return " ".join(f"{self.kind}: {self.subject}: {self.found}{self.remedy and f'; {self.remedy}'}".split())


Request = Callable[[StagedVersion], str | None]  # queues an evaluation, says so; None leaves the request to another


def project_model(session: Session, model_name: str, *, request: Request = lambda _: None) -> list[Finding]:
    """Let MLflow show stages, policy versions and aliases of one registered model as they are on record.

    One process at a time does this for a model, from records read while it does. What only stands otherwise because
    nobody has written it yet is told from what somebody has set by hand by the tag ``stage_since``.

    Args:
        session: open connections.
        model_name: the registered model.
        request: given a version whose tag ``stage`` was set to ``candidate`` by hand.

    Raises:
        ServiceFailed: MLflow does not answer; some of it may be written.
        WorkHeld: another process has held this model for 30 s.
    """
    connection = session.records
    what = f"the projection of {model_name}"
    with projection.answering(), hold_lock(connection, f"projection {model_name}", what=what, wait_s=_WAIT_S):
        # the records first: what they name was registered before
        staged = list_staged_versions(connection, mlflow_model_name=model_name)
        shown = projection.read_model(session.mlflow, model_name)
        work = _Work(session.mlflow, model_name, staged, shown, request)
        work.write()
        return work.findings + _refuse_unrecorded(connection, session.mlflow, work)


class _Work:
    """The projection of one model: aliases before tags, so that current tags mean current aliases."""

    def __init__(
        self, client: MlflowClient, model_name: str, staged: list[StagedVersion], shown: ShownModel, request: Request
    ) -> None:
        self.client, self.model_name, self.shown = client, model_name, shown
        self.findings: list[Finding] = []
        self._staged, self._request = staged, request
        # a number that MLflow has given to another run is another version
        self.there = [
            row
            for row in staged
            if row.mlflow_model_version in shown.versions
            and shown.versions[row.mlflow_model_version].mlflow_run_id == row.mlflow_run_id
        ]
        self._late = any(self._is_late(row) for row in self.there)

    def write(self) -> None:
        """Make it so."""
        found = {row.name for row in self.there}
        self.findings += [_tell_lost(row) for row in self._staged if row.name not in found]
        for alias in (CANDIDATE, PRODUCTION):
            # both are names of stages
            wanted = [row.mlflow_model_version for row in self.there if row.stage == alias]
            self._write_alias(alias, max(wanted, key=int, default=None))
        for row in self.there:
            self._write_tags(row)

    def _tags(self, row: StagedVersion) -> Mapping[str, str]:
        return self.shown.versions[row.mlflow_model_version].tags

    def _is_late(self, row: StagedVersion) -> bool:
        """Whether the version has moved since its tags were written."""
        return self._tags(row).get(SINCE) != row.since

    def _write_alias(self, alias: str, wanted: str | None) -> None:
        shown = self.shown.aliases.get(alias)
        if shown == wanted:
            return
        projection.write_alias(self.client, self.model_name, alias=alias, version=wanted)
        stood = "nothing" if shown is None else f"version {_show(shown)}"
        found = f"it named {stood}, and names {'nothing' if wanted is None else f'version {wanted}'} now"
        subject = f"alias {alias} of {self.model_name}"
        self.findings.append(Finding(kind="behind" if self._late else "edited", subject=subject, found=found))
        noted = shown if shown in self.shown.versions else wanted
        if not self._late and noted is not None:
            note = f"alias {alias} was set by hand, and is no fact: {found}; modelyard promote moves it"
            projection.write_tag(self.client, self.model_name, noted, tag=REFUSED, value=note)

    def _write_tags(self, row: StagedVersion) -> None:
        tags = self._tags(row)
        late, stage = self._is_late(row), tags.get(STAGE)
        policy_version = None if row.policy_version is None else str(row.policy_version)
        # a note stands until the version moves
        refused = None if late else tags.get(REFUSED)
        if not late and stage != row.stage:
            finding = self._refuse(row, stage)
            if finding is None:
                return
            refused = f"{finding.found}. {finding.remedy}"
            self.findings.append(finding)
        elif stage not in (row.stage, None) or tags.get(POLICY_VERSION) not in (policy_version, None):
            kind: Literal["behind", "edited"] = "behind" if late else "edited"
            seen = f"stage {_show(stage)}, policy version {_show(tags.get(POLICY_VERSION))}"
            now = f"stage {row.stage}, policy version {policy_version or 'none'}"
            self.findings.append(Finding(kind=kind, subject=row.name, found=f"it showed {seen}, and shows {now} now"))
        # stage_since last: with it the others are as it says
        wanted = {STAGE: row.stage, POLICY_VERSION: policy_version, REFUSED: refused, SINCE: row.since}
        for tag, value in wanted.items():
            if tags.get(tag) != value:
                projection.write_tag(self.client, self.model_name, row.mlflow_model_version, tag=tag, value=value)

    def _refuse(self, row: StagedVersion, stage: str | None) -> Finding | None:
        if stage == CANDIDATE and row.stage == "none":
            queued = self._request(row)
            if queued is None:
                return None
            return Finding(kind="requested", subject=row.name, found=f"stage=candidate was asked for by hand: {queued}")
        how = "the tag stage was removed" if stage is None else f"stage={_show(stage)} was set"
        found = f"{how} by hand, and is {row.stage} again: a tag is no fact"
        return Finding(kind="edited", subject=row.name, found=found, remedy=_name_command(row, stage))


def _name_command(row: StagedVersion, stage: str | None) -> str:
    """How to have the stage that was asked for."""
    if row.policy_id is None:
        return f"modelyard evaluate {row.name} makes it a candidate where it passes"
    version = f"{row.policy_id} --version {row.policy_version}"
    if stage == PRODUCTION:
        return f"modelyard promote {version} puts it in production where the rules allow it"
    if row.stage == PRODUCTION:
        return f"modelyard promote or modelyard rollback {row.policy_id} puts another version in its place"
    if row.stage == CANDIDATE:
        return f"modelyard archive {version} archives it"
    return f"modelyard archive {version} --undo makes an archived candidate one again; modelyard promote takes the rest"


def _tell_lost(row: StagedVersion) -> Finding:
    return Finding(
        kind="lost",
        subject=row.name,
        found=f"MLflow has no such version of run {row.mlflow_run_id} any more; its stage is {row.stage}",
        remedy="restore MLflow's database from a backup: "
        "a version that was deleted cannot be made again under its number",
    )


def _refuse_unrecorded(connection: Connection, client: MlflowClient, work: _Work) -> list[Finding]:
    """Versions under our model's name that no record names, and that show no stage; one being registered is none."""
    found = []
    recorded = {row.mlflow_model_version for row in work.there}
    for version in sorted(work.shown.versions.keys() - recorded, key=int):
        shown = work.shown.versions[version]
        if _is_being_registered(connection, work.model_name, version, run_id=shown.mlflow_run_id):
            continue
        command = f"modelyard register {shown.mlflow_run_id or 'RUN_ID'}"
        finding = Finding(
            kind="unrecorded",
            subject=f"{work.model_name}/{version}",
            found="this version of MLflow is not on record, so it has no stage and nothing serves it",
            remedy=f"{command} takes in a run that meets its contract; else delete the version in MLflow",
        )
        found.append(finding)
        wanted: dict[str, str | None] = {POLICY_VERSION: None, SINCE: None}
        if shown.tags.get(STAGE, "none") != "none":
            wanted |= {STAGE: None, REFUSED: f"{finding.found}. {finding.remedy}"}
        for tag, value in wanted.items():
            if shown.tags.get(tag) != value:
                projection.write_tag(client, work.model_name, version, tag=tag, value=value)
    return found


def _is_being_registered(connection: Connection, model_name: str, version: str, *, run_id: str) -> bool:
    try:
        with lock_registration(connection, mlflow_run_id=run_id, wait_s=0):
            known = find_model_version(connection, mlflow_model_name=model_name, mlflow_model_version=version)
            return known is not None and known.mlflow_run_id == run_id
    except WorkHeld:
        return True


def _show(value: str | None) -> str:
    """A value from outside, short and on one line."""
    return "none" if value is None else repr(value[:_SHOWN_LIMIT])[1:-1]
