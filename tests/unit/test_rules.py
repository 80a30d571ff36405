"""Rules files say what a run must have logged and what a model must reach; a mistake in one is told in full."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import InvalidRules, UnknownName
from modelyard.store.canonical import hash_json
from modelyard.workloads.contract import ContractTable, Gate, Limit, Rules, Task
from modelyard.workloads.registry import NAMES, get_workload
from modelyard.workloads.rules import (
    describe_gate,
    list_rules,
    load_rules,
    parse_limit,
    parse_rules,
    read_gate,
)
from modelyard.workloads.tasks import get_task

FILE = """
task: regression
contract:
  params: [seed]
  metrics: [train_rmse]
  tags: {run_type: training, dataset_version:}
  artifacts: [plots/residuals.png]
gate:
  always:
    - rmse <= 0.70
    - rmse<=.95*linear  # on the same rows
  against_production:
    - r2 >= production
  first_version:
    - ndcg@10 > -1e-3
"""


def refuse(text):
    with pytest.raises(InvalidRules) as refused:
        parse_rules(text, source="rules.yaml")
    assert str(refused.value).startswith("rules.yaml: ") and "\n" not in str(refused.value)
    return refused.value.problems


def test_a_file_says_contract_and_gate():
    assert parse_rules(FILE, source="x.yaml") == Rules(
        task=Task.REGRESSION,
        contract=ContractTable(
            params=("seed",),
            metrics=("train_rmse",),
            tags={"run_type": "training", "dataset_version": None},
            artifacts=("plots/residuals.png",),
        ),
        gate=Gate(
            always=(Limit("rmse", "<=", 0.7), Limit("rmse", "<=", 0.95, of="linear")),
            against_production=(Limit("r2", ">=", 1.0, of="production"),),
            first_version=(Limit("ndcg@10", ">", -0.001),),
        ),
    )


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["the file is not a table of names and values"]),
        ("- a", ["the file is not a table of names and values"]),
        ("[" * 3000, ["it is not YAML"]),
        ("a: 2026-02-30", ["it is not YAML"]),
        ("!!python/object/apply:os.getcwd []", ["it is not YAML"]),
        ("task: regression\ngate: {always: [a < 1]}\ngate: {always: [a < 2]}", ["it is not YAML: 'gate' stands twice"]),
        ("task: regression\ngate: {always: [a < 1], always: [a < 2]}", ["it is not YAML: 'always' stands twice"]),
        ("task: regresion\ngate: {always: [a < 1]}", ["task: 'regresion': Input should be 'regression'"]),
        ("gate: {always: [a < 1]}", ["task is missing"]),
        ("task: regression", ["gate is missing"]),
        ("task: regression\ngate: {allways: [a < 1], always: [b < 1]}", ["gate.allways is unknown"]),
        ("task: regression\ngate: {always: a < 1}", ["gate.always: 'a < 1': Input should be a valid list"]),
        ("task: regression\ngate: {always: [true]}", ["gate.always.0: True is not text; put it in quotes"]),
        (
            "task: regression\ncontract: {tags: {version: 1}}\ngate: {always: [a < 1]}",
            ["contract.tags.version: 1 is not text; put it in quotes"],
        ),
        (
            "task: regression\ngate: {first_version: [a < 1]}",
            ["gate: always and against_production are both empty, and nothing may pass unasked"],
        ),
        (
            "task: regression\ngate: {against_production: [a < production]}",
            ["gate: always and first_version are both empty, and nothing may pass unasked"],
        ),
    ],
)
def test_a_file_that_is_no_rules_is_refused(text, problems):
    found = refuse(text)
    assert len(found) == len(problems)
    assert all(problem.startswith(begin) for problem, begin in zip(found, problems, strict=True)), found


def test_every_problem_of_a_file_is_told_at_once():
    text = """
        task: sorting
        contract: {parms: [seed]}
        gate:
          always: [rmse = 1, a < 1e999, r2 >= 0 * linear, r2 >= production, b < 1, b < 1.0, 7]
          against_production: [r2 > 0]
    """
    problems = "\n".join(refuse(text))
    for told in (
        "task: 'sorting'",
        "contract.parms is unknown",
        "gate.always.6: 7 is not text",
        "gate.always: 'rmse = 1' is not METRIC OP NUMBER or METRIC OP [NUMBER *] NAME; OP is <= < >= > or ==",
        "gate.always: 'a < 1e999': the number is not finite",
        "gate.always: 'r2 >= 0 * linear': a share of linear is above 0",
        "gate.always: 'r2 >= production': a limit against production stands under against_production",
        "gate.always: 'b < 1.0' stands twice",
        "gate.against_production: 'r2 > 0': only limits against production stand here",
    ):
        assert told in problems


@pytest.mark.parametrize(
    "text",
    ["", "rmse", "rmse <=", "<= 1", "rmse => 1", "rmse != 1", "rmse <= 1 2", "rmse <= nan", "rmse <= inf", "1 < rmse",
     "rmse <= 0.9 x linear", "rmse <= linear * 0.9", "rmse <= 0.9 * 0.8", "rmse <= 1_0", "rmse <= ١", "rmse <= 1\n< 2"],
)  # fmt: skip
def test_what_is_no_limit_is_refused(text):
    with pytest.raises(InvalidRules):
        parse_limit(text)


@given(
    metric=st.sampled_from(["rmse", "ndcg@10", "top-5"]),
    comparison=st.sampled_from(["<=", "<", ">=", ">", "=="]),
    value=st.floats(allow_nan=False, allow_infinity=False),
    of=st.sampled_from([None, "linear", "production"]),
)
def test_a_limit_is_read_back_to_the_last_bit(metric, comparison, value, of):
    limit = Limit(metric, comparison, value if of is None else abs(value) or 1.0, of=of)
    assert parse_limit(str(limit)) == limit


def test_the_stored_form_of_a_gate_is_read_back_and_has_one_hash_however_it_was_written():
    gate = parse_rules(FILE, source="x.yaml").gate
    stored = describe_gate(gate)
    assert stored == {
        "always": ["rmse <= 0.7", "rmse <= 0.95 * linear"],
        "against_production": ["r2 >= production"],
        "first_version": ["ndcg@10 > -0.001"],
    }
    assert read_gate(stored) == gate
    other = parse_rules(FILE.replace("0.70", "7e-1").replace(">= production", ">= 1.0 * production"), source="x")
    assert hash_json(describe_gate(other.gate)) == hash_json(stored)


@pytest.mark.parametrize("value", [None, [], {"always": [{"metric": "a"}]}, {"always": ["a <"]}, {}])
def test_a_stored_gate_that_cannot_be_read_is_refused(value):
    with pytest.raises(InvalidRules, match=r"^the gate: "):
        read_gate(value)


def test_rules_ship_for_every_workload_and_task():
    assert {*NAMES, "regression", "classification", "ranking", "planner"} == set(list_rules())
    for name in list_rules():
        rules = load_rules(name)
        assert read_gate(describe_gate(rules.gate)) == rules.gate
        assert rules.contract.tags["run_type"] == "training"
    for name in NAMES:
        assert get_workload(name).spec.rules == load_rules(name)
    for task in ("regression", "classification", "ranking"):
        rules = load_rules(task)
        known = {metric.name for metric in get_task(task).metrics}
        limits = [*rules.gate.list_limits(production=True), *rules.gate.list_limits(production=False)]
        assert {limit.metric for limit in limits} <= known
        assert {limit.of for limit in limits} <= {None, "production"}, "other tools' models have no naive baselines"
        assert rules.task == task


def test_the_documented_file_is_one():
    page = (Path(__file__).parents[2] / "docs/rules.md").read_text()
    rules = parse_rules(re.findall(r"```yaml\n(.*?)```", page, re.S)[0], source="docs/rules.md")
    assert rules.gate == load_rules("california_housing").gate


def test_a_name_without_rules_suggests_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'regression'"):
        load_rules("regresion")


def test_the_planner_must_have_logged_what_its_contract_names():
    rules = load_rules("planner")
    assert set(rules.contract.params) == {
        "learning_rate", "batch_size", "epochs", "dataset_version", "model_base", "fine_tuning_method"
    }  # fmt: skip
    assert set(rules.contract.metrics) == {
        "train_loss", "val_loss", "plan_alignment_score", "constraint_respect_score"
    }  # fmt: skip
    assert set(rules.contract.tags) == {"policy_id", "task", "dataset_version", "stage", "run_type"}
    assert rules.contract.tags["stage"] == "training"
    assert set(rules.contract.artifacts) == {"model", "tokenizer", "config"}
