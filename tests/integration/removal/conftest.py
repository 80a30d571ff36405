"""A stack for deleting things, and datasets and runs to delete."""

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from uuid import uuid4

import pytest

from modelyard.data.hashes import hash_folder
from modelyard.pipeline.gc import plan_gc
from modelyard.pipeline.session import DATASETS_EXPERIMENT, open_session
from modelyard.settings import Settings
from modelyard.stack import embedded
from modelyard.store import datasets
from modelyard.store.connections import connect
from modelyard.tracking.server import get_or_create_experiment
from tests.conftest import free_port, open_folder
from tests.integration.trainings import environment_of, run_command

NOW = timedelta(0)


@pytest.fixture(scope="package")
def own_settings():
    with open_folder() as folder:
        yield Settings(
            _env_file=None, home=folder / "home", mlflow_port=free_port(), mlflow_workers=1, data_dir=folder / "data"
        )


@pytest.fixture(scope="package")
def own_stack(own_settings):
    """A stack of these tests' own: what nothing refers to in another one is somebody else's."""
    try:
        yield embedded.up(own_settings, print)
    finally:
        embedded.down(own_settings, print)


@pytest.fixture
def session(own_stack):
    """What a person works with."""
    with open_session(
        own_stack, dsn=own_stack.dsn(own_stack.person), application_name="tests", user=own_stack.person
    ) as session:
        yield session


@pytest.fixture(scope="package")
def store(own_stack, own_settings):
    """MLflow's own tables and ``mlflow gc``."""
    return embedded.get_mlflow_store(own_settings)


@pytest.fixture
def plan(session, store):
    """What a plan says of the datasets of one name."""

    def plan(name, **changes):
        found = plan_gc(session, store, **{"unused_for": NOW, **changes})
        return [one for one in found if one.name.startswith(f"{name}@")]

    return plan


@pytest.fixture
def trainer(own_stack):
    with connect(own_stack.dsn("trainer")) as connection:
        yield connection


@pytest.fixture
def command(own_stack, own_settings, tmp_path):
    """Run ``modelyard`` on this stack."""

    def run(*arguments, **fault):
        environment = environment_of(own_stack, own_settings.mlflow_port)
        return run_command(list(arguments), environment=environment, folder=tmp_path, **fault)

    return run


@pytest.fixture
def name():
    return f"houses_{uuid4().hex[:8]}"


@pytest.fixture
def start_run(session):
    """A processing run that has logged files and not ended; its id."""

    def start(workload="houses", **tags):
        experiment_id = get_or_create_experiment(session.mlflow, DATASETS_EXPERIMENT)
        tags |= {"run_type": "dataset"} | ({"workload": workload} if workload else {})
        run = session.mlflow.create_run(experiment_id, run_name="made by hand", tags=tags)
        for path, size in (("metadata/X.parquet", 3000), ("metadata/y.parquet", 400)):
            folder, _, file = path.partition("/")
            session.mlflow.log_text(run.info.run_id, "x" * size, f"{folder}/{file}")
        return run.info.run_id

    return start


@pytest.fixture
def log(session, trainer, start_run, tmp_path, name):
    """Log a dataset of these bytes, as a processing run does."""

    def log(content, **changes):
        run_id = start_run()
        folder = tmp_path / run_id
        session.mlflow.download_artifacts(run_id, "", str(folder.mkdir() or folder))
        session.mlflow.set_terminated(run_id, "FINISHED")
        new = datasets.NewDataset(
            name=name,
            workload=name,
            digest=sha256(content.encode()).hexdigest(),
            raw_digest="0" * 64,
            raw_files=[{"name": "houses.csv", "sha256": "0" * 64, "size_bytes": 10}],
            rows_digest=sha256(content.encode()).hexdigest(),
            location=f"runs:/{run_id}/metadata",
            mlflow_run_id=run_id,
            num_rows=10,
            num_elements=30,
            schema=[{"name": "X.rooms", "type": "float64"}],
            profile={},
            split_counts={"train": 7, "validation": 1, "test": 2},
            targets=["price"],
            parameters={},
            code_version={},
            notes={},
            data_source="file_path",
        )
        return datasets.record_dataset(trainer, replace(new, **changes), files=hash_folder(folder))

    return log
