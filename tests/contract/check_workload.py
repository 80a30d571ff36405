"""One contract for every workload, run on its own sample."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
from matplotlib.figure import Figure

from modelyard.data.dataset import DatasetTables
from modelyard.data.scoring import Scores
from modelyard.data.validation import Validator
from modelyard.errors import RawDataMalformed
from modelyard.pipeline.incoming import list_sets
from modelyard.pipeline.models import ask
from modelyard.workloads.contract import SPLITS, AdditiveWorkload, Parameters, Processed, Trained, Workload
from modelyard.workloads.registry import build_parameters
from modelyard.workloads.rules import load_rules

ROOT = Path(__file__).parents[2]

# Settings with which each model type trains in about a second on the sample: workload → model type → parameters.
TINY: dict[str, dict[str, dict[str, Any]]] = {
    "california_housing": {
        "hist_gradient_boosting": {"max_iter": 5},
        "ridge": {},
        "random_forest": {"n_estimators": 3, "max_depth": 6},
    },
    "eeg_remission": {
        "random_forest": {"n_estimators": 5, "cv_folds": 2, "window_s": 10},
        "logistic_regression": {"cv_folds": 2, "window_s": 10},
        "gradient_boosting": {"max_iter": 5, "cv_folds": 2, "window_s": 10},
    },
    "hourly_energy": {
        "ridge": {"refit_days": 60},
        "hist_gradient_boosting": {"max_iter": 5, "refit_days": 60},
        "lightgbm": {"n_estimators": 5, "refit_days": 60},
    },
    "pokewatch": {"baseline_moving_average": {}, "lightgbm": {"n_estimators": 5}},
}
# Runs in an interpreter of its own: what a workload imports when it is looked up, and when it works.
IMPORTS = """
import sys
from pathlib import Path
from modelyard.workloads.registry import build_parameters, get_workload

workload = get_workload(sys.argv[1])
heavy = {"sklearn", "pandas", "matplotlib", "torch", "scipy", "lightgbm", "h5py"} & set(sys.modules)
assert not heavy, f"imported before there is work: {heavy}"
_, parameters = build_parameters(workload, model_type=None, values={})
files = workload.sample(Path(sys.argv[2]))
dataset = workload.process(workload.load_raw(files, parameters=parameters), parameters=parameters)
workload.baselines(dataset, parameters=parameters)
forbidden = {"mlflow", "sqlalchemy", "psycopg", "psycopg2", "boto3"} & set(sys.modules)
assert not forbidden, f"a workload knows neither MLflow nor SQL: {forbidden}"
"""


def check_workload(workload: Workload, *, folder: Path) -> None:
    """Assert all that the platform relies on; ``folder`` is an empty one for files."""
    check_spec(workload)
    files = check_sample(workload, folder)
    check_malformed(workload, files, folder)
    check_imports(workload, folder)
    check_expected_columns(workload, files)
    for model_type in workload.spec.model_types:
        _, parameters = build_parameters(
            workload, model_type=model_type, values=TINY[workload.spec.name].get(model_type, {})
        )
        dataset = check_process(workload, files, parameters)
        check_bare_processing(workload, files, parameters, dataset)
        baselines = workload.baselines(dataset, parameters=parameters)
        assert tuple(baselines) == workload.spec.baselines
        for scores in baselines.values():
            check_scores(workload, scores)
        check_train(workload, dataset, parameters)


def check_spec(workload: Workload) -> None:
    """Names, metrics, gate, configurations and the docs page fit together."""
    spec = workload.spec
    assert sys.modules[f"modelyard.workloads.{spec.name}"] is workload
    assert (ROOT / "docs" / f"{spec.name}.md").is_file()
    metrics = [metric.name for metric in spec.metrics]
    assert spec.primary_metric.name == metrics[0]
    for names in (metrics, spec.baselines, spec.raw_files, spec.targets):
        assert names and len(set(names)) == len(names)
    check_rules(workload)
    assert issubclass(spec.processing, Parameters)
    for cls in (spec.processing, *spec.model_types.values()):
        assert issubclass(cls, spec.processing), "what processing takes, every model type takes"
        cls()  # every parameter has a default
        for name, known in spec.processing.model_fields.items():
            assert cls.model_fields[name].default == known.default, "one default, whatever is trained"
    for model_type, values in spec.configs.values():
        build_parameters(workload, model_type=model_type, values=values)


def check_rules(workload: Workload) -> None:
    """The shipped rules are the workload's, and ask for what its trainings log and its evaluations measure."""
    spec, rules = workload.spec, workload.spec.rules
    assert rules == load_rules(spec.name) and rules.task == spec.task
    metrics = {metric.name for metric in spec.metrics}
    for production in (False, True):
        limits = rules.gate.list_limits(production=production)
        assert limits, "without a limit every model passes"
        for limit in limits:
            assert limit.metric in metrics
            assert limit.of in (None, "production", *spec.baselines)
    wanted = {"run_type": "training", "stage": "training", "workload": spec.name, "task": str(spec.task)}
    assert wanted.items() <= rules.contract.tags.items()
    logged = {f"{of}_{name}" for of in (*SPLITS, *(f"baseline_{of}" for of in spec.baselines)) for name in metrics}
    assert set(rules.contract.metrics) <= logged
    assert set(rules.contract.artifacts) <= set(spec.artifacts)


