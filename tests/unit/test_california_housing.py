import socket

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch
from threadpoolctl import threadpool_limits

from modelyard.errors import DownloadFailed, InvalidParameter, RawDataMalformed, RawDataNotFound
from modelyard.pipeline.gate import apply_gate
from modelyard.workloads import california_housing as housing
from modelyard.workloads.california_geography import measure_distances
from modelyard.workloads.registry import build_parameters

HEADER = ",".join(housing.RAW_COLUMNS)
ROW = "-122.23,37.88,41,880,129,322,126,8.3252,452600"


def silent(share, message, /, *, metrics=None, step=None):
    pass


def build(model_type="hist_gradient_boosting", **values):
    return build_parameters(housing, model_type=model_type, values=values)[1]


def read(path, **values):
    parameters = build(**values)
    return housing.process(housing.load_raw([path], parameters=parameters), parameters=parameters)


def write(folder, *lines, name="raw.csv"):
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def refuse(path) -> str:
    with pytest.raises(RawDataMalformed) as refused:
        read(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return housing.sample(tmp_path_factory.mktemp("sample"))[0]


@pytest.fixture(scope="module")
def real(real_data):
    if real_data is None:
        pytest.skip("no real data: put it into data/california_housing, or set MODELYARD_TEST_DATA_DIR")
    return real_data / "california_housing"


def passes(dataset, trained, parameters):
    metrics = {metric.name: trained.metrics[f"test_{metric.name}"] for metric in housing.spec.metrics}
    baselines = housing.baselines(dataset, parameters=parameters)
    return apply_gate(housing.spec.rules.gate, metrics=metrics, baselines=baselines, production=None).passed


# ── what is read ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([HEADER], "it has a header and no rows"),
        ([HEADER.replace("population", "pop"), ROW], "missing columns: population; unknown columns: 'pop'"),
        ([HEADER + ",population", ROW + ",1"], "columns given twice: population"),
        ([ROW, ROW + ",1", ROW, ROW[:-7]], "other than 9 cells in 2 rows (line 2: 10, line 4: 8)"),
        ([ROW.replace(",", ";")], "missing columns: longitude"),
        ([HEADER, ROW, ROW.replace("880", "many")], "total_rooms not a number in 1 row (line 3: 'many')"),
        ([ROW.replace("880", "8_80")], "total_rooms not a number in 1 row (line 1: '8_80')"),
        ([ROW.replace("8.3252", " ")], "median_income blank in 1 row"),
        ([ROW.replace("37.88", "inf")], "latitude not finite in 1 row"),
        ([ROW.replace("37.88", "nan")], "latitude not finite in 1 row"),
        ([ROW.replace("-122.23", "-1222.3")], "longitude not above -180 in 1 row"),
        ([ROW.replace("452600", "0")], "median_house_value not above 0 in 1 row"),
        ([ROW.replace("126", "-126")], "households below 0 in 1 row"),
        ([ROW.replace("41", "x")] * 5, "5 rows (line 1: 'x', line 2: 'x', line 3: 'x', …)"),
        (['"' + ROW], "it is not comma-separated UTF-8 text"),
    ],
)
def test_malformed_rows_are_refused_with_column_count_and_line(tmp_path, lines, problem):
    text = refuse(write(tmp_path, *lines))
    assert problem in text
    assert HEADER in text, "the hint says what the file must look like"


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "it is empty"), (b"\x80\x81", "not comma-separated UTF-8"), (b"\0" * 9, "it is not text")],
)
def test_what_is_not_text_is_refused(tmp_path, content, problem):
    (tmp_path / "junk").write_bytes(content)
    assert problem in refuse(tmp_path / "junk")


def test_every_problem_is_listed_at_once(tmp_path):
    lines = [HEADER, ROW.replace("880", ""), ROW.replace("322", "x"), ROW.replace("8.3252", "inf"), ROW[:-7]]
    text = refuse(write(tmp_path, *lines))
    for problem in ("total_rooms blank", "population not a number", "median_income not finite", "other than 9 cells"):
        assert problem in text


