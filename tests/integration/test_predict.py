"""Models loaded by the name of a policy, verified and kept; files predicted with them and downloaded."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import psycopg
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

import modelyard
from modelyard.data.export import FORMATS
from modelyard.data.files import read_table
from modelyard.data.hashes import hash_folder
from modelyard.errors import BadInput, ContentMismatch, InvalidSetting, NothingLive, UnknownName
from modelyard.pipeline.serving import load_served
from modelyard.settings import load_settings
from modelyard.store.loadable import resolve_loadable
from modelyard.store.models import list_model_files
from tests.integration.trainings import run_command

NAME, POLICY, MODEL = "california_housing", "california_housing_policy", "california_housing_model"


@pytest.fixture(scope="module")
def command(environment, tmp_path_factory):
    """Run ``modelyard`` with these words, and keep models in a folder of the module's own."""
    kept = {"MODELYARD_CACHE": str(tmp_path_factory.mktemp("kept"))}

    def run(*words, **fault):
        settings = environment | kept
        return run_command([*map(str, words)], environment=settings, folder=tmp_path_factory.mktemp("run"), **fault)

    return run


@pytest.fixture(scope="module")
def trained(command, tmp_path_factory):
    """Outcomes of two trainings that passed, on the same dataset."""
    from modelyard.workloads.registry import get_workload

    [sample] = get_workload(NAME).sample(tmp_path_factory.mktemp("raw"), seed=66)

    def train(*words):
        ended = command("train", NAME, "--data", sample, "--set", "seed=66", *words, "--inline", "--json")
        assert ended.code == 0, ended.printed
        return ended.outcome

    return [train("--model-type", "hist_gradient_boosting", "--set", f"max_iter={trees}") for trees in (120, 130)]


@pytest.fixture(scope="module")
def live(stack, trained):
    """Puts the first or second of them live, as a promotion does in the end."""

    def put(index):
        version = trained[index]["evaluation"]["policy_version"]
        with psycopg.connect(stack.dsn("postgres")) as owner:
            owner.execute(
                """
                UPDATE exp.policies AS p SET live_policy_version_id = (
                    SELECT policy_version_id FROM exp.policy_versions AS v
                    WHERE v.policy_id = p.policy_id AND v.version = %s
                ) WHERE policy_id = %s
                """,
                [version, POLICY],
            )
        return version

    yield put
    put_back = "UPDATE exp.policies SET live_policy_version_id = NULL WHERE policy_id = %s"
    with psycopg.connect(stack.dsn("postgres")) as owner:
        owner.execute(put_back, [POLICY])


@pytest.fixture
def connected(environment, monkeypatch, tmp_path):
    """Sessions on the stack as a role, with an empty folder for models."""
    for name, value in (environment | {"MODELYARD_CACHE": str(tmp_path / "kept")}).items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()
    return modelyard.connect


@pytest.fixture
def kept(tmp_path):
    """The folder of the only model that is kept."""

    def find():
        [folder] = [path for path in (tmp_path / "kept/models").iterdir() if path.is_dir()]
        return folder

    return find


@pytest.fixture(scope="module")
def frame(session, trained):
    tables, _ = modelyard.load_dataset(session, trained[0]["dataset"]["digest"])
    return tables.X.to_pandas()


@pytest.fixture(scope="module")
def expected(session, trained, frame):
    """What each of the two answers, asked by its own name."""
    names = [f"{MODEL}/{one['registration']['version']}" for one in trained]
    return [modelyard.load_model(session, name).predict(frame) for name in names]


