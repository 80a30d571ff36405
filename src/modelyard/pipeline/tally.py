"""Answers of two models to the same rows, batch by batch: metrics, how surely they differ, and a file of all."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from modelyard.data.dataset_reader import DatasetFiles
from modelyard.data.row_sample import RowSample
from modelyard.data.scoring import Interval, Scores, compare_metrics, compare_scores
from modelyard.pipeline.answer_columns import AnswerColumns
from modelyard.pipeline.batches import read_ahead
from modelyard.pipeline.evaluation_request import EvaluationRequest
from modelyard.pipeline.group_overlap import Mask
from modelyard.pipeline.models import VerifiedModel, ask
from modelyard.pipeline.scorer import Metrics, Scorer
from modelyard.pipeline.scoring_rows import Array, Batch, PredictionsFile, read_test_rows
from modelyard.pipeline.session import Report

SEED = 0  # of the resampling
RESAMPLES = 1000
RESAMPLES_OF_ROWS = 200  # where each is scored from its rows
SAMPLE_ROWS = 20_000  # that the report draws


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found on the scored rows.

    Attributes:
        rows: how many there are.
        units: in how many units they are resampled.
        resamples: how often; 0 where no version is live.
        metrics: of the candidate.
        production: of the live version; None where there is none.
        intervals: per metric, candidate - production; empty where there is none.
    """

    rows: int
    units: int
    resamples: int
    metrics: Metrics
    production: Metrics | None = None
    intervals: tuple[Interval, ...] = ()


class Tally(Protocol):
    """Takes answers, and says at the end what they are worth."""

    def update(self, batch: Batch, *, candidate: Array, production: Array | None) -> None:
        """Add the answers to a batch; with every batch those of ``production``, or with none."""

    def result(self) -> Findings:
        """What was found."""


def open_tally(scorer: Scorer) -> Tally:
    """Sums, in memory that does not grow with the rows; where metrics are no sums all rows are held."""
    return _Rows(scorer) if scorer.score is None else _Sums(scorer)


class _Sums:
    def __init__(self, scorer: Scorer) -> None:
        self._scorer, self._candidate, self._production = scorer, Scores(), Scores()

    def update(self, batch: Batch, *, candidate: Array, production: Array | None) -> None:
        assert self._scorer.score is not None  # noqa: S101  ``open_tally`` has looked
        rows, groups = build_frame(batch), _find_groups(batch, self._scorer.group_column)
        self._candidate.update(self._scorer.score(rows, candidate), groups)
        if production is candidate:
            self._production = self._candidate
        elif production is not None:
            self._production.update(self._scorer.score(rows, production), groups)

    def result(self) -> Findings:
        summarize, candidate, production = self._scorer.summarize, self._candidate, self._production
        assert summarize is not None  # noqa: S101  who scores by sums has it
        found: dict[str, Any] = {"rows": candidate.num_rows, "units": candidate.num_units}
        metrics = summarize(candidate.totals)
        if not production.num_rows:
            return Findings(**found, resamples=0, metrics=metrics)
        return Findings(
            **found,
            resamples=RESAMPLES,
            metrics=metrics,
            production=summarize(production.totals),
            intervals=compare_scores(candidate, production, summarize, seed=SEED, resamples=RESAMPLES),
        )


class _Rows:
    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._frames: list[pd.DataFrame] = []
        self._groups: list[pd.Series[Any]] = []
        self._candidate: list[Array] = []
        self._production: list[Array] = []

    def update(self, batch: Batch, *, candidate: Array, production: Array | None) -> None:
        self._frames.append(build_frame(batch))
        groups = _find_groups(batch, self._scorer.group_column)
        if groups is not None:
            self._groups.append(groups.to_pandas())
        self._candidate.append(candidate)
        if production is not None:
            self._production.append(production)

    def result(self) -> Findings:
        evaluate = self._scorer.evaluate
        assert evaluate is not None  # noqa: S101  who does not score by sums has it
        rows, candidate = pd.concat(self._frames, ignore_index=True), np.concatenate(self._candidate)
        groups = pd.concat(self._groups, ignore_index=True) if self._groups else None
        found: dict[str, Any] = {
            "rows": len(rows),
            "units": len(rows) if groups is None else groups.nunique(dropna=False),
        }
        if not self._production:
            return Findings(**found, resamples=0, metrics=evaluate(rows, candidate))
        production = np.concatenate(self._production)

        def score(answers: Array, places: Array) -> Mapping[str, float]:
            return evaluate(rows.iloc[places].reset_index(drop=True), answers[places])

        return Findings(
            **found,
            resamples=RESAMPLES_OF_ROWS,
            metrics=evaluate(rows, candidate),
            production=evaluate(rows, production),
            intervals=compare_metrics(
                lambda places: score(candidate, places),
                lambda places: score(production, places),
                num_rows=len(rows),
                seed=SEED,
                resamples=RESAMPLES_OF_ROWS,
                groups=groups,
            ),
        )


