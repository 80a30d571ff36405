"""Remission from EEG: .mat or Muse recordings → windows → band powers → a classifier, split by participant."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelyard.data.splits import check_split
from modelyard.errors import DownloadFailed, RawDataMalformed
from modelyard.workloads.contract import Expectation, Expectations, Processed, Report, Task, Trained, WorkloadSpec
from modelyard.workloads.eeg_remission.band_power import measure_features, name_features
from modelyard.workloads.eeg_remission.folds import as_metrics, cross_validate, describe_folds, draw_folds
from modelyard.workloads.eeg_remission.parameters import (
    EegParameters,
    EegProcessing,
    GradientBoosting,
    LogisticRegression,
    RandomForest,
)
from modelyard.workloads.eeg_remission.recordings import CHANNELS, load_recordings
from modelyard.workloads.eeg_remission.sample import write_sample
from modelyard.workloads.eeg_remission.scores import METRICS, score_classifier
from modelyard.workloads.eeg_remission.windows import cut_windows, filter_band, find_artefacts, split_participants
from modelyard.workloads.rules import load_rules

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]
TARGET, GROUP = "Remission", "Participant"
FEATURES = name_features(CHANNELS)

spec = WorkloadSpec(
    name="eeg_remission",
    title="Remission of a participant from windows of EEG",
    task=Task.CLASSIFICATION, metrics=METRICS, baselines=("majority",), processing=EegProcessing,
    model_types={
        "random_forest": RandomForest, "logistic_regression": LogisticRegression, "gradient_boosting": GradientBoosting,
    },
    configs={"participants": ("logistic_regression", {"level": "participant"})},
    raw_files=(("eegmat_4ch_250hz.mat", "subject-info.csv"),), targets=(TARGET,), group_column=GROUP,
    answers=("remission", "probability"), rules=load_rules("eeg_remission"), mlflow_experiment="eeg_remission",
    artifacts=("plots/folds.png", "summary/folds.txt"),
    expectations=Expectations(
        columns=(
            *(Expectation(name, type="float", nullable=False) for name in FEATURES),
            Expectation(TARGET, type="integer", allowed=(0, 1), nullable=False),
            Expectation(GROUP, type="text", nullable=False),
            Expectation("condition", type="text", nullable=False, required=False),
            Expectation("window", type="integer", low=0, nullable=False, required=False),
            Expectation("windows", type="integer", low=1, nullable=False, required=False),
        ),
    ),
)  # fmt: skip


def download(folder: Path, /) -> list[Path]:  # noqa: ARG001
    """There is no public source of these files that has a checksum.

    Raises:
        DownloadFailed: always.
    """
    raise DownloadFailed("no EEG with labels can be downloaded; use --data FILE.mat --data LABELS.csv")


def sample(folder: Path, /, *, seed: int = 0) -> list[Path]:
    """Write ``sample.mat`` and ``sample_labels.csv``: 24 made-up participants whose alpha power tells the label."""
    return write_sample(folder, seed=seed)


def load_raw(files: Sequence[Path], /, *, parameters: EegProcessing) -> pa.Table:
    """One row a recording, in the order of the files; takes and raises what ``load_recordings`` does."""
    return load_recordings(files, parameters)


def process(raw: pa.Table, /, *, parameters: EegProcessing) -> Processed:
    """Cut recordings into windows, reject artefacts, measure band powers, and split by participant.

    Raises:
        RawDataMalformed: no such condition, a window longer than a recording, or participants that cannot be split.
    """
    conditions = sorted({str(name) for name in raw["condition"].to_pylist()})
    if parameters.condition not in ("all", *conditions):
        problem = f"no recording of condition {parameters.condition}; there are {', '.join(conditions)}"
        raise RawDataMalformed("raw data", [problem], hint="Give --set condition=all, or one of these.")
    if parameters.condition != "all":
        raw = raw.filter(pc.field("condition") == parameters.condition)
    features, extra, labels, nb_windows = [], [], [], 0
    rejected: dict[str, int] = {}
    recordings = raw.select(["participant", "condition", "remission", "sampling_rate_hz"]).to_pylist()
    for nb, known in enumerate(recordings):
        samples = np.stack([raw[name][nb].values.to_numpy() for name in CHANNELS])
        windows = _cut_recording(samples, known, parameters)
        kept = np.flatnonzero(~find_artefacts(windows, limit_uv=parameters.artefact_uv))
        name, rate = known["participant"], known["sampling_rate_hz"]
        nb_windows += len(windows)
        rejected[name] = rejected.get(name, 0) + len(windows) - len(kept)
        if len(kept):
            features.append(measure_features(windows[kept], channels=CHANNELS, sampling_rate_hz=rate))
        extra += [(name, known["condition"], int(window)) for window in kept]
        labels += [known["remission"]] * len(kept)
    if not labels:
        problem = f"each of {nb_windows} windows has an amplitude above {parameters.artefact_uv:g} µV, or no signal"
        raise RawDataMalformed("raw data", [problem], hint="Check the unit (unit_uv), or raise artefact_uv.")
    participants = [name for name, _, _ in extra]
    sides = split_participants(
        participants, labels, test_share=parameters.test_share, validation_share=parameters.validation_share,
        seed=parameters.seed,
    )  # fmt: skip
    X, y, table = np.concatenate(features), np.array(labels), _as_table(extra)
    if parameters.level == "participant":
        X, y, table = _average_participants(X, y, participants)
    return Processed(
        X=pa.table({name: pa.array(column, pa.float64()) for name, column in zip(FEATURES, X.T, strict=True)}),
        y=pa.table({TARGET: pa.array(y, pa.int64())}),
        split=pa.array([sides[str(name)] for name in table[GROUP].to_pylist()], pa.string()),
        extra=table,
        notes={
            "windows": nb_windows,
            "windows_rejected": sum(rejected.values()),
            "windows_rejected_by_participant": {name: count for name, count in rejected.items() if count},
            "participants": len(sides),
            "participants_without_windows": sorted(set(rejected) - set(sides)),
            "conditions": conditions if parameters.condition == "all" else [parameters.condition],
        },
    )


def train(dataset: Processed, /, *, parameters: EegParameters, report: Report) -> Trained:
    """Fit training rows for the ``validation_`` metrics, then (``refit``) validation rows too; cross-validate.

    Raises:
        BadInput: a participant is on both sides of the split, or a class has fewer participants than folds.
    """
    from sklearn import ensemble  # noqa: F401 - loads OpenMP, which is limited next
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    check_split(dataset.split, dataset.load_groups(GROUP))
    # the threads of histogram boosting wait busily for each other
    with threadpool_limits(1, user_api="openmp"):
        return _train(dataset, parameters, report)


def evaluate(rows: "pd.DataFrame", predictions: Array, /, *, parameters: EegParameters) -> dict[str, float]:
    """Balanced accuracy, AUC and F1 of rows and of participants with their intervals, and accuracy."""
    return score_classifier(rows[TARGET], predictions, rows[GROUP], seed=parameters.seed)


def baselines(dataset: Processed, /, *, parameters: EegParameters) -> dict[str, dict[str, float]]:
    """Metrics on the test rows of the label that most of the other rows have."""
    test, others = dataset.load_rows("test"), dataset.load_rows("train", "validation")
    share = float(others[TARGET].mean())
    answers = np.tile([float(share >= 0.5), share], (len(test), 1))
    return {"majority": evaluate(test, answers, parameters=parameters)}


def _cut_recording(samples: Array, known: dict[str, Any], parameters: EegProcessing) -> Array:
    """Filtered windows of shape (windows, channels, samples)."""
    rate = known["sampling_rate_hz"]
    length = round(parameters.window_s * rate)
    if samples.shape[1] < length:
        problem = (
            f"a recording of participant {known['participant']} ({known['condition']}) is "
            f"{samples.shape[1] / rate:.3g} s long, and a window {parameters.window_s:g} s"
        )
        raise RawDataMalformed("raw data", [problem], hint="Give a shorter one, as --set window_s=2.")
    band = {"low_hz": parameters.band_low_hz, "high_hz": parameters.band_high_hz}
    filtered = filter_band(samples, sampling_rate_hz=rate, **band)
    return cut_windows(filtered, length=length, overlap=parameters.overlap)


def _as_table(extra: list[tuple[str, str, int]]) -> pa.Table:
    names, conditions, windows = zip(*extra, strict=True)
    return pa.table(
        {GROUP: pa.array(names), "condition": pa.array(conditions), "window": pa.array(windows, pa.int64())}
    )


def _average_participants(X: Array, y: Array, participants: list[str]) -> tuple[Array, Array, pa.Table]:
    """A row for each participant, by name: the mean of its windows' features, its label, and how many windows."""
    names, first, codes, counts = np.unique(participants, return_index=True, return_inverse=True, return_counts=True)
    means = np.stack([X[codes == code].mean(axis=0) for code in range(len(names))])
    return means, y[first], pa.table({GROUP: pa.array(names, pa.string()), "windows": pa.array(counts, pa.int64())})


