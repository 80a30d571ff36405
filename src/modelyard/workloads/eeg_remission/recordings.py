"""Recordings of .mat and Muse files and the labels of their participants, as one table."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from modelyard.errors import RawDataMalformed
from modelyard.workloads.eeg_remission.mat_file import read_mat
from modelyard.workloads.eeg_remission.parameters import EegProcessing
from modelyard.workloads.eeg_remission.tables import is_muse, read_labels, read_muse

CHANNELS = ("AF7", "AF8", "TP9", "TP10")
NEAREST = {"F7": "AF7", "F8": "AF8", "T5": "TP9", "T6": "TP10"}  # of the 10-20 system, where a Muse has no electrode
DATA_NAMES = {"data_x10_uV": 0.1, "data_uV": 1.0, "data": 1.0, "eeg": 1.0, "EEG": 1.0}  # microvolts of one unit
PARTICIPANT_NAMES = ("Participant", "participant", "Subject", "subject", "id")
LABEL_NAMES = ("Remission", "remission", "label", "labels", "Count quality")
RATE_NAMES = ("fs", "Fs", "srate", "sfreq", "sampling_rate", "sampling_rate_hz")
CONDITIONS = {1: "rest", 2: "arithmetic"}  # where a file counts them
_FIELDS: "list[pa.Field[Any]]" = [
    pa.field("participant", pa.string()),
    pa.field("condition", pa.string()),
    pa.field("remission", pa.int64()),
    pa.field("sampling_rate_hz", pa.float64()),
    *(pa.field(name, pa.list_(pa.float64())) for name in CHANNELS),
]
Row = dict[str, Any]


def load_recordings(files: Sequence[Path], parameters: EegProcessing) -> pa.Table:
    """One row a recording: participant, condition, label, sampling rate and the samples of each channel in microvolts.

    Args:
        files: .mat files, Muse's CSV files (one a participant, who is called as the file is), and one CSV file of
            labels, which may be left out where the .mat files hold them.
        parameters: names, units and rates that the files do not tell.

    Raises:
        RawDataNotFound: there is no such file.
        RawDataMalformed: with what is missing or wrong, and what to do.
    """
    rows: list[Row] = []
    tables = [path for path in files if path.suffix.lower() != ".mat"]
    muse = [path for path in tables if is_muse(path)]
    labels = [path for path in tables if path not in muse]
    participants = _names(parameters.participant_column, PARTICIPANT_NAMES)
    if labels and parameters.participant_column:  # which may be a column of the labels alone
        participants += PARTICIPANT_NAMES
    for path in files:
        if path.suffix.lower() == ".mat":
            rows += _read_recordings(path, parameters, participants)
    for path in muse:
        channels, rate = read_muse(path, CHANNELS, sampling_rate_hz=parameters.sampling_rate_hz)
        rows.append(
            {"participant": path.stem, "condition": "none", "remission": None, "sampling_rate_hz": rate} | channels
        )
    if len(labels) > 1 or not rows:
        what = "several files of labels" if rows else "no recording"
        _refuse(labels[0] if labels else "raw data", f"{what} among {', '.join(path.name for path in files)}",
                "Give .mat or Muse CSV files, and at most one CSV file of labels.")  # fmt: skip
    if labels:
        _set_labels(rows, labels[0], parameters)
    if unlabelled := sorted({str(row["participant"]) for row in rows if row["remission"] is None}):
        _refuse(labels[0] if labels else "raw data", f"no label for participant {', '.join(unlabelled[:5])}",
                "Give a CSV file with a row for each participant beside the recordings.")  # fmt: skip
    named = [row | {"participant": str(row["participant"])} for row in rows]
    return pa.Table.from_pylist(named, schema=pa.schema(_FIELDS))


def _set_labels(rows: list[Row], path: Path, parameters: EegProcessing) -> None:
    """Give each recording the label of its participant, found by name, or by number where the file has numbers.

    A numbered participant (7) is the one whose name ends in that number (Subject07), and is called so.
    """
    by_name = read_labels(
        path,
        participants=_names(parameters.participant_column, PARTICIPANT_NAMES),
        labels=_names(parameters.label_column, LABEL_NAMES),
    )
    by_number: dict[int, list[str]] = {}
    for name in by_name:
        if end := re.search(r"\d+$", name):
            by_number.setdefault(int(end[0]), []).append(name)
    for row in rows:
        participant = row["participant"]
        if isinstance(participant, int):
            named = by_number.get(participant, [])
            if len(named) > 1:
                _refuse(path, f"participant {participant} may be {' or '.join(named)}", "Name the participants alike.")
            row["participant"] = named[0] if named else participant
        row["remission"] = by_name.get(str(row["participant"]))


def _read_recordings(path: Path, parameters: EegProcessing, participants: Sequence[str]) -> list[Row]:
    """The recordings of a .mat file: an array with labels beside it, or a struct for each participant."""
    variables = read_mat(path)
    names = _names(parameters.data_variable, DATA_NAMES)
    if _find(variables, names) is not None:
        return _read_array(path, variables, parameters, participants)
    structs: list[tuple[str | None, Mapping[str, Any]]] = []
    for name, value in variables.items():
        several = value if isinstance(value, list) else [value]
        found = [one for one in several if isinstance(one, Mapping) and _find(one, names) is not None]
        # a struct alone is called as its participant is; of several each must say whose it is
        structs += [(name if len(several) == 1 else None, one) for one in found]
    if not structs:
        known = ", ".join(variables) or "nothing"
        _refuse(path, f"no variable or field of samples ({', '.join(names)}); it holds {known}",
                "Name it with --set data_variable=NAME.")  # fmt: skip
    shared = {name: value for name, value in variables.items() if not isinstance(value, Mapping | list)}
    if isinstance(variables.get("channels"), list):
        shared["channels"] = variables["channels"]
    rows = []
    for default, struct in structs:
        fields = shared | dict(struct)
        if default is not None and _find(fields, participants) is None:
            fields[participants[0]] = default
        rows += _read_array(path, fields, parameters, participants)
    return rows


def _read_array(
    path: Path, variables: Mapping[str, Any], parameters: EegProcessing, participant_names: Sequence[str]
) -> list[Row]:
    """Recordings of one array of shape (recordings, channels, samples), or of one recording without the first axis."""
    data_name, data = _get(variables, _names(parameters.data_variable, DATA_NAMES))
    if not isinstance(data, np.ndarray) or data.dtype.kind not in "iuf" or data.ndim not in (2, 3):
        shape = f"of shape {data.shape}" if isinstance(data, np.ndarray) else "no numbers"
        _refuse(path, f"{data_name} is {shape}", "It must be recordings x channels x samples, of numbers.")
    channels = _find_channels(path, variables, parameters)
    data = data if data.ndim == 3 else data[None]
    if data.shape[1] != len(channels) and data.shape[2] == len(channels):
        data = data.transpose(0, 2, 1)
    if data.shape[1] != len(channels):
        _refuse(path, f"{data_name} has {data.shape[1]} channels, and {len(channels)} are named: {', '.join(channels)}",
                "It must be recordings x channels x samples.")  # fmt: skip
    rate = parameters.sampling_rate_hz or _find_rate(path, variables)
    unit = parameters.unit_uv or DATA_NAMES.get(data_name, 1.0)
    samples = data * unit
    if not np.isfinite(samples).all():
        _refuse(path, f"{data_name} has samples that are missing or not finite", "Interpolate or cut them.")
    n = len(samples)
    participants = _read_column(path, variables, participant_names, n)
    if participants is None:
        known = ", ".join(participant_names)
        _refuse(path, f"no variable of the participants ({known}); it holds {', '.join(variables)}",
                "Name it with --set participant_column=NAME.")  # fmt: skip
    conditions = _read_column(path, variables, ("condition", "conditions"), n) or ["none"] * n
    labels = _read_column(path, variables, _names(parameters.label_column, LABEL_NAMES), n) or [None] * n
    if any(label not in (None, 0, 1) for label in labels):
        _refuse(path, "the label has other values than 0 and 1", "Name the right one with --set label_column=NAME.")
    return [
        {
            "participant": participants[nb],
            "condition": CONDITIONS.get(conditions[nb], str(conditions[nb])),
            "remission": labels[nb],
            "sampling_rate_hz": rate,
        }
        | {name: samples[nb, channels.index(name)] for name in CHANNELS}
        for nb in range(n)
    ]


def _find_channels(path: Path, variables: Mapping[str, Any], parameters: EegProcessing) -> list[str]:
    """The channels of a file under a Muse's names; ``AF7<-F7`` is AF7, and F7 stands in for it."""
    given = parameters.channels.split(",") if parameters.channels else variables.get("channels")
    if given is None:
        _refuse(path, f"no variable names its channels; it holds {', '.join(variables)}",
                "Give them in their order, as --set channels=AF7,AF8,TP9,TP10.")  # fmt: skip
    names = [str(name).partition("<-")[0].strip().upper() for name in ([given] if isinstance(given, str) else given)]
    names = [name if {*CHANNELS} & {*names} else NEAREST.get(name, name) for name in names]
    if missing := [name for name in CHANNELS if name not in names]:
        _refuse(path, f"no channel {', '.join(missing)}; it has {', '.join(names)}",
                f"Needed are {', '.join(CHANNELS)}, or in their places {', '.join(NEAREST)}.")  # fmt: skip
    return names


