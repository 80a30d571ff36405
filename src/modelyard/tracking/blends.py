"""Blends: one model out of several, which it brings along, each verified before it is opened."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modelyard.data.hashes import digest_files, hash_folder
from modelyard.errors import ContentMismatch, UntrustedModel

LOADER = "modelyard.tracking.blends"  # in the file MLmodel: what opens a blend
BLEND_FILE = "blend.json"
MEMBERS_FOLDER = "members"


class Blend:
    """Opened models whose answers are added up by weights."""

    def __init__(self, estimators: Sequence[Any], weights: Sequence[float]) -> None:
        self._estimators, self._weights = list(estimators), np.asarray(weights, float)

    def predict(self, rows: pd.DataFrame) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """The weighted sum of the members' answers to n rows: of shape (n,), or (n, k) for k targets."""
        answers = np.stack([np.asarray(estimator.predict(rows), float) for estimator in self._estimators])
        blended: np.ndarray[Any, np.dtype[np.float64]] = np.tensordot(self._weights, answers, axes=1)
        return blended


def open_blend(root: Path, open_member: Callable[[Path], Any]) -> Blend:
    """Open the blend of a folder: each member's files are held against their digest, then opened.

    Raises:
        ContentMismatch: a member's files are not those that were blended; nothing of it was opened.
        UntrustedModel: the file that names members and weights cannot be read; or as ``open_member`` does.
    """
    try:
        described = json.loads((root / BLEND_FILE).read_text(encoding="utf-8"))["members"]
        known = [(str(member["sha256"]), float(member["weight"])) for member in described]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UntrustedModel(f"{BLEND_FILE} of the blend cannot be read ({type(error).__name__}); blend anew") from None
    estimators = []
    for place, (expected, _) in enumerate(known, 1):
        folder = root / MEMBERS_FOLDER / str(place)
        found = digest_files(hash_folder(folder))
        if found != expected:
            raise ContentMismatch(f"member {place} of the blend", expected=expected, found=found)
        estimators.append(open_member(folder))
    return Blend(estimators, [weight for _, weight in known])


def _load_pyfunc(path: str) -> Blend:
    """What MLflow calls to open it as a ``python_function``."""
    from modelyard.tracking.model_formats import open_model  # which opens blends with this module

    return open_blend(Path(path), open_model)
