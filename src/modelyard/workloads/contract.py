"""What a workload is: a module with a ``spec`` and seven functions, which knows neither MLflow nor SQL.

The platform calls them in this order: ``download`` or ``sample`` (if no raw data is there), ``load_raw``,
``process``, ``train`` and ``baselines``; later, maybe on another machine, ``evaluate``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from modelyard.data.drift import DriftLimits as DriftLimits
from modelyard.data.expectations import Expectation as Expectation
from modelyard.data.expectations import Expectations as Expectations
from modelyard.data.splits import SPLITS as SPLITS
from modelyard.errors import BadInput
from modelyard.workloads.rules import ContractTable as ContractTable
from modelyard.workloads.rules import Gate as Gate
from modelyard.workloads.rules import Limit as Limit
from modelyard.workloads.rules import Rules as Rules
from modelyard.workloads.rules import Task as Task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that ``evaluate`` returns: its name, its unit ("" for none) and which direction is better."""

    name: str
    unit: str
    higher_is_better: bool


class Parameters(BaseModel):
    """Base of a workload's typed parameters: unknown names and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    seed: int = Field(default=42, ge=0, lt=2**32, description="seed of the split and of the model")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSpec:
    """The declarations of a workload.

    Attributes:
        name: one name everywhere: module, CLI argument, docs page.
        title: one line for people.
        task: what kind of answer its models give.
        metrics: what ``evaluate`` returns; the first one is the primary metric.
        baselines: names that ``baselines`` returns.
        processing: class of the parameters that ``load_raw`` and ``process`` read; all that they are given.
        model_types: name → class of its parameters, ``processing`` among its bases; the first one is the default.
        configs: named parameter files that ship with the workload: name → (model type, parameters).
        raw_files: file names that are looked for in the data folder, in this order; the first found is used. A tuple
            of names is a set of files, which are only used together.
        targets: column names of y.
        rules: what a training run must have logged, and the gate: the limits that an evaluation applies.
        mlflow_experiment: MLflow experiment of its training and evaluation runs.
        dataset_name: name of its datasets, in which ``{num_rows}`` stands for the number of rows; default: ``name``.
        group_column: column of extra whose values must not be on both sides of a split, or None.
        artifacts: artifact paths that every training must have logged.
        model_artifact: name of the model among what a run has logged.
        answers: names of the columns that a model's ``predict`` returns, where they are not one for each target; the
            first of them answers the target.
        optional_features: features that rows to predict may lack; the model is given nulls there.
        blends: its models answer validation rows without having learned from them: weights may follow from these.
        expectations: what must hold of the rows of its datasets.
        drift: how far a column of new data may be from the training rows.
    """

    name: str
    title: str
    task: Task
    metrics: tuple[Metric, ...]
    baselines: tuple[str, ...]
    processing: type[Parameters]
    model_types: Mapping[str, type[Parameters]]
    raw_files: tuple[str | tuple[str, ...], ...]
    targets: tuple[str, ...]
    rules: Rules
    mlflow_experiment: str
    configs: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    dataset_name: str | None = None
    group_column: str | None = None
    artifacts: tuple[str, ...] = ()
    model_artifact: str = "model"
    answers: tuple[str, ...] = ()
    optional_features: tuple[str, ...] = ()
    blends: bool = False
    expectations: Expectations = Expectations()  # noqa: RUF009  frozen
    drift: DriftLimits = DriftLimits()  # noqa: RUF009  frozen

    @property
    def primary_metric(self) -> Metric:
        return self.metrics[0]

    @property
    def model_name(self) -> str:
        """Name of the registered model."""
        return f"{self.name}_model"

    @property
    def policy_id(self) -> str:
        return f"{self.name}_policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed:
    """What ``process`` returns: n rows in a fixed order.

    Attributes:
        X: features, n rows.
        y: targets, n rows, the columns that ``spec.targets`` names.
        split: string array of n values out of ``SPLITS``.
        extra: n rows of columns that are neither feature nor target (groups, keys, times), or None.
        preprocessing: an unfitted scikit-learn transformer that models of this dataset begin with, or None.
        notes: facts to keep with the dataset, e.g. rows dropped and why; JSON values.
    """

    X: "pa.Table"
    y: "pa.Table"
    split: "pa.Array[Any]"
    extra: "pa.Table | None" = None
    preprocessing: Any = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def load_rows(self, *splits: str) -> "pd.DataFrame":
        """X, y and extra side by side of the rows in these splits, in the dataset's order: what ``evaluate`` takes."""
        import numpy as np

        rows = self.X
        for table in [self.y] if self.extra is None else [self.y, self.extra]:
            for name in table.column_names:
                rows = rows.append_column(name, table[name])
        return rows.take(np.flatnonzero(np.isin(np.asarray(self.split), splits))).to_pandas()

    def load_groups(self, column: str | None) -> "pa.ChunkedArray[Any] | None":
        """The group of each row; None where no group column is declared.

        Raises:
            BadInput: the declared column is not in ``extra``.
        """
        if column is None:
            return None
        if self.extra is None or column not in self.extra.column_names:
            raise BadInput(f"the group column {column!r} is declared and process returns no such column in extra")
        return self.extra[column]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What ``train`` returns.

    Attributes:
        model: a fitted scikit-learn estimator whose ``predict`` takes rows of X and returns an array of shape (n,), or
            a DataFrame with the columns that ``spec.answers`` names.
        metrics: metric names prefixed by the rows they were computed on: ``train_rmse``, ``validation_rmse``,
            ``test_rmse``.
        figures: artifact path (``plots/residuals.png``) → figure.
        artifacts: artifact path → text or bytes.
    """

    model: Any
    metrics: Mapping[str, float]
    figures: Mapping[str, "Figure"] = field(default_factory=dict)
    artifacts: Mapping[str, str | bytes] = field(default_factory=dict)


class Report(Protocol):
    """Where long work says how far it is."""

    def __call__(
        self,
        share: float,
        message: str,
        /,
        *,
        metrics: Mapping[str, float] | None = None,
        step: int | None = None,
    ) -> None:
        """``share`` of the work is done (0 to 1); ``metrics`` are logged at ``step``."""


class Workload(Protocol):
    """A module that satisfies this is a workload."""

    @property
    def spec(self) -> WorkloadSpec: ...

    def download(self, folder: Path, /) -> list[Path]:
        """Fetch the public raw data into ``folder``, verified by checksum; return the files.

        Raises:
            DownloadFailed: no network, or another checksum.
        """

    def sample(self, folder: Path, /, *, seed: int = 0) -> list[Path]:
        """Write a small made-up raw data set into ``folder``; return the files. Needs no network."""

    def load_raw(self, files: Sequence[Path], /, *, parameters: Any) -> "pa.Table":
        """Read raw files into one table.

        Raises:
            RawDataMalformed: with every problem that was found.
        """

    def process(self, raw: "pa.Table", /, *, parameters: Any) -> Processed:
        """Turn raw rows into X, y and split: the same raw data and parameters give the same content.

        Raises:
            RawDataMalformed: no row is left.
        """

    def train(self, dataset: Processed, /, *, parameters: Any, report: Report) -> Trained:
        """Fit one model; test rows are used for ``test_`` metrics and figures only."""

    def evaluate(
        self, rows: "pd.DataFrame", predictions: "np.ndarray[Any, Any]", /, *, parameters: Any
    ) -> dict[str, float]:
        """Score predictions: ``rows`` holds X, y and extra of the scored rows.

        ``predictions`` is of shape (n,), or where ``spec.answers`` has k names of shape (n, k), of objects if their
        types differ.

        Returns:
            One finite number for each of ``spec.metrics``.
        """

    def baselines(self, dataset: Processed, /, *, parameters: Any) -> dict[str, dict[str, float]]:
        """Metrics of naive answers on the test rows: baseline name → the metrics of ``spec``."""


class StreamingWorkload(Workload, Protocol):
    """A workload whose raw data may be larger than memory: it is not asked for ``load_raw`` and ``process``."""

    def process_batches(self, files: Sequence[Path], /, *, parameters: Any) -> Iterator[Processed]:
        """Read raw files into rows in parts of the same columns; takes and raises what the other two do."""


class AdditiveWorkload(Workload, Protocol):
    """A workload whose metrics follow from sums over rows: it is scored in batches, not by ``evaluate``.

    For the same rows ``evaluate`` says what ``summarize`` says of the sums of ``score``, apart from rounding.
    """

    def score(
        self, rows: "pd.DataFrame", predictions: "np.ndarray[Any, Any]", /, *, parameters: Any
    ) -> "dict[str, np.ndarray[Any, Any]]":
        """Statistics of n rows, one number a row each: what ``evaluate`` takes, in parts."""

    def summarize(self, totals: Mapping[str, float], /, *, parameters: Any) -> dict[str, float]:
        """The metrics of ``spec`` from the sum of each statistic over all rows."""
