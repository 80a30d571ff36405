# shellcheck shell=sh
# A command of modelyard in a container, as whoever calls, with the files that it names.

keep_shell=''

hand_in() { # PATH: sets handed to the path inside; what is not there goes on as it is, and the command says so
    handed=$1
    case $1 in /*) path=$1 ;; *) path=$here/$1 ;; esac
    [ -f "$path" ] || [ -d "$path" ] || return 0
    engine_is_here ||
        fail "$path is on this machine, and the Docker engine on another that does not see it; give the command there"
    if [ -d "$path" ]; then
        folder=$(cd -- "$path" 2>/dev/null && pwd) || return 0
        path=$folder
    else
        folder=$(cd -- "$(dirname -- "$path")" 2>/dev/null && pwd) || return 0
        path=${folder%/}/$(basename -- "$path")
    fi
    case $path in *:*) fail "$path: a path with a colon cannot be handed into a container; rename it" ;; esac
    case $path in
        / | /usr | /etc | /opt | /bin | /lib | /sbin | /opt/modelyard | /opt/modelyard/* | /dev | /dev/* | /proc | /proc/* | /sys | /sys/* | /secrets | /secrets/*)
            fail "$path cannot be handed into a container, which has one of its own; copy the data elsewhere"
            ;;
    esac
    if [ -d "$path" ]; then needed=-o=rx; else needed=-o=r; fi
    if [ "$(id -u)" = 0 ] && [ -z "$(find -L "$path" -prune -perm "$needed")" ]; then
        fail "$path can be read by root alone, and no container runs as root; chmod it, or call as the user whose file it is"
    fi
    handed=$path
    mounts="$mounts --volume $(quote "$path:$path:ro")"
    [ ! -f "$path.dvc" ] || mounts="$mounts --volume $(quote "$path.dvc:$path.dvc:ro")"
    [ ! -d "$path" ] || hand_in_links "$path"
}

hand_in_links() { # FOLDER: what links in it lead to, which would lead nowhere in the container
    targets=$(find "$1" -maxdepth 2 -type l -exec readlink -f {} \; | sort -u)
    while IFS= read -r target; do
        case $target in
            '' | "$1"/*) continue ;;
            *:*) fail "$1: a link in it leads to $target, a path with a colon; rename that" ;;
        esac
        [ ! -e "$target" ] || mounts="$mounts --volume $(quote "$target:$target:ro")"
    done <<EOF
$targets
EOF
}

run_in_container() { # COMMAND [ARGUMENT…]: does not return, unless keep_shell is set
    mounts=
    case $command in
        train | process | doctor)
            folder=$(setting MODELYARD_DATA_DIR data)
            case $folder in /*) ;; *) folder=$root/$folder ;; esac
            case " $* " in
                *' --data'*) ;; # nothing else is tried then
                *) if engine_is_here; then hand_in "$folder"; fi ;;
            esac
            [ -z "$mounts" ] || mounts="$mounts --env $(quote "MODELYARD_DATA_DIR=$handed")"
            ;;
    esac
    before='' first=yes
    for argument in "$@"; do
        shift
        handed=$argument
        case $before in
            --data) hand_in "$argument" ;;
            --config) hand_in_file "$argument" ;;
            *)
                case $argument in
                    --data=*) hand_in "${argument#*=}"; handed=--data=$handed ;;
                    --config=*) hand_in_file "${argument#*=}"; handed=--config=$handed ;;
                    *) if [ "$command" = digest ] && [ -z "$first" ]; then hand_in "$argument"; fi ;;
                esac
                ;;
        esac
        set -- "$@" "$handed"
        first='' before=$argument
    done
    caller=$(id -u):$(id -g)
    [ "$(id -u)" != 0 ] || caller=10001:10001 # nothing of ours runs as root
    terminal=
    [ -t 0 ] && [ -t 1 ] || terminal=--no-TTY
    # only a prompt reads what comes in; the rest would take it from whoever called
    if [ -n "$terminal" ] && [ "$command" != psql ]; then exec </dev/null; fi
    container=$project-cli-run-$(date +%s)-$$
    eval "set -- $terminal $mounts cli \"\$@\""
    if [ "$here" = "$root" ]; then MODELYARD_PROGRAM='sh infra/launch.sh'; else MODELYARD_PROGRAM="sh $(quote "$root/infra/launch.sh")"; fi
    export MODELYARD_PROGRAM
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
