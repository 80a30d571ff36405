"""Cross-validation by participant, beside the figures that folds which tear participants apart would show."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.errors import BadInput
from modelyard.workloads.eeg_remission.scores import METRICS, score_classifier
from modelyard.workloads.figures import INK

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from modelyard.workloads.contract import Report

Scores = dict[str, float]
SHOWN = ("balanced_accuracy", "auc", "f1", "accuracy")
KINDS = {
    "cv": "folds by participant",
    "random_folds": "random folds of rows (a leak)",
    "cv_majority": "majority class",
}


def cross_validate(
    rows: "pd.DataFrame",
    *,
    features: list[str],
    target: str,
    group: str,
    fit_model: Callable[[Any, Any], Any],
    folds: int,
    seed: int,
    report: "Report",
    begin: float,
    end: float,
) -> dict[str, Scores]:
    """Scores of all rows, each answered by a model that has not seen it: kind of ``KINDS`` → scores.

    Folds by participant are what counts. Random folds of rows stand beside them to show what they hide: such a model
    knows other windows of the same participant.

    Raises:
        BadInput: a class has fewer participants than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    X, y, participants = rows[features], rows[target].to_numpy(), rows[group].to_numpy()
    members = rows.groupby(target)[group].nunique()
    if members.min() < folds:
        raise BadInput(
            f"cv_folds={folds} takes as many participants of each class, and label {members.idxmin()} has "
            f"{members.min()}; give --set cv_folds={max(2, members.min())}"
        )
    kinds = {
        "cv": StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(X, y, participants),
        "random_folds": StratifiedKFold(folds, shuffle=True, random_state=seed).split(X, y),
    }
    scores, done = {}, 0
    for kind, parts in kinds.items():
        probability = np.empty(len(rows))
        for fitted, left_out in parts:
            report(
                begin + (end - begin) * done / (2 * folds),
                f"cross-validation: {KINDS[kind]}, {done % folds + 1} of {folds}",
            )
            model = fit_model(X.iloc[fitted], y[fitted])
            probability[left_out] = model.predict_proba(X.iloc[left_out])[:, 1]
            done += 1
        answers = np.column_stack([probability >= 0.5, probability])
        scores[kind] = score_classifier(y, answers, participants, seed=seed)
    share = float(y.mean())
    majority = np.tile([float(share >= 0.5), share], (len(rows), 1))
    return scores | {"cv_majority": score_classifier(y, majority, participants, seed=seed)}


def describe_folds(scores: dict[str, Scores], *, nb_rows: int, nb_participants: int, folds: int) -> str:
    """The comparison as text, for people."""
    lines = [f"Cross-validation in {folds} folds: {nb_rows:,} rows of {nb_participants} participants.", ""]
    for level, what in (("", "rows"), ("participant_", "participants (mean probability of their rows)")):
        lines.append(f"{what:46}" + "".join(f"{name:>28}" for name in SHOWN))
        for kind, title in KINDS.items():
            lines.append(f"  {title:44}" + "".join(f"{_tell(scores[kind], level + name):>28}" for name in SHOWN))
        lines.append("")
    return "\n".join(
        [
            *lines,
            "In brackets: 95 % intervals of a bootstrap over participants.",
            "Only folds by participant say what the model is worth for somebody it has not seen. In random folds it is",
            "tested on participants whose other rows it has learned: it recognises people, not the label.",
            "",
        ]
    )


def draw_folds(scores: dict[str, Scores]) -> "Figure":
    """Balanced accuracy and AUC of each kind of fold, with intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 4.2), dpi=130, layout="constrained", facecolor="white")
    figure.suptitle("What folds by participant say, and what random folds hide", fontsize=12, fontweight="bold")
    for axes, (level, what) in zip(
        figure.subplots(1, 2, sharey=True), (("", "rows"), ("participant_", "participants")), strict=True
    ):
        for shift, name in ((-0.17, "balanced_accuracy"), (0.17, "auc")):
            values = [scores[kind][level + name] for kind in KINDS]
            ends = [(scores[kind][f"{level}{name}_low"], scores[kind][f"{level}{name}_high"]) for kind in KINDS]
            low, high = np.transpose(ends)
            # a quantile of the bootstrap may lie on one side of the figure itself
            errors = np.maximum(0, [np.subtract(values, low), np.subtract(high, values)])
            axes.bar(np.arange(len(KINDS)) + shift, values, 0.32, yerr=errors, capsize=3, label=name)
        axes.axhline(0.5, color=INK, linewidth=1, linestyle="--")
        axes.set(ylim=(0, 1), title=what)
        axes.set_xticks(range(len(KINDS)), [title.replace(" (", "\n(") for title in KINDS.values()], fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    return figure


def as_metrics(scores: dict[str, Scores]) -> Scores:
    """The scores under names for a run: ``cv_auc``, ``random_folds_auc``, ``cv_majority_accuracy``."""
    return {f"{kind}_{metric.name}": found[metric.name] for kind, found in scores.items() for metric in METRICS}


def _tell(scores: Scores, name: str) -> str:
    value = f"{scores[name]:.3f}"
    return f"{value} [{scores[name + '_low']:.3f}, {scores[name + '_high']:.3f}]" if name + "_low" in scores else value
