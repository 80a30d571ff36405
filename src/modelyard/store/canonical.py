"""The sha256 of a JSON value, so that equal arguments and equal gates are found again."""

import json
from hashlib import sha256
from typing import Any

from modelyard.errors import InvalidParameter


def hash_json(value: Any) -> str:
    """sha256 (64 hex characters) of a JSON value: keys sorted, no blanks, UTF-8.

    Raises:
        InvalidParameter: the value is not JSON, e.g. NaN or a set.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidParameter([f"this is not a JSON value: {error}"]) from None
    return sha256(text.encode()).hexdigest()
