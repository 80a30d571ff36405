"""A run that lacks anything is refused with the whole list, and nothing is registered."""

import mlflow
import pytest

from modelyard.errors import BadInput, ContractNotMet, InvalidRules, UnknownName
from modelyard.pipeline.datasets import describe_dataset
from modelyard.pipeline.examination import examine_run
from modelyard.pipeline.run_request import build_run_request
from modelyard.store.connections import connect
from modelyard.store.removals import remove_dataset
from modelyard.tracking.contract import Contract, check_contract
from modelyard.tracking.datasets import log_input
from modelyard.tracking.runs import ActiveRun
from modelyard.workloads.rules import load_rules, parse_rules
from tests.integration.foreign_runs import TAGS, log_flats, log_ridge, make_frame, make_run

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, of its default digest and model format
CONTRACT = Contract(
    params=("seed",),
    metrics=("train_rmse", "test_rmse"),
    tags=(("run_type", "training"), ("dataset_version", None)),
    artifacts=("plots/residuals.png",),
)
PLANNER = {
    "params": {
        "learning_rate": 1e-4, "batch_size": 8, "epochs": 3, "dataset_version": "1.0.0", "model_base": "llama",
        "fine_tuning_method": "lora",
    },
    "metrics": {"train_loss": 0.4, "val_loss": 0.5, "plan_alignment_score": 0.9, "constraint_respect_score": 1.0},
    "tags": {
        "policy_id": "planner_policy", "task": "planning", "dataset_version": "1.0.0", "stage": "training",
        "run_type": "training",
    },
    "files": {"tokenizer/tokenizer.json": "{}", "config.json": "{}"},
}  # fmt: skip


@pytest.fixture(scope="module")
def flats(session):
    return log_flats(session)


@pytest.fixture(scope="module")
def model_id(session, flats):
    """A model that runs of these tests share."""
    return log_ridge(make_run(session, flats))


@pytest.fixture
def examine(session):
    """Hold a run against the contract of its rules."""

    def run(run_id, **asked):
        return examine_run(session, build_run_request(session, run_id, **asked))

    return run


def count_all(rows, session):
    query = """
        SELECT (SELECT count(*) FROM exp.jobs) AS jobs, (SELECT count(*) FROM exp.model_files) AS files,
            (SELECT count(*) FROM exp.model_versions) AS versions
    """
    return rows(query), len(session.mlflow.search_model_versions())


def test_everything_that_is_missing_is_listed_at_once(session):
    run_id = make_run(
        session, None, metrics={"train_rmse": 1.0}, tags={"run_type": "evaluation"}, status="FAILED"
    )  # fmt: skip
    with pytest.raises(ContractNotMet) as refused:
        check_contract(session.mlflow, run_id, contract=CONTRACT)
    assert refused.value.missing == [
        "status FINISHED (it is FAILED)",
        "param seed",
        "metric test_rmse",
        "tag run_type=training (it is 'evaluation')",
        "tag dataset_version",
        "a dataset input with context training and a digest",
        "artifact plots/residuals.png",
        "a logged model",
    ]


def test_a_run_that_has_everything_is_taken_and_one_without_a_signature_is_not(session, flats):
    for options in ({}, {"signature": False}):
        run_id = make_run(
            session, flats, params={"seed": 1}, metrics={"train_rmse": 1.0, "test_rmse": 1.0},
            tags={"run_type": "training", "dataset_version": "1.0.0"}, files={"plots/residuals.png": "png"},
        )  # fmt: skip
        log_ridge(run_id, **options)
        if not options:
            checked = check_contract(session.mlflow, run_id, contract=CONTRACT)
            assert checked.metrics["test_rmse"] == 1.0
            assert checked.model_id.startswith("m-")
        else:
            with pytest.raises(ContractNotMet, match="it lacks: a signature of its model"):
                check_contract(session.mlflow, run_id, contract=CONTRACT)


def test_a_planner_run_that_has_everything_is_met(session, flats, model_id, examine):
    examined = examine(make_run(session, flats, model_id=model_id, **PLANNER))
    assert examined.missing == []
    assert examined.registration.model_name == "planner_model"
    assert examined.registration.policy_id == "planner_policy"
    assert examined.registration.parameters["model_base"] == "llama"
    asked = load_rules("planner").contract
    said = " ".join(demand.what for demand in examined.demands)
    assert all(name in said for name in (*asked.params, *asked.metrics, *asked.tags, *asked.artifacts))


