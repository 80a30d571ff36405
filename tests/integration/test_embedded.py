"""The embedded stack, for real: one stack for the module, in a folder too deep for a socket, on a taken port."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest

from modelyard.errors import ServiceFailed
from modelyard.settings import Settings
from modelyard.stack import embedded, mlflow_server, postgres, workers
from modelyard.stack.accounts import SERVICE_NAME
from modelyard.stack.addresses import Addresses
from modelyard.stack.doctor import run_checks
from modelyard.stack.home import Home

UP = """
import sys
from pathlib import Path
from modelyard.settings import Settings
from modelyard.stack.embedded import up
addresses = up(Settings(_env_file=None, home=Path(sys.argv[1]), mlflow_port=int(sys.argv[2])), print)
print(addresses.tracking_uri)
"""


@dataclass
class Stack:
    """The stack under test; ``settings`` change when a test moves its folder."""

    settings: Settings
    taken_port: int
    first_output: list[list[str]]

    def addresses(self) -> Addresses:
        found = embedded.find_running(self.settings)
        assert found is not None, "the stack is not running"
        return found

    def home(self) -> Home:
        return Home(self.settings.home_dir())

    def processes(self) -> list[psutil.Process]:
        home = self.home()
        services = [*postgres.list_server_processes(home), *mlflow_server.list_server_processes(home)]
        return services + [process for worker in workers.list_workers(home).values() for process in worker]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Two `up` at once make it."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="modelyard-test-"))
    folder.chmod(0o755)  # as root PostgreSQL runs as another user, who must be able to enter it
    settings = None
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        settings = Settings(_env_file=None, home=folder / ("deep" * 30) / "home", mlflow_port=port)
        command = [sys.executable, "-c", UP, str(settings.home), str(port)]
        stack = Stack(settings, port, [])
        try:
            both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
            stack.first_output = [process.communicate(timeout=120)[0].splitlines() for process in both]
            assert [process.returncode for process in both] == [0, 0]
            yield stack
        finally:
            embedded.down(stack.settings, print)
            shutil.rmtree(folder)


def call(addresses: Addresses, *, headers: dict[str, str] | None = None) -> int:
    port = addresses.tracking_uri.rsplit(":", 1)[1]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search",
        data=b'{"max_results": 1}',
        headers={"Content-Type": "application/json", **(headers or {})},
    )
    try:
        with urllib.request.build_opener().open(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_two_ups_at_once_give_one_stack(stack: Stack) -> None:
    assert len({output[-1] for output in stack.first_output}) == 1
    assert sum("starting MLflow" in output for output in stack.first_output) == 1
    ids = {process.pid for process in stack.processes()}
    roots = [process for process in stack.processes() if process.ppid() not in ids]
    assert len(roots) == 3, "one PostgreSQL, one MLflow and one supervisor"


def test_a_taken_port_gives_another_and_says_so(stack: Stack) -> None:
    addresses = stack.addresses()
    assert addresses.tracking_uri != f"http://127.0.0.1:{stack.taken_port}"
    port = addresses.tracking_uri.rsplit(":", 1)[1]
    said = [line for output in stack.first_output for line in output]
    assert f"port {stack.taken_port} is taken by another program; MLflow is at port {port}" in said


def test_a_path_too_long_for_a_socket_works_and_the_socket_is_private(stack: Stack) -> None:
    addresses = stack.addresses()
    assert len(os.fsencode(addresses.home)) > 107
    folder = Path(addresses.database_host)
    assert len(str(folder)) < 60
    assert folder.stat().st_mode & 0o777 == 0o700


def test_up_of_a_running_stack_takes_moments_and_says_nothing(stack: Stack) -> None:
    told: list[str] = []
    began_s = time.monotonic()
    addresses = embedded.up(stack.settings, told.append)
    assert time.monotonic() - began_s < 1
    assert (addresses, told) == (stack.addresses(), [])


def test_the_person_may_do_a_persons_work_and_is_no_superuser(stack: Stack) -> None:
    addresses = stack.addresses()
    with psycopg.connect(addresses.dsn(addresses.person)) as connection:
        row = connection.execute(
            "SELECT session_user, rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls,"
            " pg_has_role('modelyard_trainer', 'member') AND pg_has_role('modelyard_promoter', 'member')"
            " FROM pg_roles WHERE rolname = session_user"
        ).fetchone()
    assert row == (addresses.person, False, True)


def test_the_database_listens_on_no_network_and_takes_no_rules_from_sql(stack: Stack) -> None:
    with psycopg.connect(stack.addresses().dsn("postgres"), autocommit=True) as connection:
        values = [
            connection.execute(f"SHOW {name}").fetchone()
            for name in ("listen_addresses", "data_checksums", "server_encoding", "unix_socket_permissions")
        ]
        assert values == [("",), ("on",), ("UTF8",), ("0700",)]
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            connection.execute("ALTER SYSTEM SET listen_addresses = '*'")
    connections = []
    for process in stack.processes():
        with suppress(psutil.NoSuchProcess):  # PostgreSQL's workers come and go
            connections += process.net_connections("inet")
    assert {found.laddr.ip for found in connections if found.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_other_users_of_the_machine_get_no_role(stack: Stack) -> None:
    program = [str(embedded.psql_path(stack.settings)), "-XAtc", "SELECT 'in'"]

    def connect_as(user: str, role: str) -> str:
        command = [*program, stack.addresses().dsn(role)]
        done = subprocess.run(
            command,
            user=user,
            group=user if user == SERVICE_NAME else None,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip() or done.stderr

    assert "Permission denied" in connect_as("nobody", stack.addresses().person)
    assert "Peer authentication failed" in connect_as(SERVICE_NAME, "postgres")
    assert "Peer authentication failed" in connect_as(SERVICE_NAME, stack.addresses().person)
    assert connect_as(SERVICE_NAME, "mlflow") == "in"


def test_a_web_page_of_another_origin_and_another_host_name_are_refused(stack: Stack) -> None:
    assert call(stack.addresses()) == 200
    assert call(stack.addresses(), headers={"Host": "evil.example"}) == 403
    assert call(stack.addresses(), headers={"Origin": "http://evil.example"}) == 403


def test_mlflow_runs_on_uvloop_without_jobs_or_telemetry_or_the_callers_environment(stack: Stack) -> None:
    leader, *_ = mlflow_server.list_server_processes(stack.home())
    environment = leader.environ()
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert not {name for name in environment if "PASSWORD" in name or "TOKEN" in name or "SECRET" in name}
    workers = [process for process in leader.children(recursive=True) if "spawn_main" in " ".join(process.cmdline())]
    assert len(workers) == 2
    loaded = [{Path(part.path).name.split(".")[0] for part in process.memory_maps()} for process in workers]
    assert all("loop" in names and "parser" in names for names in loaded), "uvloop and httptools"


def test_mlflows_tables_are_in_its_schema_and_its_role_cannot_read_ours(stack: Stack) -> None:
    with psycopg.connect(stack.addresses().dsn("mlflow")) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'mlflow'").fetchone()
        assert row is not None and row[0] > 20
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT 1 FROM exp.datasets")


def test_status_and_doctor_describe_the_running_stack(stack: Stack) -> None:
    status = embedded.status(stack.settings)
    names = ["postgres", "mlflow", "supervisor", "trainer-1", "evaluator-1"]
    assert {service.name: service.running for service in status.services} == dict.fromkeys(names, True)
    database, mlflow, *_ = status.services
    assert 10 * 2**20 < (database.memory_bytes or 0) < 200 * 2**20
    assert (mlflow.memory_bytes or 0) < 1024 * 2**20
    assert mlflow.address == stack.addresses().ui_url
    assert (time.time() - database.since.timestamp()) < 600 if database.since else False
    assert status.versions["postgresql"].startswith("18.")
    assert status.disk_used_bytes > 2**20
    checks = {check.name: check for check in run_checks(stack.settings)}
    assert checks["database"].state == checks["services"].state == "ok"
    assert "none pending" in checks["database"].found


def test_after_kill_9_of_everything_up_brings_every_row_back(stack: Stack) -> None:
    with psycopg.connect(stack.addresses().dsn("postgres")) as connection:
        connection.execute("CREATE TABLE public.kept AS SELECT 42 AS answer")
    for process in stack.processes():
        with suppress(psutil.NoSuchProcess):  # sessions end by themselves when their server is gone
            process.send_signal(signal.SIGKILL)
    # the worst case: the ids in the files left behind belong to somebody else now
    for file in (stack.home().data / "postmaster.pid", *Path(read_host(stack)).glob(".s.PGSQL.*.lock")):
        lines = file.read_text().splitlines()
        file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert embedded.find_running(stack.settings) is None
    addresses = embedded.up(stack.settings, print)
    with psycopg.connect(addresses.dsn("postgres")) as connection:
        assert connection.execute("SELECT answer FROM public.kept").fetchone() == (42,)


def read_host(stack: Stack) -> str:
    return str(json.loads(stack.home().state.read_text())["database_host"])


def test_a_folder_moved_under_its_services_works_at_its_new_place(stack: Stack) -> None:
    before = stack.processes()
    old = stack.settings.home_dir()
    new = old.parents[1] / "moved"
    old.rename(new)
    (old.parent / "home").mkdir()  # an empty folder takes its old place
    stack.settings = stack.settings.model_copy(update={"home": new})
    addresses = embedded.up(stack.settings, print)
    assert addresses.home == new
    assert not [process for process in before if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    with psycopg.connect(addresses.dsn("postgres")) as connection:
        assert connection.execute("SELECT answer FROM public.kept").fetchone() == (42,)


def test_a_copy_of_the_folder_does_not_touch_the_running_one(stack: Stack) -> None:
    copy = stack.settings.home_dir().with_name("copy")
    shutil.copytree(stack.settings.home_dir(), copy, ignore=shutil.ignore_patterns(".s.PGSQL*"))
    settings = stack.settings.model_copy(update={"home": copy})
    assert embedded.find_running(settings) is None
    assert embedded.down(settings, print) is False
    shutil.rmtree(copy)
    assert stack.addresses().home == stack.settings.home_dir()


def test_down_stops_what_runs_without_its_state_file(stack: Stack) -> None:
    stack.home().state.unlink()
    told: list[str] = []
    assert embedded.down(stack.settings, told.append) is True
    assert stack.processes() == []
    assert embedded.down(stack.settings, told.append) is False
    assert told == ["the workers, MLflow and PostgreSQL are stopped"]


def test_ctrl_c_during_up_leaves_nothing_running(stack: Stack) -> None:
    home = stack.settings.home_dir()
    command = [sys.executable, "-u", "-c", UP, str(home), str(stack.taken_port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line == "starting MLflow\n" for line in process.stdout)
        process.send_signal(signal.SIGINT)
    assert process.returncode == -signal.SIGINT
    assert stack.processes() == []


def test_when_a_service_cannot_start_the_error_shows_its_log_and_nothing_is_left_running(stack: Stack) -> None:
    assert stack.processes() == [], "an earlier test has stopped them"
    control = stack.home().data / "global" / "pg_control"
    kept = control.with_name("kept")
    control.rename(kept)
    try:
        with pytest.raises(ServiceFailed, match=r"postgres\.log ends with: .*could not find the database system"):
            embedded.up(stack.settings, print)
        assert stack.processes() == []
    finally:
        kept.rename(control)
