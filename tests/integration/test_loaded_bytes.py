"""What is loaded is what was recorded, to the last byte, and nothing is opened before that is known."""

import pickle
from hashlib import sha256
from pathlib import Path

import joblib
import mlflow
import psycopg
import pytest
from psycopg.rows import dict_row
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import modelyard
from modelyard.errors import ContentMismatch, DatasetRefused, UntrustedModel
from tests.integration.notebook import NAME
from tests.integration.trainings import run_command
from tests.unit.test_models import Marks

PIPELINE = "preprocessing_pipeline/pipeline.joblib"


@pytest.fixture(scope="module")
def dataset(log):
    return log(7200)


@pytest.fixture
def train(environment, tmp_path):
    def run(*words):
        words = ["train", NAME, "--model-type", "ridge", *words, "--inline"]
        return run_command(words, environment=environment, folder=tmp_path)

    return run


def find_stored(stack, dataset, path) -> Path:
    [stored] = stack.home.rglob(f"{dataset.mlflow_run_id}/artifacts/{path}")
    return stored


def hash_bytes(content):
    return sha256(content).hexdigest()


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


CHANGES = {"flipped": flip, "truncated": lambda content: content[:-100], "gone": lambda content: None}


@pytest.fixture
def change(stack):
    """Change a stored file of a dataset; it is put back after the test."""
    originals = {}

    def run(dataset, path, make):
        stored = find_stored(stack, dataset, path)
        originals.setdefault(stored, stored.read_bytes())
        content = make(originals[stored])
        if content is None:
            stored.unlink()
        else:
            stored.write_bytes(content)
        return originals[stored]

    yield run
    for stored, content in originals.items():
        stored.write_bytes(content)


def test_a_training_on_changed_bytes_is_refused_with_both_digests_and_nothing_follows(train, stack, dataset, change):
    original = change(dataset, "metadata/X.parquet", flip)
    ended = train("--dataset", dataset.digest, "--run-name", "on changed bytes")
    assert ended.code == 1, ended.printed
    said = " ".join(ended.printed.split())
    expected, found = hash_bytes(original), hash_bytes(flip(original))
    assert f"is not what was recorded: expected sha256 {expected}, found {found}; it was refused" in said
    with psycopg.connect(stack.dsn(stack.person), row_factory=dict_row) as connection:
        query = "SELECT * FROM exp.jobs WHERE arguments->>'run_name' = 'on changed bytes'"
        [job] = connection.execute(query).fetchall()
        assert job["state"] == "failed", "another attempt would only find the same"
        query = "SELECT FROM exp.model_versions WHERE job_id = %s"
        assert connection.execute(query, [job["job_id"]]).fetchall() == []


@pytest.mark.parametrize("path", ["metadata/X.parquet", "metadata/y.parquet", "metadata/split.parquet"])
@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_file_is_refused(session, dataset, change, path, kind):
    original = change(dataset, path, CHANGES[kind])
    with pytest.raises(ContentMismatch) as refused:
        modelyard.load_dataset(session, dataset)
    changed = CHANGES[kind](original)
    assert refused.value.expected == hash_bytes(original)
    assert refused.value.found == ("nothing" if changed is None else hash_bytes(changed))


def test_the_files_of_another_dataset_are_refused(session, stack, dataset, log, change):
    swapped = find_stored(stack, log(7200, file=1), "metadata/X.parquet").read_bytes()
    change(dataset, "metadata/X.parquet", lambda _: swapped)
    with pytest.raises(ContentMismatch) as refused:
        modelyard.load_dataset(session, dataset)
    assert refused.value.found == hash_bytes(swapped)


