"""What is on record after a training, on the embedded stack."""

import pytest

from modelyard.workloads.registry import get_workload
from tests.integration.trainings import environment_of, run_command
from tests.training_record import TrainingRecord


@pytest.fixture(scope="module")
def raw_file(tmp_path_factory):
    return get_workload("california_housing").sample(tmp_path_factory.mktemp("raw"))[0]


@pytest.fixture(scope="module")
def outcome(stack, stack_settings, raw_file, tmp_path_factory):
    words = ["train", "california_housing", "--data", str(raw_file), "--run-name", "on record", "--json"]
    settings = environment_of(stack, stack_settings.mlflow_port)
    ended = run_command(words, environment=settings, folder=tmp_path_factory.mktemp("train"))
    assert ended.code == 0, ended.printed
    return ended.outcome


class TestEmbedded(TrainingRecord):
    @pytest.fixture
    def addresses(self, stack):
        return stack

    @pytest.fixture
    def read_raw(self, stack):
        return lambda digest, name: (stack.home / "raw" / digest / name).read_bytes()
