"""The commands of promotion on a stack: what they print and refuse, how they exit, and what MLflow shows then."""

import json
import shlex
from dataclasses import replace
from uuid import uuid4

import pytest
from mlflow import MlflowClient

from modelyard.cli.change import project
from modelyard.cli.output import make_console
from modelyard.errors import GateRefused, RightMissing
from modelyard.pipeline import gates, promotion
from modelyard.settings import Settings
from modelyard.stack import embedded
from modelyard.store.connections import connect
from modelyard.store.gates import declare_gate
from modelyard.store.promotions import list_promotions
from tests.conftest import free_port, open_folder
from tests.integration.trainings import environment_of, run_command

POLICY, MODEL = "california_housing_policy", "california_housing_model"
RULES = "task: regression\ngate:\n  always:\n    - rmse <= {limit}\n"
GATE = {"always": ["rmse <= 0.7"], "against_production": [], "first_version": []}


@pytest.fixture(scope="module")
def own_settings():
    with open_folder() as folder:
        yield Settings(
            _env_file=None, home=folder / "home", mlflow_port=free_port(), mlflow_workers=1, data_dir=folder / "data"
        )


@pytest.fixture(scope="module")
def own_stack(own_settings):
    """A stack of these tests' own: what is live in another one is somebody else's."""
    try:
        yield embedded.up(own_settings, print)
    finally:
        embedded.down(own_settings, print)


@pytest.fixture(scope="module")
def run(own_stack, own_settings, tmp_path_factory):
    """Run ``modelyard`` with these arguments on it."""

    def run(*arguments, **fault):
        environment = environment_of(own_stack, own_settings.mlflow_port)
        folder = tmp_path_factory.mktemp("command")
        environment["MODELYARD_DATA_DIR"] = str(folder / "data")
        return run_command(list(arguments), environment=environment, folder=folder, **fault)

    return run


@pytest.fixture(scope="module")
def two_versions(run):
    """Two versions that have passed as first ones; nothing is live."""
    for rate in ("0.1", "0.2"):
        ended = run("train", "california_housing", "--set", "max_iter=30", "--set", f"learning_rate={rate}")
        assert ended.code == 0, ended.printed


@pytest.fixture
def shown(own_stack):
    """What MLflow shows: the stage of each version, and the version that each alias names."""

    def read():
        client = MlflowClient(own_stack.tracking_uri)
        versions = client.search_model_versions(f"name = '{MODEL}'")
        stages = [version.tags.get("stage") for version in sorted(versions, key=lambda one: int(one.version))]
        return stages, dict(client.get_registered_model(MODEL).aliases)

    return read


def read(ended):
    assert ended.code == 0, ended.printed
    printed = f"\n{ended.printed}"
    return json.loads(printed[printed.index("\n{") :])


def refused(ended, code, *texts):
    assert ended.code == code, ended.printed
    for text in texts:
        assert text in ended.printed, ended.printed


