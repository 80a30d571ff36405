"""What a person sees in MLflow's pages, in a real browser."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from modelyard.workloads.registry import get_workload
from tests.integration.trainings import environment_of, run_command

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]


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
    """A page of a headless Chromium with a profile of its own."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH (Debian: apt install chromium)")
    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            chromium_sandbox=os.geteuid() != 0,
            args=FLAGS,
            viewport={"width": 1440, "height": 1000},
        )
        yield context.pages[0]
        context.close()


def look(page, url, name, *texts):
    """Open a page, wait for each text, keep a screenshot if MODELYARD_SCREENSHOTS names a folder."""
    page.goto(url)
    for text in texts:
        page.get_by_text(text, exact=False).first.wait_for(timeout=30_000)
    if "SCREENSHOTS" in os.environ:
        if (assistant := page.get_by_role("button", name="Close")).count():  # open at the first visit
            assistant.first.click()
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(os.environ["SCREENSHOTS"], f"{name}.png"))


def test_the_run_page_shows_metrics_parameters_and_the_dataset_with_our_digest(page, outcome):
    digest = outcome["dataset"]["digest"][:32]
    look(page, outcome["training"]["run_url"], "run", "default parameters", "test_rmse", "max_leaf_nodes", digest)


def test_the_dataset_page_shows_its_rows_and_files(page, outcome):
    look(page, outcome["dataset"]["run_url"], "dataset", "num_rows", outcome["raw"]["digest"])


def test_the_model_page_shows_the_stage(page, outcome):
    look(page, outcome["registration"]["url"], "model", "california_housing_model", "candidate", "policy_version")


def test_the_evaluation_page_shows_the_verdict(page, outcome):
    look(
        page,
        outcome["evaluation"]["run_url"],
        "evaluation",
        "evaluation of california_housing_model",
        "baseline_mean_rmse",
    )
