"""Several people on one stack, each with a login and a password of their own."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.stack.project import PERSON, Ended, Project

PROMOTE = ("promote", "california_housing_policy", "--version", "1", "--expected", "0", "--dry-run", "--json")


@dataclass(frozen=True)
class Colleague:
    """Somebody with a login, whose password is in a file of theirs."""

    project: Project
    name: str
    file: Path

    def launch(self, *words: str, **settings: str) -> Ended:
        """Give a command as this person."""
        own = {"MODELYARD_PERSON": self.name, "MODELYARD_PASSWORD_FILE": str(self.file)}
        return self.project.launch(*words, **own | settings)


def make(project: Project, folder: Path, name: str, role: str) -> Colleague:
    file = folder / name
    file.write_text(f"the-password-of-{name}\n")
    file.chmod(0o644)  # root's own files are no container's; the folder is closed to everybody else
    made = project.launch("user", "add", name, "--role", role, "--password-file", str(file)).checked()
    assert f"{name}: {role}" in made.stdout
    assert "the-password-of" not in made.stdout + made.stderr
    return Colleague(project, name, file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("passwords")
    found.chmod(0o700)
    return found


@pytest.fixture(scope="module")
def grace(project: Project, folder: Path, outcome: Any) -> Iterator[Colleague]:
    """She may promote."""
    yield make(project, folder, "grace", "promoter")
    project.launch("user", "remove", "grace").checked()


@pytest.fixture(scope="module")
def hugo(project: Project, folder: Path, outcome: Any) -> Iterator[Colleague]:
    """He may look."""
    yield make(project, folder, "hugo", "viewer")
    project.launch("user", "remove", "hugo").checked()


def list_people(project: Project) -> dict[str, list[str]]:
    return {one["name"]: sorted(one["roles"]) for one in project.launch("user", "list", "--json").checked().outcome}


def test_a_second_person_promotes_under_her_own_name(grace: Colleague) -> None:
    told = grace.launch(*PROMOTE).checked().outcome
    assert (told["actor"], told["version"]) == ("grace", 1)
    assert grace.launch("psql", "--sql", "select session_user").checked().stdout == "grace\n"


def test_a_third_person_sees_everything_and_changes_nothing(hugo: Colleague) -> None:
    assert "california_housing_policy" in hugo.launch("policies").checked().stdout
    for words in (PROMOTE, ("train", "california_housing")):
        refused = hugo.launch(*words)
        assert refused.code == 2, refused.stdout
        assert "hugo may not" in refused.stderr
    with psycopg.connect(
        host="127.0.0.1",
        port=hugo.project.environment["MODELYARD_POSTGRES_PORT"],
        dbname="modelyard",
        user="hugo",
        password=hugo.file.read_text().strip(),
        autocommit=True,
    ) as connection:
        connection.execute("TABLE exp.promotion_history")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT exp.promote('california_housing_policy', 1, 0)")


def test_nobody_is_another_person_without_that_persons_password(grace: Colleague, hugo: Colleague) -> None:
    wrong = grace.launch("policies", MODELYARD_PASSWORD_FILE=str(hugo.file))
    assert (wrong.code, "password authentication failed" in wrong.stderr) == (2, True), wrong.stderr
    unknown = grace.launch("policies", MODELYARD_PERSON="nobody_here")
    assert (unknown.code, "password authentication failed" in unknown.stderr) == (2, True), unknown.stderr
    without = grace.launch("policies", MODELYARD_PASSWORD_FILE="")
    assert without.code == 2
    assert "user add grace --role ROLE" in without.stderr
    assert f"or be {PERSON}, with MODELYARD_PERSON" in without.stderr


def test_a_start_as_somebody_else_gives_nobody_a_login_or_a_right(grace: Colleague, project: Project) -> None:
    before = list_people(project)
    project.compose("run", "--rm", "--no-deps", "secrets", MODELYARD_PERSON="mallory").checked()
    project.compose("run", "--rm", "--no-deps", "init", MODELYARD_PERSON="mallory").checked()
    assert list_people(project) == before
    assert not [place for place in project.read_secrets() if "mallory" in place or "grace" in place]
    grace.launch("policies").checked()


def test_a_right_that_was_taken_away_stays_away_at_the_next_start(project: Project, outcome: Any) -> None:
    before = list_people(project)[PERSON]
    try:
        project.launch("user", "change", PERSON, "--role", "viewer").checked()
        project.compose("run", "--rm", "--no-deps", "init").checked()
        assert list_people(project)[PERSON] == ["viewer"]
    finally:
        project.launch("user", "change", PERSON, *(word for role in before for word in ("--role", role))).checked()
    assert list_people(project)[PERSON] == before


def test_a_password_that_is_made_is_shown_once_and_opens_the_login(project: Project, folder: Path) -> None:
    made = project.launch("user", "add", "ines", "--role", "trainer", "--json").checked()
    try:
        password = json.loads(made.stdout)["password"]
        assert password not in made.stderr
        file = folder / "ines"
        file.write_text(password)
        file.chmod(0o644)
        ines = Colleague(project, "ines", file)
        assert ines.launch("psql", "--sql", "select session_user").checked().stdout == "ines\n"
        assert password not in project.compose("logs").stdout
    finally:
        project.launch("user", "remove", "ines").checked()
    gone = ines.launch("policies")
    assert (gone.code, "password authentication failed" in gone.stderr) == (2, True), gone.stderr
