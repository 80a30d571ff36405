"""Jobs, and the steps of which they are made."""

from modelyard.errors.base import BadInput, ModelyardError


class WorkHeld(ModelyardError):
    """Another process does this very work now."""

    exit_code = 2


class JobRefused(ModelyardError):
    """A job is in a state in which this cannot be done with it."""

    exit_code = 2


class JobFailed(ModelyardError):
    """A job that was followed has failed, or was cancelled; exit code 2 where its input was refused."""

    def __init__(self, text: str, *, bad_input: bool = False) -> None:
        self.exit_code = BadInput.exit_code if bad_input else ModelyardError.exit_code
        super().__init__(text)


class FollowingStopped(ModelyardError):
    """Whoever followed a job follows it no more; the job goes on."""

    exit_code = 130


class AttemptLost(ModelyardError):
    """Another attempt has taken this job over; nothing more is written for it."""


class StepFailed(ModelyardError):
    """A step of the pipeline ended in an error, which is its ``__cause__``.

    Args:
        step: which step, e.g. ``training``.
        cause: the error in one line.
        run_url: the page of the FAILED run with the traceback, if there is a run.
    """

    def __init__(self, step: str, cause: str, *, run_url: str | None = None) -> None:
        self.step, self.cause, self.run_url = step, cause, run_url
        where = f" (traceback: {run_url})" if run_url else ""
        super().__init__(f"{step} failed: {cause}{where}")
