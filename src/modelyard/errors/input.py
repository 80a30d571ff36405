"""What was asked for cannot be done as asked."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from modelyard.errors.base import BadInput


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


class InvalidWorkload(BadInput):
    """A file that is no workload: it cannot be imported, or does not keep the contract; every problem is listed."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        self.path, self.problems = path, list(problems)
        super().__init__(f"{path} is no workload: {'; '.join(self.problems)}")


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


class GroupsSeen(BadInput):
    """Rows that a model is to be judged by, of which some are of a group that it was trained on.

    Args:
        what: which rows.
        seen_by: the model.
        trained_on: its dataset.
        rows: how many there are.
        seen: how many of them are of such a group.
        column: of the groups.
        groups: those that were seen.
        command: scores the others.
    """

    def __init__(
        self,
        what: str,
        *,
        seen_by: str,
        trained_on: str,
        rows: int,
        seen: int,
        column: str,
        groups: Sequence[str],
        command: str,
    ) -> None:
        self.seen_by, self.trained_on, self.rows, self.seen, self.groups = seen_by, trained_on, rows, seen, list(groups)
        shown = f"{', '.join(groups[:5])}{', …' if len(groups) > 5 else ''}"
        super().__init__(
            f"{seen:,} of the {rows:,} {what} are of groups whose other rows {seen_by} was trained on in {trained_on} "
            f"({len(groups):,}, {column} {shown}), and nothing was judged by them. "
            f"{f'{command} scores the {rows - seen:,} others; ' if seen < rows else ''}"
            "--dataset NAME@VERSION names one with groups that none has seen"
        )


class UnsupportedFile(BadInput):
    """A file that none of our readers opens."""


class DriftNotMeasured(BadInput):
    """There is nothing to compare; that is a failure, and never the answer that nothing has drifted."""


class PersonRefused(BadInput):
    """A login of a person that cannot be made, changed or taken away as asked; the text gives the reason."""


class DigestRefused(BadInput):
    """A column type that has no canonical form."""
