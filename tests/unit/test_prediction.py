"""Files of rows through a model into files of predictions."""

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelyard.data.features import fill_features, take_features
from modelyard.data.files import read_table
from modelyard.errors import BadInput, ModelFailed, RawDataMalformed, SchemaMismatch, UnsupportedFile
from modelyard.pipeline.prediction import BATCH_ROWS, predict_file
from modelyard.pipeline.serving import ServedModel
from modelyard.store.loadable import Loadable

FEATURES = [("rooms", "int64"), ("income", "float64"), ("place", "string")]


class Sum:
    """A model that answers with the rooms and the income together, and notes how it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def predict(self, frame: Any) -> Any:
        self.asked.append(frame)
        return frame["rooms"] + frame["income"]


class Answer:
    """A model that answers with what it was given for each row."""

    def __init__(self, *rows: Any) -> None:
        self.rows = rows

    def predict(self, frame: Any) -> Any:
        return np.array([self.rows[place % len(self.rows)] for place in range(len(frame))])


def serve(
    estimator: Any,
    *,
    targets: tuple[str, ...] = ("price",),
    policy: str | None = "houses_policy",
    features: Sequence[tuple[str, str]] = FEATURES,
    task: str = "regression",
) -> ServedModel:
    columns = [*((f"X.{name}", kind) for name, kind in features), *((f"y.{name}", "float64") for name in targets)]
    source = Loadable(
        policy_id=policy,
        policy_version_id=None,
        policy_version=4 if policy else None,
        mlflow_model_name="houses_model",
        mlflow_model_version="7",
        mlflow_model_id="m-7",
        config_defaults={"top_k": 5},
        workload="houses",
        task=task,
        dataset_name="houses",
        dataset_version="1.0.0",
        schema=[{"name": name, "type": kind, "nullable": True} for name, kind in columns],
        targets=list(targets),
    )
    return ServedModel(source=source, digest="f" * 64, estimator=estimator)


def make_rows(num_rows: int) -> pa.Table:
    numbers = np.arange(num_rows)
    places = pa.array(["here", "there"]).take(pa.array(numbers % 2))
    return pa.table({"id": numbers, "income": numbers / 4, "place": places, "rooms": numbers % 7})


def predict(model: ServedModel, path: Path, *, format_name: str = "parquet", **options: Any) -> tuple[Any, bytes]:
    sink = io.BytesIO()
    written = predict_file(model, path, sink, format_name=format_name, **options)
    return written, sink.getvalue()


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes rows as Parquet, with groups of any size."""

    def write(rows: pa.Table, name: str = "rows.parquet", **options: Any) -> Path:
        pq.write_table(rows, tmp_path / name, **options)
        return tmp_path / name

    return write


@pytest.mark.parametrize("num_rows", [1, BATCH_ROWS - 1, BATCH_ROWS, BATCH_ROWS + 1, 3 * BATCH_ROWS + 5])
@pytest.mark.parametrize("group", [1000, 10**6])
def test_each_row_has_its_prediction_in_the_order_of_the_file(write: Any, num_rows: int, group: int) -> None:
    rows, model = make_rows(num_rows), Sum()
    told: list[Any] = []
    path = write(rows, row_group_size=group)
    written, data = predict(serve(model), path, report=lambda *words: told.append(words))
    found = pq.read_table(io.BytesIO(data))
    assert found.column_names == ["id", "prediction", "policy_version"]
    assert found["id"].equals(rows["id"])
    assert found["prediction"].to_pylist() == [a % 7 + a / 4 for a in range(num_rows)]
    assert set(found["policy_version"].to_pylist()) == {4}
    assert (written.num_rows, written.nan_rows, written.columns) == (num_rows, 0, ("prediction",))
    assert [len(frame) for frame in model.asked[:-1]] == [BATCH_ROWS] * (len(model.asked) - 1)
    assert not told or (told[-1][1], f"{num_rows:,} of {num_rows:,} rows" in told[-1][2]) == (1.0, True)


