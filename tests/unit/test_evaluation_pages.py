"""The page and the Markdown of a verdict: every limit, every reason, better and worse by each metric's direction."""

import numpy as np
import pytest

from modelyard.cli.evaluate import render_markdown
from modelyard.data.answers import count_errors
from modelyard.data.scoring import Interval
from modelyard.pages.evaluation import ShownLimit, ShownMetric, render_evaluation
from modelyard.pages.intervals import ShownInterval


def show(low, high, *, higher_is_better):
    return ShownInterval(label="m", difference=(low + high) / 2, low=low, high=high, higher_is_better=higher_is_better)


@pytest.mark.parametrize(
    ("low", "high", "higher_is_better", "verdict"),
    [
        (0.1, 0.2, True, "better"),
        (0.1, 0.2, False, "worse"),
        (-0.2, -0.1, True, "worse"),
        (-0.2, -0.1, False, "better"),
        (-0.1, 0.2, True, "may be chance"),
        (0.0, 0.2, True, "may be chance"),
    ],
)
def test_an_interval_is_better_or_worse_where_all_of_it_is(low, high, higher_is_better, verdict):
    assert show(low, high, higher_is_better=higher_is_better).verdict == verdict


def render(**changes):
    values = {
        "facts": [("verdict", "refused")],
        "limits": [
            ShownLimit(limit="rmse <= 0.7", found=0.5, bound=0.7, reason=None),
            ShownLimit(limit="r2 >= 0.9", found=0.8, bound=0.9, reason="r2 >= 0.9: r2 is 0.8, the limit is 0.9"),
        ],
        "reasons": ["r2 >= 0.9: r2 is 0.8, the limit is 0.9", "mae is nan, not a finite number"],
        "metrics": [ShownMetric(name="rmse", unit="EUR", higher_is_better=False, value=0.5)],
        "production": {"rmse": 0.6},
        "baselines": {"mean": {"rmse": 1.0}},
        "intervals": [
            Interval(metric="rmse", candidate=0.5, production=0.6, difference=-0.1, low=-0.2, high=-0.05)
        ],
        "resamples": 1000,
        "errors": None,
    } | changes  # fmt: skip
    return render_evaluation("Evaluation of <b>m</b>/1", **values)


def test_the_page_has_every_limit_and_reason_and_escapes_names():
    page = render()
    for text in ("rmse &lt;= 0.7", "r2 is 0.8, the limit is 0.9", "mae is nan", "better", "baseline mean", "1,000"):
        assert text in page, text
    assert "<b>m</b>" not in page
    assert page.count('class="marked"') == 2


def test_a_page_of_a_first_version_has_no_intervals():
    page = render(production=None, intervals=[])
    assert "production" not in page
    assert "How sure that is" not in page


def test_errors_are_counted_for_each_model_and_what_is_not_finite_left_out():
    truth = np.arange(100.0)
    found = count_errors(truth, {"candidate": truth + 1, "production": np.full(100, np.nan)}, classes=False)
    assert sum(found.series["candidate"]) == pytest.approx(1)
    assert sum(found.series["production"]) == 0
    assert count_errors(truth, {"candidate": np.full(100, np.nan)}, classes=False) is None


def test_classes_are_counted_by_class_the_most_frequent_first():
    truth = np.array(["b", "a", "b", "b"])
    found = count_errors(truth, {"candidate": np.array(["b", "a", "a", "a"])}, classes=True)
    assert found.marks == ["b", "a"]
    assert found.series == {"candidate": [pytest.approx(1 / 3), 1.0]}


@pytest.mark.parametrize(
    ("truth", "answers"),
    [
        (np.array([1, 2, 1]), np.array([1.0, 2.0, 1.0])),
        (np.array([True, False]), np.array([1, 0])),
        (np.array(["a", "b"]), np.array(["a", "b"], dtype=object)),
    ],
)
def test_a_class_is_told_right_in_whatever_type_it_is_answered(truth, answers):
    assert count_errors(truth, {"candidate": answers}, classes=True).series["candidate"] == [1.0, 1.0]


def test_markdown_has_a_table_of_metrics_and_one_of_limits():
    evaluation = {
        "passed": False, "model": "houses_model/2", "dataset": "houses@1.0.0", "rows": 1400, "unseen_rows": True,
        "production": "houses_policy@1 (houses_model/1)", "metrics": {"rmse": 0.5}, "run_url": "http://x/1",
        "reasons": ["rmse <= 0.4: rmse is 0.5"],
        "limits": [{"limit": "rmse <= 0.4", "found": 0.5, "bound": None, "held": False}],
        "intervals": [
            {"metric": "rmse", "candidate": 0.5, "production": 0.4, "difference": 0.1, "low": None, "high": 0.2}
        ],
    }  # fmt: skip
    text = render_markdown(evaluation)
    assert "### houses\\_model/2: refused" in text
    assert "1,400 test rows of houses@1.0.0, those that no model has seen" in text
    assert "| rmse | 0.5 | 0.4 | 0.1 | none to 0.2 |" in text
    assert "| `rmse <= 0.4` | 0.5 | none | **not held** |" in text
    assert "- rmse \\<= 0.4: rmse is 0.5" in text
    small = evaluation | {"intervals": [], "production": None, "metrics": {"rmse": 0.00012345}}
    assert "| rmse | 0.00012345 |" in render_markdown(small), "a small number is no zero"
