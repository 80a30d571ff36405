"""Windows, band powers, splits, scores and the gate of EEG."""

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from mne.time_frequency import psd_array_welch
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from modelyard.errors import BadInput
from modelyard.pipeline.gate import apply_gate
from modelyard.tracking.skops_file import TRUSTED_TYPES
from modelyard.workloads import eeg_remission as eeg
from modelyard.workloads.contract import Processed
from modelyard.workloads.eeg_remission.band_power import BANDS, measure_features, measure_powers
from modelyard.workloads.eeg_remission.scores import score_classifier
from modelyard.workloads.eeg_remission.windows import cut_windows, find_artefacts, split_participants
from modelyard.workloads.registry import build_parameters


def silent(share, message, /, *, metrics=None, step=None):
    pass


def build(model_type="logistic_regression", **values):
    return build_parameters(eeg, model_type=model_type, values=values)[1]


def read(files, **values):
    parameters = build(**values)
    return eeg.process(eeg.load_raw(files, parameters=parameters), parameters=parameters)


def judge(dataset, parameters):
    trained = eeg.train(dataset, parameters=parameters, report=silent)
    metrics = {metric.name: trained.metrics[f"test_{metric.name}"] for metric in eeg.spec.metrics}
    baselines = eeg.baselines(dataset, parameters=parameters)
    return trained, apply_gate(eeg.spec.rules.gate, metrics=metrics, baselines=baselines, production=None)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return eeg.sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def dataset(files):
    return read(files)


def test_powers_are_those_of_mne():
    windows = np.random.default_rng(0).normal(0, 20, (5, 4, 1000))
    ours = measure_powers(windows, sampling_rate_hz=250.0)
    density, frequencies = psd_array_welch(
        windows, 250.0, fmax=45.0, n_fft=500, n_per_seg=500, n_overlap=250, window="hann", verbose="ERROR"
    )
    for place, (low, high) in enumerate(BANDS.values()):
        inside = (frequencies >= low) & (frequencies < high)
        np.testing.assert_allclose(ours[:, :, place], density[:, :, inside].sum(axis=2) * 0.5, rtol=1e-9)


def test_a_wave_is_all_in_its_band_and_asymmetry_is_the_log_of_the_ratio():
    wave = np.sin(2 * np.pi * 10 * np.arange(1000) / 250)
    noise = np.random.default_rng(0).normal(0, 0.01, (1, 4, 1000))
    windows = noise + np.array([1, 3, 1, 1])[None, :, None] * wave
    found = measure_features(windows, channels=eeg.CHANNELS, sampling_rate_hz=250.0)[0]
    features = dict(zip(eeg.FEATURES, found, strict=True))
    assert features["af7_power_alpha"] == pytest.approx(0.5, rel=0.01)  # half of the squared amplitude
    assert features["af8_relative_alpha"] == pytest.approx(1, abs=0.01)
    assert features["alpha_asymmetry_frontal"] == pytest.approx(np.log(9), abs=0.01)
    assert features["alpha_asymmetry_temporal"] == pytest.approx(0, abs=0.01)


def test_windows_overlap_and_loud_or_flat_ones_are_found():
    samples = np.random.default_rng(0).normal(0, 10, (4, 1000))
    samples[2, 450], samples[1, 800:] = 500, 0
    windows = cut_windows(samples, length=200, overlap=0.5)
    assert windows.shape == (9, 4, 200)
    np.testing.assert_array_equal(windows[3], samples[:, 300:500])
    assert np.flatnonzero(find_artefacts(windows, limit_uv=100)).tolist() == [3, 4, 8]


def test_rejected_windows_are_counted(files):
    notes = read(files, artefact_uv=45).notes
    assert 0 < notes["windows_rejected"] == sum(notes["windows_rejected_by_participant"].values()) < notes["windows"]


def test_a_split_has_both_classes_on_each_side_and_nobody_twice():
    names = [f"P{nb}" for nb in range(36)]
    labels = [int(nb < 26) for nb in range(36)]
    sides = split_participants(names * 2, labels * 2, test_share=0.25, validation_share=0.2, seed=1)
    found = {side: [labels[names.index(name)] for name in sides if sides[name] == side] for side in set(sides.values())}
    assert {side: (len(of), sum(of)) for side, of in found.items()} == {
        "test": (10, 7), "validation": (7, 5), "train": (19, 14),
    }  # fmt: skip


def test_a_participant_on_both_sides_is_refused(dataset):
    split = dataset.split.to_pylist()
    split[0] = "test" if split[0] == "train" else "train"
    torn = Processed(X=dataset.X, y=dataset.y, extra=dataset.extra, split=pa.array(split))
    with pytest.raises(BadInput, match="groups are on more than one side of the split"):
        eeg.train(torn, parameters=build(), report=silent)


