"""A small made-up set of recordings, in which the label can be told: who is in remission has stronger alpha waves."""

from pathlib import Path
from typing import Any

import numpy as np

RATE_HZ, SECONDS, NB_PARTICIPANTS = 128, 20, 24
_BANDS = ((2.0, 12.0), (6.0, 6.0), (10.0, 7.0), (20.0, 3.0), (37.0, 1.5))  # Hz, microvolts


def write_sample(folder: Path, *, seed: int) -> list[Path]:
    """Write ``sample.mat`` and ``sample_labels.csv``: 24 participants, 20 s of 4 channels at 128 Hz each."""
    from scipy import io

    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(NB_PARTICIPANTS) % 2)
    samples = np.stack([_make_recording(rng, alpha=1.8 if label else 1.0) for label in labels])
    path, table = folder / "sample.mat", folder / "sample_labels.csv"
    io.savemat(
        path,
        {
            "data_x10_uV": np.round(samples * 10).astype(np.int16),
            "participant": np.arange(NB_PARTICIPANTS),
            "condition": np.ones(NB_PARTICIPANTS, dtype=int),
            "fs": RATE_HZ,
            "channels": np.array(["AF7", "AF8", "TP9", "TP10"], dtype=object),
        },
    )
    content = path.read_bytes()
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(116) + content[116:])  # SciPy writes the time there
    rows = [f"P{nb:02d},{label}" for nb, label in enumerate(labels)]
    table.write_text("\n".join(["Participant,Remission", *rows]) + "\n", encoding="utf-8", newline="\n")
    return [path, table]


def _make_recording(rng: np.random.Generator, *, alpha: float) -> "np.ndarray[Any, np.dtype[Any]]":
    """Microvolts of shape (4, samples): a wave in each band with an amplitude of the participant's own, and noise."""
    time_s = np.arange(RATE_HZ * SECONDS) / RATE_HZ
    recording = rng.normal(0, 2.0, (4, len(time_s)))
    for frequency_hz, amplitude_uv in _BANDS:
        strength = amplitude_uv * rng.lognormal(0, 0.25) * (alpha if frequency_hz == 10.0 else 1.0)
        phase, drift = rng.uniform(0, 2 * np.pi, (4, 1)), np.cumsum(rng.normal(0, 0.05, (4, len(time_s))), axis=1)
        recording += strength * np.sin(2 * np.pi * frequency_hz * time_s + phase + drift)
    return recording