def _train(dataset: Processed, parameters: EegParameters, report: Report) -> Trained:
    from modelyard.workloads.eeg_remission.classifier import RemissionClassifier

    names, rows = dataset.X.column_names, dataset.load_rows("train", "validation", "test")

    def fit(share: float, *splits: str) -> Any:
        report(share, f"fitting the {' and '.join(splits)} rows")
        known = dataset.load_rows(*splits)
        return RemissionClassifier(_fit_model(parameters, known[names], known[TARGET]))

    def score(model: Any, split: str) -> dict[str, float]:
        known = dataset.load_rows(split)
        scores = evaluate(known, model.predict(known[names]), parameters=parameters)
        return {f"{split}_{name}": value for name, value in scores.items()}

    model = fit(0.0, "train")
    metrics = score(model, "validation")
    if parameters.refit:
        model = fit(0.1, "train", "validation")
    metrics |= score(model, "train") | score(model, "test")
    folds = cross_validate(
        rows, features=names, target=TARGET, group=GROUP, fit_model=partial(_fit_model, parameters),
        folds=parameters.cv_folds, seed=parameters.seed, report=report, begin=0.2, end=0.95,
    )  # fmt: skip
    summary = describe_folds(folds, nb_rows=len(rows), nb_participants=rows[GROUP].nunique(), folds=parameters.cv_folds)
    report(1.0, f"test balanced accuracy {metrics['test_balanced_accuracy']:.3f}")
    return Trained(
        model=model,
        metrics=metrics | as_metrics(folds),
        figures={"plots/folds.png": draw_folds(folds)},
        artifacts={"summary/folds.txt": summary},
    )


def _fit_model(parameters: EegParameters, X: "pd.DataFrame", y: Any) -> Any:
    """A fitted classifier of the labels 0 and 1."""
    from sklearn import ensemble, linear_model, pipeline, preprocessing

    own = parameters.model_dump(exclude={*EegParameters.model_fields})
    own |= {"random_state": parameters.seed, "class_weight": parameters.class_weight}
    if isinstance(parameters, RandomForest):
        forest = ensemble.RandomForestClassifier(**own, n_jobs=-1).fit(X, y)
        # threads would add up the trees of an answer in any order, and the last bit would differ
        return forest.set_params(n_jobs=None)
    if isinstance(parameters, LogisticRegression):
        classifier = linear_model.LogisticRegression(**own, max_iter=2000)
        return pipeline.make_pipeline(preprocessing.StandardScaler(), classifier).fit(X, y)
    return ensemble.HistGradientBoostingClassifier(**own).fit(X, y)
