"""MATLAB files as plain values: SciPy reads those up to version 7, h5py those of 7.3, and both give the same."""

from pathlib import Path
from typing import Any

import numpy as np

from modelyard.errors import RawDataMalformed, RawDataNotFound


def read_mat(path: Path) -> dict[str, Any]:
    """The variables of a .mat file.

    Returns:
        Name → array without axes of length 1 (numbers), text, a list (cells, or the elements of a struct array) or a
        mapping (a struct).

    Raises:
        RawDataNotFound: there is no such file.
        RawDataMalformed: it is no .mat file, or damaged.
    """
    import h5py

    if not path.is_file():
        raise RawDataNotFound(path)
    try:
        return _read_hdf5(path) if h5py.is_hdf5(path) else _read_classic(path)
    # Both readers meet damage wherever it lies, and raise what the broken byte happens to cause.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        hint = "Copy the file again from where it was recorded, or save it anew in MATLAB."
        raise RawDataMalformed(
            path, [f"it is no .mat file that can be read, or it is damaged: {reason}"], hint=hint
        ) from None


def _read_classic(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    if path.stat().st_size == 0:
        raise ValueError("it is empty")
    found = loadmat(path, simplify_cells=True)
    return {name: _plain(value) for name, value in found.items() if not name.startswith("__")}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list) or (isinstance(value, np.ndarray) and value.dtype.kind == "O"):
        return [_plain(one) for one in np.ravel(value)]
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        return [str(one).rstrip() for one in value.ravel()] if value.size else ""
    return value if isinstance(value, str) else np.squeeze(np.asarray(value))


def _read_hdf5(path: Path) -> dict[str, Any]:
    import h5py

    with h5py.File(path) as file:
        return {name: _read_node(file, node) for name, node in file.items() if not name.startswith("#")}


def _read_node(file: Any, node: Any) -> Any:
    """What a variable, a field or an element holds: MATLAB keeps cells and struct arrays as references."""
    import h5py

    if isinstance(node, h5py.Group):
        fields = {name: _read_node(file, one) for name, one in node.items()}
        lists = {name: one for name, one in fields.items() if isinstance(one, list)}
        if not fields or len(lists) < len(fields) or any(_is_cell(node[name]) for name in lists):
            return fields
        return [dict(zip(lists, element, strict=True)) for element in zip(*lists.values(), strict=True)]
    content = node[()]
    if node.attrs.get("MATLAB_empty"):
        return np.empty(0)
    if node.dtype == h5py.ref_dtype:
        return [_read_node(file, file[reference]) for reference in content.T.ravel()]
    if node.attrs.get("MATLAB_class") == b"char":
        rows = ["".join(map(chr, row)).rstrip() for row in np.atleast_2d(content.T)]
        return rows[0] if len(rows) == 1 else rows
    return np.squeeze(content.T)  # MATLAB counts the first axis fastest, HDF5 the last


def _is_cell(node: Any) -> bool:
    return bool(node.attrs.get("MATLAB_class") == b"cell")
