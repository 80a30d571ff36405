"""What is read of EEG: the layouts of .mat files, Muse's CSV, labels; and each bad input by its own message."""

import h5py
import numpy as np
import pytest
from scipy import io

from modelyard.errors import InvalidParameter, RawDataMalformed
from modelyard.pipeline.raw import locate_raw
from modelyard.workloads import eeg_remission as eeg
from modelyard.workloads.registry import build_parameters

RATE_HZ, SECONDS, NB = 128, 6, 12
MUSE = ("TP9", "AF7", "AF8", "TP10")


def build(**values):
    return build_parameters(eeg, model_type="logistic_regression", values=values)[1]


def make(seed=0, nb=NB, seconds=SECONDS):
    return np.random.default_rng(seed).normal(0, 10, (nb, 4, RATE_HZ * seconds))


def array(**changes):
    known = {
        "data": make(), "participant": np.arange(NB), "fs": RATE_HZ, "remission": np.arange(NB) % 2,
        "channels": np.array(["AF7", "AF8", "TP9", "TP10"], dtype=object),
    }  # fmt: skip
    return {name: value for name, value in (known | changes).items() if value is not None}


def save(folder, **changes):
    io.savemat(folder / "eeg.mat", array(**changes))
    return folder / "eeg.mat"


def read(*files, **values):
    return eeg.load_raw(files, parameters=build(**values)).to_pylist()


def refuse(*files, **values) -> str:
    with pytest.raises(RawDataMalformed) as refused:
        parameters = build(**values)
        eeg.process(eeg.load_raw(files, parameters=parameters), parameters=parameters)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def write_labels(folder, rows, header="Subject,Count quality"):
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "labels.csv"


def write_hdf5(path, *, structs):
    """As MATLAB 7.3 writes: axes reversed, and of a struct array each field as references to its elements."""

    def text(file, name, value):
        node = file.create_dataset(name, data=np.array([[ord(letter)] for letter in value], dtype=np.uint16))
        node.attrs["MATLAB_class"] = np.bytes_("char")
        return node

    with h5py.File(path, "w", userblock_size=512) as file:
        held = file.create_group("#refs#")
        names = [text(held, name, name).ref for name in ("AF7", "AF8", "TP9", "TP10")]
        cell = file.create_dataset("channels", (4, 1), dtype=h5py.ref_dtype)
        cell[:, 0] = names
        cell.attrs["MATLAB_class"] = np.bytes_("cell")
        file["fs"] = [[float(RATE_HZ)]]
        if not structs:
            file["data"] = make().transpose(2, 1, 0)
            file["participant"], file["remission"] = np.arange(NB)[:, None], (np.arange(NB) % 2)[:, None]
            return
        group = file.create_group("participants")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for field in ("eeg", "id", "label"):
            group.create_dataset(field, (NB, 1), dtype=h5py.ref_dtype)
        for nb, samples in enumerate(make()):
            group["eeg"][nb, 0] = held.create_dataset(f"eeg{nb}", data=samples.T).ref
            group["id"][nb, 0] = text(held, f"id{nb}", f"P{nb}").ref
            group["label"][nb, 0] = held.create_dataset(f"label{nb}", data=[[float(nb % 2)]]).ref


@pytest.mark.parametrize("layout", ["array", "structs", "cells", "struct array", "7.3 array", "7.3 struct array"])
def test_every_layout_gives_the_same_recordings(tmp_path, layout):
    path, beside = tmp_path / "eeg.mat", {name: array()[name] for name in ("fs", "channels")}
    elements = [{"eeg": samples, "id": f"P{nb}", "label": nb % 2} for nb, samples in enumerate(make())]
    if layout == "array":
        save(tmp_path)
    elif layout == "structs":  # one a participant, called as the participant is
        io.savemat(path, beside | {one.pop("id"): one for one in elements})
    elif layout == "cells":
        io.savemat(path, beside | {"participants": elements})
    elif layout == "struct array":
        table = np.array([tuple(one.values()) for one in elements], dtype=[(name, object) for name in elements[0]])
        io.savemat(path, beside | {"participants": table})
    else:
        write_hdf5(path, structs="struct" in layout)
    rows = read(path)
    names = [str(nb) if layout in ("array", "7.3 array") else f"P{nb}" for nb in range(NB)]
    assert [row["participant"] for row in rows] == names
    assert [row["remission"] for row in rows] == [nb % 2 for nb in range(NB)]
    assert {row["sampling_rate_hz"] for row in rows} == {RATE_HZ}
    for row, samples in zip(rows, make(), strict=True):
        np.testing.assert_array_equal([row[name] for name in eeg.CHANNELS], samples)