def test_the_model_is_asked_with_its_features_in_their_order_and_types(tmp_path: Path) -> None:
    path, model = tmp_path / "rows.csv", Sum()
    path.write_text("id,place,income,rooms\n7,here,3,2\n8,,4,1\n")
    predict(serve(model), path)
    [frame] = model.asked
    assert list(frame.columns) == ["rooms", "income", "place"]
    assert [str(frame[name].dtype) for name in ("rooms", "income")] == ["int64", "float64"]


def test_integers_with_gaps_may_be_stored_as_doubles_but_not_fractions(write: Any) -> None:
    rows = make_rows(4)
    place = rows.column_names.index("rooms")
    gaps = rows.set_column(place, "rooms", pa.array([1.0, None, 3.0, 4.0]))
    written, data = predict(serve(Sum()), write(gaps))
    assert written.nan_rows == 1
    as_nan = rows.set_column(place, "rooms", pa.array([1.0, float("nan"), 3.0, 4.0]))
    assert predict(serve(Sum()), write(as_nan))[0].nan_rows == 1
    assert pq.read_table(io.BytesIO(data))["prediction"].null_count == 0, "a NaN that the model gave stays one"
    halves = rows.set_column(place, "rooms", pa.array([1.0, 2.5, 3.0, 4.0]))
    with pytest.raises(SchemaMismatch, match=r"houses 1.0.0, which houses_model/7 was trained on: .*2.5"):
        predict(serve(Sum()), write(halves))


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
@pytest.mark.parametrize("kinds", [("int8", "float32"), ("uint16", "float16"), ("float32", "float64")])
def test_text_does_not_tell_how_wide_its_numbers_are(tmp_path: Path, name: str, kinds: tuple[str, str]) -> None:
    features = [("rooms", kinds[0]), ("income", kinds[1])]
    texts = {"rows.csv": "rooms,income\n7,0.5\n", "rows.jsonl": '{"rooms": 7, "income": 0.5}\n'}
    (tmp_path / name).write_text(texts[name])
    model = Sum()
    _, data = predict(serve(model, features=features), tmp_path / name)
    assert pq.read_table(io.BytesIO(data))["prediction"].to_pylist() == [7.5]
    assert tuple(str(kind) for kind in model.asked[0].dtypes) == kinds
    (tmp_path / name).write_text(texts[name].replace("7", "70000"))
    if kinds[0] != "float32":
        with pytest.raises(SchemaMismatch, match="70000"):
            predict(serve(model, features=features), tmp_path / name)


def test_every_difference_is_named_before_anything_is_written(write: Any) -> None:
    rows = make_rows(4).drop_columns("place")
    rows = rows.set_column(2, "rooms", pa.array(list("abcd"))).append_column("income", rows["income"])
    sink = io.BytesIO()
    with pytest.raises(SchemaMismatch) as refused:
        predict_file(serve(Sum()), write(rows), sink, format_name="parquet")
    assert refused.value.differences[:2] == ["missing: place", "given twice: income"]
    assert "rooms is string and int64 is expected" in refused.value.differences
    assert sink.getvalue() == b""


@pytest.mark.parametrize(
    ("targets", "name"), [(("price",), "prediction"), (("price", "rent"), "rent"), (("price",), "policy_version")]
)
def test_a_column_that_the_output_has_too_is_refused(write: Any, targets: tuple[str, ...], name: str) -> None:
    rows = make_rows(4)
    sink = io.BytesIO()
    with pytest.raises(BadInput, match=f"has a column {name}, which the output has too; rename it there"):
        predict_file(
            serve(Sum(), targets=targets), write(rows.append_column(name, rows["id"])), sink, format_name="csv"
        )
    assert sink.getvalue() == b""


def test_several_targets_are_called_by_their_names(write: Any) -> None:
    model = serve(Answer([1.0, 2.0], [3.0, float("nan")]), targets=("price", "rent"))
    written, data = predict(model, write(make_rows(4)), format_name="csv")
    assert data.decode().splitlines()[:3] == ['"id","price","rent","policy_version"', "0,1,2,4", "1,3,nan,4"]
    assert (written.nan_rows, written.columns) == (2, ("price", "rent"))


