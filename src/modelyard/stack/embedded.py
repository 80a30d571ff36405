"""The embedded stack: PostgreSQL, MLflow and workers in one folder, started and stopped as one."""

from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path

from modelyard.errors import HomeRefused, InvalidParameter, StackNotRunning
from modelyard.settings import Settings
from modelyard.stack import mlflow_server, postgres, workers
from modelyard.stack.accounts import Account, ensure_service_account, get_caller
from modelyard.stack.addresses import Addresses
from modelyard.stack.binaries import find_programs, provide_programs, read_version
from modelyard.stack.bootstrap import bootstrap
from modelyard.stack.home import (
    Home,
    Report,
    check_disk,
    check_home,
    check_owner,
    create_home,
    find_home,
    hold_home,
    refuse_errors,
)
from modelyard.stack.mlflow_server import MlflowServer
from modelyard.stack.mlflow_store import MlflowStore
from modelyard.stack.people import name_person
from modelyard.stack.ports import check_port, find_free_port
from modelyard.stack.postgres import Postgres
from modelyard.stack.sockets import drop_socket_folder, provide_socket_folder
from modelyard.stack.state import State, load_state
from modelyard.stack.status import Status, read_status
from modelyard.store.migration_files import find_sql_folder, list_migrations

MAX_TRAINERS = 10  # PostgreSQL lets their role have 80 connections
_ANSWER_WAIT_S = 5.0


def up(settings: Settings, report: Report, *, trainers: int | None = None) -> Addresses:
    """Start what does not run yet, and return where everything is; a call that changes nothing takes milliseconds.

    Args:
        settings: where the folder is, which port MLflow gets, how much disk must be free.
        report: told in one line each what takes time or differs from what was asked for.
        trainers: how many trainers there are from now on, also where all runs already; None keeps the number of last
            time, which is 1 at first. There is always one evaluator.

    Raises:
        InvalidParameter: a number of trainers below 0 or above 10.
        HomeRefused: the folder cannot be used; it is as it was.
        DiskTooSmall: less disk is free than ``settings.min_free_mb``.
        MigrationRefused: the database was made by a newer release, or an applied migration was edited.
        ServiceFailed: a service or the workers did not start; what this call started is stopped again.
        StackRefused: the operating system lacks something, e.g. an account for PostgreSQL.
    """
    if trainers is not None and not 0 <= trainers <= MAX_TRAINERS:
        raise InvalidParameter([f"trainers={trainers}: the number must be 0 to {MAX_TRAINERS}"])
    home = find_home(settings)
    running = _find_answering(home)
    if running is not None and _has_workers(home, trainers):
        check_disk(home, min_free_mb=settings.min_free_mb)
        return running
    get_caller()
    if home.reason:
        report(f"the stack's folder is {home.path}: {home.reason}")
    check_home(home, min_free_mb=settings.min_free_mb)
    check_port(settings.mlflow_port)
    account = ensure_service_account()
    create_home(home, account)
    with refuse_errors(home), hold_home(home, report):
        return _start(home, account, settings, report, trainers)


def down(settings: Settings, report: Report = print) -> bool:
    """Stop the workers, MLflow, then PostgreSQL, however they were left; return whether anything ran.

    ``report`` hears nothing where nothing runs.

    Raises:
        HomeRefused: the folder belongs to somebody else.
        ServiceFailed: a service does not end.
    """
    home = find_home(settings)
    with refuse_errors(home):
        if not home.path.is_dir():
            return _stop(home)  # a folder that was removed under its services
        check_owner(home)
    with refuse_errors(home), hold_home(home, report):
        stopped = _stop(home)
        if stopped:
            report("the workers, MLflow and PostgreSQL are stopped")
        state = load_state(home.state)
        if state is not None:
            drop_socket_folder(state.database_host, home)
            if stopped:
                state.postgres = state.mlflow = state.supervisor = None
                state.save(home.state)
        return stopped


def find_running(settings: Settings) -> Addresses | None:
    """Where PostgreSQL and MLflow are if both answer now, else None; changes nothing."""
    try:
        return _find_answering(find_home(settings))
    except HomeRefused:
        return None


def find_addresses(settings: Settings) -> Addresses | None:
    """Where PostgreSQL and MLflow were last, whether or not they answer; None where they never ran."""
    try:
        home = find_home(settings)
    except HomeRefused:
        return None
    state = _find_state(home)
    return describe(home, state) if state and state.database_host and state.mlflow_port else None


def status(settings: Settings) -> Status:
    """What runs, where, since when and with how much memory; changes nothing.

    Raises:
        HomeRefused: a folder was named that cannot be entered.
    """
    return read_status(settings)


def psql_path(_: Settings) -> Path:
    """The program ``psql`` for the person who asks.

    Raises:
        ServiceFailed: the wheel with PostgreSQL is not installed.
    """
    return find_programs() / "psql"


def get_mlflow_store(settings: Settings) -> MlflowStore:
    """MLflow's own tables and its command ``mlflow gc``, for whoever deletes for good.

    Raises:
        StackNotRunning: the stack never ran here.
    """
    home = find_home(settings)
    state = _find_state(home)
    if state is None:
        raise StackNotRunning
    account = mlflow_server.choose_account(ensure_service_account())
    server = MlflowServer(home=home, account=account, socket=Path(state.database_host))
    dsn = describe(home, state).dsn(mlflow_server.ROLE)
    return MlflowStore(dsn=dsn, run_gc=partial(server.run_gc, port=state.mlflow_port))


