"""A workload in a file of somebody's own: what is loaded, what is refused and how that is said."""

import json
from dataclasses import asdict
from hashlib import sha256

import numpy as np
import pytest
from tests.contract.check_workload import check_malformed, check_process, check_sample, check_scores, check_train
from typer.testing import CliRunner

from modelyard.cli.app import app
from modelyard.errors import BadInput, ContentMismatch, InvalidWorkload, ModelFailed, RecordLost, UnknownName
from modelyard.pipeline.code_version import find_code_version
from modelyard.pipeline.request import build_request, read_request
from modelyard.pipeline.train import check_trained_scores
from modelyard.pipeline.workload_file import load_recorded_workload, store_workload
from modelyard.pipeline.workload_list import fill_template
from modelyard.settings import Settings
from modelyard.workloads.registry import NAMES, find_spec, get_workload, locate_workload


@pytest.fixture
def rents(tmp_path):
    path = tmp_path / "rents.py"
    path.write_text(fill_template("rents"))
    return path


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_template_keeps_the_contract(rents, tmp_path):
    workload, folder = locate_workload(str(rents)), tmp_path / "files"
    folder.mkdir()
    files = check_sample(workload, folder)
    check_malformed(workload, files, folder)
    for parameters in (cls() for cls in workload.spec.model_types.values()):
        dataset = check_process(workload, files, parameters)
        scores = workload.baselines(dataset, parameters=parameters)
        assert tuple(scores) == workload.spec.baselines
        for values in scores.values():
            check_scores(workload, values)
        trained = check_train(workload, dataset, parameters)
        assert trained.metrics["test_rmse"] < 0.5 * scores["mean"]["rmse"], "its own gate lets its sample pass"
        assert set(trained.figures) == set(workload.spec.artifacts)


def test_two_versions_of_a_file_are_two_workloads_side_by_side(rents):
    before = locate_workload(str(rents))
    change(rents, "Monthly rent of a flat", "Rent")
    after = locate_workload(str(rents))
    assert (before.spec.title, after.spec.title) == ("Monthly rent of a flat", "Rent")
    first, second = find_code_version(before), find_code_version(after)
    assert first.workload_file != second.workload_file and first.workload_sha256 != second.workload_sha256
    for workload, code in ((before, first), (after, second)):
        assert get_workload("rents", code.workload_file) is workload


def test_the_same_file_elsewhere_is_the_same_code(rents, tmp_path):
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "rents.py"
    copy.write_bytes(rents.read_bytes())
    assert find_code_version(locate_workload(str(rents))) == find_code_version(locate_workload(str(copy)))


def test_a_job_names_the_file_by_its_content_and_finds_that_in_the_store(rents, tmp_path):
    request = build_request(locate_workload(str(rents)), model_type="ridge", values={"alpha": "2"})
    recorded = json.loads(json.dumps(request.arguments()))
    store_workload(request.workload, raw_uri=(tmp_path / "raw").as_uri())
    digest = recorded["workload_file"]
    assert (tmp_path / "raw" / digest / "rents.py").read_bytes() == rents.read_bytes()
    rents.unlink()
    assert read_request(recorded) == request
    assert "workload_file" not in build_request("california_housing").arguments()


def test_what_the_store_lacks_or_holds_otherwise_is_not_run(rents, tmp_path):
    content, raw = rents.read_bytes(), tmp_path / "raw"
    marked = content + b"\nopen(__file__ + '.ran', 'w').close()\n"
    digest = "0" * 64
    with pytest.raises(RecordLost, match="has lost"):
        load_recorded_workload("rents", {"workload_file": digest}, raw_uri=raw.as_uri())
    (raw / digest).mkdir(parents=True)
    (raw / digest / "rents.py").write_bytes(marked)
    with pytest.raises(ContentMismatch):
        load_recorded_workload("rents", {"workload_file": digest}, raw_uri=raw.as_uri())
    assert [path.name for path in (raw / digest).iterdir()] == ["rents.py"], "it was run"


def test_a_file_that_was_not_loaded_here_is_not_run_to_describe_it():
    assert find_spec("rents", "1" * 64) is None
    with pytest.raises(BadInput, match="run by workers only"):
        get_workload("rents", "1" * 64)


