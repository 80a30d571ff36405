"""What every test has: a clean environment, and one embedded stack for all that need it."""

import os
import signal
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelyard.settings import Settings, load_settings
from modelyard.stack import embedded, postgres
from modelyard.stack.addresses import Addresses
from modelyard.stack.home import Home

pytest.register_assert_rewrite("tests.integration.outcomes")  # so that its assertions show what they found

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # started in the background: children would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)

NO_ENGINE = "no Docker engine with Compose answers"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With REQUIRE_ALL set, as in CI, a skipped test is a failed one."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("REQUIRE_ALL"):
        report.outcome = "failed"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Where no engine answers, name the tests of the Compose stack that did not run, last of all."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if NO_ENGINE in str(report.longrepr)]
    if skipped:
        terminalreporter.section("the Compose stack was not tested", yellow=True)
        files = Counter(report.nodeid.partition("::")[0] for report in skipped)
        for file, nb_tests in files.items():
            terminalreporter.line(f"{file}: {nb_tests} tests did not run")
        terminalreporter.line(f"{NO_ENGINE}; install Docker with Compose and start it, and make test runs them too")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the person who runs the tests reaches them."""
    for name in list(os.environ):
        if name.startswith(("MODELYARD_", "MLFLOW_")) and name != "MODELYARD_TEST_DATA_DIR":
            monkeypatch.delenv(name)
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that other users may enter: as root PostgreSQL runs as one, and pytest's are closed to it."""
    with tempfile.TemporaryDirectory(prefix="modelyard-tests-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def write_lazily(home: Home) -> None:
    """Let PostgreSQL not wait for the disk: nothing here has to outlive a power cut, and other tests keep it busy."""
    with (home.config / "postgresql.conf").open("a") as config:
        config.write("fsync = off\nfull_page_writes = off\n")
    postgres.list_server_processes(home)[0].send_signal(signal.SIGHUP)


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine with Compose; without one these tests are skipped, or fail where REQUIRE_STACK is set."""
    try:
        for command in (["docker", "version"], ["docker", "compose", "version"]):
            subprocess.run(command, capture_output=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        if os.environ.get("REQUIRE_STACK"):
            pytest.fail(f"{NO_ENGINE}, and REQUIRE_STACK asks for one: {error}")
        pytest.skip(f"{NO_ENGINE}: {error}")


@pytest.fixture(scope="session")
def stack_settings() -> Iterator[Settings]:
    """Settings of the tests' own stack, in a folder of its own."""
    with open_folder() as folder:
        yield Settings(_env_file=None, home=folder / "home", mlflow_port=free_port(), data_dir=folder / "data")


@pytest.fixture(scope="session")
def stack(stack_settings: Settings) -> Iterator[Addresses]:
    """A running embedded stack; stopped at the end whatever happened."""
    try:
        stack = embedded.up(stack_settings, print)
        write_lazily(Home(stack.home))
        yield stack
    finally:
        embedded.down(stack_settings, print)


@pytest.fixture(scope="session")
def real_data() -> Path | None:
    """Folder with the real raw data (``<workload>/<file>``), or None where there is none."""
    folder = Path(os.environ.get("MODELYARD_TEST_DATA_DIR", "data"))
    return folder if (folder / "california_housing").is_dir() else None