def test_from_a_first_version_to_a_second_and_back(run, two_versions, shown):
    refused(run("rollback", POLICY, "--reason", "early"), 3, "nothing is live")
    would = read(run("promote", POLICY, "--version", "1", "--dry-run", "--json"))
    assert (would["version"], would["promotion_id"], would["dry_run"]) == (1, None, True)
    assert shown() == (["candidate", "candidate"], {"candidate": "2"})

    request = str(uuid4())
    first = read(run("promote", POLICY, "--version", "1", "--reason", "to begin", "--request-id", request, "--json"))
    assert (first["version"], first["replaced_version"], first["reason"]) == (1, None, "to begin")
    assert first["metrics"]["rmse"]["found"] > 0
    assert first["mlflow_shows_it"]
    assert shown() == (["production", "candidate"], {"candidate": "2", "production": "1"})
    again = read(run("promote", POLICY, "--request-id", request, "--json"))
    assert again["repeated"]
    assert {name: again[name] for name in ("promotion_id", "occurred_at")} == {
        name: first[name] for name in ("promotion_id", "occurred_at")
    }
    looked = read(run("promote", POLICY, "--request-id", request, "--dry-run", "--json"))
    assert (looked["dry_run"], looked["mlflow_shows_it"]) == (True, None)
    refused(run("promote", POLICY, "--version", "2", "--request-id", request), 2, "with other arguments")

    # it has passed as a first version; it has not been held against the one it would replace
    refused(run("promote", POLICY), 3, f"against version 1 ({MODEL}/1)", f"modelyard evaluate {MODEL}/2", "--evaluate")
    ended = run("promote", POLICY, "--evaluate", "--reason", "better", "--json")
    second = read(ended)
    assert "rmse <= 1.01 * production" in ended.printed
    assert (second["version"], second["replaced_version"]) == (2, 1)
    assert set(second["metrics"]["rmse"]) == {"found", "compared"}
    assert second["metrics"]["rmse"]["compared"] == pytest.approx(first["metrics"]["rmse"]["found"])
    assert shown() == (["archived", "production"], {"production": "2"})

    refused(run("promote", POLICY, "--version", "1", "--expected", "1"), 2, "version 2 live since", "was expected")
    refused(run("rollback", POLICY), 2, "--reason")
    would = read(run("rollback", POLICY, "--reason", "complaints", "--dry-run", "--json"))
    assert (would["version"], would["promotion_id"]) == (1, None)
    ended = run("rollback", POLICY, "--reason", "complaints")
    assert ended.code == 0, ended.printed
    assert f"rollback version 1 ({MODEL}/1), in place of version 2 ({MODEL}/2)" in ended.printed
    assert "reason   complaints" in ended.printed
    assert f"rollback {POLICY} --to 2 --reason … puts version 2 back" in ended.printed
    assert shown() == (["production", "archived"], {"production": "1"})
    refused(run("rollback", POLICY, "--reason", "further"), 3, "nothing was live before version 1")
    assert read(run("rollback", POLICY, "--to", "2", "--reason", "all is well", "--json"))["version"] == 2


@pytest.fixture
def changes(own_stack):
    """What is in the log, the newest first."""

    def read():
        with connect(own_stack.dsn(own_stack.person)) as connection:
            return [(row.kind, row.version) for row in list_promotions(connection, policy_id=POLICY)]

    return read


@pytest.mark.parametrize(
    ("at", "fault"),
    [
        ("after modelyard.store.promotions:rollback", "interrupt"),
        ("after modelyard.store.promotions:rollback", "cut off"),
        ("before modelyard.pipeline.projection:project_model", "terminate"),
        ("before modelyard.pipeline.projection:project_model", "cut off"),
    ],
)
def test_a_rollback_that_is_cut_off_after_it_was_done_says_so_and_is_done_once(run, two_versions, changes, at, fault):
    before = changes()
    other = 3 - before[0][1]
    done = read(run("rollback", POLICY, "--to", str(other), "--reason", "slow", "--json", at=at, fault=fault))
    assert (done["kind"], done["version"], done["repeated"]) == ("rollback", other, at.startswith("after"))
    assert changes() == [("rollback", other), *before]


@pytest.mark.parametrize(("fault", "code"), [("interrupt", 130), ("cut off", 1)])
def test_a_rollback_that_is_cut_off_before_it_was_done_names_the_command_that_does_it_once(
    run, two_versions, changes, fault, code
):
    before = changes()
    words = ("rollback", POLICY, "--to", str(3 - before[0][1]), "--reason", "it is slow")
    ended = run(*words, at="before modelyard.store.promotions:rollback", fault=fault)
    refused(ended, code, "nothing was changed so far", f"modelyard {shlex.join(words)} --request-id ")
    assert changes() == before
    again = shlex.split(ended.printed.partition(" again, which is done once: modelyard ")[2])
    assert [read(run(*again, "--json"))["repeated"] for _ in range(2)] == [False, True]
    assert changes()[1:] == before


def test_a_promotion_whose_projection_was_killed_is_shown_by_the_next_round(run, two_versions, shown, own_stack):
    live = read(run("policy", "show", POLICY, "--json"))["live_version"]
    ended = run("rollback", POLICY, "--reason", "killed", at="before modelyard.pipeline.projection:project_model")
    assert ended.code == -9
    other = read(run("policy", "show", POLICY, "--json"))["live_version"]
    assert other != live
    read(run("reconcile", "--json"))
    stages, aliases = shown()
    assert (stages[other - 1], aliases["production"]) == ("production", str(other))