@contextmanager
def changed(path, content):
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def test_each_load_gives_what_is_live_now(connected, live, trained, frame, expected):
    for index in (0, 1, 0):
        version = live(index)
        answer = modelyard.load(POLICY).predict(frame)
        np.testing.assert_array_equal(answer.values, expected[index])
        assert (answer.policy_id, answer.policy_version) == (POLICY, version)
        assert (answer.model, answer.config_defaults) == (f"{MODEL}/{trained[index]['registration']['version']}", {})
    named = modelyard.load(f"{POLICY}@{trained[1]['evaluation']['policy_version']}")
    np.testing.assert_array_equal(named.predict(frame).values, expected[1])
    alone = modelyard.load(f"{MODEL}/{trained[1]['registration']['version']}").predict(frame[frame.columns[::-1]])
    np.testing.assert_array_equal(alone.values, expected[1])
    assert (alone.policy_id, alone.policy_version) == (None, None)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("california_hosing_policy", POLICY),
        (f"{POLICY}@9999", f"{POLICY}@"),
        (f"{MODEL}/9999", f"{MODEL}/"),
        ("california_housing_modl/1", f"{MODEL}/1"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(connected, trained, name, nearest):
    with connected("application") as session, pytest.raises(UnknownName, match=f"did you mean '{nearest}"):
        modelyard.load(name, session=session)


@pytest.mark.parametrize("name", [f"{POLICY}@", f"{POLICY}@new", f"{POLICY}@-1", f"{POLICY}@99999999999"])
def test_what_is_no_version_is_refused(connected, name):
    with pytest.raises(BadInput, match="is no policy version; write POLICY@VERSION"):
        modelyard.load(name)


def test_a_policy_with_nothing_live_says_so(connected, stack, live):
    live(0)
    with psycopg.connect(stack.dsn("postgres")) as owner:
        owner.execute("UPDATE exp.policies SET live_policy_version_id = NULL WHERE policy_id = %s", [POLICY])
    with pytest.raises(
        NothingLive, match=f"policy {POLICY} has no live version; promote one, or name {POLICY}@VERSION"
    ):
        modelyard.load(POLICY)


def test_an_application_needs_its_own_role_only(connected, stack, live, frame, expected):
    live(0)
    with connected("application") as session:
        model = modelyard.load(POLICY, session=session)
    np.testing.assert_array_equal(model.predict(frame).values, expected[0])
    # and from where no stack of ours is seen, by addresses alone
    with connected(dsn=stack.dsn("application"), tracking_uri=stack.tracking_uri) as session:
        assert session.records.execute("SELECT session_user").fetchone() == {"session_user": "application"}
        assert modelyard.load(POLICY, session=session).source == model.source
    with pytest.raises(BadInput, match="dsn and tracking_uri together"), connected(dsn="host=db"):
        pass


def test_a_model_that_is_kept_needs_no_mlflow(connected, live, tmp_path, frame, expected):
    live(0)
    with connected("application") as session:
        modelyard.load(POLICY, session=session)
        alone = replace(session, mlflow=MlflowClient("http://127.0.0.1:1"))
        model = load_served(alone, POLICY, cache=tmp_path / "kept/models", tell=pytest.fail)
    np.testing.assert_array_equal(model.predict(frame).values, expected[0])


@pytest.mark.parametrize("damage", ["changed", "missing", "more"])
def test_a_damaged_copy_is_fetched_anew_and_told(connected, live, kept, frame, expected, damage):
    live(0)
    modelyard.load(POLICY)
    before = set(hash_folder(kept()))
    if damage == "more":
        (kept() / "sitecustomize.py").write_text("raise SystemExit")
    elif damage == "missing":
        (kept() / "MLmodel").unlink()
    else:
        (kept() / "model.skops").write_bytes(b"\0")
    with pytest.warns(UserWarning, match=r"the copy of model m-\w+ in .* was damaged; it is fetched anew"):
        model = modelyard.load(POLICY)
    np.testing.assert_array_equal(model.predict(frame).values, expected[0])
    assert set(hash_folder(kept())) == before


def test_what_was_compiled_or_left_half_done_is_no_damage(connected, live, kept):
    live(0)
    modelyard.load(POLICY)
    (kept() / "code/__pycache__").mkdir(parents=True)
    (kept() / "code/__pycache__/model.cpython-311.pyc").write_bytes(b"nothing that was verified")
    half = kept().with_name(f"{kept().name}.part")
    kept().rename(half)
    modelyard.load(POLICY)
    assert not half.exists()
    (kept() / "__pycache__").mkdir()
    modelyard.load(POLICY)
    assert not list(kept().rglob("__pycache__"))


def test_several_at_once_fetch_it_once(connected, live, kept, monkeypatch):
    from modelyard.pipeline import model_cache

    live(0)
    fetched = []

    def fetch(*words, **named):
        fetched.append(named["model_id"])
        return download(*words, **named)

    download = model_cache.download_model
    monkeypatch.setattr(model_cache, "download_model", fetch)
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: modelyard.load(POLICY), range(4)))
    assert len(fetched) == 1
    assert len({model.digest for model in models}) == 1


def test_a_stored_file_that_was_swapped_is_refused_and_not_kept(connected, stack, live, tmp_path, command):
    live(0)
    with connected("application") as session:
        [model_id] = {modelyard.load(POLICY, session=session).source.mlflow_model_id}
    shutil.rmtree(tmp_path / "kept")
    [stored] = (stack.home / "artifacts").rglob(f"*{model_id}*/**/model.skops")
    with changed(stored, stored.read_bytes()[:-1] + b"\1"):
        with pytest.raises(ContentMismatch, match=f"model.skops of model {model_id} is not what was recorded"):
            modelyard.load(POLICY)
        ended = command("download", POLICY, tmp_path / "files")
    assert ended.code == 1 and "model.skops" in ended.printed
    assert [path.name for path in tmp_path.iterdir() if "files" in path.name] == []
    assert [path.suffix for path in (tmp_path / "kept/models").iterdir()] == [".lock"]


def test_a_folder_for_models_that_cannot_be_used_is_named(connected, live, monkeypatch, tmp_path):
    live(0)
    (tmp_path / "file").touch()
    monkeypatch.setenv("MODELYARD_CACHE", str(tmp_path / "file"))
    load_settings.cache_clear()
    with pytest.raises(InvalidSetting, match="name another folder with MODELYARD_CACHE"):
        modelyard.load(POLICY)


