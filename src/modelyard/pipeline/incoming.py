"""Files that were dropped in a folder: which of them are raw data, and under what names."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn

from modelyard.data.files import READABLE_SUFFIXES
from modelyard.errors import RawDataMalformed

_LINK = "Name that folder, or move it here."

Choices = Sequence[str | tuple[str, ...]]  # file names in the order of preference; a tuple is a set, used together


def list_sets(preferred: Choices) -> list[tuple[str, ...]]:
    """The sets of files that are used together; most are of one file."""
    return [(names,) if isinstance(names, str) else names for names in preferred]


def tell_choices(preferred: Choices) -> list[str]:
    """Each choice as people read it: ``rows.csv``, ``signals.mat with labels.csv``."""
    return [" with ".join(names) for names in list_sets(preferred)]


def find_preferred(folder: Path, preferred: Choices) -> tuple[Path, ...] | None:
    """The files of the first choice of which each is in the folder; None if there is none."""
    choices = [tuple(folder / name for name in names) for names in list_sets(preferred)]
    return next((paths for paths in choices if all(map(Path.is_file, paths))), None)


def find_files(folder: Path, *, preferred: Choices) -> tuple[Path, ...]:
    """The raw files of a folder, as ``select_names`` chooses them.

    Raises:
        RawDataMalformed: there is none, a folder in it cannot be read, a link leads to a folder or nowhere.
    """
    names: list[str] = []
    try:
        chosen = find_preferred(folder, preferred)
        if chosen is not None:
            return chosen
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


def select_names(names: Sequence[str], *, preferred: Choices, where: str) -> list[str]:
    """Which of the files ``names`` (paths with ``/``) are raw data.

    The first of ``preferred`` that is there, a set in its own order, else every one that is called like a format that
    is read here or ends as one of ``preferred`` (``.mat``), sorted; no hidden ones, whose name or folder begins with a
    dot or an underscore.

    Raises:
        RawDataMalformed: there is none, or a part of a set; ``where`` is named.
    """
    absent = {together: [name for name in together if name not in names] for together in list_sets(preferred)}
    for together, missing in absent.items():
        if not missing:
            return list(together)
    for together, missing in absent.items():
        if len(missing) < len(together):
            problem = f"lacks {', '.join(missing)}, and {' with '.join(together)} are used together"
            raise RawDataMalformed(where, [problem], hint="Put them into one folder, or name the files themselves.")
    own = [PurePosixPath(name).suffix.lower() for together in absent for name in together]
    suffixes = tuple(dict.fromkeys((*READABLE_SUFFIXES, *filter(None, own))))
    readable = [
        name
        for name in names
        if PurePosixPath(name).suffix.lower() in suffixes
        and not any(_is_hidden(part) for part in PurePosixPath(name).parts)
    ]
    if not readable:
        wanted = ", ".join(tell_choices(preferred))
        problem = f"holds none of {wanted} and no file called {', '.join(suffixes)}"
        raise RawDataMalformed(where, [problem], hint="Name the file itself.")
    return sorted(readable, key=lambda name: PurePosixPath(name).parts)


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def is_name_inside(name: str) -> bool:
    """Whether a name, with ``/`` between its parts, leads to a file inside of a folder, as its only name, in print."""
    path = PurePosixPath(name)
    return str(path) == name != "." and not path.is_absolute() and ".." not in path.parts and name.isprintable()
