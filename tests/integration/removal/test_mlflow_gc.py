"""``mlflow gc`` takes what nothing needs, and never what a record names."""

import time
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from mlflow import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from modelyard.errors import ServiceFailed
from modelyard.pipeline.gc import plan_gc
from modelyard.tracking.deletion import measure_artifacts, name_for_gc
from modelyard.tracking.runs import find_run
from tests.integration.registry import Registry, open_registries
from tests.integration.removal.conftest import NOW
from tests.integration.removal.files import list_files


@pytest.fixture
def registry(own_stack):
    """A registered model with a version on record."""
    with open_registries(own_stack) as shared:
        registry = Registry(*shared)
        registry.add()
        yield registry


@pytest.fixture
def make_model(session):
    """A logged model of a run, with a file; a pair of its id and where that is."""

    def make(run_id, *, experiment_id=None):
        experiment_id = experiment_id or session.mlflow.get_run(run_id).info.experiment_id
        model = session.mlflow.create_logged_model(experiment_id, source_run_id=run_id)
        get_artifact_repository(model.artifact_location).log_artifact(__file__)
        return model.model_id, model.artifact_location

    return make


def is_active(session, model_id):
    """Whether MLflow shows a logged model."""
    try:
        return session.mlflow.get_logged_model(model_id) is not None
    except MlflowException:
        return False


def test_mlflow_gc_takes_what_nothing_needs_and_never_what_a_record_names(
    session, store, command, registry, start_run, make_model
):
    client, needed = session.mlflow, (registry.runs["1"], registry.models["1"])
    unneeded, strange = start_run(), start_run(workload=None)
    strange_experiment = client.create_experiment(uuid4().hex)
    (ours, place), (theirs, their_place), (active, _) = make_model(unneeded), make_model(strange), make_model(strange)
    for model_id in (ours, theirs, needed[1]):
        client.delete_logged_model(model_id)
    for run_id in (unneeded, needed[0]):
        client.delete_run(run_id)
    client.delete_experiment(strange_experiment)

    shown = command("gc", "--older-than", "0h", "--json")
    assert shown.code == 0, shown.printed
    assert {(one["kind"], one["mlflow_id"]) for one in shown.outcome["restore"]} >= {("model", needed[1])}
    planned = {one["mlflow_model_id"] or one["mlflow_run_id"] for one in shown.outcome["plan"]}
    assert planned >= {unneeded, ours}
    assert not planned & {*needed, strange, theirs, active}
    assert client.get_run(unneeded).info.lifecycle_stage == "deleted", "a plan deletes nothing"

    done = command("gc", "--older-than", "0h", "--yes")
    assert done.code == 0, done.printed
    assert find_run(client, unneeded) is None
    assert measure_artifacts(place) is None
    with pytest.raises(ServiceFailed, match=f"mlflow gc failed: .*{ours}"):
        store.run_gc(name_for_gc(client, run_ids=[], model_ids=[ours]))
    assert client.get_run(needed[0]).info.lifecycle_stage == "active"
    assert is_active(session, needed[1])
    assert client.get_experiment(strange_experiment).lifecycle_stage == "deleted", "it is somebody else's"
    assert measure_artifacts(their_place)

    store.run_gc([])  # as people do it
    assert measure_artifacts(their_place) is None
    assert client.get_run(needed[0]).info.lifecycle_stage == "active"
    assert is_active(session, needed[1])
    assert is_active(session, active)


def test_a_run_and_a_model_that_a_registered_version_comes_from_stay(session, store, registry, start_run):
    _, run_id, model_id = registry.register()
    for tag, value in (("workload", "houses"), ("run_type", "training")):
        session.mlflow.set_tag(run_id, tag, value)
    session.mlflow.delete_logged_model(model_id)
    session.mlflow.delete_run(run_id)
    assert run_id not in {one.mlflow_run_id for one in plan_gc(session, store, unused_for=NOW)}


def test_a_run_stays_as_long_as_a_model_of_it_that_was_deleted_later(session, store, start_run, make_model):
    run_id = start_run()
    model_id, _ = make_model(run_id)
    session.mlflow.delete_run(run_id)
    time.sleep(0.5)
    between = datetime.now(UTC)
    time.sleep(0.5)
    session.mlflow.delete_logged_model(model_id)

    def list_planned(unused_for):
        return {
            one.mlflow_model_id or one.mlflow_run_id
            for one in plan_gc(session, store, unused_for=unused_for)
            if one.mlflow_run_id == run_id
        }

    assert list_planned(datetime.now(UTC) - between) == set()
    assert list_planned(NOW) == {run_id, model_id}


def test_a_collection_that_was_killed_before_mlflow_gc_is_gone_on_with(session, command, start_run):
    run_id = start_run()
    session.mlflow.delete_run(run_id)
    words = ("gc", "--older-than", "0h", "--yes")
    assert command(*words, at="before modelyard.pipeline.erasure:name_for_gc").code < 0
    assert list_files(session, run_id) == set()
    assert session.mlflow.get_run(run_id).info.lifecycle_stage == "deleted"
    done = command(*words)
    assert done.code == 0, done.printed
    assert find_run(session.mlflow, run_id) is None
