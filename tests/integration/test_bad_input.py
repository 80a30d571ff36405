"""Bad input is one clear line, exit code 2, and nothing written."""

import pytest

from tests.conftest import open_folder
from tests.integration.trainings import run_command

HEADER = (
    "longitude,latitude,housing_median_age,total_rooms,total_bedrooms,population,households,median_income,"
    "median_house_value\n"
)
ROW = "-122.2,37.8,41,880,129,322,126,8.3,452600\n"

FILES = {
    "empty": (b"", "empty"),
    "only a header": (HEADER.encode(), "no rows"),
    "wrong columns": (b"a,b\n1,2\n", "column"),
    "a column too few in line 3": ((HEADER + ROW + "1,2\n").encode(), "3"),
    "blanks": ((HEADER + ROW + ROW.replace("322", "")).encode(), "population"),
    "words where numbers belong": ((HEADER + ROW.replace("880", "many")).encode(), "total_rooms"),
    "no row left": ((HEADER + ROW.replace("126", "0") * 3).encode(), "households"),
    "no text at all": (bytes(range(256)) * 4, "text"),
}
NAMES = {
    "an unknown workload": (["california_house"], "did you mean 'california_housing'"),
    "an unknown model type": (["california_housing", "--model-type", "rigde"], "did you mean 'ridge'"),
    "an unknown parameter": (["california_housing", "--params", "max_dept=6"], "did you mean 'max_depth'"),
    "a parameter of another model type": (["california_housing", "--set", "alpha=1"], "model type ridge"),
    "a value of the wrong type": (["california_housing", "--set", "max_depth=six"], "max_depth"),
    "an assignment that is none": (["california_housing", "--params", "max_depth"], "name=value"),
    "an unclosed quote": (["california_housing", "--params", "a='1"], "cannot be read"),
    "an absent config": (["california_housing", "--config", "absent.yaml"], "absent.yaml"),
    "absent data": (["california_housing", "--data", "/absent/file.csv"], "/absent/file.csv"),
    "an unknown option": (["california_housing", "--dat", "x"], "--dat"),
    "a run name of blanks": (["california_housing", "--run-name", " "], "run name"),
    "broken rows of a dataset": (["california_housing", "--dataset", "x", "--allow-invalid"], "leave it out"),
    "broken rows of a run's dataset": (
        ["california_housing", "--use-dataset-from-run", "x", "--allow-invalid"],
        "leave it out",
    ),
    "no file, and a file": (["california_housing", "--data", "x", "--strict"], "give one of them"),
}


@pytest.fixture
def refuse(tmp_path):
    """Run ``modelyard train``, assert that it is refused before anything was written, return what it said."""

    def run(*arguments, command="train", **settings):
        with open_folder() as folder:
            environment = {
                "MODELYARD_HOME": f"{folder}/home",
                "MODELYARD_DATA_DIR": str(tmp_path / "absent"),
            } | settings
            ended = run_command([command, *arguments], environment=environment, folder=tmp_path)
            assert not (folder / "home").exists()
        assert ended.code == 2, ended.printed
        assert "Traceback" not in ended.printed
        return ended.printed

    return run


@pytest.mark.parametrize("case", FILES)
def test_raw_data_that_cannot_be_read_is_named(refuse, tmp_path, case):
    content, said = FILES[case]
    path = tmp_path / "raw.csv"
    path.write_bytes(content)
    printed = refuse("california_housing", "--data", str(path))
    line = printed.strip().splitlines()[-1]
    assert line.startswith((f"modelyard: {path}: ", "modelyard: raw data: "))
    assert said in line


@pytest.mark.parametrize("case", NAMES)
def test_what_does_not_exist_is_named_with_the_way_out(refuse, case):
    arguments, said = NAMES[case]
    assert said in refuse(*arguments)


@pytest.mark.parametrize("command", ["train", "process"])
def test_processing_refuses_what_training_refuses(refuse, command):
    assert "did you mean 'california_housing'" in refuse("california_house", command=command)
    assert "/absent/file.csv" in refuse("california_housing", "--data", "/absent/file.csv", command=command)
    assert "give one of them" in refuse("california_housing", "--inline", "--no-wait", command=command)


def test_a_setting_that_cannot_be_used_is_named(refuse):
    assert "MODELYARD_MLFLOW_PORT" in refuse("california_housing", MODELYARD_MLFLOW_PORT="http")
    assert "MODELYARD_STACK" in refuse("california_housing", MODELYARD_STACK="kubernetes")
    assert "MODELYARD_CLAIM_S" in refuse("california_housing", MODELYARD_CLAIM_S="0")
    assert "MODELYARD_RETRY_PAUSE_S" in refuse("california_housing", MODELYARD_RETRY_PAUSE_S="-1")


def test_too_little_disk_is_named_with_what_is_needed(refuse, tmp_path):
    path = tmp_path / "raw.csv"
    path.write_text(HEADER + ROW * 50)
    printed = refuse("california_housing", "--data", str(path), MODELYARD_MIN_FREE_MB="1000000000")
    assert "MiB are needed" in printed