def test_another_configuration_is_a_version_that_needs_no_new_evaluation(run, two_versions):
    live = read(run("policy", "show", POLICY, "--json"))["live_version"]
    model = f"{MODEL}/{live}"
    added = read(
        run("policy", "add", POLICY, "--model", model, "--config", "temperature=0.7", "--config", "name=x", "--json")
    )
    assert added["config_defaults"] == {"temperature": 0.7, "name": "x"}
    again = run("policy", "add", POLICY, "--model", model, "--config", "name=x", "--config", "temperature=0.7")
    assert f"version {added['version']} ({model}), which it had" in again.printed
    promoted = read(run("promote", POLICY, "--json"))
    assert (promoted["version"], promoted["replaced_version"]) == (added["version"], live)
    assert 'name="x", temperature=0.7' in run("policy", "show", POLICY).printed
    newest = run("policy", "show", POLICY, "--limit", "1")
    assert f"policy show {POLICY} --limit 10" in newest.printed
    assert newest.printed.count("production") == 1


def test_what_is_no_configuration_is_refused_before_anything_is_written(run, two_versions):
    before = read(run("policy", "show", POLICY, "--json"))
    ended = run("policy", "add", POLICY, "--model", f"{MODEL}/1", "--config", "hot", "--config", "t=NaN")
    refused(ended, 2, "--config 'hot' is not NAME=VALUE", "--config t=NaN")
    odd = ("--config", "big=1e999", "--config", 'zero=["\\u0000"]', "--config", 'half={"\\ud800": 1}')
    ended = run("policy", "add", POLICY, "--model", f"{MODEL}/1", *odd, "--config", r"fine=\u0000")
    refused(ended, 2, "--config big=1e999: JSON has no such number", "--config 'zero=", "--config 'half=")
    assert "fine" not in ended.printed
    refused(run("policy", "add", "My-Policy", "--model", f"{MODEL}/1"), 2, "begins with a small letter")
    refused(run("policy", "add", "my_policy", "--model", f"{MODEL}/1"), 3, "another policy owns this model")
    refused(run("promote", POLICY, "--expected", "3000000000"), 2, "--expected")
    refused(run("rollback", POLICY, "--to", "3000000000", "--reason", "x"), 2, "--to")
    refused(run("rollback", POLICY, "--reason", "\udcfcber"), 2, r"'\udcfcber' holds bytes that are no UTF-8 text")
    refused(run("policy", "add", POLICY, "--model", f"{MODEL}/9"), 2, f"did you mean '{MODEL}/")
    refused(run("policy", "show", "california_policy"), 2, f"did you mean '{POLICY}'")
    refused(run("promote", POLICY, "--version", "99"), 2, f"there is no policy version '{POLICY}@99'")
    assert read(run("policy", "show", POLICY, "--json")) == before


def test_an_archived_candidate_is_not_promoted_until_that_is_undone(run, two_versions):
    listed = read(run("policy", "show", POLICY, "--json"))
    live = next(one for one in listed["versions"] if one["version"] == listed["live_version"])
    other = next(one for one in listed["versions"] if one["mlflow_model_version"] != live["mlflow_model_version"])
    added = read(
        run("policy", "add", POLICY, "--model", f"{MODEL}/{other['mlflow_model_version']}", "--config", "a=1", "--json")
    )
    version = str(added["version"])
    refused(run("archive", POLICY, "--version", str(live["version"]), "--reason", "no"), 3, "is no candidate")
    assert read(run("archive", POLICY, "--version", version, "--reason", "too slow", "--json"))["archived"]
    refused(run("promote", POLICY, "--version", version), 3, "too slow", "modelyard archive --undo")
    refused(run("promote", POLICY), 2, "has no candidate")
    assert not read(run("archive", POLICY, "--version", version, "--reason", "is not", "--undo", "--json"))["archived"]
    printed = run("promote", POLICY, "--dry-run").printed
    assert "archived by" not in printed


def test_who_asked_for_the_training_does_not_approve_it(run, two_versions):
    listed = read(run("policy", "show", POLICY, "--json"))
    other = next(one for one in (1, 2) if one != listed["live_version"])
    ended = run("policy", "require-approval", POLICY, "--reason", "four eyes")
    assert "needs the approval of another person" in ended.printed
    refused(run("promote", POLICY, "--version", str(other)), 3, f"modelyard approve {POLICY} --version {other}")
    ended = run("promote", POLICY, "--version", str(other), "--evaluate")
    refused(ended, 3, f"modelyard approve {POLICY} --version {other}")
    assert "evaluate " not in ended.printed.replace("evaluate it again", ""), "no evaluation would help"
    refused(run("approve", POLICY, "--version", str(other)), 3, "nobody approves a model that they have asked for")
    run("policy", "require-approval", POLICY, "--reason", "on holiday", "--off")
    assert "promotions need no approval" in run("policy", "show", POLICY).printed


