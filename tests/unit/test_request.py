"""What a user asks for is checked as a whole, and the nearest right name is suggested."""

import json
import math

import pytest

from modelyard.errors import BadInput, DataInvalid, InvalidParameter, UnknownName, VersionRefused, find_bad_input
from modelyard.pipeline.attempt import describe_error
from modelyard.pipeline.code_version import hash_sources
from modelyard.pipeline.dataset_request import DatasetRequest, check_processing
from modelyard.pipeline.raw import RawData, RawFile
from modelyard.pipeline.request import build_request, parse_assignments, read_request


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'california_housing'"):
        build_request("california_house")
    with pytest.raises(UnknownName, match="did you mean 'hist_gradient_boosting'"):
        build_request("california_housing", model_type="hist_gradient_bosting")
    with pytest.raises(UnknownName, match="did you mean 'max_depth'"):
        build_request("california_housing", values={"max_dept": "6"})


def test_a_parameter_of_another_model_type_is_named_as_such():
    with pytest.raises(UnknownName, match="belongs to model type ridge"):
        build_request("california_housing", values={"alpha": "1"})


def test_every_wrong_value_is_listed_at_once():
    with pytest.raises(InvalidParameter, match=r"learning_rate='-1'.*max_depth='six'"):
        build_request("california_housing", values={"max_depth": "six", "learning_rate": "-1"})


def test_values_given_by_hand_win_over_a_config_and_a_config_over_the_defaults(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("model_type: ridge\nalpha: 3\nseed: 7\n")
    request = build_request("california_housing", config=str(config), values={"alpha": "5"})
    assert request.model_type == "ridge"
    assert request.parameters.model_dump(include={"alpha", "seed"}) == {"alpha": 5.0, "seed": 7}


@pytest.mark.parametrize(
    ("text", "said"), [("[", "no YAML file"), ("- 1", "must hold parameter names"), ("", "must hold parameter names")]
)
def test_a_config_file_that_cannot_be_used_is_refused(tmp_path, text, said):
    config = tmp_path / "c.yaml"
    config.write_text(text)
    with pytest.raises(BadInput, match=said):
        build_request("california_housing", config=str(config))


def test_a_config_that_is_not_there_names_those_that_are():
    with pytest.raises(BadInput, match="tuned"):
        build_request("california_housing", config="tunde")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 251])
def test_names_that_mlflow_would_choke_on_are_refused(name):
    with pytest.raises(BadInput, match="printable"):
        build_request("california_housing", run_name=name)


def test_assignments_are_read_and_what_is_none_is_named():
    assert parse_assignments(["a=1", "b = x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(InvalidParameter, match=r"'a'.*'=b'"):
        parse_assignments(["a", "=b", "c=1"])


def raw_data(digit="0", why="named"):
    file = RawFile(name="houses.csv", sha256=digit * 64, size_bytes=1)
    return RawData(digest=digit * 64, files=(file,), source="file_path", why=why, dvc_md5=None)


def test_the_same_request_has_the_same_arguments_and_another_has_others():
    one = build_request("california_housing", values={"max_depth": "6"})
    same = build_request("california_housing", values={"max_depth": 6})
    other = build_request("california_housing", values={"max_depth": "7"})
    assert one.arguments(raw_data()) == same.arguments(raw_data())
    assert one.arguments(raw_data()) != other.arguments(raw_data())
    assert one.arguments(raw_data()) != one.arguments(raw_data("1"))


def test_where_raw_data_was_found_is_no_part_of_the_request():
    request = build_request("california_housing")
    found = request.arguments(raw_data(why="found in the data folder data"))
    assert found == request.arguments(raw_data(why="named"))


def test_recorded_arguments_are_the_request_again():
    asked = build_request("california_housing", model_type="ridge", values={"alpha": "3"}, run_name="mine")
    recorded = json.loads(json.dumps(asked.arguments(raw_data())))
    assert read_request(recorded) == asked
    assert read_request(recorded).arguments(raw_data()) == recorded


def test_recorded_arguments_that_this_release_does_not_take_are_refused():
    recorded = build_request("california_housing").arguments(raw_data())
    with pytest.raises(UnknownName, match="there is no workload 'flats'"):
        read_request(recorded | {"workload": "flats"})
    with pytest.raises(BadInput, match="max_dept"):
        read_request(recorded | {"parameters": {"max_dept": 6}})


def test_the_hash_of_a_workload_changes_with_each_module_it_uses_and_with_no_other(tmp_path):
    package = "modelyard.workloads"
    (tmp_path / "mine.py").write_text(f"from {package}.scores import rmse\nimport json\nfrom . import near\n")
    (tmp_path / "scores.py").write_text(f"from {package} import deeper\n")
    (tmp_path / "near.py").write_text("x = 1\n")
    (tmp_path / "deeper.py").write_text("x = 1\n")
    (tmp_path / "other.py").write_text("x = 1\n")
    before = hash_sources(tmp_path / "mine.py")
    (tmp_path / "other.py").write_text("x = 2\n")
    assert hash_sources(tmp_path / "mine.py") == before
    for name in ("deeper", "near"):
        (tmp_path / f"{name}.py").write_text("x = 2\n")
        assert hash_sources(tmp_path / "mine.py") != before
        before = hash_sources(tmp_path / "mine.py")


def test_parameters_that_cannot_be_kept_are_refused_by_name():
    with pytest.raises(BadInput, match="parameter 'window_s' cannot be kept"):
        DatasetRequest(
            name="a", workload="a", targets=("y",), data_source="provided_dataset", parameters={"window_s": math.nan}
        )


def test_a_processing_takes_no_parameter_of_a_model_and_no_version_that_is_none():
    request = build_request("california_housing", values={"learning_rate": "0.2"})
    with pytest.raises(UnknownName, match="parameter of the model hist_gradient_boosting"):
        check_processing(request, ["learning_rate"], version=None)
    for version in ("", "-1", "two words", "1/2", "x" * 65, "1.0\n"):
        with pytest.raises(VersionRefused, match="cannot be a version"):
            check_processing(request, [], version=version)
    for version in ("2025-01-03", "1.0.0", "x" * 64):
        check_processing(request, ["seed", "features"], version=version)


def test_the_parameters_of_a_model_in_a_config_are_no_matter_of_processing(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("features: engineered\nlearning_rate: 0.2\n")
    request = build_request("california_housing", config=str(config))
    check_processing(request, [], version=None)
    assert request.processing_parameters()["features"] == "engineered"
    assert "learning_rate" not in request.processing_parameters()


def test_bad_input_is_told_apart_in_what_a_job_has_recorded():
    invalid = DataInvalid(["level >= 0"])
    assert find_bad_input(describe_error(invalid)) == str(invalid)
    assert find_bad_input(describe_error(VersionRefused("it is taken: by 1.0.0"))) == "it is taken: by 1.0.0"
    for other in ("", "None", "memory ran out: x", "ValueError: x", "RecordLost: x", "Path: x", "get_close_matches: x"):
        assert find_bad_input(other) is None
