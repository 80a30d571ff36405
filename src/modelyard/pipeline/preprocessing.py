"""The unfitted preprocessing of a dataset: checked, kept as a file, and told from another by what it does."""

from pathlib import Path
from pickle import PicklingError
from typing import Any

import joblib

from modelyard.errors import BadInput
from modelyard.tracking.datasets import PREPROCESSING_PATH


def keep_preprocessing(preprocessing: Any, folder: Path) -> str:
    """Write an unfitted pipeline below ``folder``, and tell its hash: 40 hex digits, empty where there is none.

    The hash is of classes and parameters. The file's bytes differ with where objects lie, and with the release of
    scikit-learn.

    Raises:
        BadInput: it is no scikit-learn transformer, is fitted, or cannot be stored.
    """
    if preprocessing is None:
        return ""
    if isinstance(preprocessing, type) or not hasattr(preprocessing, "get_params"):
        raise BadInput(f"the preprocessing {preprocessing!r} is no scikit-learn transformer; give one, not its class")
    described = _describe(preprocessing)
    path = folder / PREPROCESSING_PATH
    path.parent.mkdir()
    try:
        joblib.dump(preprocessing, path)
        return str(joblib.hash(described, hash_name="sha1"))
    except (PicklingError, AttributeError, TypeError) as error:
        raise BadInput(
            f"the preprocessing cannot be stored: {error}; functions in it must be importable by name"
        ) from None


def _describe(value: Any) -> Any:
    """Estimators as class and parameters, at any depth; all else as it is."""
    if isinstance(value, list | tuple):
        return [_describe(part) for part in value]
    if isinstance(value, dict):
        return {key: _describe(part) for key, part in value.items()}
    if isinstance(value, type) or not hasattr(value, "get_params"):
        return value
    cls, parameters = type(value), value.get_params(deep=False)
    name = f"{cls.__module__}.{cls.__qualname__}"
    if learned := [key for key in vars(value) if key.endswith("_") and key not in parameters]:
        raise BadInput(
            f"the preprocessing is fitted: {name} has {', '.join(learned)}; give sklearn.base.clone(…) of it"
        )
    return [name, {key: _describe(part) for key, part in parameters.items()}]
