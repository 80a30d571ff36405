#!/bin/sh
# Makes a virtual environment and installs a hashed lock and Modelyard itself into it.
#   install.sh FOLDER LOCK
# PYTHON=/path/to/python chooses the interpreter; else the newest of 3.13 to 3.11 on the PATH.
set -eu
venv=$1 lock=$2

works() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }
fail() { echo "modelyard: $1" >&2; exit 2; }

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then  # none yet, or one that was interrupted
    chosen=
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
        if works "$candidate"; then chosen=$candidate; break; fi
    done
    if [ -z "$chosen" ]; then
        found=$(${PYTHON:-python3} --version 2>/dev/null || echo "no Python")
        fail "Python 3.11, 3.12 or 3.13 is needed, and here is ${found}. Install one (Debian: apt install python3 python3-venv), or name it: make PYTHON=/path/to/python"
    fi
    "$chosen" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$("$chosen" --version) has no venv module. Install it (Debian, Ubuntu: apt install python3-venv)."
    echo "modelyard: a virtual environment in $venv with $("$chosen" --version)"
    "$chosen" -m venv --clear "$venv" || fail "no virtual environment could be made in $venv"
fi
works "$venv/bin/python" || fail "$venv was made with another Python; remove it (make clean) and try again"

echo "modelyard: installing the packages of $lock (about a minute the first time)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock" ||
    fail "the packages of $lock could not be installed; see pip's message above (no network? an index of your own: PIP_INDEX_URL)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable . ||
    fail "modelyard itself could not be installed"