WRONG = {
    "syntax": ("def train(", "def train(:", r"line \d+: SyntaxError"),
    "import": ("import numpy as np", "import nunpy as np", r"line 13: ModuleNotFoundError: No module named 'nunpy'"),
    "rules": (
        "rmse <= 0.5 * mean",
        "rmse under mean",
        r"line \d+: InvalidRules: rents: gate.always: 'rmse under mean'",
    ),
    "exit": ("UNIT = ", "raise SystemExit('bye')\nUNIT = ", r"line \d+: SystemExit: bye"),
    "function": ("def baselines(", "def baseline(", "it has no function baselines"),
    "signature": ("/, *, parameters: Processing) -> pa.Table", "/) -> pa.Table", r"line \d+: load_raw is called with"),
    "name": ('name="rents"', 'name="flats"', r"line \d+: spec: its name is 'flats', and the file is called rents.py"),
    "no spec": ("spec = WorkloadSpec(", "specification = WorkloadSpec(", r"it has no spec = WorkloadSpec"),
    "metric": ("- rmse <= 0.5 * mean", "- rmsle <= 0.5 * mean", "the limit rmsle <= 0.5 . mean is of rmsle"),
    "baseline": ("- rmse <= 0.5 * mean", "- rmse <= 0.5 * median", "against median, which is none of its baselines"),
    "task": ("task=Task.REGRESSION", "task=Task.RANKING", "its task is ranking, and its rules are of regression"),
    "processing": (
        "class Ridge(Processing)",
        "class Ridge(Parameters)",
        "parameters of ridge are no class that derives",
    ),
    "default": ("alpha: float = Field(default=1.0, gt=0)", "alpha: float = Field(gt=0)", "alpha have no default"),
    "targets": ("targets=(TARGET,)", "targets=()", "targets is empty"),
    "no comma": (
        'raw_files=("rents.csv",)',
        'raw_files=("rents.csv")',
        "raw_files is 'rents.csv': Input should be a valid tuple",
    ),
    "rules as text": (
        'parse_rules(RULES, source="rents")',
        "RULES",
        "rules is .*: Input should be an instance of Rules",
    ),
    "model types": (
        'model_types={"hist_gradient_boosting": HistGradientBoosting, "ridge": Ridge}',
        'model_types={"ridge": 1}',
        "model_types is .*: Input should be a subclass of Parameters",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_no_workload_is_refused_in_one_line_that_says_where(case, rents):
    old, new, said = WRONG[case]
    change(rents, old, new)
    with pytest.raises(InvalidWorkload, match=said) as refused:
        locate_workload(str(rents))
    assert "\n" not in str(refused.value) and str(rents) in str(refused.value)


def test_every_problem_of_a_file_is_told_at_once(rents):
    for old, new in (("def baselines(", "def other("), ("def sample(", "def other_sample("), ('="rents"', '="flats"')):
        change(rents, old, new)
    with pytest.raises(InvalidWorkload) as refused:
        locate_workload(str(rents))
    assert len(refused.value.problems) == 3


@pytest.mark.parametrize("name", ["california_housing", "regression", "planner", "Rents", "2rents", "rents-1"])
def test_a_name_that_is_taken_or_cannot_be_one_is_refused(name, rents):
    path = rents.rename(rents.with_name(f"{name}.py"))
    change(path, 'name="rents"', f'name="{name}"')
    with pytest.raises(InvalidWorkload, match="its name is that of the file"):
        locate_workload(str(path))
    with pytest.raises(BadInput, match="cannot be the name of a workload"):
        fill_template(name)


def test_no_file_and_no_name_are_told_apart(rents, tmp_path):
    with pytest.raises(InvalidWorkload, match="No such file"):
        locate_workload(str(tmp_path / "gone.py"))
    with pytest.raises(UnknownName, match=r"did you mean 'rents'\?.*named by its path"):
        locate_workload("rent", places=[tmp_path])
    with pytest.raises(BadInput, match=r"MODELYARD_WORKLOADS names .*gone, which is not there"):
        locate_workload("rents", places=[tmp_path / "gone"])
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "rents.py").write_bytes(rents.read_bytes())
    with pytest.raises(BadInput, match="two workloads called rents"):
        locate_workload("rents", places=[tmp_path, tmp_path / "more"])


def test_a_file_that_is_called_like_what_ships_is_not_passed_over(rents, tmp_path):
    taken = rents.rename(tmp_path / "pokewatch.py")
    for name in ("pokewatch", "rents"):
        with pytest.raises(BadInput, match=f"has {taken}, and what ships under this name is another"):
            locate_workload(name, places=[tmp_path])


def test_a_file_that_begins_with_a_byte_order_mark_is_read(rents):
    rents.write_bytes(b"\xef\xbb\xbf" + rents.read_bytes())
    assert locate_workload(str(rents)).spec.name == "rents"


def test_a_name_on_record_leads_to_no_other_place(rents, tmp_path):
    digest = sha256(rents.read_bytes()).hexdigest()
    (tmp_path / "raw" / digest).mkdir(parents=True)
    rents.rename(tmp_path / "raw" / "rents.py")
    with pytest.raises(BadInput, match="cannot be the name of a workload"):
        load_recorded_workload("../rents", {"workload_file": digest}, raw_uri=(tmp_path / "raw").as_uri())


def test_scores_that_lack_something_are_refused_and_named(rents):
    spec = locate_workload(str(rents)).spec
    values = {metric.name: 1.0 for metric in spec.metrics}
    metrics = {f"{rows}_{name}": value for rows in ("train", "test") for name, value in values.items()}
    baselines = dict.fromkeys(spec.baselines, values)
    check_trained_scores(spec, metrics | {"train_rmse": np.float32(1)}, baselines)
    with pytest.raises(ModelFailed, match="train_rmse is nan, no finite number"):
        check_trained_scores(spec, metrics | {"train_rmse": float("nan")}, baselines)
    with pytest.raises(ModelFailed, match="test_rmse is missing; baseline_mean_rmse is missing; test_mae is None"):
        check_trained_scores(
            spec,
            {name: value for name, value in metrics.items() if name != "test_rmse"} | {"test_mae": None},
            baselines | {"mean": {name: value for name, value in values.items() if name != "rmse"}},
        )


def test_settings_name_files_and_folders(rents, tmp_path):
    places = Settings(workloads=f" {tmp_path} , {tmp_path}/more.py,").workload_places()
    assert places == (tmp_path, tmp_path / "more.py")
    assert locate_workload("rents", places=places[:1]).spec.name == "rents"


def test_the_list_has_every_workload_with_its_data_and_where_it_comes_from(rents, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("modelyard.cli.workloads.load_settings", lambda: Settings(workloads="rents.py"))
    listed = json.loads(CliRunner().invoke(app, ["workloads", "--json"]).stdout)
    assert [one["name"] for one in listed] == [*NAMES, "rents"]
    assert listed[-1] | {"title": ""} == {
        "name": "rents",
        "title": "",
        "task": "regression",
        "metric": "rmse",
        "unit": "EUR a month",
        "model_types": ["hist_gradient_boosting", "ridge"],
        "files": [],
        "path": "rents.py",
    }
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rents.csv").touch()
    assert json.loads(CliRunner().invoke(app, ["workloads", "--json"]).stdout)[-1]["files"] == ["data/rents.csv"]
    said = CliRunner().invoke(app, ["workloads"]).stdout
    assert all(name in said for name in (*NAMES, "rents", "data/rents.csv", "EUR a month"))


def test_a_new_one_is_written_once_and_is_a_workload(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["workloads", "new", "beans"])
    assert done.exit_code == 0 and "train beans.py" in done.stdout
    assert locate_workload("beans.py").spec.model_name == "beans_model"
    (tmp_path / "beans.py").write_text("mine")
    again = CliRunner().invoke(app, ["workloads", "new", "beans"])
    assert isinstance(again.exception, BadInput) and "there already" in str(again.exception)
    assert (tmp_path / "beans.py").read_text() == "mine"
    assert CliRunner().invoke(app, ["workloads", "new", "beans", "--output", "-"]).stdout == fill_template("beans")


def test_a_code_version_of_a_workload_that_ships_names_no_file():
    assert asdict(find_code_version(get_workload("california_housing")))["workload_file"] is None
