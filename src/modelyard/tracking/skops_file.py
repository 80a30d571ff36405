"""skops files: scikit-learn estimators without a pickle, read under our own list of types."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import skops.io
from skops.io.exceptions import UntrustedTypesFoundException

from modelyard.errors import UntrustedModel

# The only types beyond skops' own defaults that a model file may hold. What the file itself declares as trusted is
# never asked.
TRUSTED_TYPES = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "modelyard.workloads.eeg_remission.classifier.RemissionClassifier",
    "modelyard.workloads.hourly_energy.features.CalendarFeatures",
    "modelyard.workloads.hourly_energy.features.LagFeatures",
    "modelyard.workloads.hourly_energy.rolling.CalmTrees",
    "modelyard.workloads.hourly_energy.rolling.HourlyRidge",
    "modelyard.workloads.hourly_energy.rolling.RollingForecaster",
    "modelyard.workloads.pokewatch.models.MovingAverage",
    "modelyard.workloads.pokewatch.models.ReturnModel",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
MODEL_FILE = "model.skops"


def load_estimator(path: Path) -> Any:
    """Load a skops file under our own allow-list.

    Raises:
        UntrustedModel: types outside the list, or no skops file at all.
    """
    try:
        return skops.io.load(path, trusted=list(TRUSTED_TYPES))
    except (UntrustedTypesFoundException, TypeError) as error:
        raise UntrustedModel(f"{path.name} was refused: {error}") from None
    except (BadZipFile, KeyError, ValueError) as error:
        raise UntrustedModel(f"{path.name} is no skops file and was refused: {error}") from None


def list_untrusted_types(path: Path) -> list[str]:
    """The types in a skops file that are outside the list; nothing of it is loaded.

    Raises:
        UntrustedModel: it is no skops file.
    """
    try:
        return sorted({*skops.io.get_untrusted_types(file=path)} - {*TRUSTED_TYPES})
    except Exception as error:  # it comes from outside, and skops reads it in many steps
        raise UntrustedModel(f"{path.name} is no skops file and was refused: {type(error).__name__}") from None
