"""Rows → dataset: written in one pass, recorded under their digest, logged as a processing run, once."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from modelyard.data.dataset import DatasetTables
from modelyard.data.dataset_writer import WrittenDataset, check_facts, write_dataset, write_json
from modelyard.data.hashes import HashedFile, hash_folder
from modelyard.data.profile import Profiler
from modelyard.data.splits import SplitCheck
from modelyard.data.validation import Validator
from modelyard.errors import DataInvalid
from modelyard.pages.profile import render_profile
from modelyard.pipeline.attempt import Attempt, recording, run_step
from modelyard.pipeline.dataset_request import DatasetRequest
from modelyard.pipeline.datasets import check_there, describe_dataset, verify_recorded
from modelyard.pipeline.preprocessing import keep_preprocessing
from modelyard.pipeline.results import DatasetResult
from modelyard.pipeline.session import Report, Session
from modelyard.store import datasets as store
from modelyard.tracking.datasets import log_input
from modelyard.tracking.runs import ActiveRun, find_run, is_left_open
from modelyard.tracking.server import get_or_create_experiment
from modelyard.workloads.contract import Processed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What one pass over the rows has left in ``folder``, and what it has seen."""

    folder: Path
    name: str
    written: WrittenDataset
    split_counts: dict[str, int]
    profile: dict[str, Any]
    violations: list[dict[str, Any]]
    notes: dict[str, Any]
    preprocessing_hash: str


def log_dataset(
    session: Session, request: DatasetRequest, rows: Iterable[Processed], *, attempt: Attempt | None, report: Report
) -> tuple[store.Dataset, DatasetResult]:
    """Log a dataset, or find it: the same content with the same pipeline is never logged twice.

    New rows are told from the version that was the newest when this began.

    Args:
        session: open connections, as the trainer.
        request: everything but the rows.
        rows: parts of the dataset, one after the other; the first one's ``preprocessing`` is that of all.
        attempt: the job whose work it is, or None.
        report: told how far it is.

    Raises:
        DataInvalid: rows that break an expectation; nothing was logged.
        BadInput: no rows, a split that cannot be trained and tested on, or content that is on record otherwise: for
            another workload, or as meeting its expectations; nothing was logged.
        VersionRefused: the version is another dataset's, or this content has another version.
        ContentMismatch: the same content was logged before, and what is stored is damaged.
        RecordLost: the parent was deleted.
        StepFailed: the upload failed; the run is FAILED.
    """
    if request.parent is not None:
        check_there(session, request.parent)

    def wait() -> None:
        report("processing", None, "another process logs this very content; waiting for it")

    with tempfile.TemporaryDirectory(prefix="modelyard-") as scratch:
        content = _write(session, request, rows, folder=Path(scratch), report=report)
        experiment_id = get_or_create_experiment(session.mlflow, request.mlflow_experiment)
        digest = content.written.digest
        with store.lock_dataset(session.records, name=content.name, digest=digest, tell=wait):
            found = store.find_dataset(
                session.records, name=content.name, digest=digest, preprocessing_hash=content.preprocessing_hash
            )
            if found is None:
                store.check_version_free(session.records, name=content.name, version=request.version)
                recorded = _log(session, request, content, attempt=attempt, report=report, experiment_id=experiment_id)
            else:
                recorded = found
                store.check_version(recorded, request.version)
                request.check_known(recorded, content.violations)
                report("processing", 0.6, "verifying the dataset that was logged before")
                verify_recorded(session, recorded)
                if is_left_open(find_run(session.mlflow, recorded.mlflow_run_id)):
                    _show(ActiveRun(session.mlflow, recorded.mlflow_run_id, experiment_id), recorded)
                    session.mlflow.set_terminated(recorded.mlflow_run_id, "FINISHED")
    return recorded, DatasetResult(
        dataset_id=str(recorded.dataset_id),
        name=recorded.name,
        version=recorded.version,
        digest=digest,
        raw_digest=recorded.raw_digest,
        num_rows=recorded.num_rows,
        split_counts=recorded.split_counts,
        data_source=request.data_source,
        run_url=session.pages.run(experiment_id, recorded.mlflow_run_id),
        reused=found is not None,
        violations=len(recorded.violations),
    )


def _write(
    session: Session, request: DatasetRequest, rows: Iterable[Processed], *, folder: Path, report: Report
) -> _Content:
    """One pass: the files with their digest, and everything that is to be known of the rows."""
    newest = store.find_newest_version(session.records, name=request.name)
    split, profile = SplitCheck(), _Profile() if request.with_profile else None
    validator = Validator(request.expectations, folder=folder)
    notes: dict[str, Any] = {}
    hashes: list[str] = []

    def pass_on() -> Iterator[DatasetTables]:
        for part in rows:
            if not hashes:
                hashes.append(keep_preprocessing(part.preprocessing, folder))
            check_facts("note", part.notes)
            notes.update(part.notes)
            split.update(part.split, part.load_groups(request.group_column))
            yield DatasetTables(X=part.X, y=part.y, split=part.split, extra=part.extra)
            report("processing", None, f"{sum(split.counts.values()):,} rows")

    with validator:
        written = write_dataset(
            pass_on(),
            folder=folder,
            prefix_rows=newest.num_rows if newest and newest.rows_digest else 0,
            passes=[validator.update, *([profile] if profile else [])],
        )
        split.close()
        violations = validator.result()
    if violations and not request.allow_invalid:
        raise DataInvalid(violations)
    if newest is not None and written.num_rows <= newest.num_rows:  # the same rows in another split are no new rows
        written = replace(written, extends=None)
    return _Content(
        folder=folder,
        name=request.name.replace("{num_rows}", str(written.num_rows)),
        written=written,
        split_counts=split.counts,
        profile=profile.result() if profile else {"num_rows": written.num_rows, "num_elements": written.num_elements},
        violations=[asdict(violation) for violation in violations],
        notes=notes,
        preprocessing_hash=hashes[0],
    )


