"""The folder of PostgreSQL's Unix socket: in the stack's folder, or a short private one where its path is too long."""

import os
import re
import stat
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from modelyard.errors import StackRefused
from modelyard.stack.accounts import Account
from modelyard.stack.addresses import PORT
from modelyard.stack.home import Home, give_folder

# sun_path has room for 103 bytes on macOS and 107 on Linux
_LIMIT_BYTES = 103
_PREFIX = "modelyard-"
# commas, quotes and blanks mean something to libpq, in URLs or in postgresql.conf
_PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")


def provide_socket_folder(home: Home, account: Account) -> Path:
    """A folder that only ``account`` (and root) can use, with a path that fits into a socket's address.

    Raises:
        StackRefused: no such folder can be made.
    """
    if _fits(home.socket):
        give_folder(home.socket, account)
        return home.socket
    digest = sha256(os.fsencode(home.path) + str(account.uid).encode()).hexdigest()[:12]
    for parent in _list_parents(account):
        for attempt in range(10):
            # somebody else may own the first name in a folder for everybody: then the next one
            folder = parent / f"{_PREFIX}{digest}{attempt or ''}"
            if _fits(folder) and _own(folder, account):
                return folder
    raise StackRefused(
        f"the path {home.path} is too long or too unusual for a socket, and no short folder for it can be made; "
        "name another folder with MODELYARD_HOME"
    )


def drop_socket_folder(folder: str, home: Home) -> None:
    """Remove a short folder that was made for ``home``, unless a server uses it."""
    if folder and Path(folder).name.startswith(_PREFIX) and Path(folder) != home.socket:
        with suppress(OSError):
            Path(folder).rmdir()


def _list_parents(account: Account) -> list[Path]:
    if not account.is_caller:
        return [Path("/run"), Path("/tmp")]  # noqa: S108 the folder in it is private and its owner checked
    runtime = Path(f"/run/user/{account.uid}")
    own = [runtime] if runtime.is_dir() and runtime.stat().st_uid == account.uid else []
    return [*own, Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108


def _fits(folder: Path) -> bool:
    address = f"{folder}/.s.PGSQL.{PORT}"
    return len(os.fsencode(address)) <= _LIMIT_BYTES and _PLAIN.fullmatch(str(folder)) is not None


def _own(folder: Path, account: Account) -> bool:
    try:
        folder.mkdir(mode=0o700)
        if not account.is_caller:
            os.chown(folder, account.uid, account.gid)
    except FileExistsError:
        pass
    except OSError:
        return False
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == account.uid and stat.S_IMODE(status.st_mode) == 0o700
