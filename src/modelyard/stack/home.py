"""The folder that everything lives in: where it is, what is in it, who may use it."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from modelyard.errors import DiskTooSmall, HomeRefused, ServiceFailed
from modelyard.settings import Settings
from modelyard.stack.accounts import SERVICE_NAME, Account, can_enter, find_service_account
from modelyard.stack.binaries import MAJOR

LAYOUT = 1
_ROOT_HOMES = Path("/var/lib/modelyard")
_OTHER = "or name another folder with MODELYARD_HOME"
_TRIAL = ".modelyard-trial-"
_LOCK_WAIT_S = 300.0

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Home:
    """The stack's folder. ``reason`` says why it is not the usual one, or is empty."""

    path: Path
    reason: str = ""

    @property
    def version(self) -> Path:
        return self.path / "VERSION"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def state(self) -> Path:
        return self.path / "state.json"

    @property
    def config(self) -> Path:
        """PostgreSQL's configuration and access rules, written at each start."""
        return self.path / "config"

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.path / "postgres"

    @property
    def socket(self) -> Path:
        return self.path / "socket"

    @property
    def mlflow(self) -> Path:
        """Working and temporary folder of the MLflow server."""
        return self.path / "mlflow"

    @property
    def workers(self) -> Path:
        """Working folder of the trainers, the evaluator and their supervisor, and the number of trainers."""
        return self.path / "workers"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    @property
    def raw(self) -> Path:
        return self.path / "raw"

    @property
    def logs(self) -> Path:
        return self.path / "logs"


def find_home(settings: Settings) -> Home:
    """Where the stack's folder is or would be; changes nothing.

    For root the usual place often lies under a folder that PostgreSQL's own account may not enter, such as
    ``/root``; then it is a folder in ``/var/lib/modelyard`` that is named after the usual one.

    Raises:
        HomeRefused: the folder was named and cannot be entered.
    """
    named = settings.home_dir()
    with refuse_errors(Home(named)):
        usual = named.resolve()
        usual.exists()  # raises where the folder above it is closed to us
    if os.geteuid() != 0 or can_enter(usual.parent, find_service_account()):
        return Home(usual)
    closed = next(part for part in reversed(usual.parents) if not can_enter(part, find_service_account()))
    reason = f"PostgreSQL does not run as root, and its account {SERVICE_NAME} may not enter {closed}"
    if settings.home is not None:
        raise HomeRefused(f"{usual} cannot be used: {reason}; name a folder elsewhere with MODELYARD_HOME")
    name = f"{usual.parent.name}-{sha256(os.fsencode(usual)).hexdigest()[:8]}"
    return Home(_ROOT_HOMES / name, f"{reason}, so not in {usual.parent}")


def check_home(home: Home, *, min_free_mb: int) -> None:
    """Refuse a folder that this release cannot or must not use; changes nothing.

    Raises:
        HomeRefused: not a folder, somebody else's, newer, another PostgreSQL, with other things in it, read-only.
        DiskTooSmall: less than ``min_free_mb`` MiB are free.
    """
    path = home.path
    with refuse_errors(home):
        if path.exists():
            if not path.is_dir():
                raise HomeRefused(f"{path} is not a folder; move it away, {_OTHER}")
            check_owner(home)
            _check_layout(home)
            _check_postgres(home)
        _check_writable(path)
        check_disk(home, min_free_mb=min_free_mb)


def check_disk(home: Home, *, min_free_mb: int) -> None:
    """Refuse a disk that is nearly full.

    Raises:
        DiskTooSmall: less than ``min_free_mb`` MiB are free.
    """
    free_bytes = shutil.disk_usage(_nearest(home.path)).free
    if free_bytes < min_free_mb * 2**20:
        raise DiskTooSmall(home.path, free_bytes=free_bytes, needed_bytes=min_free_mb * 2**20)


@contextmanager
def refuse_errors(home: Home) -> Iterator[None]:
    """Turn an error of the file system into a refusal of the folder.

    Raises:
        HomeRefused: with the file and the reason.
    """
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror} ({error.filename})" if error.filename else str(error)
        raise HomeRefused(f"{home.path} cannot be used: {reason}; change that, {_OTHER}") from error


