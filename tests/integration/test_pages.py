"""What a person sees in MLflow's pages, in a real browser."""

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pyarrow as pa
import pytest

from modelyard.data.profile import profile_table
from modelyard.pages.profile import render_profile
from modelyard.workloads.registry import get_workload
from tests.browser import keep, look, open_page
from tests.integration.trainings import environment_of, run_command

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def modelyard(stack, stack_settings, tmp_path_factory):
    """Run a command on the stack."""
    settings = environment_of(stack, stack_settings.mlflow_port)
    return lambda *words: run_command([*words], environment=settings, folder=tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def raw_file(real_data, tmp_path_factory):
    """The real data where there is some."""
    if real_data:
        return real_data / "california_housing" / "cal_housing.data"
    return get_workload("california_housing").sample(tmp_path_factory.mktemp("raw"))[0]


@pytest.fixture(scope="module")
def outcome(modelyard, raw_file):
    """A training."""
    words = ("--data", str(raw_file), "--run-name", "default parameters", "--json")
    ended = modelyard("train", "california_housing", *words)
    assert ended.code == 0, ended.printed
    return ended.outcome


@pytest.fixture(scope="module")
def drift(modelyard, outcome, tmp_path_factory):
    """A report of other block groups against those of the training."""
    [sample] = get_workload("california_housing").sample(tmp_path_factory.mktemp("current"), seed=5)
    words = ("--data", str(sample), "--reference", outcome["dataset"]["digest"], "--json")
    ended = modelyard("drift", "california_housing", *words)
    assert ended.code in (0, 3), ended.printed
    return ended.outcome["drift"]


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


def open_artifact(page, run_url, path, text):
    """Open a file of a run in MLflow's artifact tab; return the frame in which a page stands, once it has the text."""
    address, _, query = run_url.partition("?")
    look(page, f"{address}/artifacts/{path}?{query}", path)
    frame = page.frame_locator("iframe")
    frame.get_by_text(text).first.wait_for()
    return frame


def list_colours(frame):
    """The colour of each bar of the page that a person can see: wider and higher than nothing."""
    return frame.locator("article rect.bar").evaluate_all(
        """bars => bars.filter(bar => bar.getBoundingClientRect().width && bar.getBoundingClientRect().height)
                       .map(bar => getComputedStyle(bar).fill)"""
    )


def test_the_profile_opens_in_the_artifact_tab_with_a_plot_of_each_column(page, outcome):
    frame = open_artifact(page, outcome["dataset"]["run_url"], "metadata/profile.html", "X.MedInc")
    keep(page, "profile")
    assert frame.locator("article").count() == 10  # 8 features, the target, the split
    assert frame.locator("article svg").count() == 10
    colours = list_colours(frame)
    assert len(colours) > 100 and len(set(colours)) == 1 and "rgb(0, 0, 0)" not in colours
    assert frame.get_by_text(outcome["dataset"]["digest"]).is_visible()


def test_the_drift_report_opens_in_the_artifact_tab_with_both_sides_drawn(page, drift):
    frame = open_artifact(page, drift["run_url"], "drift/report.html", "y.MedHouseVal")
    keep(page, "drift")
    assert frame.locator("article svg").count() == len(drift["columns"]) == 9
    colours = list_colours(frame)
    assert len(colours) > 100 and len(set(colours)) == 2
    drifted = sum(bool(column["reasons"]) for column in drift["columns"])
    assert frame.locator("article.marked").count() == drifted


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_can_be_read_in_light_and_in_dark(page, outcome, scheme):
    page.emulate_media(color_scheme=scheme)
    frame = open_artifact(page, outcome["dataset"]["run_url"], "metadata/profile.html", "X.MedInc")
    ink, paper = frame.locator("article").first.evaluate(
        "card => [getComputedStyle(card.querySelector('h3')).color, getComputedStyle(card).backgroundColor]"
    )
    page.emulate_media(color_scheme=None)
    brightness = [sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3 for colour in (ink, paper)]
    assert (brightness[1] > brightness[0] + 100) if scheme == "light" else (brightness[0] > brightness[1] + 100)


def test_no_script_of_a_column_name_runs_and_nothing_is_asked_for(page, tmp_path):
    """Even where the escaping had a hole: the page itself forbids scripts and addresses."""
    asked = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/x"
        name = f"<script>document.title = 'ran'</script><img src={address} onerror=\"document.title = 'ran'\">"
        text = render_profile("houses", "1.0.0", [], profile_table(pa.table({name: [1.0, 2.0, 3.0]})))
        for content in (text, text.replace("<h1>", f"<h1>{name}")):
            (tmp_path / "profile.html").write_text(content)
            page.goto(f"file://{tmp_path}/profile.html")
            page.wait_for_timeout(500)
            assert (page.title(), page.locator("svg").count()) == ("houses 1.0.0", 1)
        server.shutdown()
    assert asked == []
