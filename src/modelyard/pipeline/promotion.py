"""Candidate → production and back: what is asked for is completed from the record, and PostgreSQL decides."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from modelyard.errors import BadInput, UnknownName
from modelyard.store import policies, promotions
from modelyard.store.connections import Connection
from modelyard.store.evaluations import Evaluation, get_evaluation
from modelyard.store.models import get_model_version, resolve_model_version
from modelyard.store.rights import needed_right
from modelyard.workloads.rules import PRODUCTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a promotion or rollback has changed, or would.

    Attributes:
        promotion: the row of the log.
        put_live: the policy version that is live after it.
        replaced: the one that was live before; None where none was.
        evaluation: the verdict that it stands on; of a rollback, that of the promotion that it restores.
        compared: the version that this verdict has held against it; None where none was live then.
        repeated: the request was on record, and nothing was changed now.
    """

    promotion: promotions.Promotion
    put_live: policies.PolicyVersion
    replaced: policies.PolicyVersion | None
    evaluation: Evaluation
    compared: policies.PolicyVersion | None
    repeated: bool

    @property
    def metrics(self) -> dict[str, dict[str, float | None]]:
        """Metric → its value (``found``) and that of the version it was compared with, on the same rows."""
        before: dict[str, Any] = self.evaluation.baselines.get(PRODUCTION, {})
        found = self.evaluation.metrics
        return {name: {"found": value, "compared": before.get(name)} for name, value in sorted(found.items())}


def get_policy(connection: Connection, policy_id: str) -> policies.Policy:
    """The policy with this id.

    Raises:
        UnknownName: there is none.
    """
    found = policies.find_policy(connection, policy_id=policy_id)
    if found is None:
        known = policies.list_policy_ids(connection)
        hint = "" if known else "A model version that passes its evaluation makes one."
        raise UnknownName("policy", policy_id, known, hint=hint)
    return found


def get_version(connection: Connection, policy: policies.Policy, version: int) -> policies.PolicyVersion:
    """A version of a policy by its number.

    Raises:
        UnknownName: the policy has no such version.
    """
    found = policies.find_policy_version(connection, policy_id=policy.policy_id, version=version)
    if found is None:
        newest = policies.list_policy_versions(connection, policy_id=policy.policy_id, nb_versions=20)
        known = [f"{row.policy_id}@{row.version}" for row in newest]
        raise UnknownName("policy version", f"{policy.policy_id}@{version}", known)
    return found


def choose_version(connection: Connection, policy: policies.Policy, version: int | None) -> policies.PolicyVersion:
    """The version that is named, by default the newest candidate.

    Raises:
        UnknownName: the policy has no such version.
        BadInput: none is named, and there is no candidate.
    """
    if version is not None:
        return get_version(connection, policy, version)
    found = policies.find_newest_candidate(connection, policy_id=policy.policy_id)
    if found is None:
        raise BadInput(
            f"{policy.policy_id} has no candidate: every version that is newer than what is live was live before or is "
            "archived; name one with --version, or put back what was live with modelyard rollback"
        )
    return found


def find_live(connection: Connection, policy: policies.Policy) -> policies.PolicyVersion | None:
    """The version of a policy that is live now, or None."""
    return policies.find_live_version(connection, mlflow_model_name=policy.mlflow_model_name)


def list_stages(
    connection: Connection, policy: policies.Policy, *, nb_versions: int
) -> list[tuple[policies.PolicyVersion, policies.Stage]]:
    """The newest versions of a policy, oldest first, each with the stage of its model version."""
    # the versions first: whatever is one has a stage by then
    versions = policies.list_policy_versions(connection, policy_id=policy.policy_id, nb_versions=nb_versions)
    stages = policies.map_stages(
        connection,
        mlflow_model_name=policy.mlflow_model_name,
        mlflow_model_versions={version.mlflow_model_version for version in versions},
    )
    return [(version, stages[version.mlflow_model_version]) for version in versions]


def find_change(connection: Connection, request_id: UUID) -> Change | None:
    """What an earlier call with this request id has done, or None."""
    row = promotions.find_promotion(connection, request_id=request_id)
    return _complete(connection, row, repeated=True) if row else None


def promote(
    connection: Connection,
    *,
    policy_id: str,
    version: int,
    expected: int,
    reason: str = "",
    request_id: UUID | None = None,
    dry_run: bool = False,
) -> Change:
    """Put a version live where ``expected`` (0: none) is what is live; with ``dry_run`` only say what would be.

    Raises:
        PromotionConflict: something else is live; the text names who put it there.
        PromotionRefused: with every reason.
        RequestReused: the request's id was used with other arguments.
        RightMissing: who asks is no promoter.
    """
    asked = request_id or uuid4()
    known = promotions.find_promotion(connection, request_id=asked)
    with needed_right(connection, group="promoter", to="promote"):
        row = promotions.promote(
            connection,
            policy_id=policy_id,
            version=version,
            expected=expected,
            reason=reason,
            request_id=asked,
            dry_run=dry_run,
        )
    return _complete(connection, row, repeated=known is not None)


