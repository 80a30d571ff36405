#!/bin/sh
# Renews the hashed locks: every platform and Python 3.11 to 3.13 in one file each, and no index address.
set -eu
PATH="$PWD/.venv/bin:$PATH"
cd "$(dirname "$0")/.."

lock() { # NAME SOURCES AND OPTIONS
    name=$1
    shift
    uv pip compile "$@" --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
        --upgrade --quiet --output-file "requirements/$name.txt"
}

lock runtime pyproject.toml requirements/build.in
lock dev pyproject.toml requirements/build.in --group dev
lock mlflow requirements/mlflow.in --constraints requirements/runtime.txt --excludes requirements/mlflow-without.in