def test_a_folder_and_a_missing_file_are_refused_and_two_files_are_read(tmp_path, sample):
    assert "Is a directory" in refuse(tmp_path)
    with pytest.raises(RawDataNotFound, match="absent"):
        read(tmp_path / "absent.csv")
    one = housing.load_raw([sample], parameters=build())
    assert housing.load_raw([sample, sample], parameters=build()).num_rows == 2 * one.num_rows


def test_columns_are_known_by_their_names_and_the_text_column_is_not_used(tmp_path, sample):
    header, *rows = [line.split(",") for line in sample.read_text().splitlines()]
    turned = [[*reversed(header), "ocean_proximity"], *([*reversed(row), "NEAR BAY"] for row in rows)]
    dataset = read(write(tmp_path, "\ufeff" + ",".join(turned[0]), *(",".join(row) for row in turned[1:])))
    assert dataset.X.equals(read(sample).X)
    assert dataset.notes["columns_not_used"] == ["ocean_proximity"]


def test_rows_without_households_are_dropped_and_counted(tmp_path):
    dataset = read(write(tmp_path, *[ROW] * 30, *[ROW.replace("126", "0")] * 4))
    assert (dataset.X.num_rows, dataset.notes["rows_dropped_households_0"]) == (30, 4)
    text = refuse(write(tmp_path, *[ROW.replace("126", "0")] * 30))
    assert "0 of 30 rows are left (30 have 0 households)" in text
    assert "take 15 or more" in text and "take 15 or more" in refuse(write(tmp_path, *[ROW] * 14))
    assert read(write(tmp_path, *[ROW] * 15)).X.num_rows == 15


# ── the dataset ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_blank_bedrooms_are_counted_and_imputed_with_the_median_of_the_fitted_rows(sample):
    dataset = read(sample)
    assert dataset.notes["blank_total_bedrooms"] == dataset.X["AveBedrms"].null_count > 0
    trained = housing.train(dataset, parameters=build("ridge", refit=False), report=silent)
    median = dataset.load_rows("train")["AveBedrms"].median()
    statistics = trained.model[0].named_transformers_["impute"].statistics_
    assert statistics[dataset.X.column_names.index("AveBedrms")] == median


@pytest.mark.parametrize(("seed", "test_share"), [(42, 0.2), (7, 0.35)])
def test_test_rows_are_those_of_train_test_split(sample, seed, test_share):
    dataset = read(sample, seed=seed, test_share=test_share)
    n = dataset.X.num_rows
    _, test = train_test_split(np.arange(n), test_size=test_share, random_state=seed)
    split = np.asarray(dataset.split)
    assert np.array_equal(np.flatnonzero(split == "test"), np.sort(test))
    assert (split == "validation").sum() == round(n * 0.1)


def test_engineered_features_belong_to_their_row_alone(sample, tmp_path):
    lines = sample.read_text().splitlines()
    some = read(write(tmp_path, lines[0], *lines[500:600]), features="engineered").X
    assert some.equals(read(sample, features="engineered").X.slice(499, 100))
    assert some.num_columns == 18 and some.select(housing.FEATURES).num_columns == 8


def test_distances_are_those_on_the_map():
    san_francisco = measure_distances(np.array([37.77]), np.array([-122.42]))
    assert san_francisco["KmToSanFrancisco"] == 0
    assert san_francisco["KmToLosAngeles"] == pytest.approx(559, rel=0.02)
    assert san_francisco["KmToCoast"] < 10
    assert measure_distances(np.array([36.74]), np.array([-119.79]))["KmToCoast"] == pytest.approx(170, rel=0.1)


