"""Workers with further packages, of the embedded stack: a virtual environment and a queue for each.

Such an environment sees all that Modelyard itself is installed with, in the very same versions, and adds to that.
"""

import re
import shutil
import signal
import site
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path

from modelyard.errors import BadInput, ServiceFailed, UnknownName
from modelyard.settings import Settings
from modelyard.stack import embedded
from modelyard.stack.home import Home, Report, find_home, hold_home, refuse_errors
from modelyard.stack.logs import read_log_tail
from modelyard.stack.processes import is_alive, stop_processes
from modelyard.stack.state import load_state
from modelyard.stack.supervisor import ENVIRONMENT, STOP_WAIT_S, list_names, list_queues
from modelyard.stack.workers import list_workers, wake_supervisor
from modelyard.store.connections import connect
from modelyard.store.following import count_workers
from modelyard.store.jobs import DEFAULT_QUEUE, check_queue

REQUIREMENTS = "requirements.txt"
_START_WAIT_S = 60.0
_STOP = {signal.SIGTERM: STOP_WAIT_S + 5.0, signal.SIGKILL: 5.0}
_ELSEWHERE = re.compile(r"-[rcef]|--(requirement|constraint|editable|find-links)\b|\.{0,2}/|([^#]*@\s*)?file:")
_REASON = re.compile(r"ERROR: |\s+(The user requested|\S+ \S+ depends on) ")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnWorkers:
    """A trainer and an evaluator with further packages.

    Attributes:
        name: theirs, and that of their queue.
        requirements: the file of their packages, as it was given.
        running: how many of the two run now.
    """

    name: str
    requirements: Path
    running: int


def add_workers(settings: Settings, report: Report, *, name: str, requirements: Path) -> None:
    """Give the queue ``name`` a trainer and an evaluator with the packages of a requirements file, and start them.

    Where there are some, those with the new packages take their place. The stack is started first if need be.

    Raises:
        BadInput: no name of a queue, a file that cannot be used, or packages that cannot be installed beside
            Modelyard's own; workers that there were go on as before.
        ServiceFailed: the workers do not start, with their log's last lines.
        StackRefused: as ``embedded.up``.
    """
    check_name(name)
    text = read_requirements(requirements)
    addresses = embedded.up(settings, report)
    home = find_home(settings)
    folder = home.workers / name
    with refuse_errors(home), hold_home(home, report):
        constraints = _list_installed()
        made = sha256("\n".join([text, *constraints, sys.version, sys.prefix]).encode()).hexdigest()[:12]
        if _read_environment(folder) != made:
            report(f"workers {name}: installing the packages of {requirements}")
            _build(folder / made, text, constraints, what=f"workers {name}")
            # those of before end first: whatever ends us from here on, none is left with packages that are not named
            (folder / ENVIRONMENT).unlink(missing_ok=True)
            _wake(home)
            _stop(home, name)
            _write(folder / REQUIREMENTS, text)
            _write(folder / ENVIRONMENT, f"{made}\n")
            for old in folder.iterdir():
                if old.is_dir() and old.name != made:
                    shutil.rmtree(old)
        _wake(home)

        def connected() -> bool:
            with connect(addresses.dsn(addresses.person)) as connection:
                return all(count_workers(connection, role=role, queue=name) for role in ("trainer", "evaluator"))

        _wait_started(home, name, connected)


def remove_workers(settings: Settings, report: Report, *, name: str) -> None:
    """End the workers of a queue and remove their packages; what they were at is given back, and jobs wait.

    Raises:
        UnknownName: there are none of that name.
        ServiceFailed: they do not end.
    """
    home = find_home(settings)
    with refuse_errors(home):
        if name not in list_queues(home.workers):
            raise UnknownName("worker", name, list_queues(home.workers))
        with hold_home(home, report):
            (home.workers / name / ENVIRONMENT).unlink(missing_ok=True)
            _wake(home)
            _stop(home, name)
            shutil.rmtree(home.workers / name)


def list_own_workers(settings: Settings) -> list[OwnWorkers]:
    """The workers with further packages, by name, whether they run or not."""
    home = find_home(settings)
    running = list_workers(home)
    return [
        OwnWorkers(
            name=name,
            requirements=home.workers / name / REQUIREMENTS,
            running=sum(worker in running for worker in _name_both(name)),
        )
        for name in list_queues(home.workers)
    ]


