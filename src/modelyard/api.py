"""Modelyard from Python: what the commands do, for a notebook, a script or a task of another scheduler.

    with modelyard.connect() as session:
        frame, dataset = modelyard.log_dataset(session, frame, name="houses", targets=["price"], split="split")
        tables, dataset = modelyard.load_dataset(session, "houses@1.0.0")
        pipeline = modelyard.load_pipeline(session, dataset)
        outcome = modelyard.train(session, "california_housing", parameters={"seed": 7})
        model = modelyard.load_model(session, "california_housing_model/3")

    model = modelyard.load("california_housing_policy")
    answer = model.predict(frame)

The stack must run. ``connect`` works as the trainer, so this needs the trainer's rights: on the embedded stack those of
whoever started it, in Compose a container with the trainer's secrets. ``load`` works as the person who asks, or in a
session of the role ``application``.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from modelyard.errors import BadInput, DatasetRefused

if TYPE_CHECKING:
    from modelyard.data.dataset import DatasetTables
    from modelyard.pipeline.models import VerifiedModel
    from modelyard.pipeline.provided import Rows
    from modelyard.pipeline.serving import ServedModel
    from modelyard.pipeline.session import Report, Session
    from modelyard.store.datasets import Dataset
    from modelyard.workloads.contract import Expectations

Data = TypeVar("Data", bound="Rows")


@contextmanager
def connect(
    role: Literal["trainer", "evaluator", "person", "application"] = "trainer",
    *,
    dsn: str | None = None,
    tracking_uri: str | None = None,
    application_name: str = "modelyard python",
) -> "Iterator[Session]":
    """A session on the stack that runs; ``person`` may read, and train where the person may queue jobs.

    Args:
        role: as which role to work; ``application`` may load models and nothing else.
        dsn: how libpq connects where no stack of ours is seen from here, e.g. ``host=db.internal dbname=modelyard
            user=application passfile=/run/secrets/pgpass``; it says the role, too. Such a session loads models.
        tracking_uri: MLflow's address, together with ``dsn``.
        application_name: what the database calls it.

    Raises:
        StackNotRunning: none runs.
        SecretMissing: this place has no password of that role.
        BadInput: only one of ``dsn`` and ``tracking_uri`` is given.
    """
    from modelyard.pipeline.session import open_session
    from modelyard.stack.addresses import Addresses
    from modelyard.stack.current import get_running

    if (dsn is None) != (tracking_uri is None):
        raise BadInput("give dsn and tracking_uri together, or neither")
    if dsn is not None and tracking_uri is not None:
        addresses = Addresses(tracking_uri=tracking_uri, ui_url=tracking_uri, raw_uri="", person=role, database_host="")
    else:
        addresses = get_running()
        dsn = addresses.dsn(addresses.person if role == "person" else role)
    with open_session(addresses, dsn=dsn, application_name=application_name, user=addresses.person) as session:
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

    An MLflow run that is active here has it as an input with context ``training``.

    Args:
        session: as the trainer.
        data: n rows: a frame (NaN is a missing value), a table, a path of a file or folder that is read here, or tables
            one after the other. What comes in parts streams through, in memory that does not grow with it.
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
        VersionRefused: the version is another dataset's, or this content has another version.
    """
    from modelyard.pipeline import process
    from modelyard.pipeline.dataset_request import DatasetRequest
    from modelyard.pipeline.provided import cut_rows
    from modelyard.pipeline.session import say_nothing
    from modelyard.store.catalogue import resolve_dataset
    from modelyard.workloads.contract import Expectations

    rows = cut_rows(data, targets=targets, split=split, extra=extra, preprocessing=preprocessing, notes=notes)
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
    dataset, _ = process.log_dataset(session, request, rows, attempt=None, report=report or say_nothing)
    _show_in_active_run(session, dataset)
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

    found = _choose(session, dataset, run_id)
    return load_recorded(session, found), found


