"""The questions that sql/README.md answers, asked as the reader."""

import re

import pytest

from modelyard.store import gates, policies, promotions
from modelyard.store.migration_files import find_sql_folder

README = (find_sql_folder() / "README.md").read_text()
BYTES, DEPENDANTS, PROMOTIONS, SERVED, REFUSED = re.findall(r"```sql\n(.*?)```", README, flags=re.DOTALL)


GATE = {"always": ["rmse <= 0.7"]}


@pytest.fixture
def ask(records):
    """Two versions were live one after the other, and a third was refused."""
    promoter, live = records.database.connect("alice_promoter"), None
    gates.declare_gate(records.evaluator, mlflow_model_name="houses_model", gate=GATE)
    for number, version in enumerate("12"):
        records.evaluation(version=version, gate=GATE, baseline_policy_version_id=live and live.policy_version_id)
        live = policies.add_policy_version(
            records.evaluator,
            policy_id="houses_policy",
            mlflow_model_name="houses_model",
            mlflow_model_version=version,
        )
        promotions.promote(promoter, policy_id="houses_policy", version=live.version, expected=number, reason="better")
    records.evaluation(version="3", reasons=["too slow", "rmse is above 0.7"])
    reader = records.database.connect("reader")
    return lambda query: reader.execute(query).fetchall()


def test_the_bytes_of_a_model_version_are_told(ask):
    [row] = ask(BYTES)
    assert (row["dataset_name"], row["dataset_version"], row["dataset_digest"]) == ("houses", "1.0.0", "a" * 64)
    assert row["raw_files"][0]["sha256"] == row["raw_digest"]


def test_what_depends_on_a_dataset_is_told(ask):
    rows = [(row["mlflow_model_version"], row["stage"], row["live_in"]) for row in ask(DEPENDANTS)]
    assert rows == [("1", "archived", None), ("2", "production", "houses_policy"), ("3", "none", None)]


def test_who_promoted_what_and_what_was_before_is_told(ask):
    rows = [(row["version"], row["replaced_version"], row["actor"], row["metrics"]) for row in ask(PROMOTIONS)]
    assert rows == [(1, None, "alice_promoter", {"rmse": 0.5}), (2, 1, "alice_promoter", {"rmse": 0.5})]


def test_what_served_at_a_moment_is_told(ask):
    [row] = ask(SERVED)
    assert (row["version"], row["mlflow_model_version"], row["until_at"]) == (2, "2", None)


def test_every_reason_of_a_refusal_is_told(ask):
    assert {row["reason"] for row in ask(REFUSED)} == {"too slow", "rmse is above 0.7"}


def test_every_table_view_function_and_role_is_told(database):
    rows = database.connect("postgres").execute("""
        SELECT relname AS name FROM pg_class WHERE relnamespace = 'exp'::regnamespace AND relkind IN ('r', 'v')
        UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'exp'::regnamespace
        UNION ALL SELECT rolname FROM pg_roles WHERE rolname ~ '^(modelyard|mlflow)'
    """)
    assert [row["name"] for row in rows if not re.search(rf"`{row['name']}[`(]", README)] == []
