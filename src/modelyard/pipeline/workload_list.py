"""Which workloads there are, with the state of their data; and the template of a new one."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from modelyard.errors import BadInput
from modelyard.pipeline.incoming import find_preferred
from modelyard.workloads.own import check_name
from modelyard.workloads.registry import NAMES, RESERVED, get_workload, list_own, locate_workload

_TEMPLATE = "my_workload"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedWorkload:
    """A workload as it is listed.

    Attributes:
        name, title, task: what it is called and does.
        metric: its primary metric, and its ``unit``.
        model_types: the first one is the default.
        files: raw files of the data folder that a command without ``--data`` takes; empty: the public download is
            tried, then the sample.
        path: of a file of one's own; None where it ships.
    """

    name: str
    title: str
    task: str
    metric: str
    unit: str
    model_types: tuple[str, ...]
    files: tuple[str, ...]
    path: str | None


def list_workloads(*, places: Sequence[Path], data_dir: Path) -> list[ListedWorkload]:
    """Those that ship, then the files in ``places``.

    Raises:
        BadInput: as ``list_own`` does.
        InvalidWorkload: a file is none.
    """
    own = list_own(places)
    found = []
    for name in (*NAMES, *own):
        workload = locate_workload(name, places=places) if name in own else get_workload(name)
        spec = workload.spec
        there = find_preferred(data_dir / name, spec.raw_files) or find_preferred(data_dir, spec.raw_files) or ()
        found.append(
            ListedWorkload(
                name=name,
                title=spec.title,
                task=str(spec.task),
                metric=spec.primary_metric.name,
                unit=spec.primary_metric.unit,
                model_types=tuple(spec.model_types),
                files=tuple(map(str, there)),
                path=str(own[name]) if name in own else None,
            )
        )
    return found


def fill_template(name: str) -> str:
    """The text of a small complete workload called ``name``.

    Raises:
        BadInput: it cannot be called so.
    """
    problem = check_name(name, reserved=RESERVED)
    if problem:
        raise BadInput(f"{name!r} cannot be the name of a workload: {problem}")
    text = files("modelyard.workloads.templates").joinpath(f"{_TEMPLATE}.py").read_text(encoding="utf-8")
    return text.replace(_TEMPLATE, name)


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet.

    Raises:
        BadInput: it is there, or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadInput(f"{path} is there already and was not touched; give another name, or another --output") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}; name another file with --output") from None
