"""What is live for a policy: promoted, rolled back, approved; each rule by breaking it."""

from uuid import uuid4

import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege, SerializationFailure
from psycopg.types.json import Jsonb

from modelyard.errors import (
    ApprovalRefused,
    GateRefused,
    PolicyVersionRefused,
    PromotionConflict,
    PromotionRefused,
    RecordNotFound,
    RequestReused,
)
from modelyard.store import gates, policies, promotions
from modelyard.store.connections import connect, find_value

POLICY, MODEL = "houses_policy", "houses_model"
GATE = {"always": ["rmse <= 0.7"], "against_production": [], "first_version": []}
STRICTER = GATE | {"always": ["rmse <= 0.6"]}


@pytest.fixture
def promoter(database):
    return database.connect("alice_promoter")


@pytest.fixture
def approver(database):
    return database.connect("alice_approver")


@pytest.fixture
def gate(records):
    return gates.declare_gate(records.evaluator, mlflow_model_name=MODEL, gate=GATE)


@pytest.fixture
def add(records, gate):
    """A policy version of a model version that has passed against what is live, under the gate: ``add("2")``."""

    def add(version, *, live=None, gate=GATE, **changes):
        baseline = live.policy_version_id if live else None
        records.evaluation(version=version, gate=gate, baseline_policy_version_id=baseline)
        return policies.add_policy_version(
            records.evaluator, policy_id=POLICY, mlflow_model_name=MODEL, mlflow_model_version=version, **changes
        )

    return add


def promote(connection, version, expected, **changes):
    return promotions.promote(connection, policy_id=POLICY, version=version, expected=expected, **changes)


def rollback(connection, expected, reason="it fails", **changes):
    return promotions.rollback(connection, policy_id=POLICY, expected=expected, reason=reason, **changes)


def stages(records):
    rows = records.trainer.execute("SELECT stage FROM exp.stages ORDER BY mlflow_model_version").fetchall()
    return [row["stage"] for row in rows]


def live(database):
    row = database.connect("application").execute("SELECT version FROM exp.resolve_policy(%s)", [POLICY]).fetchone()
    return row["version"]


def test_a_promotion_is_who_what_when_why_and_on_what_evidence(records, database, promoter, add):
    first = add("1")
    change = promote(promoter, 1, 0, reason="the first")
    assert (change.version, change.replaced_version, change.actor, change.reason) == (
        1, None, "alice_promoter", "the first",
    )  # fmt: skip
    assert change.evaluation_id == records.evaluation(gate=GATE).evaluation_id
    add("2", live=first)
    promote(promoter, 2, 1)
    assert (live(database), stages(records)) == (2, ["archived", "production"])
    newest, oldest = promotions.list_promotions(records.trainer, policy_id=POLICY)
    assert (newest.previous_promotion_id, newest.replaced_version) == (oldest.promotion_id, 1)
    assert newest.occurred_at > oldest.occurred_at


def test_who_expected_another_live_version_is_told_who_came_first(records, promoter, add):
    first = add("1")
    promote(promoter, 1, 0)
    add("2", live=first)
    for expected in (0, 2, 7):
        with pytest.raises(PromotionConflict, match=r"version 1 live since .* UTC by alice_promoter, and .*expected"):
            promote(promoter, 2, expected)
    with pytest.raises(SerializationFailure):
        promoter.execute("SELECT exp.promote(%s, 2, 0)", [POLICY])
    with pytest.raises(PromotionConflict, match="say which version is live now"):
        promote(promoter, 2, None)


def test_nothing_is_promoted_without_a_passed_evaluation_of_now(records, promoter, add):
    first = add("1")
    promote(promoter, 1, 0)
    second = add("2")  # as a first version, not against the live one
    with pytest.raises(PromotionRefused, match=r"against version 1 \(houses_model/1\), which it would replace; evalua"):
        promote(promoter, 2, 1)
    add("2", live=first)
    gates.declare_gate(promoter, mlflow_model_name=MODEL, gate=STRICTER, reason="rents rise")
    with pytest.raises(PromotionRefused, match="no passed evaluation under the gate as it is declared now"):
        promote(promoter, 2, 1)
    add("2", live=first, gate=STRICTER)
    assert promote(promoter, 2, 1).policy_version_id == second.policy_version_id


def test_a_gate_with_another_ones_hash_is_not_declared(records, promoter, add):
    add("1")
    sha256 = gates.find_gate(records.trainer, mlflow_model_name=MODEL).gate_sha256
    with pytest.raises(CheckViolation, match="this is not the sha256 of the gate: it is"):
        promoter.execute("SELECT exp.declare_gate(%s, %s, %s, 'very strict')", [MODEL, Jsonb(STRICTER), sha256])
    odd = GATE | {"first_version": ['say "é" \\ \t\x01 <= 1', "r2 >= 0.6"]}
    assert gates.declare_gate(promoter, mlflow_model_name=MODEL, gate=odd, reason="odd").gate == odd


