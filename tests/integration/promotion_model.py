"""What must hold of a policy that people promote, roll back and approve: kept in plain lists beside the database."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar
from uuid import UUID

from hypothesis.stateful import RuleBasedStateMachine

from modelyard.errors import ModelyardError
from tests.integration.conftest import Records

PEOPLE = ("walker_bob", "walker_carol")  # each may train, promote and approve
PROMOTER = "walker_dan"  # may promote only


@dataclass
class Version:
    """A policy version as the model has it."""

    version: int
    model_version: str
    config: dict[str, Any]
    created_by: str
    policy_version_id: UUID


@dataclass
class Change:
    """A row of the log as the model has it; ``made_by`` is the place of the promotion whose state it is."""

    kind: str
    version: int
    replaced: int | None
    actor: str
    reason: str
    made_by: int
    gate: int
    request: UUID


@dataclass
class Approval:
    """Consent as the model has it."""

    version: int
    replaces: int | None
    by: str
    used: bool = False


@dataclass
class Yard:
    """What every walk shares: a database, connections, and names nobody has used yet."""

    database: Any
    records: Records
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.dataset_id = self.records.dataset().dataset_id
        names = (*PEOPLE, PROMOTER, "trainer", "evaluator", "application", "alice_viewer", "alice_trainer", "postgres")
        self.as_role = {name: self.database.connect(name) for name in names}


class Model(RuleBasedStateMachine):
    """A policy as it must be: its versions, stages, log and approvals, whatever the database says."""

    yard: ClassVar[Yard]

    def __init__(self) -> None:
        super().__init__()
        number = next(self.yard.numbers)
        self.policy, self.model = f"walk{number}_policy", f"walk{number}_model"
        self.asked_by: dict[str, str | None] = {}  # model version → who asked for its training
        self.verdicts: dict[tuple[str, int, int | None], bool] = {}  # model version, gate, compared with → passed
        self.moves: dict[str, list[tuple[str, str]]] = {}  # model version → its moves from stage to stage
        self.versions: list[Version] = []
        self.live: int | None = None
        self.log: list[Change] = []
        self.done: dict[UUID, tuple[Any, int]] = {}  # request → its arguments, the place of its change
        self.approvals: list[Approval] = []
        self.required = False
        self.gate: int | None = None
        self.gate_of_a_person = False

    def _connect(self, who: str) -> Any:
        return self.yard.as_role[who]

    def _get(self, version: int | None) -> Version | None:
        return next((one for one in self.versions if one.version == version), None)

    def _stage(self, model_version: str) -> str:
        live = self._get(self.live)
        if live is not None and live.model_version == model_version:
            return "production"
        return self.moves[model_version][-1][1] if self.moves[model_version] else "none"

    def _move(self, model_version: str, to: str, *, stage: str | None = None) -> None:
        self.moves[model_version].append((stage or self._stage(model_version), to))

    def _passed(self, target: Version) -> bool:
        """Whether it has passed the gate of now against the model version that is live."""
        live = self._get(self.live)
        for (model_version, gate, compared), passed in self.verdicts.items():
            if not passed or gate != self.gate or model_version != target.model_version:
                continue
            other = self._get(compared)
            if live is not None and live.model_version == target.model_version:
                return True
            if (other and other.model_version) == (live and live.model_version):
                return True
        return False

    def _find_approval(self, version: int, *, of_others_than: str | None = None, by: str | None = None) -> Any:
        for approval in reversed(self.approvals):
            if (approval.version, approval.replaces, approval.used) != (version, self.live, False):
                continue
            if approval.by != of_others_than and by in (None, approval.by):
                return approval
        return None

    def _put_live(self, change: Change) -> None:
        old, new = self._get(self.live), self._get(change.version)
        assert new is not None
        before = self._stage(new.model_version)
        if old is None or old.model_version != new.model_version:
            if old is not None:
                self._move(old.model_version, "archived", stage="production")
            self._move(new.model_version, "production", stage=before)
        self.live = change.version
        self.log.append(change)

    def _try(self, error: type[ModelyardError] | None, texts: list[str], call: Callable[[], Any]) -> Any:
        """Do it; it ends in exactly this error with all these texts, or in none."""
        try:
            found = call()
        except ModelyardError as raised:
            assert type(raised) is error, f"{raised!r}, and the model says {error}"
            for text in texts:
                assert text in str(raised), raised
            return None
        assert error is None, f"the model says {error} {texts}"
        return found