def test_classes_are_written_as_texts(write: Any) -> None:
    _, data = predict(serve(Answer("cheap", "dear")), write(make_rows(3)), format_name="jsonl")
    assert [json.loads(line)["prediction"] for line in data.splitlines()] == ["cheap", "dear", "cheap"]


@pytest.mark.parametrize("format_name", ["parquet", "arrow"])
def test_the_file_says_what_predicted_it(write: Any, tmp_path: Path, format_name: str) -> None:
    written, data = predict(serve(Sum()), write(make_rows(3)), format_name=format_name)
    path = tmp_path / f"out.{format_name}"
    path.write_bytes(data)
    kept = {name.decode(): value.decode() for name, value in read_table(path).schema.metadata.items()}
    assert kept.pop("modelyard.predicted_at").endswith("+00:00")
    assert kept == {
        "modelyard.policy": "houses_policy",
        "modelyard.policy_version": "4",
        "modelyard.model": "houses_model/7",
        "modelyard.model_digest": written.digest,
    }


def test_a_model_version_alone_has_no_policy_version(write: Any) -> None:
    written, data = predict(serve(Sum(), policy=None), write(make_rows(3)))
    found = pq.read_table(io.BytesIO(data))
    assert found["policy_version"].to_pylist() == [None] * 3
    assert b"modelyard.policy" not in found.schema.metadata
    assert (written.policy_id, written.policy_version, written.model) == (None, None, "houses_model/7")


def test_a_file_without_rows_is_refused(write: Any) -> None:
    with pytest.raises(BadInput, match="has no rows"):
        predict(serve(Sum()), write(make_rows(0)))


def test_an_error_of_the_model_or_of_the_file_ends_it(write: Any, tmp_path: Path) -> None:
    class Breaks(Sum):
        def predict(self, frame: Any) -> Any:
            if self.asked:
                raise ZeroDivisionError
            return super().predict(frame)

    sink = io.BytesIO()
    with pytest.raises(ModelFailed, match="houses_model/7 could not predict: ZeroDivisionError"):
        predict_file(serve(Breaks()), write(make_rows(3 * BATCH_ROWS)), sink, format_name="arrow")
    assert b"ARROW1" not in sink.getvalue()[6:], "what was cut short does not look whole"
    cut = tmp_path / "rows.jsonl"
    cut.write_text('{"rooms": 1, "income": 2, "place": "here"}\n{"rooms": \n')
    with pytest.raises(RawDataMalformed):
        predict(serve(Sum()), cut)


@pytest.mark.parametrize(
    ("first", "later", "why"),
    [
        ("none", "a", "after null"),
        (1, 1.5, "float64 after int64"),
        (1.5, "a", "after double"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], "3 answers a row after 2"),
        (1j, 1j, "complex128, which is no column"),
    ],
)
def test_a_model_whose_answers_change_their_kind_is_told_so(write: Any, first: Any, later: Any, why: str) -> None:
    class Changes:
        answers = iter([first, later])

        def predict(self, frame: Any) -> Any:
            answer = next(self.answers)
            return np.array([None if answer == "none" else answer] * len(frame))

    with pytest.raises(ModelFailed, match=f"houses_model/7 answered with .*{why}"):
        predict(serve(Changes(), task="classification"), write(make_rows(BATCH_ROWS + 1)))


def test_a_regression_may_answer_with_whole_numbers_first(write: Any) -> None:
    model = serve(Answer(*[1] * BATCH_ROWS))
    model.estimator.predict = lambda frame: np.array([1] * len(frame)) if len(frame) > 1 else np.array([1.5])
    _, data = predict(model, write(make_rows(BATCH_ROWS + 1)))
    assert pq.read_table(io.BytesIO(data))["prediction"].to_pylist()[-2:] == [1.0, 1.5]


def test_columns_of_one_name_pass_through_unless_the_format_would_lose_one(write: Any) -> None:
    rows = make_rows(2)
    path = write(rows.append_column("id", pa.array([8, 9])))
    assert predict(serve(Sum()), path, format_name="csv")[1].decode().splitlines()[1].startswith("0,8,")
    with pytest.raises(UnsupportedFile, match="JSON cannot hold two columns of one name: id; rename one of each"):
        predict(serve(Sum()), path, format_name="jsonl")


