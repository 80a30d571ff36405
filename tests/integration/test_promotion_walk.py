"""A random walk over what changes a policy, held against a plain model of it; hypothesis shortens what goes wrong."""

from contextlib import suppress
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from psycopg.rows import tuple_row

from modelyard.errors import (
    ApprovalRefused,
    GateRefused,
    PolicyVersionRefused,
    PromotionConflict,
    PromotionRefused,
    RecordNotFound,
    RequestReused,
)
from modelyard.store import gates, jobs, policies, promotions
from modelyard.store.connections import connect
from tests.integration.conftest import Records, clone
from tests.integration.promotion_model import PEOPLE, PROMOTER, Approval, Change, Model, Version, Yard

GATES = [{"always": [f"rmse <= 0.{n}"], "against_production": [], "first_version": []} for n in (7, 6, 5)]
# whoever tries, and what: nothing of it may work. {policy} and {id} stand for the policy and its newest version
FORBIDDEN = [
    ("trainer", "SELECT exp.promote('{policy}', 1, 0)"),
    ("evaluator", "SELECT exp.promote('{policy}', 1, 0)"),
    ("application", "SELECT exp.rollback('{policy}', NULL, 1, 'mine')"),
    ("alice_viewer", "SELECT exp.promote('{policy}', 1, 0)"),
    ("alice_trainer", "SELECT exp.archive_version('{policy}', 1, 'mine')"),
    (PROMOTER, "SELECT exp.approve('{policy}', 1, 0)"),
    (PROMOTER, "SELECT exp.require_approval('{policy}', false, 'quicker')"),
    (PROMOTER, "UPDATE exp.policies SET live_policy_version_id = '{id}'"),
    (PROMOTER, "SELECT exp.put_live(p) FROM exp.promotions AS p"),
    (PROMOTER, "INSERT INTO exp.stage_transitions (policy_id) VALUES ('{policy}')"),
    (PROMOTER, "INSERT INTO exp.evaluations (passed) VALUES (true)"),
    ("evaluator", "UPDATE exp.evaluations SET passed = true"),
    ("modelyard_owner", "UPDATE exp.promotions SET actor = 'nobody'"),
    ("modelyard_owner", "DELETE FROM exp.promotions"),
    ("modelyard_owner", "TRUNCATE exp.promotions CASCADE"),
    ("modelyard_owner", "DELETE FROM exp.policy_versions"),
    ("modelyard_owner", "UPDATE exp.policy_versions SET config_defaults = '{{}}'"),
    ("modelyard_owner", "TRUNCATE exp.stage_transitions"),
    ("modelyard_owner", "DELETE FROM exp.approvals"),
    ("modelyard_owner", "DELETE FROM exp.gates"),
    ("modelyard_owner", "DELETE FROM exp.policies"),
]

numbers = st.integers(0, 9)
people = st.sampled_from(PEOPLE)
promoters = st.sampled_from([*PEOPLE, PROMOTER])
reasons = st.sampled_from(["it fails"] * 5 + [" "])
rarely = st.integers(0, 9).map(lambda number: number == 0)


