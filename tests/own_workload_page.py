"""The commands of the page "Your own workload in 15 minutes", as they stand there."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/own_workload.md"


def list_blocks() -> list[str]:
    """The fenced blocks of shell commands, in order."""
    return re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
