"""Weights of a blend, and a blend as it is stored and opened."""

import json
import shutil
import warnings

import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.models import infer_signature
from sklearn.dummy import DummyRegressor

from modelyard.data.hashes import digest_files, hash_folder
from modelyard.errors import BadInput, ContentMismatch, UntrustedModel
from modelyard.tracking.blend_log import Member, log_blend
from modelyard.tracking.blends import BLEND_FILE, Blend
from modelyard.tracking.contract import choose_model
from modelyard.tracking.model_formats import find_format, open_model
from modelyard.tracking.runs import ActiveRun
from modelyard.workloads.blending import METHODS, weigh

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own types, when this part of it is imported
    import mlflow.pyfunc.model

pytestmark = pytest.mark.filterwarnings("ignore:Operation with range is deprecated")  # MLflow's use of pandas

ROWS = pd.DataFrame({"load": [1.0, 2.0, 3.0]})


def test_inverse_mae_weighs_each_member_by_how_small_its_error_is():
    truth = [0.0, 0.0]
    assert weigh("inverse_mae", truth, [[1.0, -1.0], [3.0, 3.0]]) == pytest.approx([0.75, 0.25])
    assert weigh("inverse_mae", truth, [[1.0, 1.0], [0.0, 0.0]]) == [0.0, 1.0]  # one is never wrong


