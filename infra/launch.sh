#!/bin/sh
# Chooses the stack, and runs a modelyard command on it. Needs Docker and nothing else, or make and Python.
#   launch.sh COMMAND [ARGUMENT…]    every command of modelyard, and: which urls logs ps images clean
# Results go to stdout, all that is told on the way to stderr. Exit code 2: not possible here, and nothing was started.
set -eu
unset CDPATH
here=$(pwd)
root=$(cd -- "$(dirname -- "$0")/.." && pwd -P)
cd -- "$root"

say() { printf 'modelyard: %s\n' "$*" >&2; }
fail() { say "$*"; exit 2; }
tell() { printf '%-9s%s\n' "$1" "$2" >&2; }
# a value as one word of a shell
quote() { printf "'%s'" "$(printf '%s' "$1" | LC_ALL=C sed "s/'/'\\\\''/g")"; }

. infra/compose/settings.sh
. infra/compose/checks.sh
. infra/compose/progress.sh
. infra/compose/images.sh
. infra/compose/stack.sh
. infra/compose/workers.sh
. infra/compose/container.sh
. infra/compose/access.sh
. infra/compose/clean.sh
. infra/compose/doctor.sh

choose_stack() { # sets stack and why
    stack=${STACK:-$(setting MODELYARD_STACK auto)}
    why='named by MODELYARD_STACK'
    case $stack in
        compose | embedded) ;;
        auto)
            if [ -n "$(setting MODELYARD_HOME)" ]; then
                stack=embedded why='MODELYARD_HOME names its folder'
            elif find_engine; then
                stack=compose why="a Docker engine answers ($engine)"
            else
                stack=embedded why=$found
            fi
            ;;
        *) fail "STACK or MODELYARD_STACK='$stack' is no stack; choose auto, compose or embedded" ;;
    esac
}

run_embedded() { # COMMAND [ARGUMENT…]
    case $1 in
        ps | urls) set -- status ;;
        logs) shift; show_embedded_logs "$@"; return ;;
        images) fail 'the embedded stack has no images; STACK=compose make images builds those of the other one' ;;
    esac
    make -s --no-print-directory .venv/runtime.stamp >&2 || exit 2
    cd -- "$here"
    export MODELYARD_STACK=embedded MODELYARD_STACK_WHY="$why"
    exec "$root/.venv/bin/modelyard" "$@"
}

show_embedded_logs() { # [--follow] [SERVICE]
    follow=
    if [ "${1:-}" = --follow ]; then follow=-f; shift; fi
    folder=$(cd -- "$here" && MODELYARD_STACK=embedded "$root/.venv/bin/modelyard" status --json 2>/dev/null |
        sed -n 's/^  "home": "\(.*\)",$/\1/p')/logs
    set -- "$folder/${1:-}"*.log
    [ -e "$1" ] || fail "there is no log $1; make status shows what runs"
    # shellcheck disable=SC2086  # one word or none
    tail $follow -n "${TAIL:-200}" "$@"
}

run_compose() { # COMMAND [ARGUMENT…]
    command=$1
    if [ "$command" = doctor ]; then doctor "$@"; return; fi
    require check_engine check_compose check_settings
    load_project
    require check_project
    case $command in
        up) shift; up "$@" ;;
        down) down ;;
        ps) shift; exec docker compose ps --all "$@" ;;
        logs) shift; show_logs "$@" ;;
        urls) print_urls ;;
        env) require_running; print_environment ;;
        images) make_images ;;
        workers) shift; workers "$@" ;;
        train | process | sweep | blend | reproduce | drift) bring_up ''; run_in_container "$@" ;;
        digest | workloads) find_image || build_images; run_in_container "$@" ;;
        *) require_running; run_in_container "$@" ;;
    esac
}

[ $# -gt 0 ] || fail 'which command? make lists what there is'
if [ "$1" = clean ]; then clean; exit; fi
choose_stack
case $stack,$1 in
    *,which) printf '%s: %s\n' "$stack" "$why" ;;
    embedded,*) run_embedded "$@" ;;
    *) run_compose "$@" ;;
esac