def load_pipeline(
    session: "Session", dataset: "Dataset | str | None" = None, *, run_id: str | None = None, sha256: str | None = None
) -> Any:
    """The unfitted preprocessing of a dataset, verified before it is opened; None if it has none.

    The dataset is found as by ``load_dataset``. A run of an earlier release, which has no dataset on record and stored
    its pipeline as a model, is named by ``run_id`` and read with a warning; where that is a pickle, only with its
    ``sha256``.

    Raises:
        DatasetRefused: none is named, or the run has no pipeline.
        UnknownName: no dataset is called so.
        ContentMismatch: it is not what was recorded, or not what ``sha256`` says; nothing of it was opened.
        RecordLost: the dataset was deleted.
        UntrustedModel: nothing vouches for what a run of an earlier release has stored.
    """
    from modelyard.pipeline import training_data
    from modelyard.store.catalogue import find_by_run

    old = run_id if dataset is None and run_id and not find_by_run(session.records, mlflow_run_id=run_id) else None
    return training_data.load_pipeline(session, old or _choose(session, dataset, run_id), sha256=sha256)


def load(name: str, *, session: "Session | None" = None) -> "ServedModel":
    """The model that an application asks for by name; what is live is looked up at each call.

    Its files are kept in the user's cache folder and verified at each load; a warning tells of one that was damaged.

    Args:
        name: ``POLICY`` (its live version), ``POLICY@VERSION`` or ``MODEL/VERSION``.
        session: of any role that may resolve it, e.g. ``connect("application")``; default: as the person who asks.

    Raises:
        UnknownName: there is no such thing; the nearest that there is, is named.
        NothingLive: the policy has no live version.
        ContentMismatch: a file is missing or not what was recorded; nothing of it was opened.
        UntrustedModel: its files are none that are opened.
        ModelFailed: its own code failed, or a package that it needs is not here.
        RecordLost: MLflow no longer has the model.
        StackNotRunning: no stack runs, and no session was given.
    """
    from modelyard.pipeline.serving import load_served
    from modelyard.settings import load_settings

    def warn(text: str) -> None:
        warnings.warn(text, stacklevel=2)

    with ExitStack() as own:
        found = session or own.enter_context(connect("person"))
        return load_served(found, name, cache=load_settings().models_dir(), tell=warn)


def load_model(session: "Session", model: str) -> "VerifiedModel":
    """The model version ``NAME/VERSION``, verified, which refuses input without the columns of its dataset.

    Raises:
        UnknownName: there is no such version on record.
        ContentMismatch: a file is missing or not what was recorded.
        UntrustedModel: the file holds types outside our allow-list.
    """
    from modelyard.pipeline.models import load_model_version

    return load_model_version(session, model)


def _choose(session: "Session", dataset: "Dataset | str | None", run_id: str | None) -> "Dataset":
    """The first of: that of the active run, the one that is named, that of the run that is named."""
    from modelyard.pipeline.selection import find_active_run, find_logged
    from modelyard.store.catalogue import find_by_run, resolve_dataset

    active = find_active_run(session.mlflow)
    found = find_logged(session.records, active) if active else None
    if found is None and dataset is not None:
        found = resolve_dataset(session.records, dataset) if isinstance(dataset, str) else dataset
    if found is None and run_id is not None:
        found = find_by_run(session.records, mlflow_run_id=run_id)
        if found is None:
            raise DatasetRefused(f"run {run_id} has logged no dataset; modelyard datasets list has those on record")
    if found is None:
        raise DatasetRefused("no dataset is named; give NAME, NAME@VERSION, a digest or run_id")
    return found


def _show_in_active_run(session: "Session", dataset: "Dataset") -> None:
    """Show a dataset as an input of the MLflow run that is active here, and record that it uses it."""
    from modelyard.pipeline.datasets import use_dataset
    from modelyard.pipeline.selection import find_active_run
    from modelyard.tracking.runs import ActiveRun

    run = find_active_run(session.mlflow)
    if run is None:
        return
    active = ActiveRun(session.mlflow, run.info.run_id, run.info.experiment_id)
    use_dataset(session, None, active, dataset, run_type="training", context="training")