def test_the_unit_is_in_the_name_and_f7_stands_in_for_af7(tmp_path):
    counts = np.round(make() * 10).astype(np.int16)
    path = save(tmp_path, data=None, data_x10_uV=counts, channels=np.array(["F7", "F8", "T5", "T6"], dtype=object))
    np.testing.assert_allclose(read(path)[3]["AF8"], counts[3, 1] * 0.1)


def test_labels_are_found_by_the_number_of_a_participant(tmp_path):
    path = save(tmp_path, remission=None, condition=np.arange(NB) % 2 + 1)
    labels = write_labels(tmp_path, [f"Subject{nb:02d},{int(nb > 5)}" for nb in range(NB)])
    rows = read(path, labels)
    assert [row["participant"] for row in rows] == [f"Subject{nb:02d}" for nb in range(NB)]
    assert [row["remission"] for row in rows] == [int(nb > 5) for nb in range(NB)]
    assert {row["condition"] for row in rows} == {"rest", "arithmetic"}


def write_muse(folder, name, samples, *, rate_hz=256, header=("timestamps", *MUSE), skip=()):
    lines = [",".join(header)]
    lines += [
        ",".join(map(repr, [1.7e9 + nb / rate_hz, *row])) for nb, row in enumerate(samples.T.tolist()) if nb not in skip
    ]
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder / f"{name}.csv"


def test_muse_files_are_a_participant_each(tmp_path):
    labels = write_labels(tmp_path, ["anna,1", "ben,0"], header="Participant,Remission")
    samples = make(nb=2)
    files = [write_muse(tmp_path, name, one) for name, one in zip(("anna", "ben"), samples, strict=True)]
    anna, ben = read(*files, labels)
    assert (anna["participant"], anna["remission"], ben["participant"], ben["remission"]) == ("anna", 1, "ben", 0)
    assert anna["sampling_rate_hz"] == pytest.approx(256, rel=1e-3)
    np.testing.assert_array_equal(ben["AF7"], samples[1, MUSE.index("AF7")])


def test_a_folder_with_a_mat_file_and_its_labels_is_one_raw_data_set(tmp_path):
    save(tmp_path, remission=None)
    write_labels(tmp_path, [f"S{nb},{nb % 2}" for nb in range(NB)])
    located = locate_raw(eeg, data=tmp_path, data_dir=tmp_path, folder=tmp_path, report=print)
    assert [row["remission"] for row in read(*located.files)] == [nb % 2 for nb in range(NB)]


def test_columns_that_are_named_may_be_those_of_the_labels_alone(tmp_path):
    path = save(tmp_path, remission=None)
    labels = write_labels(tmp_path, [f"S{nb},{int(nb > 5)}" for nb in range(NB)], header="Who,Score")
    rows = read(path, labels, participant_column="Who", label_column="Score")
    assert [row["remission"] for row in rows] == [int(nb > 5) for nb in range(NB)]
    assert "no column Whom" in refuse(path, labels, participant_column="Whom", label_column="Score")


def test_structs_of_an_array_that_do_not_say_whose_they_are_are_refused(tmp_path):
    kinds = {"eeg": object, "label": object}
    table = np.array([(samples, nb % 2) for nb, samples in enumerate(make())], dtype=[*kinds.items()])
    io.savemat(tmp_path / "eeg.mat", {name: array()[name] for name in ("fs", "channels")} | {"people": table})
    assert "no variable of the participants" in refuse(tmp_path / "eeg.mat")


def test_times_that_fall_are_refused_at_their_line(tmp_path):
    path = write_muse(tmp_path, "anna", make()[0])
    lines = path.read_text().splitlines()
    lines[3], lines[10], lines[11] = lines[2], lines[11], lines[10]  # two alike are no fault: a Muse sends bursts
    path.write_text("\n".join(lines))
    assert "timestamps do not rise at line 12" in refuse(path)


def test_a_table_that_is_none_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("x" * 200_000)
    assert "it is no comma-separated text: field larger" in refuse(save(tmp_path), tmp_path / "labels.csv")


