"""Files that were dropped in a folder: which of them are raw data, and under what names."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from modelyard.data.files import READABLE_SUFFIXES
from modelyard.errors import RawDataMalformed


def find_files(folder: Path, *, preferred: Sequence[str]) -> tuple[Path, ...]:
    """The raw files of a folder, as ``select_names`` chooses them.

    Raises:
        RawDataMalformed: there is none, or the folder cannot be read.
    """
    try:
        found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    except OSError as error:
        raise RawDataMalformed(folder, [f"it cannot be read: {error.strerror}"]) from None
    return tuple(folder / name for name in select_names(found, preferred=preferred, where=str(folder)))


def select_names(names: Sequence[str], *, preferred: Sequence[str], where: str) -> list[str]:
    """Which of the files ``names`` (paths with ``/``) are raw data.

    The first of ``preferred`` that is there, else every one that is called like a format that is read here, sorted; no
    hidden ones, whose name or folder begins with a dot or an underscore.

    Raises:
        RawDataMalformed: there is none; ``where`` is named.
    """
    for name in preferred:
        if name in names:
            return [name]
    readable = [
        name
        for name in names
        if PurePosixPath(name).suffix.lower() in READABLE_SUFFIXES
        and not any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)
    ]
    if not readable:
        problem = f"holds none of {', '.join(preferred)} and no file called {', '.join(READABLE_SUFFIXES)}"
        raise RawDataMalformed(where, [problem], hint="Name the file itself.")
    return sorted(readable, key=lambda name: PurePosixPath(name).parts)


def is_name_inside(name: str) -> bool:
    """Whether a name, with ``/`` between its parts, leads to a file inside of a folder, as its only name."""
    path = PurePosixPath(name)
    return str(path) == name != "." and not path.is_absolute() and ".." not in path.parts and "\0" not in name