def roll_back(
    connection: Connection,
    *,
    policy_id: str,
    version: int | None,
    expected: int,
    reason: str,
    request_id: UUID | None = None,
    dry_run: bool = False,
) -> Change:
    """Put back what was live before ``expected``, or a ``version`` that has been live.

    Raises:
        BadInput: the reason says nothing.
        PromotionConflict: something else than ``expected`` is live.
        PromotionRefused: nothing was live before, or that version never was.
        RequestReused: the request's id was used with other arguments.
        RightMissing: who asks is no promoter.
    """
    check_reason(reason)
    asked = request_id or uuid4()
    known = promotions.find_promotion(connection, request_id=asked)
    with needed_right(connection, group="promoter", to="roll back"):
        row = promotions.rollback(
            connection,
            policy_id=policy_id,
            version=version,
            expected=expected,
            reason=reason,
            request_id=asked,
            dry_run=dry_run,
        )
    return _complete(connection, row, repeated=known is not None)


def approve(
    connection: Connection, *, policy_id: str, version: int, expected: int, reason: str = ""
) -> promotions.Approval:
    """Agree that a version replaces what is expected to be live; one promotion uses it up.

    Raises:
        ApprovalRefused: it is live, or who approves has added it or asked for its training.
        PromotionConflict: something else is live.
        RightMissing: who asks is no approver.
    """
    with needed_right(connection, group="approver", to="approve a promotion"):
        return promotions.approve(connection, policy_id=policy_id, version=version, expected=expected, reason=reason)


def archive(connection: Connection, version: policies.PolicyVersion, *, reason: str, undo: bool = False) -> None:
    """Put a candidate aside, or with ``undo`` make it one again.

    Raises:
        BadInput: the reason says nothing.
        PromotionRefused: it is no candidate, or was not put aside.
        RightMissing: who asks is no promoter.
    """
    check_reason(reason)
    with needed_right(connection, group="promoter", to="archive a version"):
        promotions.archive_version(
            connection, policy_id=version.policy_id, version=version.version, reason=reason, undo=undo
        )


def require_approval(connection: Connection, *, policy_id: str, required: bool, reason: str) -> policies.Policy:
    """Say whether another person must approve each promotion of a policy.

    Raises:
        BadInput: the reason says nothing.
        RightMissing: who asks is no approver.
    """
    check_reason(reason)
    with needed_right(connection, group="approver", to="say who must approve"):
        return promotions.require_approval(connection, policy_id=policy_id, required=required, reason=reason)


def add_version(
    connection: Connection, *, policy_id: str, model: str, config_defaults: Mapping[str, Any]
) -> tuple[policies.PolicyVersion, bool]:
    """The policy's version of ``MODEL/VERSION`` with this configuration, and whether it was made now.

    Raises:
        UnknownName: no such model version is on record.
        BadInput: no policy can be called so.
        PolicyVersionRefused: the policy has another model, or the model version has no passed evaluation.
        RightMissing: who asks is no promoter.
    """
    found = resolve_model_version(connection, model)
    wanted: dict[str, Any] = {
        "policy_id": policy_id,
        "mlflow_model_name": found.mlflow_model_name,
        "mlflow_model_version": found.mlflow_model_version,
        "config_defaults": config_defaults,
    }
    known = policies.find_configured_version(connection, **wanted)
    with needed_right(connection, group="promoter", to="add a version to a policy"):
        return policies.add_policy_version(connection, **wanted), known is None


def ask_for_evaluation(connection: Connection, version: policies.PolicyVersion, *, dataset: str | None) -> UUID:
    """Queue the evaluation of a version's model against what is live then; the job's id.

    Args:
        connection: as a promoter.
        version: which one.
        dataset: whose test rows: ``NAME[@VERSION]`` or a digest; None: those of the dataset that it was trained on.

    Raises:
        UnknownName: no dataset is called so.
        BadInput: it lacks columns that the version or the live one takes.
        RightMissing: who asks is no promoter.
    """
    from modelyard.pipeline.evaluation_request import build_evaluation  # what scores takes a second to import

    model = get_model_version(
        connection,
        mlflow_model_name=version.mlflow_model_name,
        mlflow_model_version=version.mlflow_model_version,
    )
    request = build_evaluation(connection, model, dataset=dataset)
    with needed_right(connection, group="promoter", to="ask for an evaluation"):
        return promotions.submit_evaluation(connection, arguments=request.arguments())


def check_reason(reason: str) -> None:
    """Refuse a reason that says nothing.

    Raises:
        BadInput: it is empty.
    """
    if not reason.strip():
        raise BadInput("say why with --reason; it stays on record")


def _complete(connection: Connection, row: promotions.Promotion, *, repeated: bool) -> Change:
    evaluation = get_evaluation(connection, evaluation_id=row.evaluation_id)
    replaced, compared = row.replaced_policy_version_id, evaluation.baseline_policy_version_id
    ids = [one for one in (row.policy_version_id, replaced, compared) if one]
    by_id = policies.map_policy_versions(connection, ids)
    return Change(
        promotion=row,
        put_live=by_id[row.policy_version_id],
        replaced=by_id[replaced] if replaced else None,
        evaluation=evaluation,
        compared=by_id[compared] if compared else None,
        repeated=repeated,
    )
