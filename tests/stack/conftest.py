"""One Compose stack for all tests that change nothing of its shape, and projects of their own for the others."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.stack.project import Project, open_project


@pytest.fixture(scope="session")
def project(engine: None) -> Iterator[Project]:
    """A healthy stack, from nothing; gone at the end with all that it stored."""
    with open_project() as project:
        project.up()
        yield project


@pytest.fixture(scope="session")
def open_another(engine: None) -> Callable[..., AbstractContextManager[Project]]:
    """Opens a project of a test's own: ``with open_another(environment={…}) as other: other.up()``."""
    return open_project


@pytest.fixture
def notebook(project: Project, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process may read and write artifacts, as a notebook on the host."""
    for name, value in project.notebook_environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def outcome(project: Project, real_data: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of one training through the command line, on the sample."""
    return project.launch("train", "california_housing", "--run-name", "first", "--json").checked().outcome