def test_a_gate_of_ones_own_holds_from_the_next_promotion_on(run, two_versions, tmp_path):
    shipped = read(run("gate", "show", MODEL, "--json"))
    assert shipped["declared_by"] == "evaluator"
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES.format(limit="0.01 * nothing * 2"))
    refused(run("gate", "set", MODEL, str(rules), "--reason", "stricter"), 2, str(rules), "is not METRIC OP NUMBER")
    refused(run("gate", "set", MODEL, str(tmp_path / "gone.yaml"), "--reason", "x"), 2, "gone.yaml")
    rules.write_text(RULES.format(limit="0.01"))
    refused(run("gate", "set", "no_model", str(rules), "--reason", "x"), 2, "registered model 'no_model'")
    refused(run("gate", "set", MODEL, str(rules), "--reason", " "), 2, "--reason")
    assert read(run("gate", "show", MODEL, "--json")) == shipped

    declared = read(run("gate", "set", MODEL, str(rules), "--reason", "rents rise", "--json"))
    assert declared["gate"]["always"] == ["rmse <= 0.01"]
    assert "rents rise" in run("gate", "show", MODEL).printed
    live = read(run("policy", "show", POLICY, "--json"))["live_version"]
    other = next(str(one) for one in (1, 2) if one != live)
    refused(run("promote", POLICY, "--version", other), 3, "under the gate as it is declared now")
    ended = run("promote", POLICY, "--version", other, "--evaluate")
    refused(ended, 3, "rmse <= 0.01", "REFUSED")
    assert read(run("policy", "show", POLICY, "--json"))["live_version"] == live


@pytest.mark.parametrize(
    ("who", "group", "call"),
    [
        ("alice_viewer", "promoter", lambda c, v: promotion.promote(c, policy_id=v.policy_id, version=1, expected=0)),
        ("alice_trainer", "promoter", lambda c, v: promotion.archive(c, v, reason="x")),
        (
            "alice_approver",
            "promoter",
            lambda c, v: promotion.roll_back(c, policy_id=v.policy_id, version=None, expected=0, reason="x"),
        ),
        ("alice_promoter", "approver", lambda c, v: promotion.approve(c, policy_id=v.policy_id, version=1, expected=0)),
        (
            "alice_promoter",
            "approver",
            lambda c, v: promotion.require_approval(c, policy_id=v.policy_id, required=True, reason="x"),
        ),
        (
            "alice_trainer",
            "promoter",
            lambda c, v: promotion.add_version(
                c, policy_id=v.policy_id, model="houses_model/1", config_defaults={"a": 1}
            ),
        ),
        (
            "alice_viewer",
            "promoter",
            lambda c, v: gates.set_gate(c, "houses_model", text=RULES.format(limit=1), source="rules", reason="x"),
        ),
    ],
)
def test_whoever_lacks_the_right_is_told_in_a_sentence_who_has_it(records, who, group, call):
    version = records.policy_version()
    with pytest.raises(RightMissing, match=f"^{who} may not .*: an? {group} may .*modelyard user add NAME") as told:
        call(records.database.connect(who), version)
    assert "permission denied" not in str(told.value)
    assert list_promotions(records.trainer, policy_id=version.policy_id) == []


def test_the_gate_of_a_policy_that_requires_approvals_is_an_approvers(records):
    version = records.policy_version()
    promotion.require_approval(
        records.database.connect("alice_approver"), policy_id=version.policy_id, required=True, reason="four eyes"
    )
    ask = {"text": RULES.format(limit=9), "source": "rules", "reason": "easier"}
    with pytest.raises(GateRefused, match="declared by an approver"):
        gates.set_gate(records.database.connect("alice_promoter"), "houses_model", **ask)
    assert gates.set_gate(records.database.connect("alice_approver"), "houses_model", **ask).gate["always"] == [
        "rmse <= 9"
    ]
    # what a release ships changes nothing of it
    kept = declare_gate(records.evaluator, mlflow_model_name="houses_model", gate=GATE)
    assert kept.declared_by == "alice_approver"


def test_where_mlflow_does_not_answer_that_is_told_and_is_no_failure(own_stack, two_versions, capsys):
    away = replace(own_stack, tracking_uri=f"http://127.0.0.1:{free_port()}")
    assert not project(make_console(json=False), away, MODEL)
    assert "modelyard reconcile" in capsys.readouterr().out