@pytest.mark.parametrize(
    ("left_out", "missing"),
    [
        *[(name, [f"param {name}"]) for name in PLANNER["params"] if name != "dataset_version"],
        *[(name, [f"metric {name}"]) for name in PLANNER["metrics"]],
        ("policy_id", ["tag policy_id=planner_policy"]),
        ("task", ["tag task"]),
        ("dataset_version", ["param dataset_version", "tag dataset_version=1.0.0"]),
        ("stage", ["tag stage=training"]),
        ("run_type", ["tag run_type=training"]),
        ("tokenizer/tokenizer.json", ["artifact tokenizer"]),
        ("config.json", ["artifact config"]),
    ],
)
def test_a_planner_run_without_one_thing_is_told_that_thing(session, flats, model_id, examine, left_out, missing):
    run_id = make_run(session, flats, model_id=model_id, leave_out=[left_out], **PLANNER)
    examined = examine(run_id, task="planner", model_name="planner_model")
    assert examined.missing == missing
    assert examined.registration is None


def test_a_planner_run_without_model_dataset_or_end_is_told_so(session, flats, model_id, examine):
    asked = {"task": "planner", "model_name": "planner_model"}
    assert examine(make_run(session, flats, **PLANNER), **asked).missing == ["artifact model", "a logged model"]
    without = examine(make_run(session, None, model_id=model_id, **PLANNER), **asked)
    assert without.missing == ["a dataset input with context training and a digest"]
    unfinished = examine(make_run(session, flats, model_id=model_id, status="KILLED", **PLANNER), **asked)
    assert unfinished.missing == ["status FINISHED (it is KILLED)"]
    deleted = make_run(session, flats, model_id=model_id, **PLANNER)
    session.mlflow.delete_run(deleted)
    assert examine(deleted, **asked).missing == ["a run that is not deleted"]


def test_a_false_tag_and_a_metric_that_is_no_number_are_told(session, flats, model_id, examine):
    tags = PLANNER["tags"] | {"dataset_version": "9.9.9", "policy_id": "other_policy"}
    metrics = PLANNER["metrics"] | {"extra": float("nan")}
    changed = PLANNER | {"tags": tags, "metrics": metrics}
    examined = examine(
        make_run(session, flats, model_id=model_id, **changed), task="planner", model_name="planner_model"
    )
    assert examined.missing == [
        "a finite metric extra (it is nan)",
        "tag policy_id=planner_policy (it is 'other_policy')",
        "tag dataset_version=1.0.0 (it is '9.9.9')",
    ]


def test_a_dataset_that_nobody_vouches_for_is_refused_with_the_reason(session, flats, model_id, examine):
    frame = make_frame()
    run_id = make_run(session, None, model_id=model_id)
    with mlflow.start_run(run_id=run_id):
        mlflow.log_input(mlflow.data.from_pandas(frame, name="flats"), context="training")
    [missing] = examine(run_id).missing
    assert "MLflow's own, which covers 10,000 rows at most; modelyard.log_dataset inside the run logs one" in missing
    unknown = make_run(session, None, model_id=model_id)
    with mlflow.start_run(run_id=unknown):
        mlflow.log_input(mlflow.data.from_pandas(frame, name="flats", digest="f" * 32), context="training")
    [missing] = examine(unknown).missing
    assert "and no dataset has it" in missing
    evaluated = make_run(session, None, model_id=model_id)
    with mlflow.start_run(run_id=evaluated):
        mlflow.log_input(mlflow.data.from_pandas(frame, name="flats", digest=flats.digest[:32]), context="evaluation")
    assert examine(evaluated).missing == ["a dataset input with context training and a digest"]


def test_several_datasets_and_a_deleted_one_are_refused(session, flats, model_id, examine, stack):
    other = log_flats(session, 1, name="other_flats")
    both, alone = make_run(session, flats, model_id=model_id), make_run(session, other, model_id=model_id)
    log_input(ActiveRun(session.mlflow, both, "0"), describe_dataset(other), context="training")
    assert examine(both).missing == ["one dataset (it has flats@1.0.0, other_flats@1.0.0; log one dataset of all rows)"]
    assert examine(alone).missing == []
    with connect(stack.dsn(stack.person)) as person:
        remove_dataset(person, other, reason="a mistake")
    assert examine(alone).missing == [
        f"its dataset on record (other_flats@1.0.0 was deleted by {stack.person}: a mistake)"
    ]


def test_a_model_that_takes_what_its_dataset_lacks_is_refused(session, flats, examine):
    other = log_flats(session, 2, name="more_flats")
    run_id = make_run(session, other)
    frame = make_frame()
    signature = mlflow.models.infer_signature(frame[["rooms", "split"]], frame["price"])
    log_ridge(run_id, signature=signature)
    [missing] = examine(run_id).missing
    assert missing == "its inputs among the features of more_flats@1.0.0 (unknown: split)"