def test_only_where_an_evaluation_is_all_that_is_missing_one_helps(records, promoter, approver, add):
    first = add("1")
    promote(promoter, 1, 0)
    add("2")
    with pytest.raises(PromotionRefused) as refused:
        promote(promoter, 2, 1)
    assert refused.value.evaluation_helps
    promotions.require_approval(approver, policy_id=POLICY, required=True, reason="it sets prices")
    with pytest.raises(PromotionRefused, match=r"no passed evaluation .*; another person must approve it") as refused:
        promote(promoter, 2, 1)
    assert not refused.value.evaluation_helps
    add("2", live=first)
    with pytest.raises(PromotionRefused, match="another person must approve it") as refused:
        promote(promoter, 2, 1)
    assert not refused.value.evaluation_helps


def test_a_refused_evaluation_is_no_passed_one(records, promoter, gate):
    records.evaluation(version="1")  # passed under another gate
    records.evaluation(version="1", gate=GATE, reasons=["rmse is missing"], metrics={"rmse": None})
    policies.add_policy_version(records.evaluator, policy_id=POLICY, mlflow_model_name=MODEL, mlflow_model_version="1")
    with pytest.raises(PromotionRefused, match="no passed evaluation"):
        promote(promoter, 1, 0)


def test_another_config_of_the_live_model_is_promoted_on_its_evaluation_and_moves_no_stage(records, promoter, add):
    add("1")
    promote(promoter, 1, 0)
    policies.add_policy_version(
        promoter, policy_id=POLICY, mlflow_model_name=MODEL, mlflow_model_version="1", config_defaults={"top_k": 5}
    )
    assert promote(promoter, 2, 1).replaced_version == 1
    assert stages(records) == ["production"]
    assert find_value(records.trainer, "SELECT count(*) FROM exp.stage_transitions") == 2
    assert rollback(promoter, 2).version == 1


def test_the_same_request_is_done_once(records, promoter, add):
    first = add("1")
    request_id = uuid4()
    done = promote(promoter, 1, 0, request_id=request_id)
    add("2", live=first)
    promote(promoter, 2, 1)
    assert promote(promoter, 1, 0, request_id=request_id) == done
    for changes in ({"reason": "other"}, {"expected": 2}, {"version": 2}):
        asked = {"version": 1, "expected": 0, "request_id": request_id} | changes
        with pytest.raises(RequestReused, match=f"request {request_id} was made before, with other arguments"):
            promote(promoter, **asked)
    with pytest.raises(RequestReused, match="with other arguments"):
        rollback(promoter, 2, request_id=request_id)


def test_a_dry_run_says_what_would_be_and_writes_nothing(records, promoter, add):
    first = add("1")
    planned = promote(promoter, 1, 0, dry_run=True)
    assert (planned.version, planned.replaced_version, planned.promotion_id) == (1, None, None)
    assert stages(records) == ["candidate"]
    promote(promoter, 1, 0)
    add("2", live=first)
    promote(promoter, 2, 1)
    assert rollback(promoter, 2, dry_run=True).version == 1
    assert len(promotions.list_promotions(records.trainer, policy_id=POLICY)) == 2


def test_rollbacks_walk_back_through_history_and_no_further(records, database, promoter, add):
    before = None
    for number in (1, 2, 3):
        before = add(str(number), live=before)
        promote(promoter, number, number - 1)
    assert rollback(promoter, 3).version == 2
    assert stages(records) == ["archived", "production", "archived"]
    assert rollback(promoter, 2).version == 1
    with pytest.raises(PromotionRefused, match="nothing was live before version 1"):
        rollback(promoter, 1)
    fourth = add("4", live=policies.list_policy_versions(records.trainer, policy_id=POLICY)[0])
    promote(promoter, 4, 1)
    assert rollback(promoter, 4).version == 1  # not 2: that was taken back
    with pytest.raises(PromotionRefused, match="nothing was live before"):
        rollback(promoter, 1)
    assert rollback(promoter, 1, version=3).version == 3
    assert rollback(promoter, 3).version == 2  # what was live before 3 was promoted
    assert (live(database), fourth.version) == (2, 4)


