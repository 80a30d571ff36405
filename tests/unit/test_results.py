"""What a job has achieved is read back as it was told, and what a later release tells is left out."""

import json

import pytest

from modelyard.pipeline.gate import LimitOutcome
from modelyard.pipeline.results import (
    DatasetResult,
    EvaluationResult,
    Notice,
    RegistrationResult,
    TrainingResult,
    decode_result,
    encode_result,
)

RESULTS = [
    Notice(text="the workload's code has changed"),
    DatasetResult(
        dataset_id="d",
        name="houses",
        version="1.0.0",
        digest="a" * 64,
        raw_digest="b" * 64,
        num_rows=10,
        split_counts={"train": 7, "test": 3},
        data_source="sample",
        run_url="http://localhost/r",
        reused=False,
    ),
    TrainingResult(
        run_id="r",
        run_url="http://localhost/r",
        model_type="ridge",
        metrics={"test_rmse": 0.5},
        baselines={"mean": {"rmse": 1.1}},
        resumed=True,
    ),
    RegistrationResult(model_name="houses_model", version="7", url="http://localhost/m", evaluation_job_id="j"),
    EvaluationResult(
        evaluation_id="e",
        run_url="http://localhost/r",
        passed=False,
        limits=(LimitOutcome(limit="rmse <= 1", found=None, bound=1.0, held=False, reason="rmse is missing"),),
        reasons=("rmse is missing",),
        metrics={"rmse": None},
        policy_id="houses_policy",
        policy_version=None,
        stage="none",
        resumed=False,
    ),
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_a_result_is_the_same_after_its_way_through_json(result):
    name, value = encode_result(result)
    assert decode_result(name, json.loads(json.dumps(value))) == result


def test_a_result_that_this_release_does_not_know_is_left_out():
    assert decode_result("promotion", {"stage": "production"}) is None