def check_sample(workload: Workload, folder: Path) -> list[Path]:
    """The same seed writes the same bytes, another seed others; no sample is taken for real data."""
    written = []
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        (folder / name).mkdir()
        written.append(workload.sample(folder / name, seed=seed))
    first, again, other = ([path.read_bytes() for path in paths] for paths in written)
    assert first == again != other
    known = {name for names in list_sets(workload.spec.raw_files) for name in names}
    assert not {path.name for path in written[0]} & known
    return written[0]


def check_malformed(workload: Workload, files: list[Path], folder: Path) -> None:
    """Files that are empty or hold junk are refused in one line."""
    parameters = next(iter(workload.spec.model_types.values()))()
    for kind, content in (("empty", b""), ("junk", bytes(range(256)) * 8)):
        (folder / kind).mkdir()
        broken = [folder / kind / path.name for path in files]
        for path in broken:
            path.write_bytes(content)
        try:
            workload.load_raw(broken, parameters=parameters)
        except RawDataMalformed as error:
            assert "\n" not in str(error)
        else:
            raise AssertionError(f"{kind} raw data was read")


def check_imports(workload: Workload, folder: Path) -> None:
    """Neither MLflow nor SQL is imported, and nothing slow before there is work."""
    (folder / "imports").mkdir()
    subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORTS, workload.spec.name, str(folder / "imports")], check=True
    )


def check_process(workload: Workload, files: list[Path], parameters: Parameters) -> Processed:
    """The same files and parameters give the same content."""
    raw = workload.load_raw(files, parameters=parameters)
    assert raw.equals(workload.load_raw(files, parameters=parameters))
    dataset, again = (workload.process(raw, parameters=parameters) for _ in range(2))
    assert dataset.X.equals(again.X) and dataset.y.equals(again.y) and dataset.split.equals(again.split)
    assert dataset.notes == again.notes
    assert tuple(dataset.y.column_names) == workload.spec.targets
    n = dataset.X.num_rows
    assert n == dataset.y.num_rows == len(dataset.split)
    assert set(dataset.split.to_pylist()) == set(SPLITS)
    names = [*dataset.X.column_names, *dataset.y.column_names]
    if dataset.extra is not None:
        assert dataset.extra.num_rows == n and again.extra is not None and dataset.extra.equals(again.extra)
        names += dataset.extra.column_names
    assert len(set(names)) == len(names), "X, y and extra stand side by side"
    check_expectations(workload, dataset)
    assert set(workload.spec.optional_features) <= set(dataset.X.column_names)
    if workload.spec.group_column is not None:
        sides = [set(dataset.load_rows(split)[workload.spec.group_column]) for split in SPLITS]
        assert sum(map(len, sides)) == len(set().union(*sides)), "a group is on both sides of a split"
    return dataset


def check_bare_processing(workload: Workload, files: list[Path], parameters: Parameters, dataset: Processed) -> None:
    """``process`` knows no model: with the parameters of processing alone the dataset is the same."""
    cls = workload.spec.processing
    bare = cls.model_validate(parameters.model_dump(include={*cls.model_fields}))
    raw = workload.load_raw(files, parameters=bare)
    again = workload.process(raw, parameters=bare)
    assert as_tables(again).digest() == as_tables(dataset).digest()