class _Profile:
    """A profiler that learns the columns from the first rows."""

    def __init__(self) -> None:
        self._profiler: Profiler | None = None

    def __call__(self, rows: DatasetTables) -> None:
        table = rows.table()
        self._profiler = self._profiler or Profiler(table.schema)
        self._profiler.update(table)

    def result(self) -> dict[str, Any]:
        assert self._profiler is not None  # noqa: S101  a dataset without rows is refused before
        return self._profiler.result()


def _log(
    session: Session,
    request: DatasetRequest,
    content: _Content,
    *,
    attempt: Attempt | None,
    report: Report,
    experiment_id: str,
) -> store.Dataset:
    """A processing run: upload, record in the store, and show it as the run's input, in that order."""
    written = content.written
    tags = {
        **request.tags,
        "data_source": request.data_source,
        "mlflow.user": session.user,
        "mlflow.dataset.logged": "true",
        "mlflow.dataset.context": "training",
    }
    if request.raw is not None and request.raw.dvc_md5 is not None:
        tags["dvc_md5"] = request.raw.dvc_md5
    if content.violations:
        tags["modelyard.invalid"] = "true"
    with run_step(
        session,
        attempt,
        step="processing",
        run_type="dataset",
        experiment_id=experiment_id,
        name=f"{content.name} {written.digest[:8]}",
        tags=tags,
    ) as run:
        facts = _describe(request, content)
        files = (*written.files, *_write_descriptions(content, facts))
        report("processing", 0.6, f"uploading {sum(file.size_bytes for file in files):,} bytes")
        session.mlflow.log_artifacts(run.run_id, str(content.folder))
        connection = session.records
        with recording(connection, attempt):
            recorded = store.record_dataset(
                connection,
                store.NewDataset(
                    **facts,
                    version=request.version,
                    parent_dataset_id=request.parent.dataset_id if request.parent else None,
                    extends=written.extends,
                    location=f"runs:/{run.run_id}/metadata",
                    mlflow_run_id=run.run_id,
                    profile=content.profile,
                    job_id=attempt.job_id if attempt else None,
                ),
                files=files,
            )
            if request.parent is not None:
                parent_id = request.parent.dataset_id
                store.record_use(
                    connection, dataset_id=parent_id, mlflow_run_id=run.run_id, run_type="dataset", context="parent"
                )
        _show(run, recorded)
    return recorded


def _describe(request: DatasetRequest, content: _Content) -> dict[str, Any]:
    """What is both in ``metadata.json`` and on record."""
    raw, written = request.raw, content.written
    return {
        "name": content.name,
        "workload": request.workload,
        "digest": written.digest,
        "rows_digest": written.rows_digest,
        "preprocessing_hash": content.preprocessing_hash,
        "raw_digest": raw.digest if raw else None,
        "raw_files": [asdict(file) for file in raw.files] if raw else [],
        "data_source": request.data_source,
        "targets": list(request.targets),
        "parameters": dict(request.parameters),
        "num_rows": written.num_rows,
        "num_elements": written.num_elements,
        "schema": written.schema,
        "split_counts": content.split_counts,
        "notes": content.notes,
        "code_version": dict(request.code_version),
        "violations": content.violations,
    }


def _write_descriptions(content: _Content, facts: Mapping[str, Any]) -> tuple[HashedFile, ...]:
    """The metadata and the profile as files; returns all that is there beside the tables."""
    folder = content.folder / "metadata"
    write_json(facts, folder / "metadata.json")
    write_json(content.profile, folder / "profile.json")
    if "columns" in content.profile:
        sources = [file["name"] for file in facts["raw_files"]] or [facts["data_source"]]
        shown = [
            ("by split", ", ".join(f"{count:,} {name}" for name, count in content.split_counts.items())),
            ("made from", ", ".join(sources) if len(sources) <= 10 else f"{len(sources):,} files"),
            ("digest", facts["digest"]),
        ]
        page = render_profile(content.name, None, shown, content.profile)
        (folder / "profile.html").write_text(page, encoding="utf-8")
    return hash_folder(content.folder, leave_out=[file.path for file in content.written.files])


def _show(run: ActiveRun, recorded: store.Dataset) -> None:
    """What MLflow shows of a recorded dataset on its processing run; written twice, it is the same."""
    log_input(run, describe_dataset(recorded), context="training")
    run.log(
        params={
            **recorded.parameters,
            "dataset_name": recorded.name,
            "dataset_version": recorded.version,
            "dataset_digest": recorded.digest,
            "dataset_source": recorded.location,
            "raw_digest": recorded.raw_digest,
            "data_source": recorded.data_source,
            "targets": ", ".join(recorded.targets),
        },
        metrics={"num_rows": recorded.num_rows, **{f"{s}_rows": n for s, n in recorded.split_counts.items()}},
        tags={"dataset_version": recorded.version, "dataset_digest": recorded.digest},
    )
