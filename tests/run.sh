#!/bin/sh
# The whole test suite: the tests in containers beside the others, since both wait for services most of the time.
#   run.sh PYTHON
set -u
cd "$(dirname "$0")/.." || exit
python=$1
said=$(mktemp)
"$python" -m pytest tests/stack >"$said" 2>&1 &
containers=$!
trap 'kill "$containers" 2>/dev/null; rm -f "$said"' EXIT
trap 'exit 130' INT TERM

"$python" -m pytest --ignore tests/stack
others=$?
echo "the tests in containers:"
wait "$containers"
ended=$?
cat "$said"
[ "$others" -eq 0 ] && [ "$ended" -eq 0 ]
