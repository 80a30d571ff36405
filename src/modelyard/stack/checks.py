"""What a check of the surroundings found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One check: ``fail`` keeps the stack from starting, ``warn`` may surprise; ``remedy`` is empty when ``ok``."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""
