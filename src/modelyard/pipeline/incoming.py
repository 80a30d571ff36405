"""Files that were dropped in a folder: which of them are raw data, and under what names."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn

from modelyard.data.files import READABLE_SUFFIXES
from modelyard.errors import RawDataMalformed

_LINK = "Name that folder, or move it here."


def find_files(folder: Path, *, preferred: Sequence[str]) -> tuple[Path, ...]:
    """The raw files of a folder, as ``select_names`` chooses them.

    Raises:
        RawDataMalformed: there is none, a folder in it cannot be read, a link leads to a folder or nowhere.
    """
    names: list[str] = []
    try:
        for name in preferred:
            if (folder / name).is_file():
                return (folder / name,)
        for parent, folders, files in os.walk(folder, onerror=_refuse):
            folders[:] = [name for name in folders if not _is_hidden(name)]
            for path in (Path(parent, name) for name in folders):
                if path.is_symlink():
                    raise RawDataMalformed(path, ["it is a link to a folder, and may lead in a circle"], hint=_LINK)
            names += [Path(parent, name).relative_to(folder).as_posix() for name in files]
        found = tuple(folder / name for name in select_names(names, preferred=preferred, where=str(folder)))
        for path in found:
            if not path.is_file():
                raise RawDataMalformed(path, ["it is no file, or a link that leads nowhere"], hint="Remove it.")
    except OSError as error:
        _refuse(error)
    return found


def _refuse(error: OSError) -> NoReturn:
    problem = f"it cannot be read: {error.strerror}"
    raise RawDataMalformed(error.filename, [problem], hint="Make it readable, or move it elsewhere.") from None


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
        and not any(_is_hidden(part) for part in PurePosixPath(name).parts)
    ]
    if not readable:
        problem = f"holds none of {', '.join(preferred)} and no file called {', '.join(READABLE_SUFFIXES)}"
        raise RawDataMalformed(where, [problem], hint="Name the file itself.")
    return sorted(readable, key=lambda name: PurePosixPath(name).parts)


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def is_name_inside(name: str) -> bool:
    """Whether a name, with ``/`` between its parts, leads to a file inside of a folder, as its only name, in print."""
    path = PurePosixPath(name)
    return str(path) == name != "." and not path.is_absolute() and ".." not in path.parts and name.isprintable()