def test_a_rollback_that_cannot_be_is_refused_with_the_reason(records, promoter, add):
    first = add("1")
    with pytest.raises(PromotionRefused, match="nothing is live"):
        rollback(promoter, 0)
    promote(promoter, 1, 0)
    second = add("2", live=first)
    assert second.version == 2
    with pytest.raises(PromotionRefused, match="version 2 was never live; promote it"):
        rollback(promoter, 1, version=2)
    with pytest.raises(PromotionRefused, match="version 1 is live already"):
        rollback(promoter, 1, version=1)
    with pytest.raises(RecordNotFound, match="has no version 9"):
        rollback(promoter, 1, version=9)
    promote(promoter, 2, 1)
    with pytest.raises(PromotionRefused, match="a rollback needs a reason"):
        rollback(promoter, 2, reason=" ")
    with pytest.raises(PromotionConflict):
        rollback(promoter, 1)


def test_what_was_archived_by_hand_is_not_promoted_until_that_is_undone(records, promoter, add):
    add("1")
    promotions.archive_version(promoter, policy_id=POLICY, version=1, reason="leaks the target")
    assert stages(records) == ["archived"]
    with pytest.raises(PromotionRefused, match="was archived by alice_promoter: leaks the target"):
        promote(promoter, 1, 0)
    with pytest.raises(PromotionRefused, match="is no candidate, its stage is archived"):
        promotions.archive_version(promoter, policy_id=POLICY, version=1, reason="again")
    again = policies.add_policy_version(
        promoter, policy_id=POLICY, mlflow_model_name=MODEL, mlflow_model_version="1", config_defaults={"top_k": 5}
    )
    assert stages(records) == ["archived"]  # another config of it changes nothing
    with pytest.raises(PromotionRefused, match="was archived by alice_promoter: leaks the target"):
        promote(promoter, again.version, 0)
    promotions.archive_version(promoter, policy_id=POLICY, version=1, reason="it does not", undo=True)
    promote(promoter, 1, 0)
    for undo, said in ((False, "its stage is production"), (True, "was not archived as a candidate")):
        with pytest.raises(PromotionRefused, match=said):
            promotions.archive_version(promoter, policy_id=POLICY, version=1, reason="no", undo=undo)
    with pytest.raises(PromotionRefused, match="a reason is needed"):
        promotions.archive_version(promoter, policy_id=POLICY, version=1, reason="")


def test_where_approval_is_required_another_person_gives_it_for_this_change_and_once(
    records, database, promoter, approver, add
):
    first, second = add("1"), add("2")
    promotions.require_approval(approver, policy_id=POLICY, required=True, reason="it sets prices")
    with pytest.raises(PromotionRefused, match="another person must approve it first"):
        promote(promoter, 1, 0)
    given = promotions.approve(approver, policy_id=POLICY, version=1, expected=0, reason="seen the report")
    assert promotions.approve(approver, policy_id=POLICY, version=1, expected=0) == given
    stale = promotions.approve(approver, policy_id=POLICY, version=2, expected=0)
    assert promote(promoter, 1, 0).approval_id == given.approval_id
    add("2", live=first)
    with pytest.raises(PromotionRefused, match="another person must approve it first"):
        promote(promoter, 2, 1)  # what was approved was to replace nothing
    with pytest.raises(PromotionConflict):
        promotions.approve(approver, policy_id=POLICY, version=2, expected=0)
    fresh = promotions.approve(approver, policy_id=POLICY, version=2, expected=1)
    assert fresh.approval_id != stale.approval_id
    promote(promoter, 2, 1)
    assert rollback(promoter, 2).version == 1  # what fails is taken back at once
    with pytest.raises(PromotionRefused, match="another person must approve it first"):
        promote(promoter, 2, 1)  # the approval is used up
    assert second.version == 2


def test_nobody_approves_their_own(records, database, add):
    add("1")
    both = database.connect("bob_both")
    promotions.require_approval(both, policy_id=POLICY, required=True, reason="it sets prices")
    policies.add_policy_version(
        both, policy_id=POLICY, mlflow_model_name=MODEL, mlflow_model_version="1", config_defaults={"top_k": 5}
    )
    with pytest.raises(ApprovalRefused, match="nobody approves a version that they have added"):
        promotions.approve(both, policy_id=POLICY, version=2, expected=0)
    promotions.approve(both, policy_id=POLICY, version=1, expected=0)
    with pytest.raises(PromotionRefused, match="another person must approve it first"):
        promote(both, 1, 0)  # they have approved it themselves


@pytest.fixture(autouse=True)
def both(cluster):
    """A login that may promote and approve."""
    cluster.run(
        "DROP ROLE IF EXISTS bob_both", "CREATE ROLE bob_both LOGIN IN ROLE modelyard_promoter, modelyard_approver"
    )  # fmt: skip


