"""How a model's files are opened without a pickle: skops, models from code, blends, LightGBM's and XGBoost's own.

Which it is stands in MLflow's own file ``MLmodel``. Of that file nothing is believed but names of files and columns.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from mlflow.models import Model
from mlflow.types import Schema

from modelyard.errors import ContentMismatch, ModelFailed, UntrustedModel, find_remedy
from modelyard.tracking.blends import BLEND_FILE, LOADER, open_blend
from modelyard.tracking.model_code import CodeModel
from modelyard.tracking.skops_file import list_untrusted_types, load_estimator

FROM_CODE = "log it as a model from code: mlflow.pyfunc.log_model(python_model='model.py', …)"
_SKOPS = "log it with serialization_format='skops'"
_PICKLED_SUFFIXES = (".pkl", ".pickle", ".cloudpickle", ".joblib", ".dill", ".pt", ".pth", ".ckpt")
_PICKLE_HEADS = (b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5")  # of each protocol that has one
_PYTHON_LOADERS = ("mlflow.pyfunc.loaders.code_model", "mlflow.pyfunc.model")
_XGBOOST_CLASSES = (
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBRegressor",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRanker",
    "xgboost.sklearn.XGBRFRegressor",
    "xgboost.sklearn.XGBRFClassifier",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFormat:
    """How a model is stored.

    Attributes:
        kind: by what it is opened.
        file: the file that is opened, below the model's folder.
        code: of a model from code, the folder of the modules that it brings; None where it brings none.
        model_class: as MLflow names it; "" where that does not matter.
        inputs: names of the columns that its signature has; None where it has none, or columns without names.
        optional: those of them that may be missing.
        answers: names of the columns that it answers with by its signature; empty for one column or without names.
        python: the version of Python that it was logged with, "" where that is not said.
    """

    kind: Literal["skops", "code", "lightgbm", "xgboost", "blend"]
    file: str
    code: str | None = None
    model_class: str = ""
    inputs: tuple[str, ...] | None = None
    optional: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    python: str = ""


def find_format(root: Path) -> ModelFormat:
    """How the model in a folder is opened; nothing of it runs.

    Raises:
        UntrustedModel: it is a pickle, holds types outside our list, or is of a kind that we do not open; what to do.
    """
    try:
        model = Model.load(str(root))
        schema = model.signature.inputs if model.signature else None
        inputs = tuple(schema.input_names()) if schema is not None and schema.has_input_names() else None
        optional = tuple(schema.optional_input_names()) if schema is not None and inputs is not None else ()
        answers = _name_answers(model.signature.outputs if model.signature else None)
        flavors = {str(name): dict(flavor) for name, flavor in model.flavors.items()}
    except Exception as error:  # the file comes from outside: MLflow's readers fail in many ways
        raise UntrustedModel(f"the model has no MLmodel file that can be read ({type(error).__name__})") from None
    pyfunc = flavors.get("python_function", {})
    common: dict[str, Any] = {
        "inputs": inputs,
        "optional": optional,
        "answers": answers,
        "python": str(pyfunc.get("python_version", "")),
    }
    if pyfunc.get("predict_fn", "predict") != "predict":
        raise UntrustedModel(f"the model answers with {pyfunc['predict_fn']}, and only predict is called; {FROM_CODE}")
    if pyfunc.get("loader_module") in _PYTHON_LOADERS:
        file = _check_code(root, pyfunc)
        return ModelFormat(kind="code", file=file, code=pyfunc.get("code") or None, **common)
    if pyfunc.get("loader_module") == LOADER:
        return ModelFormat(kind="blend", file=_find_file(root, BLEND_FILE), **common)
    if "sklearn" in flavors:
        return ModelFormat(kind="skops", file=_check_skops(root, flavors["sklearn"]), **common)
    if "lightgbm" in flavors:
        file, model_class = _check_native(root, "lightgbm", flavors["lightgbm"], ("lightgbm.basic.Booster",))
        return ModelFormat(kind="lightgbm", file=file, model_class=model_class, **common)
    if "xgboost" in flavors:
        file, model_class = _check_native(root, "xgboost", flavors["xgboost"], _XGBOOST_CLASSES)
        return ModelFormat(kind="xgboost", file=file, model_class=model_class, **common)
    raise UntrustedModel(f"models of the flavor {', '.join(sorted(flavors)) or 'none'} are not opened; {FROM_CODE}")


class OpenedModel:
    """A model that takes the columns of its signature out of more.

    Attributes:
        optional: the columns that rows may lack; whoever asks fills in nulls.
        answers: names of the columns that it answers with, where there are several; else empty.
    """

    def __init__(self, estimator: Any, found: ModelFormat) -> None:
        self._estimator = estimator
        self._names = None if found.inputs is None or found.kind == "code" else list(found.inputs)  # MLflow does so
        self.optional, self.answers = found.optional, found.answers

    def predict(self, rows: Any) -> Any:
        """What it answers, as its own code gives it."""
        if self._names is not None and isinstance(rows, pd.DataFrame) and list(rows.columns) != self._names:
            rows = rows[self._names]
        return self._estimator.predict(rows)


def open_model(root: Path) -> OpenedModel:
    """Open a model whose files were verified.

    Raises:
        UntrustedModel: as ``find_format`` does; nothing of it was opened.
        ContentMismatch: a member of a blend is not what was blended.
        ModelFailed: its own code or a package that it needs failed.
    """
    found = find_format(root)
    try:
        if found.kind == "code":
            return OpenedModel(CodeModel(root, code=found.code), found)
        if found.kind == "blend":
            return OpenedModel(open_blend(root, open_model), found)
        estimator = load_estimator(root / found.file) if found.kind == "skops" else _open_native(root, found)
        if not hasattr(estimator, "predict"):
            raise ModelFailed(f"{found.file} holds a {type(estimator).__name__}, which cannot predict; log a model")
        return OpenedModel(estimator, found)
    except (UntrustedModel, ModelFailed, ContentMismatch):
        raise
    except Exception as error:
        needed = find_remedy(error) or "it needs what its requirements.txt names, installed where it is loaded"
        raise ModelFailed(f"the model could not be opened: {type(error).__name__}: {error}; {needed}") from error


def _check_code(root: Path, pyfunc: dict[str, Any]) -> str:
    if "model_code_path" not in pyfunc or "python_model" in pyfunc:
        raise UntrustedModel(f"the model is a pickled Python object, which runs code when it is opened; {FROM_CODE}")
    file = _find_file(root, Path(str(pyfunc["model_code_path"])).name)  # as MLflow's own loader does
    if "data" in pyfunc or not all(_is_within(root, name) for name in _list_named(pyfunc)):
        raise UntrustedModel("the model's MLmodel file leads out of its folder, where nobody vouches for what is there")
    pickled = sorted(str(path.relative_to(root)) for path in _list_pickles(root))
    if pickled:
        raise UntrustedModel(
            f"the model brings pickles, which run code when they are opened: {', '.join(pickled)}; "
            "keep what it has learned as numbers: skops, safetensors, NumPy's or Parquet files"
        )
    return file


def _list_named(pyfunc: dict[str, Any]) -> Iterator[Any]:
    """What a model from code names of its folder, beside its code."""
    if pyfunc.get("code"):
        yield pyfunc["code"]
    artifacts = pyfunc.get("artifacts") or {}
    for artifact in artifacts.values() if isinstance(artifacts, dict) else [None]:
        yield artifact.get("path") if isinstance(artifact, dict) else None


def _is_within(root: Path, name: Any) -> bool:
    """Whether this names something in the model's folder."""
    try:
        return (
            isinstance(name, str) and (path := (root / name).resolve()).is_relative_to(root.resolve()) and path.exists()
        )
    except (OSError, ValueError):  # no name of a file, e.g. with a null character
        return False


