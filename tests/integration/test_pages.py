"""What a person sees in MLflow's pages, in a real browser."""

import pytest

from modelyard.workloads.registry import get_workload
from tests.browser import keep, look, open_page
from tests.integration.trainings import environment_of, run_command

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def outcome(stack, stack_settings, real_data, tmp_path_factory):
    """A training, on the real data where there is some."""
    folder = tmp_path_factory.mktemp("pages")
    files = (
        [real_data / "california_housing" / "cal_housing.data"]
        if real_data
        else get_workload("california_housing").sample(folder)
    )
    ended = run_command(
        ["train", "california_housing", "--data", str(files[0]), "--run-name", "default parameters", "--json"],
        environment=environment_of(stack, stack_settings.mlflow_port),
        folder=folder,
    )
    assert ended.code == 0, ended.printed
    return ended.outcome


@pytest.fixture(scope="module")
def page():
    with open_page() as page:
        yield page


def test_the_run_page_shows_metrics_parameters_and_the_dataset_with_our_digest(page, outcome):
    digest = outcome["dataset"]["digest"][:32]
    look(page, outcome["training"]["run_url"], "default parameters", "test_rmse", "max_leaf_nodes", digest)
    keep(page, "run")


def test_the_dataset_page_shows_its_rows_and_files(page, outcome):
    look(page, outcome["dataset"]["run_url"], "num_rows", outcome["raw"]["digest"])
    keep(page, "dataset")


def test_the_model_page_shows_the_stage(page, outcome):
    look(page, outcome["registration"]["url"], "california_housing_model", "candidate", "policy_version")
    keep(page, "model")


def test_the_evaluation_page_shows_the_verdict(page, outcome):
    texts = ("evaluation of california_housing_model", "baseline_mean_rmse")
    look(page, outcome["evaluation"]["run_url"], *texts)
    keep(page, "evaluation")
