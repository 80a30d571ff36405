"""The command ``modelyard``: its commands, and what an error looks like and exits with."""

import os
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

import typer

from modelyard.cli import digest, doctor, stack, train
from modelyard.cli.output import print_error
from modelyard.errors import ModelyardError
from modelyard.settings import load_settings

INTERRUPTED = 130  # exit code

app = typer.Typer(
    name="modelyard",
    help="Takes a model from raw data to live traffic with proof at every step.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done and passed, 1 failed, 2 not possible as asked, 3 refused by the gate, 130 interrupted.",
)
app.command()(train.train)
app.command()(stack.up)
app.command()(stack.down)
app.command()(stack.status)
app.command()(stack.env)
app.command()(stack.psql)
app.command()(digest.digest)
app.command()(doctor.doctor)


def main() -> NoReturn:
    """Run the command line; every error of ours is one line on stderr and an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    # OpenMP's threads wait by spinning; beside other work on the same cores a training took 17 times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        app()
    except SystemExit as done:
        if done.code == INTERRUPTED:
            print_error("interrupted; nothing is half done, and the same command goes on where it can")
        raise
    except ModelyardError as error:
        print_error(str(error))
        sys.exit(error.exit_code)
    except Exception as error:
        print_error(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}{_keep_traceback()}")
        sys.exit(1)
    sys.exit(0)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _keep_traceback() -> str:
    """Write the traceback of what nobody foresaw into the stack's logs; say where."""
    try:
        path = load_settings().home_dir() / "logs" / "last-error.txt"
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except (OSError, ModelyardError):
        return ""
    return f" (traceback: {path})"


if __name__ == "__main__":
    main()
