"""Modelyard from Python: what the commands do, for a notebook, a script or a task of another scheduler.

    with modelyard.connect() as session:
        frame, dataset = modelyard.log_dataset(session, frame, name="houses", targets=["price"], split="split")
        tables, dataset = modelyard.load_dataset(session, "houses@1.0.0")

The stack must run. ``connect`` works as the trainer, so this needs the trainer's rights: on the embedded stack those of
whoever started it, in Compose a container with the trainer's secrets.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from modelyard.errors import BadInput, DatasetRefused, StackNotRunning

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from modelyard.data.dataset import DatasetTables
    from modelyard.pipeline.session import Report, Session
    from modelyard.store.datasets import Dataset
    from modelyard.workloads.contract import Expectations, Processed

    Rows = pd.DataFrame | pa.Table | Path | Iterable[pa.Table | pa.RecordBatch]

Data = TypeVar("Data", bound="Rows")


@contextmanager
def connect(role: Literal["trainer", "evaluator", "person"] = "trainer") -> "Iterator[Session]":
    """A session on the stack that runs; ``person`` may read only.

    Raises:
        StackNotRunning: none runs.
        SecretMissing: this place has no password of that role.
    """
    from modelyard.pipeline.session import open_session
    from modelyard.settings import load_settings
    from modelyard.stack.current import get_stack

    addresses = get_stack().find_running(load_settings())
    if addresses is None:
        raise StackNotRunning("the stack is not running; start it with make up (modelyard up)")
    with open_session(
        tracking_uri=addresses.tracking_uri,
        ui_url=addresses.ui_url,
        raw_uri=addresses.raw_uri,
        dsn=addresses.dsn(addresses.person if role == "person" else role),
        application_name="modelyard python",
        user=addresses.person,
    ) as session:
        yield session


def log_dataset(
    session: "Session",
    data: Data,
    *,
    name: str,
    targets: Sequence[str],
    split: str = "split",
    extra: Sequence[str] = (),
    workload: str | None = None,
    version: str | None = None,
    preprocessing: Any = None,
    parent: "Dataset | str | None" = None,
    parameters: Mapping[str, Any] | None = None,
    notes: Mapping[str, Any] | None = None,
    expectations: "Expectations | None" = None,
    allow_invalid: bool = False,
    profile: bool = True,
    report: "Report | None" = None,
) -> "tuple[Data, Dataset]":
    """Log rows as a dataset; the same content with the same pipeline is never logged twice.

    Args:
        session: as the trainer.
        data: n rows: a frame, a table, a file or folder that is read here, or tables one after the other, which stream
            through in memory that does not grow with them.
        name: the dataset's name; ``{num_rows}`` in it stands for n.
        targets: columns that are y.
        split: column of strings out of train, validation and test.
        extra: columns that are neither feature nor target, e.g. groups and times; all others are X.
        workload: what it is for; default: nothing of ours, under its own name.
        version: e.g. ``2025-01-03``; default: by the rule.
        preprocessing: an unfitted scikit-learn transformer to keep beside it.
        parent: the dataset that it was made from, or its name.
        parameters: what it was made with; JSON values. ``notes``: facts to keep with it.
        expectations: what must hold of the rows; ``allow_invalid`` only records what does not.
        profile: without it nothing can be said of its columns later, and logging takes less time.
        report: told how far it is.

    Returns:
        ``data`` as it was given, and the dataset's row.

    Raises:
        BadInput: a column is not there, or is named twice; no rows; a split that cannot be trained and tested on.
        DataInvalid: rows break an expectation; nothing was logged.
        RecordConflict: the version is another dataset's, or this content has another version.
    """
    from modelyard.pipeline import process
    from modelyard.pipeline.dataset_request import DatasetRequest
    from modelyard.store.catalogue import resolve_dataset
    from modelyard.workloads.contract import Expectations

    rows = _cut_columns(data, targets=targets, split=split, extra=extra, preprocessing=preprocessing, notes=notes or {})
    request = DatasetRequest(
        name=name,
        workload=workload or name,
        version=version,
        targets=tuple(targets),
        parameters=parameters or {},
        tags={"workload": workload or name},
        data_source="provided_dataset",
        parent=resolve_dataset(session.records, parent) if isinstance(parent, str) else parent,
        expectations=expectations or Expectations(),
        allow_invalid=allow_invalid,
        with_profile=profile,
    )
    dataset, _ = process.log_dataset(session, request, rows, attempt=None, report=report or _say_nothing)
    return data, dataset


def load_dataset(
    session: "Session", dataset: "Dataset | str | None" = None, *, run_id: str | None = None
) -> "tuple[DatasetTables, Dataset]":
    """A dataset on record, every file and its digest verified.

    In this order: the one logged in the MLflow run that is active here, ``dataset`` (a row, ``NAME``, ``NAME@VERSION``
    or a digest), the one that the processing run ``run_id`` has logged.

    Raises:
        DatasetRefused: none is named, or the run has logged none.
        UnknownName: no dataset is called so.
        ContentMismatch: it is not what was recorded.
        RecordLost: it was deleted, or MLflow has lost it.
    """
    from modelyard.pipeline.datasets import load_recorded
    from modelyard.store.catalogue import find_by_run, resolve_dataset

    found = _find_active(session)
    if found is None and dataset is not None:
        found = resolve_dataset(session.records, dataset) if isinstance(dataset, str) else dataset
    if found is None and run_id is not None:
        found = find_by_run(session.records, mlflow_run_id=run_id)
        if found is None:
            raise DatasetRefused(f"run {run_id} has logged no dataset; modelyard datasets list has those on record")
    if found is None:
        raise DatasetRefused("no dataset is named; give NAME, NAME@VERSION, a digest or run_id")
    return load_recorded(session, found), found


def _find_active(session: "Session") -> "Dataset | None":
    import mlflow

    from modelyard.pipeline.selection import find_logged

    active = mlflow.active_run()
    return find_logged(session.records, session.mlflow, active.info.run_id) if active else None


def _cut_columns(
    data: "Rows",
    *,
    targets: Sequence[str],
    split: str,
    extra: Sequence[str],
    preprocessing: Any,
    notes: Mapping[str, Any],
) -> "Iterator[Processed]":
    from modelyard.workloads.contract import Processed

    named = [*targets, split, *extra]
    if len({*named}) < len(named):
        raise BadInput(f"a column is target, split or extra, and only one of them; named are {', '.join(named)}")
    for table in _open_tables(data):
        missing = [name for name in named if name not in table.column_names]
        if missing:
            raise BadInput(f"there is no column {', '.join(missing)}; there are {', '.join(table.column_names)}")
        yield Processed(
            X=table.drop_columns(named),
            y=table.select(list(targets)),
            split=table.column(split).combine_chunks(),
            extra=table.select(list(extra)) if extra else None,
            preprocessing=preprocessing,
            notes=notes,
        )


def _open_tables(data: "Rows") -> "Iterator[pa.Table]":
    import pandas as pd
    import pyarrow as pa

    from modelyard.data.files import open_batches

    if isinstance(data, pd.DataFrame):
        yield pa.Table.from_pandas(data, preserve_index=False)
    elif isinstance(data, pa.Table):
        yield data
    else:
        for part in open_batches(data)[1] if isinstance(data, Path) else data:
            yield part if isinstance(part, pa.Table) else pa.Table.from_batches([part])


def _say_nothing(step: str, share: float | None, message: str, /) -> None:
    pass
