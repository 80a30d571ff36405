"""SQL text cut into statements, so that a failure can be told by its line."""

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
      --[^\n]*                                  # comment to the end of the line
    | /\*.*?\*/                                 # comment, not nested
    | \$(?P<tag>[A-Za-z_]\w*)?\$.*?\$(?(tag)(?P=tag))\$   # dollar-quoted text
    | [eE]'(?:[^'\\]|\\.|'')*'                  # text with backslashes
    | '(?:[^']|'')*' | "(?:[^"]|"")*"           # text, name
    | ;
    """,
    re.VERBOSE | re.DOTALL,
)
_LEADING = re.compile(r"(?:\s+|--[^\n]*|/\*.*?\*/)*", re.DOTALL)


def split_statements(text: str) -> Iterator[tuple[int, str]]:
    """The statements of an SQL text, each with the number (from 1) of the line it begins in, comments before it cut.

    Function bodies must be quoted (``$$ … $$``); ``BEGIN ATOMIC`` bodies are not understood.
    """
    begin = 0
    ends = [match.start() for match in _TOKEN.finditer(text) if match.group() == ";"]
    for end in [*ends, len(text)]:
        leading = _LEADING.match(text, begin, end)
        first = leading.end() if leading else begin
        if statement := text[first:end].strip():
            yield text.count("\n", 0, first) + 1, statement
        begin = end + 1


def locate_position(statement: str, position: str | None) -> int:
    """How many lines into a statement a server's error position (characters from 1) lies; 0 where there is none."""
    return statement.count("\n", 0, int(position) - 1) if position else 0