def check_name(name: str) -> None:
    """Refuse what cannot name workers of one's own.

    Raises:
        BadInput: it is no name of a queue, or that of the stack's own.
    """
    check_queue(name)
    if name == DEFAULT_QUEUE:
        raise BadInput(f"{DEFAULT_QUEUE} is the queue of the stack's own workers; give yours another name")


def read_requirements(path: Path) -> str:
    """A requirements file, which stands for itself: only its text is kept.

    Raises:
        BadInput: it is not there, no text, names no package, or another file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BadInput(f"the requirements {path} cannot be read: {reason}; name a file as pip reads it") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    named = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not named:
        raise BadInput(f"the requirements {path} name no package; write one a line, e.g. mne==1.10.2")
    for number, line in named:
        if _ELSEWHERE.match(line):
            raise BadInput(
                f"line {number} of the requirements {path} names another file ({line}), and only this one is handed "
                "in; write the packages themselves into it (pip-compile does)"
            )
    return text


def _list_installed() -> list[str]:
    """All that Modelyard is installed with, as ``name==version``: it stays as it is."""
    found: dict[str, str] = {}
    for one in distributions():
        if one.name:
            found.setdefault(one.name.lower(), f"{one.name}=={one.version}")  # of two the first is imported
    return sorted(found.values())


def _build(environment: Path, text: str, constraints: list[str], *, what: str) -> None:
    """Make a virtual environment that sees the packages of this one, and install more into it; all of it or nothing."""
    environment.parent.mkdir(mode=0o700, exist_ok=True)
    shutil.rmtree(environment, ignore_errors=True)
    try:
        venv.EnvBuilder(symlinks=True).create(environment)
        [packages] = environment.glob("lib/python*/site-packages")
        # as folders of packages of its own, whose .pth files count too: Modelyard itself may be installed by one
        lines = [f"import site; site.addsitedir({folder!r})\n" for folder in site.getsitepackages()]
        (packages / "modelyard.pth").write_text("".join(lines))
        asked, fixed = environment / REQUIREMENTS, environment / "constraints.txt"
        asked.write_text(text)
        fixed.write_text("\n".join(constraints))
        pip = [str(environment / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
        done = subprocess.run(
            [*pip, "install", "--progress-bar", "off", "--constraint", fixed, "--requirement", asked],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BadInput(f"{what}: the packages could not be installed: {explain_pip(done.stdout)}")
    except BaseException:
        shutil.rmtree(environment, ignore_errors=True)
        raise


def explain_pip(said: str) -> str:
    """What pip says of a failure, in one line, and what to do."""
    lines = [line for line in said.splitlines() if line.strip()]
    reasons = [line.strip().removeprefix("ERROR: ") for line in lines if _REASON.match(line)] or lines[-3:]
    text = "; ".join(dict.fromkeys(reasons))[:1500]
    if "(constraint)" in text:
        return f"{text}; Modelyard's own packages stay as they are: ask for versions that go with them"
    return f"{text}; correct the requirements (no network? an index of your own: PIP_INDEX_URL)"


def _read_environment(folder: Path) -> str | None:
    try:
        return (folder / ENVIRONMENT).read_text().strip()
    except FileNotFoundError:
        return None


def _write(path: Path, text: str) -> None:
    """Write a file; a reader sees all of it or the one before."""
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text)
    unfinished.replace(path)


def _name_both(name: str) -> list[str]:
    return [worker for worker in list_names(0, [name]) if worker.endswith(f"-{name}")]


def _wake(home: Home) -> None:
    state = load_state(home.state)
    if state is not None and state.supervisor is not None and state.supervisor.running:
        wake_supervisor(state.supervisor)


def _stop(home: Home, name: str) -> None:
    """End the workers of a queue; the supervisor starts them again where they are still to be there."""
    before = [process for worker in _name_both(name) for process in list_workers(home).get(worker, [])]
    stop_processes(lambda: filter(is_alive, before), signals=_STOP)
    if any(map(is_alive, before)):
        raise ServiceFailed(f"the workers {name} do not end; their logs are in {home.logs}")


def _wait_started(home: Home, name: str, connected: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + _START_WAIT_S
    while not connected():
        if time.monotonic() > give_up_s:
            log = home.logs / f"trainer-{name}.log"
            raise ServiceFailed(f"the workers {name} did not start; {log} ends with: {read_log_tail(log)}")
        time.sleep(0.1)
