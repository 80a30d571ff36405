#!/bin/sh
# The whole chain on the stack that is chosen here: two models, two promotions, a rollback, and what history says of it.
# May be run again: it goes on from what is live.
set -eu
unset CDPATH
cd -- "$(dirname -- "$0")/.."

workload=california_housing
policy=${workload}_policy

tell() { printf '\n── %s\n' "$*"; }
run() { # COMMAND [ARGUMENT…]
    printf '$ modelyard %s\n' "$*"
    sh infra/launch.sh "$@"
}
now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

began=$(date +%s)
tell 'A first model: few iterations, but better than a linear regression'
run train $workload --set max_iter=40 --run-name 'demo: 40 iterations'
tell 'Into production'
run promote $policy --reason 'demo: good enough to begin with'
sleep 1
first=$(now)

tell 'A better one, which the gate holds against the one in production on the same rows'
run train $workload --run-name 'demo: all iterations'
tell 'In its place'
run promote $policy --reason 'demo: better on the same rows'
sleep 1
second=$(now)

tell 'It is said to fail: what was live before comes back'
run rollback $policy --reason 'demo: complaints from the north'

tell 'What served when?'
run served $policy --at "$first"
run served $policy --at "$second"
run served $policy
tell 'Who did what, when, why, and on what evidence?'
run history $policy
printf '\n%s seconds\n' $(($(date +%s) - began))
