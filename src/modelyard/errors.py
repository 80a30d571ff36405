"""Every error that Modelyard raises on purpose.

ModelyardError                    exit code 1
├── BadInput                      exit code 2: what was asked for cannot be done as asked
│   ├── UnknownName               a workload, model type or parameter that does not exist
│   ├── InvalidParameter
│   ├── InvalidSetting
│   ├── RawDataNotFound
│   ├── RawDataMalformed
│   ├── DatasetRefused            a dataset that cannot be trained on as asked
│   ├── VersionRefused            a version that a dataset cannot have
│   ├── SchemaMismatch            input with other columns than a model was trained on
│   ├── DataInvalid               rows that are not as their workload expects
│   ├── InvalidExpectation        an expectation that cannot be checked
│   ├── InvalidRules              a contract or a gate that cannot be read
│   ├── NothingLive               a policy of which no version is live
│   ├── RowsSeen                  rows that a model was trained on, where it is to be judged by them
│   ├── UnsupportedFile           a file that no reader of ours opens
│   ├── DriftNotMeasured          there is nothing to compare
│   ├── PersonRefused             a login that cannot be made, changed or taken away as asked
│   └── DigestRefused             a column type that has no canonical form
├── StackRefused                  exit code 2: the surroundings do not allow it
│   ├── HomeRefused               the stack's folder: read-only, newer, somebody else's
│   ├── DiskTooSmall
│   ├── StackNotRunning
│   ├── SecretMissing             a service's password or key is not there or damaged
│   ├── MigrationRefused          an edited or unknown applied migration
│   └── ServiceFailed             PostgreSQL, MLflow or the object store did not start or answer
│       └── AnswerLost            whoever asked for a change does not know whether it was done; exit code 130 by Ctrl-C
├── DownloadFailed
├── ContractNotMet                exit code 3: a run lacks what it must have logged
├── ContentMismatch               bytes are not those that were recorded
├── UntrustedModel                a model that only a pickle or types outside the allow-list could open
├── ModelFailed                   a model's own code failed, or its answers are no predictions
├── RecordNotFound                a row that was asked for is not in the database
├── RecordConflict                something else is recorded under this key
├── PolicyVersionRefused          exit code 3: a policy does not take this model version
├── GateRefused                   exit code 2: a gate is not declared
├── PromotionRefused              exit code 3: the rules say no, with every reason
├── PromotionConflict             exit code 2: another version is live than was expected
├── RequestReused                 exit code 2: a request id that stands for another change
├── ApprovalRefused               exit code 3: who asks may not approve this
├── RecordLost                    MLflow or the raw store no longer has what the database names
├── RemovalRefused                exit code 2: a dataset cannot be deleted, or not by who asks
├── RightMissing                  exit code 2: who asks may not do this
├── WorkHeld                      exit code 2: another process does this very work now
├── JobRefused                    exit code 2: a job cannot be cancelled or tried again as it is
├── JobFailed                     a job that was followed has failed or was cancelled; exit code 2 if its input was bad
├── FollowingStopped              exit code 130: by Ctrl-C, and the job goes on
├── AttemptLost                   another attempt has taken this job over
└── StepFailed                    a step of the pipeline ended in an error
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path


class ModelyardError(Exception):
    """The base of every error of ours; its text says what is wrong and what to do."""

    exit_code = 1


class BadInput(ModelyardError):
    """What was asked for cannot be done as asked; nothing was written."""

    exit_code = 2


def find_bad_input(line: str) -> str | None:
    """The text of a BadInput that a job has recorded in one line, after its class and a colon; None of others."""
    name, _, text = line.partition(": ")
    known = globals().get(name)
    return text if isinstance(known, type) and issubclass(known, BadInput) else None


class UnknownName(BadInput):
    """A name that does not exist; the text suggests the nearest one."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        near = get_close_matches(name, self.known, n=1, cutoff=0.5)
        text = f"there is no {kind} {name!r}"
        text += f"; did you mean {near[0]!r}?" if near else "."
        text += f" Known: {', '.join(self.known) or 'none'}."
        super().__init__(f"{text} {hint}".rstrip())


