#!/bin/sh
# The whole test suite, in two halves beside each other, since both wait for services much of the time: tests/integration,
# and the others, those in containers among them.
#   run.sh PYTHON
set -u
cd "$(dirname "$0")/.." || exit
python=$1
said=$(mktemp)
"$python" -m pytest --ignore tests/integration >"$said" 2>&1 &
others=$!
trap 'kill "$others" 2>/dev/null; rm -f "$said"' EXIT
trap 'exit 130' INT TERM

"$python" -m pytest tests/integration
integration=$?
echo "the other half:"
wait "$others"
ended=$?
cat "$said"
[ "$integration" -eq 0 ] && [ "$ended" -eq 0 ]
