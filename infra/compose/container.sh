# shellcheck shell=sh
# A command of modelyard in a container, as whoever calls, with the files that it names.

keep_shell=''

hand_in() { # PATH: sets handed to the path inside; what is not there goes on as it is, and the command says so
    handed=$1
    case $1 in /*) path=$1 ;; *) path=$here/$1 ;; esac
    [ -e "$path" ] || return 0
    if [ -d "$path" ]; then
        folder=$(cd -- "$path" 2>/dev/null && pwd) || return 0
        path=$folder
    else
        folder=$(cd -- "$(dirname -- "$path")" 2>/dev/null && pwd) || return 0
        path=${folder%/}/$(basename -- "$path")
    fi
    case $path in *:*) fail "$path: a path with a colon cannot be handed into a container; rename it" ;; esac
    if [ "$(id -u)" = 0 ] && [ -z "$(find -L "$path" -prune -perm -o=r)" ]; then
        fail "$path can be read by root alone, and no container runs as root; chmod o+r it, or call as the user whose file it is"
    fi
    handed=$path
    mounts="$mounts --volume $(quote "$path:$path:ro")"
    [ ! -f "$path.dvc" ] || mounts="$mounts --volume $(quote "$path.dvc:$path.dvc:ro")"
}

run_in_container() { # COMMAND [ARGUMENT…]: does not return, unless keep_shell is set
    mounts=
    case $command in
        train | process | doctor)
            folder=$(setting MODELYARD_DATA_DIR data)
            case $folder in /*) ;; *) folder=$root/$folder ;; esac
            hand_in "$folder"
            [ -z "$mounts" ] || mounts="$mounts --env $(quote "MODELYARD_DATA_DIR=$handed")"
            ;;
    esac
    before=
    for argument in "$@"; do
        shift
        case $before,$argument in
            --data,*) hand_in "$argument"; set -- "$@" "$handed" ;;
            *,--data=*) hand_in "${argument#*=}"; set -- "$@" "--data=$handed" ;;
            --config,*) hand_in_file "$argument"; set -- "$@" "$handed" ;;
            *,--config=*) hand_in_file "${argument#*=}"; set -- "$@" "--config=$handed" ;;
            *) if [ "$command" = digest ]; then hand_in "$argument"; else handed=$argument; fi; set -- "$@" "$handed" ;;
        esac
        before=$argument
    done
    caller=$(id -u):$(id -g)
    [ "$(id -u)" != 0 ] || caller=10001:10001 # nothing of ours runs as root
    terminal=
    [ -t 0 ] && [ -t 1 ] || terminal=--no-TTY
    # only a prompt reads what comes in; the rest would take it from whoever called
    if [ -n "$terminal" ] && [ "$command" != psql ]; then exec </dev/null; fi
    container=$project-cli-run-$(date +%s)-$$
    eval "set -- $terminal $mounts cli \"\$@\""
    set -- docker compose --progress quiet run --rm --no-deps --name "$container" --user "$caller" "$@"
    if [ -n "$keep_shell" ]; then "$@"; return; fi
    if [ -z "$terminal" ]; then # Ctrl-C goes through the terminal to the command itself
        [ -z "$log" ] || rm -f "$log"
        exec "$@"
    fi
    # in the background, so that a signal is heard at once
    exec 3<&0
    "$@" <&3 &
    running=$!
    trap 'interrupt_container' INT TERM
    code=0
    wait "$running" || code=$?
    exit "$code"
}

# Compose may leave at an interrupt without the container; then the command in it is told, and its last words shown.
interrupt_container() {
    trap '' INT TERM
    words=$(mktemp "${TMPDIR:-/tmp}/modelyard.XXXXXX")
    docker logs --follow --since "$(date +%s)" "$container" >"$words" 2>&1 &
    follower=$!
    sleep 1
    docker kill --signal INT "$container" >/dev/null 2>&1 || :
    code=130
    if kill -0 "$running" 2>/dev/null; then # the signal was for this process only
        code=0
        wait "$running" || code=$?
    else
        wait "$follower" || :
        grep -v '^Error response from daemon' "$words" >&2 || :
    fi
    rm -f "$words"
    exit "$code"
}

hand_in_file() { # a config is a file, or a name that ships with the workload
    handed=$1
    case $1 in /*) path=$1 ;; *) path=$here/$1 ;; esac
    [ ! -f "$path" ] || hand_in "$1"
}
