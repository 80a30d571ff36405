"""What is on record does not allow it, or is not what was recorded."""

from collections.abc import Sequence

from modelyard.errors.base import ModelyardError


class ContractNotMet(ModelyardError):
    """A run lacks what it must have logged before its model may be registered; all of it is listed."""

    exit_code = 3

    def __init__(self, run_id: str, missing: Sequence[str]) -> None:
        self.run_id, self.missing = run_id, list(missing)
        super().__init__(f"run {run_id} cannot be registered, it lacks: {', '.join(self.missing)}")


class ContentMismatch(ModelyardError):
    """Bytes are not those that were recorded."""

    def __init__(self, what: str, *, expected: str, found: str) -> None:
        self.what, self.expected, self.found = what, expected, found
        super().__init__(
            f"{what} is not what was recorded: expected sha256 {expected}, found {found}; it was refused. "
            "Put it back from a backup, or name another dataset or model version"
        )


class UntrustedModel(ModelyardError):
    """A model that only a pickle, or types outside the allow-list, could open; nothing of it was opened."""


class ModelFailed(ModelyardError):
    """A model's own code failed, or a package that it needs is missing, or its answers are not one a row."""


class RecordNotFound(ModelyardError):
    """A row that was asked for is not in the database."""


class RecordConflict(ModelyardError):
    """Something else is recorded under this key; recorded facts are never changed."""


class PolicyVersionRefused(ModelyardError):
    """A policy does not take this model version; the text gives the reason."""

    exit_code = 3


class GateRefused(ModelyardError):
    """A gate is not declared; the text gives the reason."""

    exit_code = 2


class PromotionRefused(ModelyardError):
    """What is live for a policy is not changed: the rules say no, and the text gives every reason.

    ``evaluation_helps`` where a passed evaluation is all that is missing.
    """

    exit_code = 3

    def __init__(self, text: str, *, evaluation_helps: bool = False) -> None:
        self.evaluation_helps = evaluation_helps
        super().__init__(text)


class PromotionConflict(ModelyardError):
    """Another version is live than whoever asked expected: somebody else came first, and is named."""

    exit_code = 2


class RequestReused(ModelyardError):
    """This request id was used before, with other arguments."""

    exit_code = 2


class ApprovalRefused(ModelyardError):
    """Who asks may not approve this version, or may not change that an approval is needed."""

    exit_code = 3


class RecordLost(ModelyardError):
    """MLflow or the raw store no longer has what the database names."""


class RemovalRefused(ModelyardError):
    """A dataset cannot be deleted: something refers to it (``dependents``), or who asks may not delete."""

    exit_code = 2

    def __init__(self, text: str, *, dependents: Sequence[object] = ()) -> None:
        self.dependents = list(dependents)
        super().__init__(text)


class RightMissing(ModelyardError):
    """Who asks may not do this; the text names the group of people who may."""

    exit_code = 2