def describe(home: Home, state: State) -> Addresses:
    """The addresses that a state stands for, whether or not anything answers there."""
    return Addresses(
        home=home.path,
        tracking_uri=f"http://127.0.0.1:{state.mlflow_port}",
        ui_url=f"http://localhost:{state.mlflow_port}",
        raw_uri=home.raw.as_uri(),
        person=name_person(get_caller().name),
        database_host=state.database_host,
    )


def _start(home: Home, account: Account, settings: Settings, report: Report, trainers: int | None) -> Addresses:
    state = load_state(home.state)
    if state is None or state.home != str(home.path):
        if _stop(home):
            report("services that were left running from before the folder was moved or replaced are stopped")
        if state is not None:
            drop_socket_folder(state.database_host, home)
        state = State(home=str(home.path), versions=state.versions if state else {})
    with ExitStack() as undo:
        # whoever was before us may have started it, and an older command may have moved on
        if _find_answering(home) is None or not _is_migrated(state):
            server = _start_postgres(home, account, state, report, undo)
            bootstrap(lambda r, d: server.dsn(role=r, database=d), people=[name_person(get_caller().name)])
            state.versions["schema"] = _name_schema()
            workers.stop_workers(home)  # they go on with this release, when MLflow is there
            state.save(home.state)
            _start_mlflow(home, account, server.socket, state, settings, report, undo)
            state.save(home.state)  # the workers read in it where everything is
        _start_workers(home, state, settings, report, undo, trainers)
        state.save(home.state)
        undo.pop_all()
    return describe(home, state)


def _start_postgres(home: Home, account: Account, state: State, report: Report, undo: ExitStack) -> Postgres:
    programs = provide_programs(home.path, account)
    socket = provide_socket_folder(home, account)
    server = Postgres(home=home, account=account, programs=programs, socket=socket)
    if state.postgres and state.postgres.running and state.database_host == str(socket) and postgres.is_ready(socket):
        return server
    postgres.stop_server(home)
    # MLflow would keep its connections to what is gone
    mlflow_server.stop_server(home)
    if not home.data.exists():
        report(f"making a new PostgreSQL in {home.path}")
    server.create()
    report("starting PostgreSQL")
    undo.callback(postgres.stop_server, home)
    state.postgres = server.start(report)
    state.database_host = str(socket)
    state.versions["postgresql"] = read_version(programs)
    return server


def _start_mlflow(
    home: Home, account: Account, socket: Path, state: State, settings: Settings, report: Report, undo: ExitStack
) -> None:
    mlflow_server.stop_server(home)
    server = MlflowServer(home=home, account=mlflow_server.choose_account(account), socket=socket)
    installed = version("mlflow")
    if state.versions.get("mlflow_schema") != installed:
        report("preparing MLflow's tables")
        server.upgrade_tables()
        state.versions["mlflow_schema"] = installed
        state.save(home.state)
    port = find_free_port([settings.mlflow_port])
    if port != settings.mlflow_port:
        report(f"port {settings.mlflow_port} is taken by another program; MLflow is at port {port}")
    report("starting MLflow")
    undo.callback(mlflow_server.stop_server, home)
    state.mlflow = server.start(port=port, workers=settings.mlflow_workers)
    state.mlflow_port = port
    state.versions["mlflow"] = installed


def _start_workers(
    home: Home, state: State, settings: Settings, report: Report, undo: ExitStack, trainers: int | None
) -> None:
    wanted = workers.count_trainers(home) if trainers is None else trainers
    named = {0: "an evaluator", 1: "a trainer and an evaluator"}.get(wanted, f"{wanted} trainers and an evaluator")
    if state.supervisor is None or not state.supervisor.running:
        workers.stop_workers(home)  # what a killed supervisor has left
        report(f"starting {named}")
        undo.callback(workers.stop_workers, home)
        state.supervisor = workers.start_workers(home, settings, trainers=wanted)
    elif wanted != workers.count_trainers(home):
        report(f"changing to {named}")
        workers.change_trainers(home, state.supervisor, trainers=wanted)


def _has_workers(home: Home, trainers: int | None) -> bool:
    """Whether the supervisor runs, with this number of trainers, on a database as this release needs it."""
    state = _find_state(home)
    if state is None or not _is_migrated(state) or state.supervisor is None or not state.supervisor.running:
        return False
    return trainers in (None, workers.count_trainers(home))


def _is_migrated(state: State) -> bool:
    return state.versions.get("schema") == _name_schema()


def _name_schema() -> str:
    # the queue's tables are the library's
    return f"{list_migrations(find_sql_folder())[-1].name}, procrastinate {version('procrastinate')}"


def _find_state(home: Home) -> State | None:
    """What ran last at this very place; None if it never did, or the folder was moved."""
    state = load_state(home.state)
    return state if state and state.home == str(home.path) else None


def _find_answering(home: Home) -> Addresses | None:
    state = _find_state(home)
    if state is None or state.postgres is None or state.mlflow is None:
        return None
    if not (state.postgres.running and state.mlflow.running):
        return None
    if not postgres.is_ready(state.database_host):
        return None
    if not mlflow_server.is_ready(state.mlflow_port, timeout_s=_ANSWER_WAIT_S):
        return None
    return describe(home, state)


def _stop(home: Home) -> bool:
    stopped = [workers.stop_workers(home), mlflow_server.stop_server(home), postgres.stop_server(home)]
    return any(stopped)
