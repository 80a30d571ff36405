"""A file of a dataset or model, as it was recorded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """``path`` is relative to its dataset or model; ``sha256`` has 64 hex characters."""

    path: str
    sha256: str
    size_bytes: int
