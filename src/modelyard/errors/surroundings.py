"""A stack, a service or a network that does not allow what was asked for."""

from pathlib import Path

from modelyard.errors.base import ModelyardError


class StackRefused(ModelyardError):
    """The surroundings do not allow it; nothing was written."""

    exit_code = 2


class HomeRefused(StackRefused):
    """The stack's folder cannot be used: read-only, made by a newer release, somebody else's."""


class DiskTooSmall(StackRefused):
    """Less free disk than the work needs."""

    def __init__(self, path: Path, *, free_bytes: int, needed_bytes: int) -> None:
        self.path, self.free_bytes, self.needed_bytes = path, free_bytes, needed_bytes
        super().__init__(
            f"{path} has {free_bytes / 2**20:,.0f} MiB free and {needed_bytes / 2**20:,.0f} MiB are needed; "
            "free some space, or name another folder with MODELYARD_HOME"
        )


class StackNotRunning(StackRefused):
    """The stack is asked for something and is not up."""

    def __init__(self, text: str = "the stack is not running; start it with make up (modelyard up)") -> None:
        super().__init__(text)


class SecretMissing(StackRefused):
    """A secret is not there or damaged; the text names it, never its content."""

    def __init__(self, path: Path, *, hint: str = "") -> None:
        self.path = path
        if path.is_relative_to("/run/secrets"):
            hint = (
                hint or "it is a file of yours: uid 10001 must be able to read it (chmod 444 in a folder of mode 700)"
            )
        remedy = hint or "make up makes what is missing; what is damaged must be removed first"
        super().__init__(f"the secret {path} is missing, empty or damaged; {remedy}")


class MigrationRefused(StackRefused):
    """A migration that was applied has been edited, or is not known to this release."""


class ServiceFailed(StackRefused):
    """PostgreSQL, MLflow or the object store did not start, does not answer, or refuses."""


class AnswerLost(ServiceFailed):
    """A change was asked for, and the answer was cut off; the text names the command that does it once."""

    def __init__(self, text: str, *, by_hand: bool) -> None:
        self.exit_code = 130 if by_hand else 1
        super().__init__(text)


class DownloadFailed(ModelyardError):
    """A download did not finish, or its checksum differs."""


def find_remedy(error: BaseException) -> str | None:
    """What helps against an error of another package that does not say so itself; None where nothing is known."""
    if "libgomp" in str(error):
        return "install the system's OpenMP library (Debian, Ubuntu: apt install libgomp1; Fedora: dnf install libgomp)"
    return None
