"""The preprocessing of a dataset: the same one has the same hash in every release of scikit-learn; none is fitted."""

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from modelyard.errors import BadInput
from modelyard.pipeline.preprocessing import keep_preprocessing


@pytest.fixture
def hash_of(tmp_path_factory):
    return lambda pipeline: keep_preprocessing(pipeline, tmp_path_factory.mktemp("kept"))


def make_columns(*, with_mean=True, columns=("a", "b")):
    numbers = make_pipeline(SimpleImputer(missing_values=np.nan), StandardScaler(with_mean=with_mean))
    steps = [("numbers", numbers, list(columns)), ("texts", OneHotEncoder(categories=[np.array(["x", "y"])]), ["c"])]
    return ColumnTransformer(steps)


def test_the_same_pipeline_made_twice_has_one_hash(hash_of):
    columns = ["a", "b"]
    shared = ColumnTransformer([("one", StandardScaler(), columns), ("two", SimpleImputer(), columns)])
    apart = ColumnTransformer([("one", StandardScaler(), ["a", "b"]), ("two", SimpleImputer(), ["a", "b"])])
    assert hash_of(make_columns()) == hash_of(make_columns())
    assert hash_of(shared) == hash_of(apart)


def test_another_release_of_scikit_learn_changes_no_hash(hash_of, monkeypatch):
    before = hash_of(make_columns())
    monkeypatch.setattr(sklearn.base, "__version__", "99.0")
    assert BaseEstimator.__getstate__(StandardScaler())["_sklearn_version"] == "99.0", "it would be in a pickle"
    assert hash_of(make_columns()) == before


def test_another_parameter_class_or_order_at_any_depth_is_another_hash(hash_of):
    pipelines = [
        None,
        make_columns(),
        make_columns(with_mean=False),
        make_columns(columns=("b", "a")),
        make_pipeline(StandardScaler(), SimpleImputer()),
        make_pipeline(SimpleImputer(), StandardScaler()),
        make_pipeline(FunctionTransformer(np.log1p)),
        make_pipeline(FunctionTransformer(np.sqrt)),
    ]
    assert len({hash_of(pipeline) for pipeline in pipelines}) == len(pipelines)


def test_a_fitted_pipeline_is_refused_by_the_step_that_is_fitted(hash_of):
    fitted, values = StandardScaler().fit(np.eye(3)), np.eye(3)
    hash_of(make_pipeline(FunctionTransformer(), StandardScaler()))
    for pipeline in (fitted, make_pipeline(FunctionTransformer(), fitted), make_pipeline(StandardScaler()).fit(values)):
        with pytest.raises(BadInput, match=r"is fitted: sklearn\.preprocessing.*StandardScaler has .*mean_"):
            hash_of(pipeline)
    with pytest.raises(BadInput, match="ColumnTransformer has"):
        hash_of(ColumnTransformer([("all", FunctionTransformer(), [0, 1])]).fit(values))


def test_what_cannot_be_stored_or_is_no_transformer_is_refused(hash_of):
    with pytest.raises(BadInput, match=r"cannot be stored.*importable by name"):
        hash_of(FunctionTransformer(lambda values: values))
    for wrong in (StandardScaler, "scale", len):
        with pytest.raises(BadInput, match="no scikit-learn transformer"):
            hash_of(wrong)