def test_a_model_that_answers_with_other_rows_is_refused(write: Any) -> None:
    class Short(Sum):
        def predict(self, frame: Any) -> Any:
            return super().predict(frame)[1:]

    with pytest.raises(ModelFailed, match=r"houses_model/7 was asked about 3 rows and gave answers of shape \(2,\)"):
        predict(serve(Short()), write(make_rows(3)))


def test_a_frame_is_answered_with_what_predicted_it() -> None:
    model, frame = serve(Sum()), make_rows(3).to_pandas()
    answer = model.predict(frame)
    assert list(answer.values) == [0.0, 1.25, 2.5]
    assert (answer.policy_id, answer.policy_version, answer.model) == ("houses_policy", 4, "houses_model/7")
    assert answer.config_defaults == {"top_k": 5}
    assert dataclasses.is_dataclass(answer)
    with pytest.raises(SchemaMismatch, match="missing: place; rooms is string and int64 is expected"):
        model.predict(frame.drop(columns="place").assign(rooms="many"))


class Judge:
    """A model that answers with a number and a word, and takes NaN for rooms."""

    def predict(self, frame: Any) -> Any:
        rooms = frame["rooms"].to_numpy(float)
        return pd.DataFrame({"value": rooms, "word": np.where(np.isnan(rooms), "unknown", frame["place"])})


def test_named_answers_are_columns_and_an_optional_feature_may_be_missing(write: Any) -> None:
    model = dataclasses.replace(serve(Judge()), answers=("value", "word"), optional=("rooms",))
    written, data = predict(model, write(make_rows(3)))
    found = pq.read_table(io.BytesIO(data))
    assert written.columns == ("value", "word")
    assert found.column_names == ["id", "value", "word", "policy_version"]
    assert (found["value"].to_pylist(), found["word"].to_pylist()) == ([0.0, 1.0, 2.0], ["here", "there", "here"])
    bare = write(make_rows(3).drop_columns(["rooms"]), "bare.parquet")
    written, data = predict(model, bare)
    assert pq.read_table(io.BytesIO(data))["word"].to_pylist() == ["unknown"] * 3
    assert written.nan_rows == 3
    answer = model.predict(make_rows(3).drop_columns(["rooms"]).to_pandas())
    assert (answer.answers, answer.values[:, 1].tolist()) == (("value", "word"), ["unknown"] * 3)
    with pytest.raises(SchemaMismatch, match="missing: place"):
        predict(model, write(make_rows(3).drop_columns(["place", "rooms"]), "less.parquet"))
    with pytest.raises(BadInput, match="has a column word"):
        predict(model, write(make_rows(3).append_column("word", pa.array(["x"] * 3)), "taken.parquet"))


def test_a_model_that_answers_with_other_columns_than_its_signature_names_is_refused(write: Any) -> None:
    model = dataclasses.replace(serve(Judge()), answers=("value", "chance"))
    with pytest.raises(
        ModelFailed, match="answered with value, word, and it must answer with the columns value, chance"
    ):
        predict(model, write(make_rows(3)))


MISSING = {
    "float64": "float64", "int32": "float64", "string": "object", "bool": "object",
    "timestamp[us]": "datetime64[us]", 'timestamp[ms, "UTC"]': "datetime64[ms, UTC]", "decimal(9, 2)": "object",
}  # fmt: skip


@pytest.mark.parametrize("kind", MISSING)
def test_what_is_missing_is_nulls_of_the_type_that_was_recorded(kind: str) -> None:
    expected = [{"name": "id", "type": "int64"}, {"name": "x", "type": kind}]
    optional = ("x",)
    rows = pa.table({"id": [1, 2]})
    for frame in (
        take_features(rows, expected, optional=optional).to_pandas(),
        fill_features(rows.to_pandas(), expected, optional=optional),
    ):
        assert list(frame.columns) == ["id", "x"]
        assert frame["x"].isna().all()
        assert str(frame["x"].dtype).replace("str", "object") == MISSING[kind]
