"""One Compose stack for all tests that change nothing of its shape, and projects of their own for the others."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pyarrow.compute as pc
import pytest
from pyarrow import csv

from modelyard.workloads.registry import get_workload
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


@pytest.fixture
def list_objects(project: Project) -> Callable[[str], set[str]]:
    """Lists by their paths the objects in the bucket that are artifacts of a run, of a deleted one too."""

    def list_them(run_id: str) -> set[str]:
        prefix = f"{urlparse(project.mlflow().get_run(run_id).info.artifact_uri).path.strip('/')}/"
        pages = project.s3("backup").get_paginator("list_objects_v2").paginate(Bucket=project.bucket, Prefix=prefix)
        return {entry["Key"].removeprefix(prefix) for page in pages for entry in page.get("Contents", [])}

    return list_them


@pytest.fixture(scope="session")
def write_houses(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes rows of the sample into a file: ``write_houses(path, 0, 500, income=1.7)`` has 1.7 times their incomes."""
    sample = get_workload("california_housing").sample(tmp_path_factory.mktemp("sample"))[0]
    table = csv.read_csv(sample)

    def write(path: Path, first: int, last: int, *, income: float = 1.0) -> Path:
        path.parent.mkdir(exist_ok=True)
        rows = table.slice(first, last - first)
        place = rows.column_names.index("median_income")
        csv.write_csv(rows.set_column(place, "median_income", pc.multiply(rows["median_income"], income)), path)
        return path

    return write