def test_who_asked_for_the_training_does_not_approve_it(records, database, gate):
    both = database.connect("bob_both")
    with connect(database.dsn("postgres")) as owner:
        owner.execute("GRANT modelyard_trainer TO bob_both")
    job = both.execute("SELECT exp.submit_job('train', '{}', repeat('a', 64), gen_random_uuid()) AS id").fetchone()
    dataset = records.dataset()
    records.model_version(job_id=job["id"], dataset_id=dataset.dataset_id)
    records.evaluation(dataset_id=dataset.dataset_id, gate=GATE)
    policies.add_policy_version(records.evaluator, policy_id=POLICY, mlflow_model_name=MODEL, mlflow_model_version="1")
    with pytest.raises(ApprovalRefused, match="nobody approves a model that they have asked for"):
        promotions.approve(both, policy_id=POLICY, version=1, expected=0)


def test_who_may_not_approve_lowers_no_gate_that_approvals_guard(records, promoter, approver, add):
    add("1")
    promotions.require_approval(approver, policy_id=POLICY, required=True, reason="it sets prices")
    with pytest.raises(GateRefused, match="its gate is declared by an approver"):
        gates.declare_gate(promoter, mlflow_model_name=MODEL, gate=STRICTER, reason="easier")
    assert gates.declare_gate(approver, mlflow_model_name=MODEL, gate=STRICTER, reason="agreed").gate == STRICTER
    with pytest.raises(ApprovalRefused, match="needs a reason"):
        promotions.require_approval(approver, policy_id=POLICY, required=False, reason=" ")
    with pytest.raises(InsufficientPrivilege):
        promotions.require_approval(promoter, policy_id=POLICY, required=False, reason="in a hurry")


def test_a_gate_of_a_person_holds_against_what_a_release_ships(records, promoter):
    shipped = gates.declare_gate(records.evaluator, mlflow_model_name=MODEL, gate=GATE)
    assert gates.declare_gate(records.evaluator, mlflow_model_name=MODEL, gate=GATE) == shipped
    assert gates.declare_gate(records.evaluator, mlflow_model_name=MODEL, gate=STRICTER).gate == STRICTER
    own = gates.declare_gate(promoter, mlflow_model_name=MODEL, gate=GATE, reason="as last year")
    assert (own.declared_by, own.gate) == ("alice_promoter", GATE)
    assert gates.declare_gate(records.evaluator, mlflow_model_name=MODEL, gate=STRICTER) == own
    assert gates.find_gate(records.trainer, mlflow_model_name=MODEL) == own
    with pytest.raises(GateRefused, match="needs a reason"):
        gates.declare_gate(promoter, mlflow_model_name=MODEL, gate=STRICTER, reason="")


INSERT = """
    INSERT INTO exp.policy_versions (policy_id, version, mlflow_model_name, mlflow_model_version, config_defaults)
    VALUES ('planner_policy', %s, 'planner_model', %s, '{"temperature": 0.7}')
"""


def test_a_plain_insert_adds_a_version_that_has_passed_and_no_other(records, database, promoter):
    for version in ("3", "4", "5"):
        records.model_version(version=version, mlflow_model_name="planner_model")
        dataset_id = records.dataset().dataset_id
        reasons = ["plan_alignment_score is missing"] if version == "5" else []
        records.evaluation(version=version, mlflow_model_name="planner_model", dataset_id=dataset_id, reasons=reasons)
    for number, (version, said) in enumerate(
        [("4", "its next version is 1, not 2"), ("5", "planner_model version 5 has no passed evaluation")], start=1
    ):
        with pytest.raises(Exception, match=said):
            promoter.execute(INSERT, [3 - number, version])
    promoter.execute(INSERT, [1, "3"])
    promoter.execute(INSERT, [2, "4"])
    added = policies.list_policy_versions(records.trainer, policy_id="planner_policy")
    assert [(row.version, row.mlflow_model_version, row.created_by) for row in added] == [
        (1, "3", "alice_promoter"), (2, "4", "alice_promoter"),
    ]  # fmt: skip
    assert added[0].config_defaults == {"temperature": 0.7}
    assert stages(records) == ["candidate", "candidate", "none"]
    with pytest.raises(PolicyVersionRefused, match="another policy owns"):
        policies.add_policy_version(
            promoter, policy_id="other_policy", mlflow_model_name="planner_model", mlflow_model_version="3"
        )


def test_what_is_not_there_is_named(promoter, add):
    with pytest.raises(RecordNotFound, match="there is no policy houses_policy"):
        promote(promoter, 1, 0)
    add("1")
    with pytest.raises(RecordNotFound, match="policy houses_policy has no version 4"):
        promote(promoter, 4, 0)