@pytest.fixture(scope="module")
def rows(command, trained, tmp_path_factory):
    """The dataset's rows as a CSV file."""
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    words = ("datasets", "export", trained[0]["dataset"]["digest"], "--format", "csv", "--output", path)
    ended = command(*words)
    assert ended.code == 0, ended.printed
    return path


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_file_is_predicted_into_each_format(command, live, rows, expected, tmp_path, format_name):
    version = live(1)
    path = tmp_path / f"out.{format_name}"
    ended = command("predict", POLICY, "--in", rows, "--out", path, "--json")
    assert ended.code == 0, ended.printed
    told = json.loads(ended.printed)
    assert (told["policy_id"], told["policy_version"], told["num_rows"]) == (POLICY, version, len(expected[1]))
    found = read_table(path)
    assert found.column_names == ["MedHouseVal", "split", "prediction", "policy_version"]
    np.testing.assert_allclose(found["prediction"].to_numpy(), expected[1], rtol=1e-12)
    assert found["policy_version"].unique().to_pylist() == [version]
    if format_name == "parquet":
        metadata = pq.read_schema(path).metadata
        assert metadata[b"modelyard.model_digest"].decode() == told["digest"]


def test_people_are_told_what_predicted_how_many_rows(command, live, rows, tmp_path):
    version = live(0)
    ended = command("predict", POLICY, "--in", rows, "--out", tmp_path / "out.csv")
    assert ended.code == 0
    assert f"model    {MODEL}/" in ended.printed and f"of {POLICY}@{version}, config {{}}" in ended.printed
    assert "rows     2,000 predicted in" in ended.printed


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--in", "absent.csv", "--out", "out.csv"), "there is no file absent.csv; name one that exists with --in"),
        (("--in", "ROWS", "--out", "out.xlsx"), "there is no format 'xlsx'"),
        (("--in", "ROWS", "--out", "there.csv"), "is there already; name another file with --out, or replace it with"),
        (("--in", "ROWS", "--out", "no/out.csv"), "cannot be written"),
        (("--in", "NARROW", "--out", "out.csv"), "missing: Latitude; MedInc is string and float64 is expected"),
        (("--in", "ROWS", "--overwrite"), "leave out --overwrite"),
    ],
)
def test_what_cannot_be_predicted_is_refused_and_leaves_nothing(
    command, live, rows, tmp_path, words, says, monkeypatch
):
    live(0)
    lines = [line.split(",") for line in rows.read_text().splitlines()[:3]]
    place = lines[0].index('"Latitude"')
    narrow = [["text", *line[1:place], *line[place + 1 :]] for line in lines]
    narrow[0][0] = lines[0][0]
    (tmp_path / "narrow.csv").write_text("".join(f"{','.join(line)}\n" for line in narrow))
    (tmp_path / "there.csv").write_text("mine")
    paths = {"ROWS": rows, "NARROW": tmp_path / "narrow.csv"}
    there = [paths.get(word, word if not word.endswith("csv") else tmp_path / word) for word in words]
    ended = command("predict", POLICY, *there)
    assert ended.code == 2, ended.printed
    assert says.replace("absent.csv", str(tmp_path / "absent.csv")) in " ".join(ended.printed.split())
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["narrow.csv", "there.csv"]
    assert (tmp_path / "there.csv").read_text() == "mine"


def test_an_interrupted_prediction_leaves_no_file(command, live, rows, tmp_path):
    live(0)
    at = "before modelyard.pipeline.prediction:write_tables"
    ended = command("predict", POLICY, "--in", rows, "--out", tmp_path / "out.csv", at=at, fault="interrupt")
    assert ended.code == 130, ended.printed
    assert list(tmp_path.glob("*out*")) == []


def test_model_files_are_downloaded_as_they_were_recorded(command, session, live, tmp_path):
    version = live(0)
    (tmp_path / "really").mkdir()
    (tmp_path / "files").symlink_to("really")
    folder = (tmp_path / "files").stat().st_ino
    ended = command("download", f"{POLICY}@{version}", tmp_path / "files", "--json")
    assert ended.code == 0, ended.printed
    told = json.loads(ended.printed)
    source = resolve_loadable(session.records, f"{POLICY}@{version}")
    recorded = list_model_files(session.records, mlflow_model_id=source.mlflow_model_id)
    assert set(hash_folder(tmp_path / "files")) == set(recorded)
    assert (tmp_path / "files").is_symlink()
    assert (tmp_path / "files").stat().st_ino == folder, "a shell that stands in it sees them"
    assert {file["sha256"] for file in told["files"]} == {file.sha256 for file in recorded}
    refused = command("download", POLICY, tmp_path / "files")
    assert refused.code == 2
    assert "is there already and not empty; name another folder" in " ".join(refused.printed.split())
