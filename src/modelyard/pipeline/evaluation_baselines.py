"""Metrics of naive answers to the rows that a model is scored on."""

from collections.abc import Sequence

import numpy as np

from modelyard.data.dataset_reader import DatasetFiles
from modelyard.pipeline.evaluation_request import EvaluationRequest
from modelyard.pipeline.group_overlap import Mask
from modelyard.pipeline.overlap import find_rows, take_rows
from modelyard.pipeline.scorer import Metrics
from modelyard.workloads.contract import Processed
from modelyard.workloads.rules import Limit


def find_baselines(
    request: EvaluationRequest, files: DatasetFiles, left_out: Mask | None, *, limits: Sequence[Limit]
) -> dict[str, Metrics]:
    """Baseline → its metrics on the scored rows.

    Where a limit names one they are computed, from all of the dataset in memory: what the training has recorded is the
    trainer's word. Else those of the record are told, where the rows are the same. A model of another tool has none.
    """
    scorer, version = request.scorer, request.version
    if scorer.baselines is None:
        return {}
    if not any(limit.of in scorer.baseline_names for limit in limits):
        same_rows = left_out is None and version.dataset_id == request.dataset.dataset_id
        names = {
            name: [f"baseline_{name}_{metric.name}" for metric in scorer.metrics] for name in scorer.baseline_names
        }
        recorded = all(key in version.metrics for keys in names.values() for key in keys)
        if not (same_rows and recorded):
            return {}
        return {
            name: {metric.name: version.metrics[key] for metric, key in zip(scorer.metrics, keys, strict=True)}
            for name, keys in names.items()
        }
    tables = files.read()
    if left_out is not None:
        places = np.arange(tables.num_rows)
        tables = take_rows(tables, np.delete(places, find_rows(tables, "test")[left_out]))
    return scorer.baselines(Processed(X=tables.X, y=tables.y, split=tables.split, extra=tables.extra))
