"""What was live when, who changed it and why, which runs there are: from the record, and as the commands tell it."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from modelyard.stack.addresses import Addresses
from modelyard.store import gates, history, policies, promotions
from modelyard.store.connections import connect
from tests.integration.conftest import Records
from tests.integration.notebook import own_run
from tests.integration.trainings import environment_of, run_command

POLICY, MODEL = "houses_policy", "houses_model"
GATE = {"always": ["rmse <= 0.7"], "against_production": [], "first_version": []}


@dataclass
class Yard:
    """Policies on record, changed by people of their own."""

    records: Records

    def add(self, version, *, live=None, **changes):
        """A policy version of a model version that has passed against what is live."""
        gates.declare_gate(self.records.evaluator, mlflow_model_name=MODEL, gate=GATE)
        self.records.evaluation(
            version=version,
            gate=GATE,
            metrics={"rmse": 0.5, "r2": 0.75},
            baseline_policy_version_id=live.policy_version_id if live else None,
            mlflow_run_id=f"evaluation-{version}",
        )
        return policies.add_policy_version(
            self.records.evaluator, policy_id=POLICY, mlflow_model_name=MODEL, mlflow_model_version=version, **changes
        )

    def promote(self, version, expected, who, reason=""):
        connection = self.records.database.connect(who)
        return promotions.promote(connection, policy_id=POLICY, version=version, expected=expected, reason=reason)

    def roll_back(self, expected, who, reason):
        connection = self.records.database.connect(who)
        return promotions.rollback(connection, policy_id=POLICY, expected=expected, reason=reason)

    def live_through(self, who):
        """Version 1, then 2, then 1 again; returns when each change was."""
        first = self.add("1")
        changes = [self.promote(1, 0, who, "the first")]
        self.add("2", live=first, config_defaults={"temperature": 0.7})
        changes.append(self.promote(2, 1, who, "better on new rows"))
        changes.append(self.roll_back(2, who, "complaints"))
        return [change.occurred_at for change in changes]


# the record


@pytest.fixture
def yard(records):
    return Yard(records)


@pytest.fixture
def reader(database):
    return database.connect("reader")


def test_what_served_is_told_to_the_microsecond(yard, reader):
    moments = yard.live_through("alice_promoter")
    tick = timedelta(microseconds=1)

    def served(at):
        row = history.find_served(reader, policy_id=POLICY, at=at)
        return row and row.version

    assert [served(at) for at in moments] == [1, 2, 1]
    assert [served(at - tick) for at in moments] == [None, 1, 2]
    assert served(datetime.now(UTC)) == 1
    assert history.find_served(reader, policy_id="other_policy", at=datetime.now(UTC)) is None


def test_the_spans_of_a_policy_follow_each_other_without_a_gap(yard, reader):
    moments = yard.live_through("alice_promoter")
    spans = history.list_served(reader, policy_id=POLICY)[::-1]
    assert [(span.version, span.kind) for span in spans] == [(1, "promotion"), (2, "promotion"), (1, "rollback")]
    assert [span.from_at for span in spans] == moments
    assert all(before.until_at == after.from_at for before, after in pairwise(spans))
    assert spans[-1].until_at is None


def test_a_change_names_who_why_on_what_and_what_was_before(yard, reader):
    moments = yard.live_through("alice_promoter")
    back, second, first = history.list_changes(reader, policy_id=POLICY)
    assert (first.version, first.replaced_version, first.actor, first.reason) == (
        1, None, "alice_promoter", "the first",
    )  # fmt: skip
    assert (second.replaced_version, second.replaced_model_version) == (1, "1")
    assert second.config_defaults == {"temperature": 0.7}
    assert (second.evaluation_run_id, second.metrics, second.dataset_digest) == (
        "evaluation-2", {"rmse": 0.5, "r2": 0.75}, "a" * 64,
    )  # fmt: skip
    assert (back.kind, back.version, back.replaced_version, back.restored_at) == ("rollback", 1, 2, moments[0])
    assert [change.promotion_id for change in history.list_changes(reader, policy_id=POLICY, nb_changes=1)] == [
        back.promotion_id
    ]


def test_an_approval_is_named_beside_the_promotion_that_it_allowed(yard, reader, database):
    yard.add("1")
    approver = database.connect("alice_approver")
    promotions.require_approval(approver, policy_id=POLICY, required=True, reason="it sets prices")
    promotions.approve(approver, policy_id=POLICY, version=1, expected=0, reason="looked at it")
    yard.promote(1, 0, "alice_promoter")
    [change] = history.list_changes(reader, policy_id=POLICY)
    assert (change.actor, change.approved_by) == ("alice_promoter", "alice_approver")


def test_an_overview_tells_what_is_live_and_what_waits(yard, reader):
    first = yard.add("1")
    [waiting] = history.list_overviews(reader)
    assert (waiting.live_version, waiting.live_since_at, waiting.nb_changes) == (None, None, 0)
    assert (waiting.newest_version, waiting.newest_stage) == (1, "candidate")
    moment = yard.promote(1, 0, "alice_promoter", "the first").occurred_at
    yard.add("2", live=first)
    [live] = history.list_overviews(reader)
    assert (live.live_version, live.live_model_version, live.live_by, live.live_since_at) == (
        1, "1", "alice_promoter", moment,
    )  # fmt: skip
    assert (live.newest_version, live.newest_stage, live.nb_changes) == (2, "candidate", 1)
    found = history.list_stages(reader, mlflow_model_name=MODEL)
    assert [(row.mlflow_model_version, row.stage) for row in found] == [("2", "candidate"), ("1", "production")]
    assert history.list_stages(reader, mlflow_model_name="other_model") == []


# the commands


@dataclass
class StackDatabase:
    """The database of a stack, as Records needs one."""

    stack: Addresses
    opened: ExitStack

    def dsn(self, role):
        return self.stack.dsn(role)

    def connect(self, role):
        return self.opened.enter_context(connect(self.dsn(role)))


@pytest.fixture(scope="module")
def stack_yard(stack):
    with ExitStack() as opened:
        yield Yard(Records(StackDatabase(stack, opened)))


@pytest.fixture(scope="module")
def run(stack, stack_settings, tmp_path_factory):
    """Run ``modelyard`` with these arguments."""

    def run(*arguments):
        environment = environment_of(stack, stack_settings.mlflow_port)
        return run_command(list(arguments), environment=environment, folder=tmp_path_factory.mktemp("command"))

    return run


@pytest.fixture(scope="module")
def moments(stack, stack_yard):
    """When the policy of the stack was changed, by its owner."""
    return stack_yard.live_through(stack.person)


def read(ended):
    assert ended.code == 0, ended.printed
    return json.loads(ended.printed)


def test_history_shows_every_change_with_the_page_of_its_evaluation(run, stack, moments):
    told = read(run("history", POLICY, "--json"))
    assert [(change["kind"], change["version"], change["replaced_version"]) for change in told] == [
        ("rollback", 1, 2), ("promotion", 2, 1), ("promotion", 1, None),
    ]  # fmt: skip
    page = f"{stack.ui_url}/#/runs/evaluation-2?workflowType=machine_learning"
    assert told[1]["evaluation_url"] == page
    printed = run("history", POLICY).printed
    for said in (
        f"{moments[1]:%Y-%m-%d %H:%M:%S.%f} UTC  promotion to version 2 ({MODEL}/2)",
        stack.person, "better on new rows", "version 1 (…/1)", "nothing was live", "temperature=0.7", page,
        "r2=0.75 rmse=0.5 on houses 1.0.0",
    ):  # fmt: skip
        assert said in printed, said
    more = run("history", POLICY, "--limit", "1").printed
    assert f"history {POLICY} --limit 10\n" in more
    ended = run("history", POLICY, "--limit", "9223372036854775807")
    assert (ended.code, "--limit" in ended.printed) == (2, True), ended.printed


def test_served_answers_for_any_moment_in_any_zone(run, moments):
    at = moments[1].astimezone(tz=UTC)
    for text in (
        f"{at:%Y-%m-%dT%H:%M:%S.%f}",
        f"{at:%Y-%m-%d %H:%M:%S.%f}Z",
        f"{at + timedelta(hours=2):%FT%T.%f}+02:00",
    ):
        assert read(run("served", POLICY, "--at", text, "--json"))["version"] == 2, text
    assert [row["version"] for row in read(run("served", POLICY, "--json"))] == [1, 2, 1]
    for words in ((), ("--json",)):
        told = run("served", POLICY, "--limit", "2", *words).printed
        assert f"and older ones: modelyard served {POLICY} --limit 20" in told
    printed = run("served", POLICY).printed
    assert "older" not in printed
    assert "now" in printed and f"{moments[0]:%Y-%m-%d %H:%M:%S.%f}" in printed


def test_before_the_first_promotion_nothing_was_live_and_that_is_a_no(run, moments):
    ended = run("served", POLICY, "--at", "2020-03-03")
    assert (ended.code, ended.printed) == (3, f"policy   {POLICY}: nothing was live at 2020-03-03 00:00:00 UTC\n")
    ended = run("served", POLICY, "--at", "2020-03-03", "--json")
    assert (ended.code, ended.printed.splitlines()[0]) == (3, "null")


def test_policies_and_stages_list_what_there_is(run, stack, moments):
    [told] = [one for one in read(run("policies", "--json")) if one["policy_id"] == POLICY]
    assert (told["live_version"], told["live_by"], told["newest_version"]) == (1, stack.person, 2)
    assert f"1 ({MODEL}/1)" in run("policies").printed
    assert [row["stage"] for row in read(run("stages", MODEL, "--json"))] == ["archived", "production"]
    printed = run("stages", MODEL).printed
    assert f"{MODEL}/2" in printed and "archived" in printed


@pytest.fixture(scope="module")
def trained(session, log, moments, stack_yard):
    """Two runs on two datasets; the second one came to be version 7 of a model."""
    found = []
    for seed, rmse in ((1, 0.25), (2, 0.2500001)):
        dataset = log(seed)
        with own_run(session) as run:
            run.log(params={"seed": seed, "depth": 6}, metrics={"test_rmse": rmse, "same": 1.0, "odd": float("nan")})
            shown = session.mlflow.get_run(dataset.mlflow_run_id).inputs.dataset_inputs
            session.mlflow.log_inputs(run.run_id, datasets=shown)
            session.records.execute(
                "INSERT INTO exp.dataset_uses (dataset_id, mlflow_run_id, run_type, context) "
                "VALUES (%s, %s, 'training', 'training')",
                [dataset.dataset_id, run.run_id],
            )
        found.append((run.run_id, dataset))
    run_id, dataset = found[1]
    stack_yard.records.model_version(version="7", mlflow_run_id=run_id, dataset_id=dataset.dataset_id)
    return found


def test_runs_are_found_by_mlflows_filter_over_all_its_experiments(run, session, trained):
    ids = [run_id for run_id, _ in trained]
    asked = ("runs", "--where", "metrics.test_rmse < 0.3 and params.depth = '6'", "--order-by", "metrics.test_rmse asc")
    found = read(run(*asked, "--json"))
    assert [one["run_id"] for one in found] == ids
    assert (found[0]["params"]["seed"], found[0]["metrics"]["odd"]) == ("1", "nan")
    assert found[0]["url"] == session.pages.run("0", ids[0])
    assert [one["run_id"] for one in read(run(*asked, "--limit", "1", "--json"))] == ids[:1]
    everywhere = {one["experiment_id"] for one in read(run("runs", "--workload", "california_housing", "--json"))}
    assert len(everywhere) > 1, "processing runs are in an MLflow experiment of their own"
    assert {one["type"] for one in read(run("runs", "--experiment", "datasets", "--json"))} == {"dataset"}
    printed = run(*asked).printed
    assert printed.index(ids[0]) < printed.index(ids[1]) and "test_rmse" in printed


def test_runs_side_by_side_mark_what_differs(run, trained):
    (first, one), (_, two) = trained
    found = read(run("compare", first, f"{MODEL}/7", "--json"))
    assert found["run_ids"] == [run_id for run_id, _ in trained]
    rows = {(part, row["name"]): row for part in ("runs", "datasets", "params", "metrics") for row in found[part]}
    assert rows["params", "seed"] == {"name": "seed", "values": ["1", "2"], "differs": True}
    assert not rows["params", "depth"]["differs"] and not rows["metrics", "odd"]["differs"]
    assert rows["metrics", "test_rmse"]["differs"]
    assert rows["runs", "model version"]["values"] == [None, f"{MODEL}/7"]
    assert rows["datasets", "training"]["values"] == [
        f"{dataset.name} {dataset.version}, digest {dataset.digest}" for dataset in (one, two)
    ]
    printed = run("compare", first, f"{MODEL}/7").printed
    assert "0.2500001" in printed and "≠" in printed, "two numbers that differ do not look the same"
    assert "param depth" in printed
    assert "param depth" not in run("compare", first, f"{MODEL}/7", "--different").printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("history", "houses_polic"), "did you mean 'houses_policy'?"),
        (("served", POLICY, "--at", "yesterday"), "is no time; write it like"),
        (("served", POLICY, "--at", "2999-01-01"), "has not come yet"),
        (("served", "other_policy"), "there is no policy 'other_policy'"),
        (("stages", "houses_mode"), "did you mean 'houses_model'?"),
        (("runs", "--where", "metrics.rmse <"), "MLflow refuses this search"),
        (("runs", "--where", "colour = 'red'"), "MLflow refuses this search"),
        (("runs", "--order-by", "metrics.rmse sideways"), "MLflow refuses this search"),
        (("runs", "--experiment", "dataset"), "did you mean 'datasets'?"),
        (("runs", "--workload", "x' or '"), "no workload is called so"),
        (("compare", "0" * 32), "name 2 to 8"),
        (("compare", "a" * 32, "b" * 32), "MLflow has no run"),
        (("compare", f"{MODEL}/99", f"{MODEL}/1"), "there is no model version"),
        (("compare", *(["0"] * 9)), "name 2 to 8"),
    ],
)
def test_what_cannot_be_done_as_asked_is_one_line(run, trained, arguments, said):
    ended = run(*arguments)
    assert ended.code == 2, ended.printed
    assert ended.printed.startswith("modelyard: ") and ended.printed.count("\n") == 1
    assert said in ended.printed