def test_least_squares_finds_the_mixture_that_made_the_target_and_leaves_out_what_does_harm():
    answers = np.random.default_rng(0).normal(size=(3, 200))
    answers[2] -= 3 * answers[0]
    truth = 0.7 * answers[0] + 0.3 * answers[1]
    weights = weigh("nnls", truth, answers)
    assert weights == pytest.approx([0.7, 0.3, 0.0], abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_weights_add_up_to_one_for_several_targets_too(method):
    noise = np.random.default_rng(1).normal(size=(3, 50, 24))
    truth = np.random.default_rng(2).normal(50, 20, size=(50, 24))
    weights = weigh(method, truth, truth + noise * np.array([1, 2, 4])[:, None, None])
    assert sum(weights) == pytest.approx(1)
    assert min(weights) >= 0
    assert weights == sorted(weights, reverse=True)


@pytest.mark.parametrize(
    ("truth", "answers", "said"),
    [
        ([1.0, 2.0], [[1.0, np.nan], [1.0, 2.0]], "member 1 .* not finite"),
        ([1.0, np.inf], [[1.0, 2.0], [1.0, 2.0]], "target .* not finite"),
        ([1.0, 2.0], [[1.0], [1.0]], "shape"),
        ([], [[], []], "there are none"),
    ],
)
def test_what_cannot_be_weighted_is_refused(truth, answers, said):
    with pytest.raises(BadInput, match=said):
        weigh("inverse_mae", truth, answers)


def test_least_squares_without_any_good_member_says_what_to_use_instead():
    with pytest.raises(BadInput, match="--weights inverse_mae"):
        weigh("nnls", [1.0, 2.0], [[-1.0, -2.0], [-2.0, -4.0]])


class Kept:
    """The calls of an MLflow client that storing a model makes; what is uploaded is kept in a folder."""

    def __init__(self, folder):
        self.folder, self.inputs = folder, []

    def create_logged_model(self, experiment_id, **about):
        return LoggedModel(experiment_id, "m-blend", about["name"], str(self.folder), 0, 0)

    def log_outputs(self, run_id, outputs):
        pass

    def log_inputs(self, _, models):
        self.inputs += [model.model_id for model in models]

    def log_model_artifacts(self, _, folder):
        shutil.copytree(folder, self.folder)

    def finalize_logged_model(self, _, status):
        assert status == LoggedModelStatus.READY


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A blend of two constants, 10 and 20, with the weights 0.25 and 0.75; its client."""
    folder = tmp_path_factory.mktemp("models")
    members = []
    for constant in (10.0, 20.0):
        root = folder / str(constant)
        model = DummyRegressor(strategy="constant", constant=constant).fit(ROWS, [0, 0, 0])
        mlflow.sklearn.save_model(
            model,
            str(root),
            serialization_format="skops",
            signature=infer_signature(ROWS, model.predict(ROWS)),
            pip_requirements=["scikit-learn"],
        )
        digest = digest_files(hash_folder(root))
        described = {"run_id": f"r{constant}", "model_id": f"m-{constant}", "model_type": "constant", "sha256": digest}
        members.append(Member(**described, root=root, estimator=model))
    client = Kept(folder / "blend")
    run = ActiveRun(client, "r1", "0")
    logged = log_blend(run, members, [0.25, 0.75], name="model", input_example=ROWS[:2], params={}, tags={})
    assert {file.path for file in logged.files} == {file.path for file in hash_folder(client.folder)}
    return client


@pytest.fixture
def blend(stored, tmp_path):
    return shutil.copytree(stored.folder, tmp_path / "blend")


def test_a_stored_blend_answers_with_the_weighted_sum_here_and_in_mlflow(stored, blend):
    assert find_format(blend).kind == "blend"
    assert open_model(blend).predict(ROWS) == pytest.approx([17.5] * 3)
    assert mlflow.pyfunc.load_model(str(blend)).predict(ROWS) == pytest.approx([17.5] * 3)
    assert stored.inputs == ["m-10.0", "m-20.0"]


def test_a_blend_takes_its_columns_out_of_more(blend):
    wider = ROWS.assign(other="x")
    assert open_model(blend).predict(wider) == pytest.approx([17.5] * 3)


@pytest.mark.parametrize("change", ["altered", "removed", "added"])
def test_a_member_with_other_files_than_were_blended_is_not_opened(blend, change):
    member = blend / "members" / "2"
    if change == "altered":
        shutil.copy(blend / "members" / "1" / "model.skops", member / "model.skops")
    elif change == "removed":
        shutil.rmtree(member)
    else:
        (member / "more.py").write_text("")
    with pytest.raises(ContentMismatch, match="member 2 of the blend"):
        open_model(blend)
    with pytest.raises(ContentMismatch):
        mlflow.pyfunc.load_model(str(blend))


def test_a_member_that_is_a_pickle_is_not_opened_even_with_the_right_digest(blend):
    member = blend / "members" / "1"
    (member / "MLmodel").write_text((member / "MLmodel").read_text().replace("format: skops", "format: pickle"))
    described = json.loads((blend / BLEND_FILE).read_text())
    described["members"][0]["sha256"] = digest_files(hash_folder(member))
    (blend / BLEND_FILE).write_text(json.dumps(described))
    with pytest.raises(UntrustedModel, match="stored as pickle"):
        open_model(blend)


def test_a_member_is_the_newest_model_of_the_workloads_name_else_the_only_one_of_its_run():
    logged = [
        LoggedModel("0", f"m-{place}", name, "", place, place)
        for place, name in enumerate(("extra", "baseline_model", "baseline_model", "model"))
    ]
    assert choose_model(logged, "baseline_model") is logged[2]
    assert choose_model(logged[:1], "baseline_model") is logged[0]
    assert choose_model([logged[0], logged[3]], "baseline_model") is None
    assert choose_model([], "baseline_model") is None


@pytest.mark.parametrize("text", ["", "[]", '{"members": [{"sha256": "a"}]}'])
def test_a_blend_whose_file_cannot_be_read_is_refused(blend, text):
    (blend / BLEND_FILE).write_text(text)
    with pytest.raises(UntrustedModel, match=BLEND_FILE):
        open_model(blend)


def test_a_blend_of_several_targets_keeps_their_shape():
    one, two = (DummyRegressor(strategy="constant", constant=c).fit(ROWS, [c] * 3) for c in ([1.0, 2.0], [3.0, 4.0]))
    assert Blend([one, two], [0.5, 0.5]).predict(ROWS).tolist() == [[2.0, 3.0]] * 3
