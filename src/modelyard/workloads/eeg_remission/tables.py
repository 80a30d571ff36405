"""CSV files beside EEG: recordings of a Muse headband, and the labels of participants."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modelyard.errors import RawDataMalformed, RawDataNotFound

TIME = "timestamps"
LONGEST_GAP_S = 0.1


def is_muse(path: Path) -> bool:
    """Whether a CSV file is a recording of a Muse headband: its header has ``timestamps``.

    Raises:
        RawDataNotFound: there is no such file.
        RawDataMalformed: it is no text, or empty.
    """
    return TIME in _read_rows(path)[0]


def read_muse(
    path: Path, channels: Sequence[str], *, sampling_rate_hz: float | None
) -> tuple[dict[str, np.ndarray], float]:
    """The samples of each channel in microvolts, of shape (samples,), and the sampling rate in Hz.

    Args:
        path: columns ``timestamps`` (seconds) and the channels; others are not used.
        channels: which are needed.
        sampling_rate_hz: what is taken instead of that of the timestamps.

    Raises:
        RawDataMalformed: a channel is missing, a cell is no number, times do not rise, or samples are missing.
    """
    header, *rows = _read_rows(path)
    if missing := [name for name in channels if name not in header]:
        raise RawDataMalformed(
            path, [f"no channel {', '.join(missing)}; it has {', '.join(header)}"], hint="Export all of them."
        )
    try:
        places = [header.index(name) for name in (TIME, *channels)]
        values = np.array([[row[place] for place in places] for row in rows], dtype=float).reshape(-1, len(places))
    except (ValueError, IndexError) as error:
        raise RawDataMalformed(path, [f"a cell is no number: {error}"], hint="Interpolate or cut such rows.") from None
    if len(values) < 2 or not np.isfinite(values).all():
        raise RawDataMalformed(path, ["samples are missing or not finite"], hint="Interpolate or cut them.")
    steps = np.diff(values[:, 0])
    if (steps < 0).any() or steps.sum() == 0:
        line = int(np.argmax(steps < 0)) + 3
        raise RawDataMalformed(path, [f"{TIME} do not rise at line {line}"], hint="Sort the rows by time.")
    if steps.max() > LONGEST_GAP_S:
        line = int(np.argmax(steps)) + 3
        problem = f"samples are missing before line {line}: a gap of {steps.max():.3g} s"
        raise RawDataMalformed(path, [problem], hint="Cut the recording there; its parts are files of their own.")
    rate = sampling_rate_hz or float(len(steps) / steps.sum())
    return {name: values[:, place] for place, name in enumerate(channels, start=1)}, rate


def read_labels(path: Path, *, participants: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    """Participant → label, 0 or 1.

    Args:
        path: a CSV file with a header.
        participants: names that the column of the participant may have; the first one that is there is taken.
        labels: the same of the label.

    Raises:
        RawDataMalformed: no such column, another value than 0 and 1, or a participant that stands twice.
    """
    header, *rows = _read_rows(path)
    places = []
    for names, option in ((participants, "participant_column"), (labels, "label_column")):
        found = [name for name in names if name in header]
        if not found:
            problem = f"no column {' or '.join(names)}; it has {', '.join(header)}"
            raise RawDataMalformed(path, [problem], hint=f"Name it with --set {option}=NAME.")
        places.append(header.index(found[0]))
    by_name: dict[str, int] = {}
    for line, row in enumerate(rows, start=2):
        name, label = (row[place].strip() if place < len(row) else "" for place in places)
        if label not in ("0", "1", "0.0", "1.0"):
            problem = f"line {line}: the label {header[places[1]]} of participant {name} is {label!r}"
            raise RawDataMalformed(path, [problem], hint="A label is 0 or 1.")
        if name in by_name:
            raise RawDataMalformed(path, [f"line {line}: participant {name} stands twice"], hint="Keep one of them.")
        by_name[name] = int(label[0])
    return by_name


def _read_rows(path: Path) -> list[list[str]]:
    """Header and rows, at least the header."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise RawDataNotFound(path) from None
    except UnicodeDecodeError as error:
        raise RawDataMalformed(path, [f"it is no comma-separated UTF-8 text: {error}"]) from None
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        raise RawDataMalformed(path, [f"it is no comma-separated text: {error}"]) from None
    if not rows:
        raise RawDataMalformed(path, ["it is empty"], hint="Give a CSV file with a header.")
    return [[name.strip() for name in rows[0]], *rows[1:]]
