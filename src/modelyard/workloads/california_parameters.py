"""What processing the block groups of California takes, and what each model type of theirs does."""

from typing import Annotated, Literal

from pydantic import Field

from modelyard.workloads.contract import Parameters


class HousingProcessing(Parameters):
    """What processing takes; shares are of all rows."""

    features: Literal["basic", "engineered"] = Field(default="basic", description="8 features, or 18")
    test_share: float = Field(default=0.2, gt=0, le=0.5, description="share of test rows")
    validation_share: float = Field(default=0.1, gt=0, lt=0.5, description="share of validation rows")


class HousingParameters(HousingProcessing):
    """What every model type takes too."""

    refit: bool = Field(default=True, description="fit the final model on training and validation rows")


class HistGradientBoosting(HousingParameters):
    """scikit-learn's HistGradientBoostingRegressor, its names and defaults."""

    learning_rate: float = Field(default=0.1, gt=0, le=1)
    max_iter: int = Field(default=100, ge=1, le=100_000)
    max_leaf_nodes: int | None = Field(default=31, ge=2)
    max_depth: int | None = Field(default=None, ge=1)
    min_samples_leaf: int = Field(default=20, ge=1)
    l2_regularization: float = Field(default=0.0, ge=0)
    max_features: float = Field(default=1.0, gt=0, le=1)
    early_stopping: Literal["auto"] | bool = "auto"


class Ridge(HousingParameters):
    """scikit-learn's Ridge on standardised features."""

    alpha: float = Field(default=1.0, gt=0)


class RandomForest(HousingParameters):
    """scikit-learn's RandomForestRegressor, its names and defaults."""

    n_estimators: int = Field(default=100, ge=1, le=10_000)
    max_depth: int | None = Field(default=None, ge=1)
    min_samples_leaf: int = Field(default=1, ge=1)
    max_features: Literal["sqrt", "log2"] | Annotated[float, Field(gt=0, le=1)] = 1.0
