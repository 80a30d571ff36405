#!/bin/sh
# Renews the hashed locks: every platform and Python 3.11 to 3.13 in one file each, and no index address.
set -eu
PATH="$PWD/.venv/bin:$PATH"
cd "$(dirname "$0")/.."
for name in runtime dev; do
    group=
    [ "$name" = dev ] && group="--group dev"
    # shellcheck disable=SC2086
    uv pip compile pyproject.toml requirements/build.in $group --universal --python-version 3.11 \
        --generate-hashes --no-emit-index-url --no-annotate --upgrade --quiet --output-file "requirements/$name.txt"
done