# ── models ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model_type", "trusted"),
    [
        ("hist_gradient_boosting", ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]),
        ("random_forest", ["sklearn.tree._tree.Tree"]),
        ("ridge", []),
    ],
)
def test_models_are_stored_without_types_of_ours(sample, model_type, trusted):
    values = {"hist_gradient_boosting": {"max_iter": 5, "max_features": 0.5}, "random_forest": {"n_estimators": 3}}
    parameters = build(model_type, **values.get(model_type, {}))
    dataset = read(sample)
    model = housing.train(dataset, parameters=parameters, report=silent).model
    # numpy.dtype: scikit-learn's imputer keeps the dtype that it was fitted on
    loaded = skops.io.loads(skops.io.dumps(model), trusted=[*trusted, "numpy.dtype"])
    X = dataset.X.to_pandas()
    assert np.array_equal(loaded.predict(X), model.predict(X))


def test_the_kept_model_is_a_plain_fit_of_scikit_learn_on_all_but_the_test_rows(sample):
    dataset, parameters = read(sample), build(max_iter=20)
    trained = housing.train(dataset, parameters=parameters, report=silent)
    rows, test = dataset.load_rows("train", "validation"), dataset.load_rows("test")
    X = rows[list(housing.FEATURES)].fillna(rows[list(housing.FEATURES)].median())
    with threadpool_limits(1, user_api="openmp"):
        plain = HistGradientBoostingRegressor(max_iter=20, random_state=42).fit(X.to_numpy(), rows["MedHouseVal"])
    Z = test[list(housing.FEATURES)].fillna(rows[list(housing.FEATURES)].median())
    assert np.array_equal(trained.model.predict(test[list(housing.FEATURES)]), plain.predict(Z.to_numpy()))


def test_validation_metrics_come_from_a_model_that_has_not_seen_the_validation_rows(sample):
    dataset = read(sample)
    kept, first = (
        housing.train(dataset, parameters=build(max_iter=20, refit=refit), report=silent) for refit in (True, False)
    )
    rows = dataset.load_rows("validation")
    of_first = housing.evaluate(rows, first.model.predict(rows[dataset.X.column_names]), parameters=build())
    assert kept.metrics["validation_rmse"] == of_first["rmse"] == first.metrics["validation_rmse"]
    assert kept.metrics["test_rmse"] != first.metrics["test_rmse"]


def test_the_validation_rmse_is_logged_along_the_iterations(sample):
    logged = {}
    parameters = build(max_iter=30)

    def report(share, message, /, *, metrics=None, step=None):
        logged.update({step: metrics} if metrics else {})

    trained = housing.train(read(sample), parameters=parameters, report=report)
    assert list(logged) == sorted(logged) and 10 <= len(logged) <= 20
    assert logged[30]["staged_validation_rmse"] == pytest.approx(trained.metrics["validation_rmse"])


def test_scores_are_scikit_learns(sample):
    rows = read(sample).load_rows("test")
    predictions = np.random.default_rng(0).normal(2, 1, len(rows))
    truth = rows["MedHouseVal"]
    assert housing.evaluate(rows, predictions, parameters=build()) == pytest.approx(
        {
            "rmse": root_mean_squared_error(truth, predictions),
            "mae": mean_absolute_error(truth, predictions),
            "r2": r2_score(truth, predictions),
        }
    )
    with pytest.raises(ValueError, match="1 predictions for"):
        housing.evaluate(rows, predictions[:1], parameters=build())


def test_the_gate_passes_a_decent_model_and_fails_a_bad_one(sample):
    dataset = read(sample)
    for values, expected in (({}, True), ({"max_iter": 2}, False)):
        trained = housing.train(dataset, parameters=build(**values), report=silent)
        assert passes(dataset, trained, build()) is expected
    bad = housing.train(dataset, parameters=build("ridge", alpha=1e6), report=silent)
    assert not passes(dataset, bad, build("ridge"))