class Walk(Model):
    """Every rule asks the model what must come of it, then does it, then compares."""

    @initialize()
    def begin(self) -> None:
        self.declare(0, "evaluator")
        for number, who in enumerate((*PEOPLE, None)):
            self.register(who)
            self.evaluate(number, True, True, 0)

    @rule(who=st.sampled_from([*PEOPLE, None]))
    def register(self, who: str | None) -> None:
        if len(self.asked_by) >= 5:
            return
        version = str(len(self.asked_by) + 1)
        name = f"{self.model}-{version}"
        job_id = None
        if who is not None:
            job_id = jobs.submit_job(self._connect(who), kind="train", arguments={"name": name})
        self.yard.records.model_version(
            version=version,
            mlflow_model_name=self.model,
            mlflow_run_id=name,
            mlflow_model_id=name,
            dataset_id=self.yard.dataset_id,
            job_id=job_id,
        )
        self.asked_by[version], self.moves[version] = who, []

    @rule(gate=st.integers(0, 2), who=st.sampled_from([*PEOPLE, PROMOTER, "evaluator"]))
    def declare(self, gate: int, who: str) -> None:
        error, texts = None, []
        kept = self.gate_of_a_person if who == "evaluator" else gate == self.gate and self.gate_of_a_person
        if kept or (who == "evaluator" and gate == self.gate):
            expected = self.gate
        elif who == PROMOTER and self.required:
            error, texts, expected = GateRefused, ["declared by an approver"], self.gate
        else:
            expected = gate
        declared = self._try(
            error,
            texts,
            lambda: gates.declare_gate(
                self._connect(who), mlflow_model_name=self.model, gate=GATES[gate], reason="as it is"
            ),
        )
        if error is None:
            assert declared.gate == GATES[expected]
            self.gate, self.gate_of_a_person = expected, kept or who != "evaluator"

    @rule(which=numbers, passed=st.integers(0, 3).map(bool), current=st.booleans(), other=numbers)
    def evaluate(self, which: int, passed: bool, current: bool, other: int) -> None:
        """Against what is live under the gate of now, or against anything under any gate."""
        model_version = str(which % len(self.asked_by) + 1)
        gate, compared = self.gate or 0, self.live
        if not current:
            gate = other % len(GATES)
            compared = self.versions[other % len(self.versions)].version if self.versions and other % 2 else None
        baseline = self._get(compared)
        verdict = self.yard.records.evaluation(
            version=model_version,
            mlflow_model_name=self.model,
            dataset_id=self.yard.dataset_id,
            gate=GATES[gate],
            baseline_policy_version_id=baseline.policy_version_id if baseline else None,
            reasons=[] if passed else ["too slow"],
        )
        assert verdict.passed == self.verdicts.setdefault((model_version, gate, compared), passed)
        if verdict.passed:
            self._add("evaluator", model_version, {})

    @rule(who=promoters, which=numbers)
    def bring_into_production(self, who: str, which: int) -> None:
        """What people do most: all that is needed, and then the promotion."""
        others = [one for one in self.versions if one.version != self.live]
        version = others[which % len(others)]
        self.evaluate(int(version.model_version) - 1, True, True, 0)
        if self.required:
            for person in PEOPLE:
                self.approve(person, version.version - 1, False)
        self.promote(who, version.version - 1, False, 9, False)

    @rule(who=promoters, temperature=st.integers(0, 3))
    def change_the_configuration(self, who: str, temperature: int) -> None:
        """Another configuration of what is live, put live."""
        live, config = self._get(self.live), {"temperature": temperature}
        if live is None:
            return
        self._add(who, live.model_version, config)
        [added] = [one for one in self.versions if (one.model_version, one.config) == (live.model_version, config)]
        self.promote(who, added.version - 1, False, 9, False)

    @rule(who=promoters, steps=st.integers(2, 4))
    def walk_back(self, who: str, steps: int) -> None:
        for _ in range(steps):
            self.roll_back(who, None, False, "it fails")

    @rule(who=promoters, which=numbers)
    def promote_what_is_put_aside(self, who: str, which: int) -> None:
        candidates = [one for one in self.versions if self._stage(one.model_version) == "candidate"]
        if candidates:
            place = candidates[which % len(candidates)].version - 1
            self.archive(who, place, False)
            self.promote(who, place, False, 9, False)

    @rule(who=promoters, which=numbers, temperature=st.integers(0, 1), by_insert=st.booleans())
    def add_version(self, who: str, which: int, temperature: int, by_insert: bool) -> None:
        model_version = str(which % len(self.asked_by) + 1)
        if by_insert:
            self._insert(who, model_version, {"temperature": temperature}, wrong=which % 3 == 0)
        else:
            self._add(who, model_version, {"temperature": temperature})

    def _has_passed(self, model_version: str) -> bool:
        return any(passed for (version, _, _), passed in self.verdicts.items() if version == model_version)

    def _add(self, who: str, model_version: str, config: dict[str, Any]) -> None:
        known = next((one for one in self.versions if (one.model_version, one.config) == (model_version, config)), None)
        error = None if known or self._has_passed(model_version) else PolicyVersionRefused
        added = self._try(
            error,
            ["has no passed evaluation"],
            lambda: policies.add_policy_version(
                self._connect(who),
                policy_id=self.policy,
                mlflow_model_name=self.model,
                mlflow_model_version=model_version,
                config_defaults=config,
            ),
        )
        if known is not None:
            assert added.version == known.version
        elif error is None:
            assert added.version == len(self.versions) + 1
            self._note(added.policy_version_id, model_version, config, who)

    def _insert(self, who: str, model_version: str, config: dict[str, Any], *, wrong: bool) -> None:
        """As anybody does who has a prompt on the database."""
        known = any((one.model_version, one.config) == (model_version, config) for one in self.versions)
        version = len(self.versions) + (2 if wrong else 1)
        insert = """
            INSERT INTO exp.policy_versions
                (policy_id, version, mlflow_model_name, mlflow_model_version, config_defaults)
            VALUES (%s, %s, %s, %s, %s) RETURNING policy_version_id
        """
        values = [self.policy, version, self.model, model_version, psycopg.types.json.Jsonb(config)]
        try:
            row = self._connect(who).execute(insert, values).fetchone()
        except psycopg.IntegrityError:
            assert known or wrong or not self._has_passed(model_version)
            return
        assert not (known or wrong)
        assert self._has_passed(model_version)
        self._note(row["policy_version_id"], model_version, config, who)

    def _note(self, policy_version_id: UUID, model_version: str, config: dict[str, Any], who: str) -> None:
        if self._stage(model_version) in ("none", "archived") and not self._is_shelved(model_version):
            self._move(model_version, "candidate")
        self.versions.append(Version(len(self.versions) + 1, model_version, config, who, policy_version_id))

    @rule(who=promoters, which=numbers, wrong=rarely, again=st.integers(0, 5), dry_run=rarely)
    def promote(self, who: str, which: int, wrong: bool, again: int, dry_run: bool) -> None:
        version, expected = which % (len(self.versions) + 1) + 1, (self.live or 0) + (3 if wrong else 0)
        request, reason = uuid4(), "better"
        if again == 0 and self.done:
            request = list(self.done)[which % len(self.done)]
        elif again == 1 and self.done:  # all as it was, once more
            request = list(self.done)[which % len(self.done)]
            (kind, version, expected, reason), _ = self.done[request]
            if kind != "promotion":
                return
        asked = ("promotion", version, expected, reason)
        error, texts, approval = self._predict_promotion(who, version, expected, request, asked)
        row = self._try(
            error,
            texts,
            lambda: promotions.promote(
                self._connect(who),
                policy_id=self.policy,
                version=version,
                expected=expected,
                reason=reason,
                request_id=request,
                dry_run=dry_run,
            ),
        )
        if error is not None or dry_run or request in self.done:
            assert error or row.version == version
            return
        change = Change("promotion", version, self.live, who, reason, len(self.log), self.gate or 0, request)
        if approval is not None:
            approval.used = True
        self.done[request] = (asked, len(self.log))
        self._put_live(change)

    def _predict_promotion(self, who: str, version: int, expected: int, request: UUID, asked: Any) -> Any:
        if not self.versions:
            return RecordNotFound, [], None
        if request in self.done:
            return (None if self.done[request][0] == asked else RequestReused), [], None
        target = self._get(version)
        if target is None:
            return RecordNotFound, [f"has no version {version}"], None
        if expected != (self.live or 0):
            return PromotionConflict, [f"version {self.live} live since" if self.live else "no live version"], None
        texts, approval = [], None
        if version == self.live:
            texts.append("it is live already")
        if self._is_shelved(target.model_version):
            texts.append("it was archived by")
        if not self._passed(target):
            texts.append("no passed evaluation under the gate as it is declared now")
        if self.required:
            approval = self._find_approval(version, of_others_than=who)
            if approval is None:
                texts.append("another person must approve it first")
        return (PromotionRefused if texts else None), texts, approval

    def _is_shelved(self, model_version: str) -> bool:
        return self.moves[model_version][-1:] == [("candidate", "archived")]

    @rule(
        who=promoters,
        to=st.one_of(st.none(), st.none(), numbers),
        wrong=rarely,
        reason=st.sampled_from(["it fails"] * 5 + [" "]),
    )
    def roll_back(self, who: str, to: int | None, wrong: bool, reason: str) -> None:
        expected = (self.live or 0) + (3 if wrong else 0)
        version = None if to is None else to % (len(self.versions) + 1) + 1
        restored, error = self._find_restored(version), None
        if not self.versions:
            error = RecordNotFound
        elif wrong:
            error = PromotionConflict
        elif version is not None and self._get(version) is None:
            error = RecordNotFound
        elif self.live is None or version == self.live or restored is None or not reason.strip():
            error = PromotionRefused
        request = uuid4()
        row = self._try(
            error,
            [],
            lambda: promotions.rollback(
                self._connect(who),
                policy_id=self.policy,
                version=version,
                expected=expected,
                reason=reason,
                request_id=request,
            ),
        )
        if error is None:
            target = self.log[restored]
            assert row.version == target.version
            self.done[request] = (("rollback", version, expected, reason), len(self.log))
            self._put_live(Change("rollback", target.version, self.live, who, reason, restored, target.gate, request))

    def _find_restored(self, version: int | None) -> int | None:
        """The place in the log of the promotion that a rollback restores."""
        if version is not None:
            places = [n for n, one in enumerate(self.log) if (one.kind, one.version) == ("promotion", version)]
            return places[-1] if places else None
        if not self.log or self.log[-1].made_by == 0:
            return None
        return self.log[self.log[-1].made_by - 1].made_by

    @rule(who=promoters, which=numbers, undo=st.booleans())
    def archive(self, who: str, which: int, undo: bool) -> None:
        target = self._get(which % (len(self.versions) + 1) + 1)
        error = RecordNotFound
        if target is not None:
            stage = self.moves[target.model_version][-1][1]
            fits = self._is_shelved(target.model_version) if undo else stage == "candidate"
            error = None if fits else PromotionRefused
        self._try(
            error,
            [],
            lambda: promotions.archive_version(
                self._connect(who),
                policy_id=self.policy,
                version=which % (len(self.versions) + 1) + 1,
                reason="no use",
                undo=undo,
            ),
        )
        if error is None and target is not None:
            self.moves[target.model_version].append(("archived", "candidate") if undo else ("candidate", "archived"))

    @rule(who=people, which=numbers, wrong=rarely)
    def approve(self, who: str, which: int, wrong: bool) -> None:
        version, expected = which % (len(self.versions) + 1) + 1, (self.live or 0) + (3 if wrong else 0)
        target, error = self._get(version), None
        if target is None:
            error = RecordNotFound
        elif wrong:
            error = PromotionConflict
        elif version == self.live or who in (target.created_by, self.asked_by[target.model_version]):
            error = ApprovalRefused
        self._try(
            error,
            [],
            lambda: promotions.approve(self._connect(who), policy_id=self.policy, version=version, expected=expected),
        )
        if error is None and self._find_approval(version, by=who) is None:
            self.approvals.append(Approval(version, self.live, who))

    @rule(who=people, required=st.booleans())
    def require_approval(self, who: str, required: bool) -> None:
        if self.versions:
            promotions.require_approval(
                self._connect(who), policy_id=self.policy, required=required, reason="four eyes"
            )
            self.required = required

    @rule(attempt=st.sampled_from(FORBIDDEN))
    def attempt_what_nobody_may(self, attempt: tuple[str, str]) -> None:
        who, statement = attempt
        newest = self.versions[-1].policy_version_id if self.versions else uuid4()
        text = statement.format(policy=self.policy, id=newest)
        owner = who == "modelyard_owner"
        connection = self._connect("postgres" if owner else who)
        with suppress(psycopg.Error), connection.transaction():
            if owner:
                connection.execute("SET LOCAL ROLE modelyard_owner")
            connection.execute(text)
            raise AssertionError(f"{who} could: {text}")

    # what must hold after each step

    @invariant()
    def exactly_the_models_version_is_live(self) -> None:
        query = "SELECT version FROM exp.live_policies WHERE policy_id = %s"
        assert self._list(query, self.policy) == ([(self.live,)] if self.versions else [])
        query = "SELECT count(*) FROM exp.stages WHERE mlflow_model_name = %s AND stage = 'production'"
        assert self._list(query, self.model) == [(0 if self.live is None else 1,)]

    @invariant()
    def every_stage_is_as_the_model_has_it(self) -> None:
        query = "SELECT mlflow_model_version, stage FROM exp.stages WHERE mlflow_model_name = %s"
        assert dict(self._list(query, self.model)) == {version: self._stage(version) for version in self.asked_by}

    @invariant()
    def every_move_from_stage_to_stage_is_on_record(self) -> None:
        query = """
            SELECT mlflow_model_version, from_stage, to_stage FROM exp.stage_transitions
            WHERE mlflow_model_name = %s ORDER BY stage_transition_id
        """
        moves: dict[str, list[tuple[str, str]]] = {version: [] for version in self.asked_by}
        for version, before, after in self._list(query, self.model):
            moves[version].append((before, after))
        assert moves == self.moves

    @invariant()
    def the_log_says_who_what_why_and_what_was_before(self) -> None:
        query = """
            SELECT promotion_id, previous_promotion_id, kind, version, replaced_version, actor, reason, request_id,
                occurred_at
            FROM exp.promotions WHERE policy_id = %s ORDER BY promotion_id
        """
        rows = self._list(query, self.policy)
        assert [row[2:8] for row in rows] == [
            (one.kind, one.version, one.replaced, one.actor, one.reason, one.request) for one in self.log
        ]
        assert [row[1] for row in rows] == [None, *(row[0] for row in rows)][: len(rows)]
        for before, after in pairwise(rows):
            assert before[3] == after[4]
            assert before[8] <= after[8]

    @invariant()
    def every_promotion_stands_on_a_passed_evaluation_of_the_gate_of_then(self) -> None:
        query = """
            SELECT e.passed, e.gate, e.mlflow_model_version = pv.mlflow_model_version
            FROM exp.promotions AS p
            LEFT JOIN exp.evaluations AS e USING (evaluation_id)
            LEFT JOIN exp.policy_versions AS pv ON p.policy_version_id = pv.policy_version_id
            WHERE p.policy_id = %s ORDER BY p.promotion_id
        """
        assert self._list(query, self.policy) == [(True, GATES[one.gate], True) for one in self.log]

    @invariant()
    def an_approval_is_used_once_and_by_another_person(self) -> None:
        query = """
            SELECT a.created_by, p.actor FROM exp.promotions AS p INNER JOIN exp.approvals AS a USING (approval_id)
            WHERE p.policy_id = %s
        """
        rows = self._list(query, self.policy)
        assert len(rows) == sum(approval.used for approval in self.approvals)
        assert all(by != actor for by, actor in rows)

    def _list(self, query: Any, *values: Any) -> list[Any]:
        with self._connect("alice_viewer").cursor(row_factory=tuple_row) as cursor:
            found: list[Any] = cursor.execute(query, values).fetchall()
        return found


@pytest.fixture
def yard(cluster, template):
    groups = [*((name, ("trainer", "promoter", "approver")) for name in PEOPLE), (PROMOTER, ("promoter",))]
    for name, may in groups:
        cluster.run(f"CREATE ROLE {name} LOGIN IN ROLE {', '.join(f'modelyard_{group}' for group in may)}")
    with clone(cluster, template) as database:
        yield Yard(database, Records(database))
    cluster.run(*(f"DROP ROLE {name}" for name, _ in groups))


def test_whatever_people_do_one_version_is_live_and_the_log_says_all_of_it(yard):
    Walk.yard = yard
    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=70,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    with connect(yard.database.dsn("alice_viewer")) as viewer:
        counted = viewer.execute("SELECT kind, count(*) FROM exp.promotions GROUP BY kind").fetchall()
    print({row["kind"]: row["count"] for row in counted})
    assert {row["kind"] for row in counted} == {"promotion", "rollback"}  # or the walk went nowhere
