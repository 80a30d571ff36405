"""What processing an hourly series takes, and what each model type of it does."""

import re

from pydantic import Field

from modelyard.workloads.contract import Parameters


class HourlyProcessing(Parameters):
    """Which columns are read, and how the days are split; the defaults are those of the file ``epf_DE.csv``."""

    time_column: str = Field(default="date", min_length=1, description="begin of the hour, ISO 8601")
    target_column: str = Field(default="Price", min_length=1, description="what is forecast, e.g. a price or a load")
    regressors: str = Field(
        default="Ampirion Load Forecast,PV+Wind Forecast",
        description="columns, separated by commas, whose values for a whole day are known the day before; may be empty",
    )
    time_zone: str = Field(default="Europe/Berlin", description="whose local days are forecast")
    max_gap_hours: int = Field(default=3, ge=0, le=24, description="longest gap that is filled")
    test_share: float = Field(default=0.2921, gt=0, le=0.5, description="share of the days, the last ones: test")
    validation_share: float = Field(default=0.0412, gt=0, le=0.5, description="share of the days before them")

    def list_regressors(self) -> dict[str, str]:
        """Column of the raw data → its name among the features, in the order given."""
        columns = [column.strip() for column in self.regressors.split(",")]
        return {column: re.sub(r"\W+", "_", column.lower()).strip("_") for column in columns if column}


class HourlyParameters(HourlyProcessing):
    """What every model type takes too."""

    refit_days: int = Field(default=28, ge=1, le=366, description="days from one fit to the next")


class Ridge(HourlyParameters):
    """A ridge regression for each hour of the day."""

    half_life_days: float = Field(default=180, gt=0, description="age at which a day weighs half in a fit")
    alpha: float = Field(default=0.1, gt=0, description="penalty, in units of the weighted mean square of a feature")


class HistGradientBoosting(HourlyParameters):
    """scikit-learn's HistGradientBoostingRegressor, its names."""

    window_days: int = Field(default=728, ge=28, description="latest days that a fit learns from")
    learning_rate: float = Field(default=0.08, gt=0, le=1)
    max_iter: int = Field(default=150, ge=1, le=10_000)
    max_leaf_nodes: int = Field(default=31, ge=2)
    min_samples_leaf: int = Field(default=20, ge=1)
    l2_regularization: float = Field(default=0.0, ge=0)
    max_features: float = Field(default=0.5, gt=0, le=1)


class LightGBM(HourlyParameters):
    """LightGBM's LGBMRegressor, its names."""

    window_days: int = Field(default=728, ge=28, description="latest days that a fit learns from")
    learning_rate: float = Field(default=0.08, gt=0, le=1)
    n_estimators: int = Field(default=150, ge=1, le=10_000)
    num_leaves: int = Field(default=31, ge=2)
    min_child_samples: int = Field(default=20, ge=1)
    reg_lambda: float = Field(default=0.0, ge=0)
    colsample_bytree: float = Field(default=0.5, gt=0, le=1)
