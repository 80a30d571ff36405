"""What is left of a run."""

from modelyard.store import datasets
from modelyard.store.removals import list_interrupted


def list_files(session, run_id):
    found = session.mlflow.list_artifacts(run_id)
    return {entry.path for entry in found} | {
        inner.path for entry in found if entry.is_dir for inner in session.mlflow.list_artifacts(run_id, entry.path)
    }


def assert_gone(session, dataset):
    """Nothing of it is left but its record."""
    assert list_files(session, dataset.mlflow_run_id) == set()
    assert session.mlflow.get_run(dataset.mlflow_run_id).info.lifecycle_stage == "deleted"
    row = datasets.get_dataset(session.records, dataset_id=dataset.dataset_id)
    assert row.removed_by == session.user
    assert row.digest == dataset.digest
    assert dataset.dataset_id not in [stored.dataset_id for stored in list_interrupted(session.records)]
