"""Where a block group lies: on a turned map, from five cities and from the coast, by arithmetic that never differs."""

from itertools import pairwise
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]

CITIES = {
    "LosAngeles": (34.05, -118.24),
    "SanFrancisco": (37.77, -122.42),
    "SanDiego": (32.72, -117.16),
    "SanJose": (37.34, -121.89),
    "Sacramento": (38.58, -121.49),
}
# The coast as a line through twelve points (latitude, longitude), from Crescent City to San Diego.
COAST = (
    (41.75, -124.22), (40.44, -124.41), (38.95, -123.74), (37.78, -122.51), (36.62, -121.94), (35.37, -120.87),
    (34.45, -120.47), (34.41, -119.69), (34.03, -118.78), (33.74, -118.41), (33.60, -117.90), (32.67, -117.24),
)  # fmt: skip
# One degree in km on a plane that touches the globe at 37° N. Constants, because a cosine may differ in its last bit
# from one processor to the next, and the digest of the dataset with it.
KM_NORTH, KM_EAST = 111.0, 88.8


def describe_places(latitude: Floats, longitude: Floats) -> dict[str, Floats]:
    """Eight features of n points given in degrees: coordinates turned by 45° (not scaled), and distances in km."""
    turned = {"LatPlusLong": latitude + longitude, "LatMinusLong": latitude - longitude}
    return turned | measure_distances(latitude, longitude)


def measure_distances(latitude: Floats, longitude: Floats) -> dict[str, Floats]:
    """Distances in km of n points given in degrees: ``KmTo<city>`` for each city, and ``KmToCoast``."""
    distances = {"KmToCoast": np.full(len(latitude), np.inf)}
    for name, point in CITIES.items():
        north, east = _measure_offset(point, latitude, longitude)
        distances[f"KmTo{name}"] = np.sqrt(north * north + east * east)
    for start, end in pairwise(COAST):
        north, east = _measure_offset(start, latitude, longitude)
        leg_north, leg_east = (end[0] - start[0]) * KM_NORTH, (end[1] - start[1]) * KM_EAST
        along = np.clip((north * leg_north + east * leg_east) / (leg_north * leg_north + leg_east * leg_east), 0, 1)
        north, east = north - along * leg_north, east - along * leg_east
        distances["KmToCoast"] = np.minimum(distances["KmToCoast"], np.sqrt(north * north + east * east))
    return distances


def _measure_offset(point: tuple[float, float], latitude: Floats, longitude: Floats) -> tuple[Floats, Floats]:
    return (latitude - point[0]) * KM_NORTH, (longitude - point[1]) * KM_EAST
