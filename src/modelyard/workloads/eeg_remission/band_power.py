"""Band powers of windows by Welch's method, and how much they differ between left and right."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
BANDS = {"delta": (1, 4), "theta": (4, 8), "alpha": (8, 13), "beta": (13, 30), "gamma": (30, 45)}  # Hz, the last not in
PAIRS = {"frontal": ("AF7", "AF8"), "temporal": ("TP9", "TP10")}  # left, right
SEGMENT_S = 2.0  # of Welch's method: half a hertz


def name_features(channels: Sequence[str]) -> list[str]:
    """The names of the columns of ``measure_features``."""
    powers = [
        f"{channel.lower()}_{kind}_{band}" for kind in ("power", "relative") for channel in channels for band in BANDS
    ]
    return powers + [f"{band}_asymmetry_{place}" for place in PAIRS for band in BANDS]


def measure_features(windows: Array, *, channels: Sequence[str], sampling_rate_hz: float) -> Array:
    """Features of shape (windows, features), as ``name_features`` has them.

    Absolute power in µV², relative power as a share of that from 1 to 45 Hz, asymmetry as ln(right) - ln(left).

    Args:
        windows: µV, of shape (windows, channels, n), without a channel of zeros.
    """
    powers = measure_powers(windows, sampling_rate_hz=sampling_rate_hz)
    relative = powers / powers.sum(axis=2, keepdims=True)
    logs = np.log(powers)
    asymmetry = [logs[:, channels.index(right)] - logs[:, channels.index(left)] for left, right in PAIRS.values()]
    n = len(windows)
    return np.concatenate([powers.reshape(n, -1), relative.reshape(n, -1), *asymmetry], axis=1)


def measure_powers(windows: Array, *, sampling_rate_hz: float) -> Array:
    """Power in µV² of shape (windows, channels, bands): the density by Welch's method, summed over the band.

    Segments are of two seconds (or the window, if that is shorter), overlap by half, and are weighted by a Hann window.
    """
    from scipy import signal

    length = min(windows.shape[2], round(SEGMENT_S * sampling_rate_hz))
    frequencies, density = signal.welch(windows, fs=sampling_rate_hz, nperseg=length, noverlap=length // 2, axis=2)
    width = sampling_rate_hz / length
    inside = [(frequencies >= low) & (frequencies < high) for low, high in BANDS.values()]
    return np.stack([density[:, :, band].sum(axis=2) * width for band in inside], axis=2)
