"""Operating system accounts: who owns the stack and who its services run as."""

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from modelyard.errors import StackRefused

SERVICE_NAME = "modelyard"


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the operating system."""

    name: str
    uid: int
    gid: int

    @property
    def is_caller(self) -> bool:
        return self.uid == os.geteuid()


def get_caller() -> Account:
    """The account that runs this process.

    Raises:
        StackRefused: its id has no name, and PostgreSQL knows people by name.
    """
    entry = _find(os.geteuid())
    if entry is None:
        raise StackRefused(
            f"user id {os.geteuid()} has no name on this machine, and PostgreSQL refuses to run for it; "
            "add it to /etc/passwd, or run as a user that is there"
        )
    return entry


def find_service_account() -> Account | None:
    """Whom PostgreSQL runs as: the caller, or for root the account ``modelyard`` if it is there."""
    return get_caller() if os.geteuid() != 0 else _find(SERVICE_NAME)


def ensure_service_account() -> Account:
    """Whom PostgreSQL runs as; for root the system account ``modelyard`` is made if it is absent.

    Raises:
        StackRefused: the account is absent and cannot be made.
    """
    found = find_service_account()
    if found is not None:
        return found
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    command += ["--shell", "/usr/sbin/nologin", SERVICE_NAME]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        reason = " ".join(done.stderr.split())
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    found = _find(SERVICE_NAME)  # another `up` may have made it in the meantime
    if found is None:
        raise StackRefused(
            f"PostgreSQL does not run as root, and the account {SERVICE_NAME} that it would use cannot be made "
            f"({reason}); make it yourself (useradd --system --user-group {SERVICE_NAME}), or run as a normal user"
        )
    return found


def can_enter(folder: Path, account: Account | None) -> bool:
    """Whether an account may pass through ``folder`` and all above it; None stands for an account yet to be made.

    What does not exist yet counts as open: we make it ourselves.
    """
    return all(_may_pass(part, account) for part in (folder, *folder.parents) if part.exists())


def _may_pass(folder: Path, account: Account | None) -> bool:
    status = folder.stat()
    if account is not None and account.uid == status.st_uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if account is not None and account.gid == status.st_gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _find(key: int | str) -> Account | None:
    try:
        entry = pwd.getpwuid(key) if isinstance(key, int) else pwd.getpwnam(key)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