@pytest.mark.parametrize("kind", [*CHANGES, "swapped"])
def test_a_changed_pipeline_is_refused_before_it_is_opened(session, dataset, change, kind, tmp_path, train):
    joblib.dump(Marks(tmp_path / "marker"), tmp_path / "evil.joblib")
    evil = (tmp_path / "evil.joblib").read_bytes()
    change(dataset, PIPELINE, CHANGES.get(kind, lambda _: evil))
    with pytest.raises(ContentMismatch, match=r"preprocessing_pipeline/pipeline\.joblib"):
        modelyard.load_pipeline(session, dataset)
    if kind == "swapped":
        assert train("--dataset", dataset.digest).code == 1
        assert not (tmp_path / "marker").exists()
        joblib.load(tmp_path / "evil.joblib")
        assert (tmp_path / "marker").exists(), "it would have run"


# what earlier releases have stored


@pytest.fixture
def old_pipeline():
    return Pipeline([("fill", SimpleImputer(strategy="median")), ("scale", StandardScaler())])


def log_as_model(session, pipeline, **how):
    """A run that has its pipeline as a model, as MLflow 3 keeps one."""
    with mlflow.start_run(experiment_id="0") as run:
        mlflow.sklearn.log_model(pipeline, name="pipeline", pip_requirements=[], **how)
    return run.info.run_id


def log_as_artifacts(session, pipeline, folder):
    """A run that has its pipeline as a model, as MLflow 2 keeps one: files of the run."""
    mlflow.sklearn.save_model(
        pipeline, str(folder / "pipeline"), pip_requirements=[], serialization_format="cloudpickle"
    )
    with mlflow.start_run(experiment_id="0") as run:
        session.mlflow.log_artifacts(run.info.run_id, str(folder))
    return run.info.run_id


def test_an_old_pipeline_without_code_is_read_with_a_warning(session, old_pipeline):
    run_id = log_as_model(session, old_pipeline, serialization_format="skops")
    with pytest.warns(UserWarning, match=r"pipeline/model\.skops .* no sha256 on record: nobody vouches for it"):
        found = modelyard.load_pipeline(session, run_id=run_id)
    assert repr(found) == repr(old_pipeline)


@pytest.mark.parametrize("layout", ["MLflow 2", "MLflow 3"])
def test_an_old_pickle_is_opened_only_for_whoever_names_its_bytes(session, old_pipeline, tmp_path, layout):
    if layout == "MLflow 2":
        run_id = log_as_artifacts(session, old_pipeline, tmp_path)
    else:
        run_id = log_as_model(session, old_pipeline, serialization_format="cloudpickle")
    with pytest.raises(UntrustedModel, match="is a pickle, which runs code when it is opened") as refused:
        modelyard.load_pipeline(session, run_id=run_id)
    named = str(refused.value).split("sha256='")[1][:64]
    with pytest.warns(UserWarning, match="whoever gave its sha256"):
        found = modelyard.load_pipeline(session, run_id=run_id, sha256=named)
    assert repr(found) == repr(old_pipeline)
    with pytest.raises(ContentMismatch, match=f"expected sha256 {'0' * 64}, found {named}"):
        modelyard.load_pipeline(session, run_id=run_id, sha256="0" * 64)


def test_an_old_pickle_that_nobody_names_runs_nothing(session, stack, tmp_path, old_pipeline):
    run_id = log_as_artifacts(session, old_pipeline, tmp_path)
    [stored] = stack.home.rglob(f"{run_id}/artifacts/pipeline/model.pkl")
    stored.write_bytes(pickle.dumps(Marks(tmp_path / "marker")))
    with pytest.raises(UntrustedModel):
        modelyard.load_pipeline(session, run_id=run_id)
    with pytest.raises(ContentMismatch):
        modelyard.load_pipeline(session, run_id=run_id, sha256=hash_bytes(b"what it was"))
    assert not (tmp_path / "marker").exists()


def test_a_run_without_a_pipeline_or_no_run_at_all_is_refused(session):
    with mlflow.start_run(experiment_id="0") as run:
        pass
    with pytest.raises(DatasetRefused, match="has no preprocessing pipeline, and its dataset is not on record"):
        modelyard.load_pipeline(session, run_id=run.info.run_id)
    with pytest.raises(DatasetRefused, match="there is no run"):
        modelyard.load_pipeline(session, run_id="0" * 32)
