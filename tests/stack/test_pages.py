"""What a person sees of the stack in a real browser: MLflow's pages, and the console of the object store."""

import pytest

from tests.browser import WAIT_MS, keep, look, open_page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page():
    with open_page() as page:
        yield page


def test_the_run_page_shows_metrics_parameters_and_the_dataset_with_our_digest(page, outcome):
    run = outcome["training"]
    look(page, run["run_url"], "first", "test_rmse", "max_leaf_nodes", outcome["dataset"]["digest"][:32])
    keep(page, "stack-run")


def test_the_artifact_tab_shows_the_plots_out_of_the_object_store(page, outcome):
    tab = outcome["training"]["run_url"].replace("?", "/artifacts/plots/residuals.png?")
    look(page, tab, "plots/residuals.png", "predicted_vs_true.png")
    picture = page.locator("img[src^='blob:'], img[src*='get-artifact'], canvas").first
    picture.wait_for(timeout=WAIT_MS)
    assert picture.bounding_box()["height"] > 100
    keep(page, "stack-artifacts")


def test_the_model_page_shows_the_stage_and_the_policy_version(page, outcome):
    look(page, outcome["registration"]["url"], "california_housing_model", "candidate", "policy_version")
    keep(page, "stack-model")


def test_the_console_shows_a_notebook_user_the_objects_of_the_run(page, project, outcome):
    name, password = project.keys("notebook")
    look(page, project.console_url, "Login")
    page.locator("#accessKey").fill(name)
    page.locator("#secretKey").fill(password)
    page.locator("#do-login").click()
    page.get_by_text(project.bucket).first.wait_for(timeout=WAIT_MS)
    run = project.mlflow().get_run(outcome["training"]["run_id"]).info
    folder = f"{project.bucket}/runs/{run.experiment_id}/{run.run_id}/artifacts/plots/"
    look(page, f"{project.console_url}/browser/{folder}", "residuals.png", "predicted_vs_true.png")
    keep(page, "stack-console")
