"""The entry point: what surrounds every command, and what an error looks like and exits with."""

import os
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130  # exit code
_ON_STACK = (
    *("train", "process", "sweep", "blend", "reproduce", "drift", "evaluate"),
    *("datasets", "lineage", "jobs", "workers", "gc", "reconcile"),
    *("contract", "register"),
    *("promote", "rollback", "approve", "archive", "policy", "gate"),
    *("predict", "download"),
    *("history", "served", "policies", "stages", "runs", "compare", "user"),
    *("up", "down", "status", "env", "psql", "doctor"),
)


def main() -> NoReturn:
    """Run the command line; every error of ours is one line on stderr and an exit code."""
    try:
        _prepare()
        _hand_over()
        from modelyard.cli.app import app

        app()
    except KeyboardInterrupt:
        _end_interrupted()
    except SystemExit as done:
        if done.code == INTERRUPTED:
            _end_interrupted()
        raise
    except Exception as error:
        _end_failed(error)
    sys.exit(0)


def _prepare() -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that lacks a sign is no failure
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]  # libpq would let them change where our own connections lead
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost,127.0.0.1"]))
    # OpenMP's threads wait by spinning; beside other work on the same cores a training took 17 times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Arrow's own pool holds on to memory: rows that stream in 400 MiB with malloc's ran out of it
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def _hand_over() -> None:
    """Become the launcher, where the stack is one that it runs commands on."""
    if len(sys.argv) < 2 or sys.argv[1] not in _ON_STACK or "--help" in sys.argv:
        return
    from modelyard.settings import load_settings
    from modelyard.stack.choice import find_launcher

    launcher = find_launcher(load_settings())
    if launcher is not None:
        os.execvp("sh", ["sh", str(launcher), *sys.argv[1:]])  # noqa: S606


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _end_interrupted() -> NoReturn:
    _say("interrupted; nothing is half done, and the same command goes on where it can")
    sys.exit(INTERRUPTED)


def _end_failed(error: Exception) -> NoReturn:
    from modelyard.errors import JobFailed, ModelyardError, ServiceFailed

    if not isinstance(error, JobFailed | ServiceFailed) and (away := _find_away(error)):
        _say(f"{away} went away during the work (modelyard status); the same command starts it and goes on")
        sys.exit(1)
    if isinstance(error, UnicodeEncodeError) and (odd := [word for word in sys.argv if not _is_text(word)]):
        _say(f"{odd[0]!a} holds bytes that are no UTF-8 text; write it anew")
        sys.exit(2)
    if isinstance(error, ModelyardError):
        _say(str(error))
        sys.exit(error.exit_code)
    _say(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}{_keep_traceback()}")
    sys.exit(1)


def _is_text(word: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in word)


def _find_away(error: BaseException | None) -> str | None:
    """The service whose loss is at the bottom of an error, or None."""
    import psycopg

    while error is not None:
        # of these errors some are answers, e.g. that somebody else came first
        if isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(("08", "57P")):
            return "PostgreSQL"
        if type(error).__name__ in ("MaxRetryError", "NewConnectionError") or "Connection refused" in str(error):
            return "MLflow"
        error = error.__cause__ or error.__context__
    return None


def _say(text: str) -> None:
    text = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))  # names come out of data
    print(f"modelyard: {text}", file=sys.stderr)


def _keep_traceback() -> str:
    """Write the traceback of what nobody foresaw into the stack's logs; say where."""
    text = traceback.format_exc()
    try:
        from modelyard.settings import load_container_settings, load_settings
        from modelyard.stack.home import find_home

        if load_container_settings() is not None:  # its log is the place
            sys.stderr.write(text)
            return ""

        path = find_home(load_settings()).logs / "last-error.txt"
        path.write_text(text, encoding="utf-8")
    except Exception:  # nothing is worth a second error here
        return ""
    return f" (traceback: {path})"