def _list_pickles(root: Path) -> Iterator[Path]:
    for path in filter(Path.is_file, root.rglob("*")):
        with path.open("rb") as file:
            head = file.read(2)
        if path.suffix.lower() in _PICKLED_SUFFIXES or head in _PICKLE_HEADS or (head == b"PK" and _holds_pickle(path)):
            yield path


def _holds_pickle(path: Path) -> bool:
    """Whether an archive holds a pickle, as PyTorch's do."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.lower().endswith(_PICKLED_SUFFIXES) for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _check_skops(root: Path, flavor: dict[str, Any]) -> str:
    if flavor.get("serialization_format") != "skops":
        stored = flavor.get("serialization_format", "pickle")
        raise UntrustedModel(
            f"the scikit-learn model is stored as {stored}, which runs code when it is opened; {_SKOPS}"
        )
    file = _find_file(root, str(flavor.get("pickled_model")))
    unknown = list_untrusted_types(root / file)
    if unknown:
        raise UntrustedModel(f"{file} holds types outside our list: {', '.join(unknown)}; {FROM_CODE}")
    return file


def _check_native(root: Path, package: str, flavor: dict[str, Any], classes: tuple[str, ...]) -> tuple[str, str]:
    model_class = str(flavor.get("model_class"))
    if model_class not in classes:
        hint = "log its booster (model.booster_)" if package == "lightgbm" else FROM_CODE
        raise UntrustedModel(f"a {model_class} is not opened, only {', '.join(classes)}; {hint}")
    if find_spec(package) is None:
        raise UntrustedModel(f"the model needs {package}, which is not installed here; install it, or {FROM_CODE}")
    return _find_file(root, str(flavor.get("data"))), model_class


def _find_file(root: Path, name: str) -> str:
    """A file of the model; a name that leads out of its folder is none."""
    if not _is_within(root, name) or not (root / name).is_file():
        raise UntrustedModel(f"the model's MLmodel file names {name!r}, and the model has no such file; log it again")
    return str((root / name).resolve().relative_to(root.resolve()))


def _open_native(root: Path, found: ModelFormat) -> Any:
    package, path = import_module(found.kind), root / found.file
    if found.kind == "lightgbm":
        return package.Booster(model_file=str(path))
    model = getattr(package, found.model_class.rpartition(".")[2])()
    model.load_model(str(path))
    return _Booster(package, model) if isinstance(model, package.Booster) else model


class _Booster:
    """An XGBoost booster that takes rows as everybody else does."""

    def __init__(self, xgboost: Any, booster: Any) -> None:
        self._xgboost, self._booster = xgboost, booster

    def predict(self, frame: Any) -> Any:
        return self._booster.predict(self._xgboost.DMatrix(frame))


def _name_answers(schema: Schema | None) -> tuple[str, ...]:
    """The names of several answers; one alone needs no name."""
    if schema is None or not schema.has_input_names() or len(schema.inputs) < 2:
        return ()
    return tuple(map(str, schema.input_names()))
