"""Classes: text or numbers, in whatever type they come."""

import math
from typing import Any

import numpy as np
import pyarrow as pa

from modelyard.data.scoring import encode_groups
from modelyard.errors import BadInput

Array = np.ndarray[Any, np.dtype[Any]]


def read_labels(values: Any) -> tuple[Array, list[Any]]:
    """Of n values which label each is, and the labels: text, numbers of which 1, 1.0 and True are one, None.

    Raises:
        BadInput: they are of several types, or of one that is no class.
    """
    try:
        codes, found = encode_groups(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise BadInput(f"classes are text or numbers, of one type: {error}") from None
    return codes, [_as_label(label) for label in found]


def _as_label(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value if math.isfinite(value) else None
    return int(value) if isinstance(value, bool) else value