def test_figures_name_the_unit_and_can_be_drawn_for_few_rows(tmp_path):
    rng = np.random.default_rng(0)
    rows = [ROW.replace("452600", str(int(value))) for value in rng.uniform(1e5, 4e5, 20)]
    trained = housing.train(read(write(tmp_path, *rows)), parameters=build(max_iter=2), report=silent)
    assert set(trained.figures) == {"plots/residuals.png", "plots/predicted_vs_true.png"}
    for path, figure in trained.figures.items():
        assert "USD 100,000" in figure.axes[0].get_xlabel()
        figure.savefig(tmp_path / path.replace("/", "_"))


@pytest.mark.parametrize(
    ("model_type", "values"),
    [
        ("hist_gradient_boosting", {"learning_rate": 0}),
        ("hist_gradient_boosting", {"max_leaf_nodes": 1}),
        ("random_forest", {"max_features": 1.5}),
        ("ridge", {"alpha": -1}),
        ("ridge", {"test_share": 1}),
    ],
)
def test_parameters_out_of_range_are_refused(model_type, values):
    with pytest.raises(InvalidParameter, match=next(iter(values))):
        build(model_type, **values)


def test_parameters_can_be_given_as_text():
    parameters = build(max_leaf_nodes="none", max_depth="6", early_stopping="false", learning_rate="0.05")
    assert (parameters.max_leaf_nodes, parameters.max_depth) == (None, 6)
    assert (parameters.early_stopping, parameters.learning_rate) == (False, 0.05)


# ── the download ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_network_is_one_clear_line(tmp_path, monkeypatch):
    def refuse_address(*_args, **_kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse_address)
    with pytest.raises(DownloadFailed, match="could not be downloaded") as failed:
        housing.download(tmp_path)
    assert "\n" not in str(failed.value) and "--data" in str(failed.value)
    assert list(tmp_path.iterdir()) == [] and socket.getdefaulttimeout() is None


def test_the_downloaded_file_gives_the_same_dataset_as_the_original(tmp_path, monkeypatch, sample):
    """scikit-learn's answer for the rows of a file of ours, by its own arithmetic (in place, column by column)."""
    raw = np.array([line.split(",") for line in sample.read_text().splitlines() if ",," not in line][1:], dtype=float)
    original = write(tmp_path, *(",".join(map(repr, row)) for row in raw.tolist()), name="cal_housing.data")
    table = raw[:, [8, 7, 2, 3, 4, 5, 6, 1, 0]]
    target, data = table[:, 0] / 100000.0, table[:, 1:]
    data[:, 2] /= data[:, 5]
    data[:, 3] /= data[:, 5]
    data[:, 5] = data[:, 4] / data[:, 5]
    frame = pa.table(dict(zip([*housing.FEATURES, housing.TARGET], [*data.T, target], strict=True))).to_pandas()
    monkeypatch.setattr(datasets, "fetch_california_housing", lambda **_: Bunch(frame=frame))

    downloaded, ours = read(housing.download(tmp_path)[0]), read(original)
    assert downloaded.X.equals(ours.X) and downloaded.y.equals(ours.y) and downloaded.split.equals(ours.split)


# ── the real data ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("config", "limit"), [(None, 0.4660), ("tuned", 0.4450)])
def test_the_reference_split_is_predicted_as_well_as_promised(real, config, limit):
    model_type, values = housing.spec.configs[config] if config else ("hist_gradient_boosting", {})
    parameters = build(model_type, **values)
    dataset = read(real / "cal_housing.data", **values)
    trained = housing.train(dataset, parameters=parameters, report=silent)
    assert 0.39 < trained.metrics["test_rmse"] <= limit
    assert passes(dataset, trained, parameters)


def test_both_real_files_differ_in_the_blank_bedrooms_only(real):
    original, with_blanks = read(real / "cal_housing.data"), read(real / "housing.csv")
    assert (original.X.num_rows, with_blanks.notes["blank_total_bedrooms"]) == (20_640, 207)
    for name in set(housing.FEATURES) - {"AveBedrms"}:
        assert original.X[name].equals(with_blanks.X[name])
    assert original.y.equals(with_blanks.y) and original.split.equals(with_blanks.split)
