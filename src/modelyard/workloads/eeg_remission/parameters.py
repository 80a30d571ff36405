"""What processing EEG recordings takes, and what each model type of theirs does."""

from typing import Literal

from pydantic import Field, model_validator

from modelyard.workloads.contract import Parameters


class EegProcessing(Parameters):
    """What reading and processing take; shares are of the participants of each class."""

    level: Literal["window", "participant"] = Field(
        default="window", description="a row is a window, or a participant: the mean of the features of its windows"
    )
    label_column: str | None = Field(default=None, description="column of the label; None: one of the known names")
    participant_column: str | None = Field(default=None, description="column of the participant beside the label")
    data_variable: str | None = Field(default=None, description="variable or field of the samples in a .mat file")
    channels: str | None = Field(
        default=None, description="channels of .mat files in their order, as AF7,AF8,TP9,TP10; None: as each file says"
    )
    sampling_rate_hz: float | None = Field(default=None, gt=0, description="of all recordings; None: as each file says")
    unit_uv: float | None = Field(default=None, gt=0, description="microvolts of one unit; None: as the name says")
    condition: str = Field(default="all", description="only the recordings of this condition, as rest; all: of any")
    window_s: float = Field(default=4.0, ge=0.5, le=600)
    overlap: float = Field(default=0.5, ge=0, le=0.95, description="share of a window that the next one repeats")
    band_low_hz: float = Field(default=1.0, gt=0)
    band_high_hz: float = Field(default=45.0, gt=0)
    artefact_uv: float = Field(default=100.0, gt=0, description="a window with a larger amplitude is rejected")
    test_share: float = Field(default=0.25, gt=0, le=0.5)
    validation_share: float = Field(default=0.2, gt=0, lt=0.5)

    @model_validator(mode="after")
    def _check_band(self) -> "EegProcessing":
        if self.band_low_hz >= self.band_high_hz:
            raise ValueError(f"band_low_hz={self.band_low_hz:g} must be below band_high_hz={self.band_high_hz:g}")
        return self


class EegParameters(EegProcessing):
    """What every model type takes too."""

    class_weight: Literal["balanced"] | None = Field(
        default=None, description="balanced: both classes weigh the same in the fit, however many rows they have"
    )
    cv_folds: int = Field(default=5, ge=2, le=100, description="folds of the cross-validation by participant")
    refit: bool = Field(default=True, description="fit the final model on training and validation rows")


class RandomForest(EegParameters):
    """scikit-learn's RandomForestClassifier, its names."""

    n_estimators: int = Field(default=300, ge=1, le=10_000)
    max_depth: int | None = Field(default=None, ge=1)
    min_samples_leaf: int = Field(default=1, ge=1)


class LogisticRegression(EegParameters):
    """scikit-learn's LogisticRegression on standardised features."""

    C: float = Field(default=0.1, gt=0, description="inverse of the regularisation")


class GradientBoosting(EegParameters):
    """scikit-learn's HistGradientBoostingClassifier, its names and defaults."""

    learning_rate: float = Field(default=0.1, gt=0, le=1)
    max_iter: int = Field(default=100, ge=1, le=100_000)
    max_leaf_nodes: int | None = Field(default=31, ge=2)
    min_samples_leaf: int = Field(default=20, ge=1)
    l2_regularization: float = Field(default=0.0, ge=0)
