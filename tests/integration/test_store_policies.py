"""Verdicts, policy versions and stages."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from modelyard.errors import BadInput, PolicyVersionRefused, RecordNotFound
from modelyard.store.connections import connect, find_value
from modelyard.store.evaluations import find_evaluation
from modelyard.store.policies import (
    add_policy_version,
    find_policy,
    get_stage,
    list_policy_versions,
    resolve_policy,
)

HOUSES = {"policy_id": "houses_policy", "mlflow_model_name": "houses_model"}


def stage(records, version: str = "1") -> str:
    return get_stage(records.trainer, mlflow_model_name="houses_model", mlflow_model_version=version)


def test_a_verdict_is_stored_once(records):
    first = records.evaluation()
    assert first.passed
    assert first.created_by == "evaluator"
    again = records.evaluation(metrics={"rmse": 0.4})
    assert again == first
    found = find_evaluation(
        records.trainer,
        mlflow_model_name="houses_model",
        mlflow_model_version="1",
        dataset_id=first.dataset_id,
        gate=[["rmse", "<=", 0.7]],
    )
    assert found == first


def test_another_gate_or_baseline_is_another_verdict(records):
    first = records.evaluation()
    stricter = records.evaluation(gate=[["rmse", "<=", 0.1]], reasons=["rmse 0.5 is above 0.1"])
    policy_version = records.policy_version()
    compared = records.evaluation(baseline_policy_version_id=policy_version.policy_version_id)
    assert len({first.evaluation_id, stricter.evaluation_id, compared.evaluation_id}) == 3
    assert not stricter.passed


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_metric_that_is_no_number_is_stored_as_null_with_its_reason(records, value):
    evaluation = records.evaluation(metrics={"rmse": value}, reasons=["rmse is not a finite number"])
    assert evaluation.metrics == {"rmse": None}
    assert not evaluation.passed


def test_a_verdict_on_an_unknown_model_version_is_refused(records):
    with pytest.raises(RecordNotFound, match="this model version was not registered"):
        records.evaluation(version="7", dataset_id=records.dataset().dataset_id)
    records.model_version()
    with pytest.raises(RecordNotFound, match="the dataset of this evaluation is not recorded"):
        records.evaluation(dataset_id=uuid4())


def test_a_passed_model_version_becomes_a_candidate(records):
    records.model_version()
    assert stage(records) == "none"
    added = records.policy_version()
    assert (added.policy_id, added.version, added.mlflow_model_version) == ("houses_policy", 1, "1")
    assert stage(records) == "candidate"
    policy = find_policy(records.trainer, policy_id="houses_policy")
    assert policy is not None
    assert policy.live_policy_version_id is None
    [row] = records.trainer.execute("TABLE exp.history").fetchall()
    assert (row["from_stage"], row["to_stage"], row["actor"]) == ("none", "candidate", "evaluator")
    assert row["evaluation_id"] == records.evaluation().evaluation_id


def test_adding_again_changes_nothing(records):
    first = records.policy_version()
    assert records.policy_version() == first
    assert list_policy_versions(records.trainer, policy_id="houses_policy") == [first]
    assert find_value(records.trainer, "SELECT count(*) FROM exp.stage_transitions") == 1


def test_another_config_is_another_policy_version_of_the_same_candidate(records):
    records.policy_version()
    second = records.policy_version(config_defaults={"top_k": 5})
    assert (second.version, second.config_defaults) == (2, {"top_k": 5})
    assert find_value(records.trainer, "SELECT count(*) FROM exp.stage_transitions") == 1


def test_a_refused_or_unknown_model_version_becomes_no_policy_version(records):
    records.evaluation(reasons=["too slow"])
    for version in ("1", "9"):
        with pytest.raises(PolicyVersionRefused, match=f"houses_model version {version} has no passed evaluation"):
            add_policy_version(records.evaluator, mlflow_model_version=version, **HOUSES)
    assert find_policy(records.trainer, policy_id="houses_policy") is None
    assert stage(records) == "none"


def test_a_policy_and_a_model_belong_to_each_other(records):
    records.policy_version()
    with pytest.raises(PolicyVersionRefused, match="another policy owns this model"):
        records.policy_version(policy_id="another_policy")
    with pytest.raises(PolicyVersionRefused, match="its model is houses_model, not other_model"):
        add_policy_version(
            records.evaluator, policy_id="houses_policy", mlflow_model_name="other_model", mlflow_model_version="1"
        )
    with pytest.raises(BadInput, match="small letters, digits and underscores"):
        records.policy_version(policy_id="No Policy")


def test_what_is_live_is_in_production_and_what_was_is_archived(records):
    first, second = records.policy_version(version="1"), records.policy_version(version="2")
    records.put_live(first)
    assert [stage(records, version) for version in "12"] == ["production", "candidate"]
    insert = """
        INSERT INTO exp.stage_transitions (mlflow_model_name, mlflow_model_version, policy_id, policy_version_id,
            from_stage, to_stage, reason)
        VALUES ('houses_model', '1', 'houses_policy', %s, 'candidate', 'production', 'better')
    """
    with connect(records.database.dsn("postgres")) as owner:
        owner.execute(insert, [first.policy_version_id])
    records.put_live(second)
    assert [stage(records, version) for version in "12"] == ["archived", "production"]


def test_only_a_live_policy_resolves(records):
    application = records.database.connect("application")
    with pytest.raises(RecordNotFound, match="there is no policy houses_policy"):
        resolve_policy(application, policy_id="houses_policy")
    added = records.policy_version(config_defaults={"top_k": 5})
    with pytest.raises(RecordNotFound, match="has no live version; promote one first"):
        resolve_policy(application, policy_id="houses_policy")
    records.put_live(added)
    live = resolve_policy(application, policy_id="houses_policy")
    assert (live.policy_version_id, live.mlflow_model_id) == (added.policy_version_id, "m-1")
    assert live.config_defaults == {"top_k": 5}


def test_policy_versions_added_at_once_are_numbered_without_gaps(records):
    numbers = [str(number) for number in range(1, 6)]
    for number in numbers:
        records.evaluation(version=number)

    def add(version: str) -> int:
        with connect(records.database.dsn("evaluator")) as connection:
            return add_policy_version(connection, mlflow_model_version=version, **HOUSES).version

    with ThreadPoolExecutor(10) as pool:
        added = list(pool.map(add, numbers * 2))
    assert sorted(set(added)) == [1, 2, 3, 4, 5]
    assert added[:5] == added[5:]