def check_owner(home: Home) -> None:
    """Refuse a folder of somebody else.

    Raises:
        HomeRefused: naming the owner's id.
    """
    owner = home.path.stat().st_uid
    if owner != os.geteuid():
        raise HomeRefused(
            f"{home.path} belongs to user id {owner}, not to you ({os.geteuid()}); ask that user, {_OTHER}"
        )


def create_home(home: Home, account: Account) -> None:
    """Make the folder and what is in it, closed to everybody but its owner and PostgreSQL's account.

    Raises:
        HomeRefused: the file system does not allow it.
    """
    with refuse_errors(home):
        for parent in [part for part in reversed(home.path.parents) if not part.exists()]:
            parent.mkdir(exist_ok=True)
            if not account.is_caller:
                parent.chmod(0o755)  # whatever the umask: PostgreSQL's account passes through
        home.path.mkdir(mode=0o700, exist_ok=True)
        _close(home.path, account)
        if not home.version.exists():
            home.version.write_text(f"{LAYOUT}\n")
        for folder in (home.raw, home.logs, home.config, home.mlflow, home.workers, home.artifacts, home.socket):
            folder.mkdir(mode=0o700, exist_ok=True)
        _close(home.config, account, group_reads=True)


def give_folder(folder: Path, account: Account) -> None:
    """Make ``folder`` and all in it belong to ``account``; links are not followed."""
    if folder.stat().st_uid == account.uid:
        return
    for _, folders, files, at in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *files):
            os.chown(name, account.uid, account.gid, dir_fd=at, follow_symlinks=False)
    os.chown(folder, account.uid, account.gid)


@contextmanager
def hold_home(home: Home, report: Report) -> Iterator[None]:
    """Keep every other ``up`` and ``down`` of this folder waiting.

    Raises:
        HomeRefused: the lock's file cannot be opened.
        ServiceFailed: another one holds it for more than five minutes.
    """
    with refuse_errors(home):
        lock = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        give_up_s = time.monotonic() + _LOCK_WAIT_S
        told = False
        while not _try_lock(lock):
            if not told:
                report("another command starts or stops this stack; waiting for it")
                told = True
            if time.monotonic() > give_up_s:
                raise ServiceFailed(f"another command has held {home.lock} for five minutes; stop it and try again")
            time.sleep(0.05)
        yield
    finally:
        os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _close(folder: Path, account: Account, *, group_reads: bool = False) -> None:
    """Nobody but the owner; PostgreSQL's account, where it is another one, may pass through or also read."""
    if account.is_caller:
        folder.chmod(0o700)
    else:
        os.chown(folder, -1, account.gid)
        folder.chmod(0o750 if group_reads else 0o710)


def _check_layout(home: Home) -> None:
    try:
        text = home.version.read_text().strip()
    except FileNotFoundError:
        others = sorted(part.name for part in home.path.iterdir() if not part.name.startswith(_TRIAL))
        if others and others != [home.lock.name]:
            raise HomeRefused(f"{home.path} holds other things ({', '.join(others[:3])}); empty it, {_OTHER}") from None
        return
    if text and text != str(LAYOUT):
        raise HomeRefused(
            f"{home.path} was made by another release of modelyard (layout {text[:20]}, this one knows {LAYOUT}); "
            f"install that release or a newer one, {_OTHER}. Nothing was changed"
        )


def _check_postgres(home: Home) -> None:
    try:
        text = (home.data / "PG_VERSION").read_text().strip()
    except OSError:
        return
    if text != str(MAJOR):
        raise HomeRefused(
            f"{home.data} was made by PostgreSQL {text[:20]} and this release brings {MAJOR}; "
            f"install the release of modelyard that made it, {_OTHER}. Nothing was changed"
        )


def _check_writable(path: Path) -> None:
    folder = _nearest(path)
    # the answer of the file system counts: root passes every permission, and still cannot write everywhere
    with tempfile.NamedTemporaryFile(prefix=_TRIAL, dir=folder):
        pass


def _nearest(path: Path) -> Path:
    return next(part for part in (path, *path.parents) if part.is_dir())