def test_more_folds_than_participants_are_refused(dataset):
    with pytest.raises(BadInput, match="cv_folds=13 takes as many participants of each class"):
        eeg.train(dataset, parameters=build(cv_folds=13), report=silent)


def test_a_row_of_the_participant_level_is_the_mean_of_its_windows(files, dataset):
    whole = read(files, level="participant")
    assert whole.X.num_rows == 24
    means = dataset.X.append_column("who", dataset.extra["Participant"]).to_pandas().groupby("who").mean()
    np.testing.assert_allclose(whole.X.to_pandas(), means)
    assert set(whole.extra["windows"].to_pylist()) == {9}


def test_scores_are_scikit_learns_and_a_participant_is_the_mean_of_its_windows():
    rng = np.random.default_rng(0)
    participants = np.repeat(np.arange(20), rng.integers(3, 9, 20))
    y = participants % 2
    probability = np.round(rng.uniform(size=len(y)) * 0.8 + 0.2 * y, 2)  # some are equal
    answers = (probability >= 0.5).astype(int)
    scores = score_classifier(y, np.column_stack([answers, probability]).astype(object), participants, seed=0)
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, answers))
    assert scores["auc"] == pytest.approx(roc_auc_score(y, probability))
    assert scores["f1"] == pytest.approx(f1_score(y, answers))
    means = np.array([probability[participants == nb].mean() for nb in range(20)])
    assert scores["participant_auc"] == pytest.approx(roc_auc_score(np.arange(20) % 2, means))
    for name in ("balanced_accuracy", "auc", "f1", "participant_auc"):
        assert scores[f"{name}_low"] < scores[name] < scores[f"{name}_high"]


def test_a_majority_class_scores_a_half_and_one_class_is_finite():
    y, participants = np.repeat([0, 1, 1], 5), np.repeat(["a", "b", "c"], 5)
    majority = np.tile([1, 0.1 + 0.2], (15, 1))
    scores = score_classifier(y, majority, participants, seed=0)
    assert {scores[name] for name in ("balanced_accuracy", "balanced_accuracy_low", "participant_auc_high")} == {0.5}
    assert all(map(np.isfinite, score_classifier(y[5:], majority[5:], participants[5:], seed=0).values()))
    broken = np.where(np.arange(30).reshape(15, 2) == 3, np.nan, majority)
    assert np.isnan(score_classifier(y, broken, participants, seed=0)["balanced_accuracy"])


@pytest.mark.parametrize("model_type", eeg.spec.model_types)
def test_each_model_passes_on_the_sample_and_comes_back_from_its_file(dataset, tmp_path, model_type):
    values = {"n_estimators": 30} if model_type == "random_forest" else {}
    trained, verdict = judge(dataset, build(model_type, cv_folds=2, **values))
    assert verdict.passed, verdict.reasons
    assert trained.metrics["cv_balanced_accuracy_low"] > 0.5
    skops.io.dump(trained.model, tmp_path / "model.skops")
    again = skops.io.load(tmp_path / "model.skops", trusted=list(TRUSTED_TYPES))
    rows = dataset.X.to_pandas()
    assert again.predict(rows).equals(trained.model.predict(rows))
    assert tuple(again.predict(rows).columns) == eeg.spec.answers


def test_the_gate_refuses_the_shared_label_which_is_the_correct_outcome(real_data):
    if real_data is None or not (real_data / "eeg").is_dir():
        pytest.skip("no real data: set MODELYARD_TEST_DATA_DIR to a folder with eeg/eegmat_4ch_250hz.mat")
    dataset = read([real_data / "eeg" / name for name in eeg.spec.raw_files[0]])
    assert (dataset.X.num_rows, dataset.notes["windows_rejected"], dataset.notes["participants"]) == (2084, 4, 36)
    trained, verdict = judge(dataset, build("random_forest", n_estimators=40))
    assert not verdict.passed
    assert any(reason.startswith("balanced_accuracy_low") for reason in verdict.reasons)
    cv = trained.metrics
    assert cv["cv_participant_accuracy"] < cv["cv_majority_participant_accuracy"] == pytest.approx(26 / 36)
    assert cv["cv_auc"] < 0.5, "by participant there is nothing to learn"
    assert cv["random_folds_auc"] > 0.9, "folds that tear participants apart would show success"
    assert "random folds of rows (a leak)" in trained.artifacts["summary/folds.txt"]
