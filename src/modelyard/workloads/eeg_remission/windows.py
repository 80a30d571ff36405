"""Windows of recordings: filtered, cut, artefacts rejected; and which participants are on which side of a split."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelyard.errors import RawDataMalformed
from modelyard.workloads.eeg_remission.band_power import BANDS

Array = np.ndarray[Any, np.dtype[Any]]
FILTER_ORDER = 4


def filter_band(samples: Array, *, sampling_rate_hz: float, low_hz: float, high_hz: float) -> Array:
    """Samples of shape (channels, n) in the band, by a Butterworth filter run both ways, which shifts nothing.

    Raises:
        RawDataMalformed: the sampling rate is too low for the band.
    """
    from scipy import signal

    highest_hz = max(end for _, end in BANDS.values())
    if sampling_rate_hz < 2 * highest_hz:
        problem = f"a sampling rate of {sampling_rate_hz:g} Hz is too low: gamma is measured up to {highest_hz} Hz"
        _refuse(problem, f"Take recordings of {2 * highest_hz} Hz or more.")
    if high_hz >= sampling_rate_hz / 2:
        problem = f"band_high_hz={high_hz:g} is not below half of the sampling rate of {sampling_rate_hz:g} Hz"
        raise RawDataMalformed("raw data", [problem], hint="Give a lower one, as --set band_high_hz=40.")
    sections = signal.butter(FILTER_ORDER, [low_hz, high_hz], "bandpass", fs=sampling_rate_hz, output="sos")
    filtered: Array = signal.sosfiltfilt(sections, samples, axis=-1)
    return filtered


def cut_windows(samples: Array, *, length: int, overlap: float) -> Array:
    """Windows of shape (windows, channels, length) of samples of shape (channels, n); a rest at the end is left out.

    Args:
        overlap: the share of a window that the next one repeats, below 1.
    """
    step = max(1, round(length * (1 - overlap)))
    return np.lib.stride_tricks.sliding_window_view(samples, length, axis=-1)[:, ::step].transpose(1, 0, 2)


def find_artefacts(windows: Array, *, limit_uv: float) -> Array:
    """Which windows of shape (windows, channels, n) exceed the amplitude on a channel, or have one without a signal."""
    peaks = np.abs(windows).max(axis=2)
    rejected: Array = (peaks > limit_uv).any(axis=1) | (peaks < 1e-6).any(axis=1)
    return rejected


def split_participants(
    participants: Sequence[str], labels: Sequence[int], *, test_share: float, validation_share: float, seed: int
) -> dict[str, str]:
    """Participant → train, validation or test, drawn for each class alone, with a participant at least on each side.

    Args:
        participants: one entry for each row.
        labels: the same.

    Raises:
        RawDataMalformed: one participant, one class, two labels of a participant, or fewer than three of a class.
    """
    known: dict[str, int] = {}
    for name, label in zip(participants, labels, strict=True):
        if known.setdefault(name, label) != label:
            _refuse(f"participant {name} has both labels", "A participant has one.")
    if len(known) < 2:
        _refuse(f"there is one participant only ({', '.join(known)})", "A split by participant takes 3 of each class.")
    if len({*known.values()}) < 2:
        _refuse(f"all {len(known)} participants have the label {labels[0]}", "A classifier takes both classes.")
    rng, sides = np.random.default_rng(seed), {}
    for label in (0, 1):
        names = sorted(name for name, of in known.items() if of == label)
        n_test = max(1, math.floor(len(names) * test_share + 0.5))
        n_validation = max(1, math.floor(len(names) * validation_share + 0.5))
        if len(names) <= n_test + n_validation:
            least = f"{n_test} to test, {n_validation} to validate and 1 to train"
            _refuse(
                f"{len(names)} participants have the label {label}: {', '.join(names)}", f"The split takes {least}."
            )
        for nb, place in enumerate(rng.permutation(len(names))):
            side = "test" if nb < n_test else "validation" if nb < n_test + n_validation else "train"
            sides[names[place]] = side
    return sides


def _refuse(problem: str, hint: str) -> None:
    raise RawDataMalformed("raw data", [problem], hint=hint)
