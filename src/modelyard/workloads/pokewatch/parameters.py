"""What processing card prices takes, and what each model type does."""

from pydantic import Field

from modelyard.workloads.contract import Parameters


class PokewatchProcessing(Parameters):
    """Which columns and rows are read, and which periods are held out."""

    card_column: str | None = Field(default=None, description="column of the card; none: card_id or card")
    date_column: str | None = Field(default=None, description="column of the date; none: date, month or day")
    price_column: str | None = Field(default=None, description="column of the price; none: market_price or price")
    grade_column: str | None = Field(default=None, description="column of the grade; none: grade_id or grade, if there")
    grade: str = Field(default="RAW", description="the only grade that is kept, where there is a grade column")
    test_periods: int = Field(default=7, ge=1, description="last periods (months or days), which are test rows")
    validation_periods: int = Field(default=7, ge=1, description="periods before these, which are validation rows")


class PokewatchParameters(PokewatchProcessing):
    """What every model type takes too; percentages are of the newest price before the date."""

    buy_threshold_pct: float = Field(default=5.0, ge=0, description="BUY from this much above the newest price")
    sell_threshold_pct: float = Field(default=5.0, ge=0, le=100, description="SELL from this much below it")


class MovingAverage(PokewatchParameters):
    """The mean of a card's newest prices."""

    window_size: int = Field(default=3, ge=1, le=120, description="how many prices, at most")


class LightGBM(PokewatchParameters):
    """LightGBM's regressor on log returns; its names where it has them."""

    nb_returns: int = Field(default=2, ge=1, le=60, description="newest log returns that are features")
    n_estimators: int = Field(default=100, ge=1, le=10_000)
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    num_leaves: int = Field(default=31, ge=2, le=10_000)
    min_child_samples: int = Field(default=100, ge=1)
