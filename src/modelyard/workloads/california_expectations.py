"""What holds for every block group of California, whichever file it is read from."""

from modelyard.workloads.california_geography import CITIES
from modelyard.workloads.contract import Expectation, Expectations


def _expect_positive(*names: str, nullable: bool = False, required: bool = True) -> tuple[Expectation, ...]:
    return tuple(
        Expectation(name, type="float", low=0, low_included=False, nullable=nullable, required=required)
        for name in names
    )


def _expect_between(low: float, high: float, *names: str, required: bool = True) -> tuple[Expectation, ...]:
    return tuple(
        Expectation(name, type="float", low=low, high=high, nullable=False, required=required) for name in names
    )


EXPECTATIONS = Expectations(
    columns=(
        *_expect_positive("MedInc", "AveRooms", "Population", "AveOccup"),
        *_expect_positive("AveBedrms", nullable=True),
        *_expect_between(0, 100, "HouseAge"),
        # California lies between these degrees: a swapped pair or a wrong sign is outside.
        *_expect_between(32, 43, "Latitude"),
        *_expect_between(-125, -114, "Longitude"),
        # in USD 100,000, capped at 5.00001: what is in dollars is outside
        Expectation("MedHouseVal", type="float", low=0, low_included=False, high=10, nullable=False),
        # the engineered features
        *_expect_positive("BedrmsPerRoom", nullable=True, required=False),
        *_expect_positive("OccupPerRoom", required=False),
        *_expect_between(-93, -71, "LatPlusLong", required=False),
        *_expect_between(146, 168, "LatMinusLong", required=False),
        *_expect_between(0, 2000, "KmToCoast", *(f"KmTo{city}" for city in CITIES), required=False),
    ),
)