class InvalidParameter(BadInput):
    """A parameter whose value its workload does not take."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


class InvalidSetting(BadInput):
    """A setting (environment variable) with a value that cannot be used."""


class RawDataNotFound(BadInput):
    """Raw data that was named is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"there is no file {path}; name one that exists with --data (make train DATA=…)")


class RawDataMalformed(BadInput):
    """Raw data that its workload cannot read; every problem is listed."""

    def __init__(self, path: Path | str, problems: Sequence[str], *, hint: str = "") -> None:
        self.path, self.problems = path, list(problems)
        super().__init__(f"{path}: {'; '.join(self.problems)}. {hint}".rstrip())


class DatasetRefused(BadInput):
    """A dataset that cannot be trained on as asked; the text gives the reason."""


class VersionRefused(BadInput):
    """A version that a dataset cannot have: another has it, this one has another, or it is not written like one."""


class SchemaMismatch(BadInput):
    """Input with other columns than a model was trained on; every difference is listed."""

    def __init__(self, what: str, expected: str, differences: Sequence[str]) -> None:
        self.what, self.expected, self.differences = what, expected, list(differences)
        super().__init__(f"{what} does not have the columns of {expected}: {'; '.join(self.differences)}")


class DataInvalid(BadInput):
    """Rows that are not as their workload expects; every rule that does not hold, with its count and examples.

    ``violations`` has them all, and the text the first ten; ``rows`` says of which rows they are.
    """

    def __init__(self, violations: Sequence[object], *, rows: str = "the data") -> None:
        self.violations = list(violations)
        n = len(self.violations)
        shown = "; ".join(map(str, self.violations[:10])) + (f"; and {n - 10} more" if n > 10 else "")
        super().__init__(
            f"{rows} breaks {n} expectation{'' if n == 1 else 's'} of its workload, and nothing was logged: {shown}. "
            "Correct the data; --allow-invalid records it anyway"
        )


class InvalidExpectation(BadInput):
    """Expectations that cannot be checked; every mistake is listed, and it is the workload that must be corrected."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__(f"the workload's expectations cannot be checked: {'; '.join(self.problems)}")


class InvalidRules(BadInput):
    """Rules that cannot be read; every problem of the file is listed."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source, self.problems = source, list(problems)
        super().__init__(f"{source}: {'; '.join(self.problems)}")


class NothingLive(BadInput):
    """A policy of which no version is live: there is nothing to load."""

    def __init__(self, policy_id: str) -> None:
        self.policy_id = policy_id
        super().__init__(f"policy {policy_id} has no live version; promote one, or name {policy_id}@VERSION")


class RowsSeen(BadInput):
    """Rows that a model is to be judged by, of which it was trained on some.

    Args:
        what: which rows.
        seen_by: the model.
        trained_on: its dataset.
        rows: how many there are.
        seen: how many of them it was trained on.
        examples: numbers of some in their dataset, counted from 0.
        command: scores the others.
    """

    def __init__(
        self, what: str, *, seen_by: str, trained_on: str, rows: int, seen: int, examples: Sequence[int], command: str
    ) -> None:
        self.seen_by, self.trained_on, self.rows, self.seen, self.examples = seen_by, trained_on, rows, seen, examples
        super().__init__(
            f"{seen:,} of the {rows:,} {what} are among the rows of {trained_on} that {seen_by} was trained on "
            f"(row {', '.join(map(str, examples))}{', …' if seen > len(examples) else ''}), and nothing was judged by "
            f"them. {f'{command} scores the {rows - seen:,} others; ' if seen < rows else ''}"
            "--dataset NAME@VERSION names one that none has seen"
        )


class UnsupportedFile(BadInput):
    """A file that none of our readers opens."""


class DriftNotMeasured(BadInput):
    """There is nothing to compare; that is a failure, and never the answer that nothing has drifted."""


class PersonRefused(BadInput):
    """A login of a person that cannot be made, changed or taken away as asked; the text gives the reason."""


class DigestRefused(BadInput):
    """A column type that has no canonical form."""


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