def _find_rate(path: Path, variables: Mapping[str, Any]) -> float:
    found = _find(variables, RATE_NAMES)
    rate = float(found) if isinstance(found, np.ndarray) and found.size == 1 and found.dtype.kind in "iuf" else 0.0
    if not (np.isfinite(rate) and rate > 0):
        _refuse(path, f"no sampling rate ({', '.join(RATE_NAMES)}); it holds {', '.join(variables)}",
                "Give it as --set sampling_rate_hz=250.")  # fmt: skip
    return rate


def _read_column(path: Path, variables: Mapping[str, Any], names: Sequence[str], n: int) -> list[Any] | None:
    """One value for each of n recordings: whole numbers as int, else text; None where there is no such variable."""
    found = _find(variables, names)
    if found is None:
        return None
    values = [found] if isinstance(found, str | int) else list(np.ravel(np.asarray(found, dtype=object)))
    if len(values) == 1:
        values *= n
    if len(values) != n:
        _refuse(path, f"{len(values)} values of {names[0]} for {n} recordings", "Each recording needs one.")
    return [_whole(value) for value in values]


def _whole(value: Any) -> int | str:
    number = np.asarray(value).squeeze()
    if number.ndim == 0 and number.dtype.kind in "iufb" and float(number).is_integer():
        return int(number)
    return str(value).strip()


def _names(given: str | None, known: Sequence[str] | Mapping[str, Any]) -> tuple[str, ...]:
    return (given,) if given else tuple(known)


def _find(variables: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((variables[name] for name in names if name in variables), None)


def _get(variables: Mapping[str, Any], names: Sequence[str]) -> tuple[str, Any]:
    return next((name, variables[name]) for name in names if name in variables)


def _refuse(path: Path | str, problem: str, hint: str) -> NoReturn:
    raise RawDataMalformed(path, [problem], hint=hint)