def test_a_gap_in_a_muse_file_is_refused(tmp_path):
    labels = write_labels(tmp_path, ["anna,1"], header="Participant,Remission")
    path = write_muse(tmp_path, "anna", make()[0], skip=range(100, 200))
    assert "samples are missing before line 102: a gap of 0.395 s" in refuse(path, labels)


def test_a_channel_that_a_muse_file_lacks_is_told(tmp_path):
    labels = write_labels(tmp_path, ["anna,1"], header="Participant,Remission")
    path = write_muse(tmp_path, "anna", make()[0], header=("timestamps", "TP9", "AF7", "AF8", "AUX"))
    assert "no channel TP10" in refuse(path, labels)


@pytest.mark.parametrize(
    ("changes", "values", "problem"),
    [
        ({"data": None, "other": np.zeros(3)}, {}, "no variable or field of samples (data_x10_uV, data_uV, data"),
        ({}, {"data_variable": "signal"}, "no variable or field of samples (signal); it holds data"),
        ({"participant": None}, {}, "no variable of the participants"),
        ({"fs": None}, {}, "no sampling rate (fs, "),
        ({"channels": None}, {}, "no variable names its channels"),
        ({"channels": np.array(["AF7", "AF8", "TP9", "Cz"], dtype=object)}, {}, "no channel TP10; it has AF7"),
        ({"channels": np.array(["AF7", "AF8", "TP9"], dtype=object)}, {}, "no channel TP10"),
        ({"data": make()[:, :3]}, {}, "data has 3 channels, and 4 are named"),
        ({"data": np.where(make() > 30, np.nan, make())}, {}, "missing or not finite"),
        ({"remission": np.arange(NB)}, {}, "the label has other values than 0 and 1"),
        ({"remission": None}, {}, "no label for participant 0, 1, 10, 11, 2"),
        ({"participant": np.zeros(NB, dtype=int)}, {}, "participant 0 has both labels"),
        ({"participant": np.zeros(NB, dtype=int), "remission": np.zeros(NB)}, {}, "there is one participant only (0)"),
        ({"remission": np.ones(NB)}, {}, "all 12 participants have the label 1"),
        ({"remission": np.arange(NB) < 2}, {}, "2 participants have the label 1: 0, 1"),
        ({}, {"window_s": 10}, "a recording of participant 0 (none) is 6 s long, and a window 10 s"),
        ({}, {"condition": "rest"}, "no recording of condition rest; there are none"),
        ({"fs": 64}, {"band_high_hz": 30}, "a sampling rate of 64 Hz is too low: gamma is measured up to 45 Hz"),
        ({}, {"band_high_hz": 64}, "band_high_hz=64 is not below half of the sampling rate of 128 Hz"),
        ({}, {"artefact_uv": 0.5}, "windows has an amplitude above 0.5 µV, or no signal"),
    ],
)
def test_bad_recordings_are_refused_with_their_own_message(tmp_path, changes, values, problem):
    assert problem in refuse(save(tmp_path, **changes), **values)


@pytest.mark.parametrize(
    ("rows", "header", "problem"),
    [
        (["S0,1"], "Subject,Score", "no column Remission or remission or label or labels or Count quality; it has"),
        (["S0,1"], "Who,Remission", "no column Participant or participant or Subject or subject or id; it has Who"),
        (["S0,2"], "Subject,Remission", "line 2: the label Remission of participant S0 is '2'"),
        (["S0,1", "S0,1"], "Subject,Remission", "line 3: participant S0 stands twice"),
        ([f"S{nb},1" for nb in range(NB - 1)], "Subject,Remission", "no label for participant 11"),
        (["S0,1", "T0,1"], "Subject,Remission", "participant 0 may be S0 or T0"),
    ],
)
def test_bad_labels_are_refused_with_their_own_message(tmp_path, rows, header, problem):
    assert problem in refuse(save(tmp_path), write_labels(tmp_path, rows, header=header))


@pytest.mark.parametrize("version", ["7", "7.3"])
def test_a_corrupt_mat_file_is_refused(tmp_path, version):
    path = save(tmp_path)
    if version == "7.3":
        write_hdf5(path, structs=True)
    path.write_bytes(path.read_bytes()[:3000])
    assert "it is no .mat file that can be read, or it is damaged" in refuse(path)


def test_a_band_that_is_none_is_refused():
    with pytest.raises(InvalidParameter, match="band_low_hz=50 must be below band_high_hz=45"):
        build(band_low_hz=50)