def build_frame(batch: Batch) -> pd.DataFrame:
    """X, y and extra side by side: what a workload scores. The features that a model takes are not copied."""
    names, taken = batch.rows.X.column_names, batch.inputs[0]
    rows = taken.copy(deep=False) if list(taken.columns) == names else batch.rows.X.to_pandas()
    parts = batch.rows.parts()
    for table in (parts[side] for side in ("y", "extra") if side in parts):
        for name in table.column_names:
            rows[name] = table[name].to_pandas()
    return rows


def _find_groups(batch: Batch, column: str | None) -> Any:
    if column is None:
        return None
    side, _, name = column.partition(".")
    return batch.rows.parts()[side][name]


class AnswerSample:
    """Truth and answers of at most 20,000 rows that stand for all; which these are depends on their positions only.

    Of several answers to one target the first is kept.
    """

    def __init__(self) -> None:
        self._sample, self._seen = RowSample(SAMPLE_ROWS), 0
        self._kept: dict[str, list[Array]] = {}

    def update(self, batch: Batch, **answers: Array | None) -> None:
        """Add rows: each model's answers under its name; None where there is no such model."""
        joining, staying = self._sample.choose(self._seen, len(batch.numbers))
        self._seen += len(batch.numbers)
        truth = batch.rows.y.column(0).to_numpy()
        for name, found in {"truth": truth, **answers}.items():
            if found is not None:
                answers_target = found.ndim == 2 and batch.rows.y.num_columns == 1  # by the first of several columns
                values = np.array(found[:, 0].tolist()) if answers_target else found
                parts = self._kept.setdefault(name, [])
                parts.append(values[joining])
                if staying is not None:
                    self._kept[name] = [np.concatenate(parts)[staying]]

    def result(self) -> dict[str, Array]:
        """``truth`` and each model's answers, of the same rows in the same order."""
        staying = self._sample.trim()
        whole = {name: np.concatenate(parts) for name, parts in self._kept.items()}
        return whole if staying is None else {name: values[staying] for name, values in whole.items()}


def score_rows(
    request: EvaluationRequest,
    files: DatasetFiles,
    models: list[VerifiedModel],
    left_out: Mask | None,
    *,
    compared: bool,
    path: Path,
    report: Report,
) -> tuple[Findings, dict[str, Any]]:
    """Stream test rows through one or two models into scores, a sample of answers and a Parquet file of all.

    Args:
        request: the evaluation.
        files: of its dataset, each verified; the digest is on the way.
        models: the version and, where that is another one, the live version.
        left_out: one value a test row, true for those to pass over; None for none.
        compared: whether a version is live; with one model it is compared with itself.
        path: of the Parquet file.
        report: told how far it is.

    Raises:
        ContentMismatch: the dataset is not what was recorded.
        ModelFailed: a model has not answered each row once, or with another type than before.
    """
    dataset, scorer = request.dataset, request.scorer
    tally, sample = open_tally(scorer), AnswerSample()

    def tell(rows: int) -> None:
        report("evaluation", 0.15 + 0.7 * rows / dataset.num_rows, f"{rows:,} of {dataset.num_rows:,} rows")

    batches = read_test_rows(
        files,
        dataset=dataset,
        models=models,
        left_out=left_out,
        held_column=scorer.group_column if scorer.held else None,
        told=tell,
    )
    doubles = scorer.task != "classification"  # a model of numbers may answer with whole ones for a while
    columns = {
        name: AnswerColumns(model.version.label, names=model.estimator.answers, doubles=doubles)
        for name, model in (("candidate", models[0]), ("production", models[-1]))
    }
    with PredictionsFile(path, columns) as predictions:
        for batch in read_ahead(batches):
            # the columns were compared by record, and were cast to the types that each model takes
            answers = [
                ask(model.estimator, rows, name=model.version.label, answers=scorer.answers or model.estimator.answers)
                for model, rows in zip(models, batch.inputs, strict=True)
            ]
            candidate, production = answers[0], answers[-1] if compared else None
            predictions.write(batch, candidate=candidate, production=production)
            tally.update(batch, candidate=candidate, production=production)
            sample.update(batch, candidate=candidate, production=production)
    return tally.result(), sample.result()