def test_of_several_models_the_one_called_model_is_taken(session, flats, examine):
    run_id = make_run(session, flats)
    log_ridge(run_id, name="first")
    log_ridge(run_id, name="second")
    assert examine(run_id).missing == ["one logged model, or one of the name model (it has first, second)"]
    chosen = log_ridge(run_id)
    log_ridge(run_id, name="third")
    examined = examine(run_id)
    assert (examined.missing, examined.model_id) == ([], chosen)


def test_rules_and_names_that_are_none_are_refused(session, flats, model_id):
    run_id = make_run(session, flats, model_id=model_id)
    untold = make_run(session, flats, tags={"run_type": "training"})

    def ask(run=run_id, **asked):
        return build_run_request(session, run, **asked)

    with pytest.raises(BadInput, match="there is no run 'nosuch'"):
        ask("nosuch")
    with pytest.raises(UnknownName, match="did you mean 'regression'"):
        ask(task="regresion")
    with pytest.raises(BadInput, match="does not say by which rules it goes"):
        ask(untold)
    with pytest.raises(BadInput, match="name its model with --model"):
        ask(untold, task="regression")
    for name in ("flats", "Flats_model", "flats' or name = 'x_model", "../flats_model", "f" * 70 + "_model"):
        with pytest.raises(BadInput, match="cannot be the name of a model"):
            ask(model_name=name)
    with pytest.raises(BadInput, match="goes by the rules of california_housing, not of regression"):
        ask(model_name="california_housing_model")
    with pytest.raises(BadInput, match="is registered as california_housing_model, not as flats_model"):
        ask(task="california_housing", model_name="flats_model")


def test_a_run_of_a_workload_with_a_model_that_this_release_does_not_know_is_told_so(session, flats, examine):
    run_id = make_run(session, flats, params={"model_type": "oracle"})
    missing = examine(run_id, task="california_housing").missing
    [told] = [one for one in missing if "oracle" in one]
    assert told.startswith("a param model_type that is known here (it is oracle; known: ")


def test_rules_of_ones_own_ask_for_what_they_say(session, flats, model_id, examine):
    text = "task: regression\ncontract: {params: [depth], artifacts: [notes]}\ngate: {always: [r2 > 0]}"
    rules = parse_rules(text, source="mine.yaml")
    assert examine(make_run(session, flats, model_id=model_id), rules=rules).missing == [
        "param depth",
        "artifact notes",
    ]
    run_id = make_run(session, flats, model_id=model_id, params={"depth": 3}, files={"notes.txt": "deep"})
    examined = examine(run_id, rules=rules)
    assert examined.missing == []
    assert examined.registration.rules == "regression"
    planner = parse_rules("task: generation\ncontract: {params: [depth]}\ngate: {always: [x > 0]}", source="mine.yaml")
    examined = examine(run_id, rules=planner)
    assert (examined.missing, examined.registration.rules) == ([], "planner")
    with pytest.raises(InvalidRules):
        parse_rules("task: regression\ngate: {}", source="empty.yaml")


def test_the_command_tells_every_demand_and_its_exit_code_is_the_answer(command, session, flats, model_id, rows):
    good, bad = make_run(session, flats, model_id=model_id), make_run(session, flats, tags=TAGS | {"run_type": "x"})
    before = count_all(rows, session)
    told = command("contract", "check", good, "--json")
    assert told.code == 0, told.printed
    assert told.outcome["met"] and told.outcome["model_name"] == "flats_model"
    asked = f"register {good} --model flats_model --task regression "
    assert asked in command("contract", "check", good, "--model", "flats_model", "--task", "regression").printed
    assert all(demand["met"] for demand in told.outcome["demands"])
    refused = command("contract", "check", bad)
    assert refused.code == 3
    assert "NOT MET: 2 of" in refused.printed
    assert "tag run_type=training" in refused.printed and "it is 'x'" in refused.printed
    refused = command("register", bad)
    assert refused.code == 3
    assert "cannot be registered, it lacks: tag run_type=training (it is 'x'), a logged model" in refused.printed
    unread = command("contract", "check", good, "--rules", "/nowhere.yaml")
    assert unread.code == 2 and "cannot be read" in unread.printed
    both = command("contract", "check", good, "--rules", "/nowhere.yaml", "--task", "regression")
    assert both.code == 2 and "give one of them" in both.printed
    assert count_all(rows, session) == before, "nothing was written"