def check_expected_columns(workload: Workload, files: list[Path]) -> None:
    """Each column that is expected is there under some shipped parameters, so that no misspelt one waits for ever."""
    names: set[str] = set()
    settings = [*workload.spec.configs.values(), *((model_type, {}) for model_type in workload.spec.model_types)]
    for model_type, values in settings:
        _, parameters = build_parameters(workload, model_type=model_type, values=values)
        dataset = check_process(workload, files, parameters)
        content = as_tables(dataset).table()
        names |= {name for full in content.column_names for name in (full, full.partition(".")[2])}
    expectations = workload.spec.expectations
    assert {expected.column for expected in expectations.columns} | {*expectations.unique_key} <= names


def check_expectations(workload: Workload, dataset: Processed) -> None:
    """They can be recorded and checked, and the workload's own sample meets them."""
    json.dumps(workload.spec.expectations.describe(), allow_nan=False)
    validator = Validator(workload.spec.expectations)
    validator.update(as_tables(dataset))
    assert validator.result() == []


def as_tables(dataset: Processed) -> DatasetTables:
    return DatasetTables(X=dataset.X, y=dataset.y, split=dataset.split, extra=dataset.extra)


def check_train(workload: Workload, dataset: Processed, parameters: Parameters) -> Trained:
    """A model whose test metrics are what ``evaluate`` says of its predictions, twice the same."""
    reported: list[float] = []

    def report(share: float, message: str, /, *, metrics: Any = None, step: int | None = None) -> None:
        assert message and "\n" not in message
        assert all(math.isfinite(value) for value in (metrics or {}).values())
        assert metrics is None or step is not None
        reported.append(share)

    trained = workload.train(dataset, parameters=parameters, report=report)
    assert reported == sorted(reported) and reported[-1] == 1.0
    names = [metric.name for metric in workload.spec.metrics]
    assert {f"{split}_{name}" for split in ("train", "test") for name in names} <= set(trained.metrics)
    assert all(math.isfinite(value) for value in trained.metrics.values())
    assert all(isinstance(figure, Figure) for figure in trained.figures.values())

    rows = dataset.load_rows("test")
    asked = rows[dataset.X.column_names]
    assert not workload.spec.answers or tuple(trained.model.predict(asked.head(5)).columns) == workload.spec.answers
    predictions = ask(trained.model, asked, name="the model", answers=workload.spec.answers)
    scores = workload.evaluate(rows, predictions, parameters=parameters)
    check_scores(workload, scores)
    check_additive(workload, rows, predictions, parameters)
    assert scores == {name: trained.metrics[f"test_{name}"] for name in names}
    again = workload.train(dataset, parameters=parameters, report=report)
    assert dict(again.metrics) == dict(trained.metrics)
    alone = ask(trained.model, pd.DataFrame(asked.head(1)), name="the model", answers=workload.spec.answers)
    first = pytest.approx(predictions[0].tolist())
    assert alone[0].tolist() == first, "an answer does not depend on the rows beside it"
    return trained


def check_scores(workload: Workload, scores: dict[str, float]) -> None:
    """Exactly the declared metrics, each a finite number."""
    assert set(scores) == {metric.name for metric in workload.spec.metrics}
    assert all(type(value) is float and math.isfinite(value) for value in scores.values())


def check_additive(workload: Workload, rows: pd.DataFrame, predictions: Any, parameters: Parameters) -> None:
    """Where a workload is scored by sums, batches say what ``evaluate`` says of all rows."""
    if not hasattr(workload, "score"):
        return
    additive, sums = cast(AdditiveWorkload, workload), Scores()
    for start in range(0, len(rows), 77):
        part = slice(start, start + 77)
        sums.update(additive.score(rows[part], predictions[part], parameters=parameters))
    scores = additive.summarize(sums.totals, parameters=parameters)
    check_scores(workload, scores)
    assert scores == pytest.approx(workload.evaluate(rows, predictions, parameters=parameters), rel=1e-9)
    broken = dict.fromkeys(sums.totals, math.nan)
    assert not any(map(math.isfinite, additive.summarize(broken, parameters=parameters).values()))
