# shellcheck shell=sh
# A command of modelyard in a container, as whoever calls, with the files that it names.

keep_shell=''

hand_in() { # PATH [REMEDY]: sets handed to the path inside; what is not there goes on as it is, and the command says so
    handed=$1
    case $1 in s3://*) return 0 ;; esac # the command copies it from there
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
    if [ "$(id -u)" = 0 ] && [ -z "$(find -L "$path" -prune \( -perm "$needed" -o -user 10001 \))" ]; then
        fail "$path can be read by root alone, and no container runs as root; ${2:-chmod it}, or call as the user whose file it is"
    fi
    handed=$path
    case "$mounts " in *" --volume $(quote "$path:$path:ro") "*) return 0 ;; esac # Docker takes a place once
    mounts="$mounts --volume $(quote "$path:$path:ro")"
    [ ! -f "$path.dvc" ] || mounts="$mounts --volume $(quote "$path.dvc:$path.dvc:ro")"
    [ ! -d "$path" ] || hand_in_links "$path"
}

hand_in_password() { # PATH: nobody else is to read it
    hand_in "$1" 'chown it to 10001, as which it is read'
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
        train | process | sweep | workloads | doctor)
            folder=$(setting MODELYARD_DATA_DIR data)
            case $folder in /*) ;; *) folder=$root/$folder ;; esac
            case " $* " in
                *' --data'*) ;; # nothing else is tried then
                *) if engine_is_here; then hand_in "$folder"; fi ;;
            esac
            [ -z "$mounts" ] || mounts="$mounts --env $(quote "MODELYARD_DATA_DIR=$handed")"
            ;;
    esac
    hand_in_workloads
    password=$(setting MODELYARD_PASSWORD_FILE)
    if [ -n "$password" ]; then # the file goes in, and nothing but its name is said
        base=$root # of what is written in .env
        [ -z "${MODELYARD_PASSWORD_FILE+yes}" ] || base=$here
        case $password in /*) ;; *) password=$base/$password ;; esac
        [ -f "$password" ] || fail "MODELYARD_PASSWORD_FILE=$password: there is no such file"
        hand_in_password "$password"
        mounts="$mounts --env $(quote "MODELYARD_PASSWORD_FILE=$handed")"
    fi
    before='' first=yes output='' replace='' json='' formatted='' named='' unpack='' what="$1 ${2:-}"
    option=--output replacing=--force
    case $what in
        'predict '*) option=--out replacing=--overwrite ;;
        'workloads new') replacing='' ;;
    esac
    for argument in "$@"; do
        shift
        case $what in # no container writes a file of the caller's: what it says goes there
            'datasets export' | 'predict '*)
                case $before,$argument in
                    "$option",*) output=$argument before=''; continue ;;
                    *,"$option") before=$argument; continue ;;
                    *,"$option"=*) output=${argument#*=}; continue ;;
                    *,"$replacing") replace=yes; continue ;;
                    *,--format | *,--format=*) formatted=yes ;;
                    *,--json) json=yes ;;
                esac
                ;;
            'workloads new')
                case $before,$argument in
                    --output,*) output=$argument before=''; continue ;;
                    *,--output) before=$argument; continue ;;
                    *,--output=*) output=${argument#*=}; continue ;;
                    *,-?* | *,workloads | *,new) ;;
                    *) named=$argument ;;
                esac
                ;;
            'gate set')
                case $first$before,${argument%"${argument#?}"} in
                    yes,* | --reason,* | *,-) ;;
                    *) # of the words set, MODEL and FILE the third
                        named=x$named
                        if [ "$named" = xxx ]; then hand_in_file "$argument"; argument=$handed; fi
                        ;;
                esac
                ;;
            'download '*)
                case $first,$argument in
                    yes,*) ;;
                    *,--json) json=yes ;;
                    *,-?*) ;;
                    *,*) if [ -z "$named" ]; then named=yes; elif [ "$argument" != - ]; then unpack=$argument argument=-; fi ;;
                esac
                ;;
        esac
        handed=$argument
        case $before in
            --data | --in) hand_in "$argument" ;;
            --password-file) hand_in_password "$argument" ;;
            --config | --rules) hand_in_config "$argument" ;;
            *)
                case $argument in
                    --data=* | --in=*) hand_in "${argument#*=}"; handed=${argument%%=*}=$handed ;;
                    --password-file=*) hand_in_password "${argument#*=}"; handed=${argument%%=*}=$handed ;;
                    --config=* | --rules=*) hand_in_config "${argument#*=}"; handed=${argument%%=*}=$handed ;;
                    *.py) case $command in train | process | sweep | blend | drift) hand_in_file "$argument" ;; esac ;;
                    *) if [ "$command" = digest ] && [ -z "$first" ]; then hand_in "$argument"; fi ;;
                esac
                ;;
        esac
        set -- "$@" "$handed"
        first='' before=$argument
    done
    [ "$before" != "$option" ] || set -- "$@" "$option" # the command says that its value is missing
    if [ "$what" = 'workloads new' ]; then
        case $named in *[!a-z0-9_]*) named='' ;; esac # no name: the command says so
        if [ -n "$named" ] && [ "$output" != - ]; then output=${output:-$named.py}; else output=''; fi
        set -- "$@" --output -
    fi
    if [ -n "$output" ]; then
        check_output
        if [ "$command" = predict ] && [ -z "$formatted" ]; then # the name of the file is not known inside
            case ${output##*/} in
                ?*.*) set -- "$@" --format "${output##*.}" ;;
                *) fail "$output says no format; end it in .csv, .jsonl or .parquet, or give --format" ;;
            esac
        fi
    elif [ -n "$unpack" ]; then
        check_folder
    fi
    caller=$(id -u):$(id -g)
    [ "$(id -u)" != 0 ] || caller=10001:10001 # nothing of ours runs as root
    terminal=
    [ -t 0 ] && [ -t 1 ] && [ -z "$output" ] || terminal=--no-TTY
    # only a prompt reads what comes in; the rest would take it from whoever called
    if [ -n "$terminal" ] && [ "$command" != psql ]; then exec </dev/null; fi
    service=cli
    case "$1 ${2:-}" in
        'gc '* | 'datasets delete') service=gc ;;                        # its keys may delete
        'user add' | 'user change' | 'user remove') service=admin ;; # it has the administrator's password
    esac
    container=$project-$service-run-$(date +%s)-$$
    eval "set -- $terminal $mounts $service \"\$@\""
    if [ "$here" = "$root" ]; then MODELYARD_PROGRAM='sh infra/launch.sh'; else MODELYARD_PROGRAM="sh $(quote "$root/infra/launch.sh")"; fi
    export MODELYARD_PROGRAM
    set -- docker compose --progress quiet run --rm --no-deps --name "$container" --user "$caller" "$@"
    if [ -n "$keep_shell" ]; then "$@"; return; fi
    if [ -z "$terminal" ]; then # Ctrl-C goes through the terminal to the command itself
        [ -z "$log" ] || rm -f "$log"
        exec "$@"
    fi
    # in the background, so that a signal is heard at once
    exec 3<&0 4>&1 5>&2
    if [ -n "$output" ]; then
        exec 4>"$part"
        [ -z "$json" ] || exec 5>"$part.said" # beside the data the command tells of it on stderr
    fi
    running=''
    trap 'interrupt_container' INT TERM
    "$@" <&3 >&4 2>&5 &
    running=$!
    code=0
    wait "$running" || code=$?
    if [ -n "$output" ]; then
        [ "$code" != 0 ] || put_in_place || code=1
        if [ -n "$json" ] && [ "$code" = 0 ]; then cat "$part.said"; elif [ -n "$json" ]; then cat "$part.said" >&2; fi
    fi
    exit "$code"
}

hand_in_workloads() { # the files and folders of MODELYARD_WORKLOADS, for commands that name a workload
    case $command in train | process | sweep | blend | drift | workloads) ;; *) return 0 ;; esac
    places=$(setting MODELYARD_WORKLOADS) inside=''
    base=$root # of what is written in .env
    [ -z "${MODELYARD_WORKLOADS+yes}" ] || base=$here
    while [ -n "$places" ]; do
        place=${places%%,*}
        case $places in *,*) places=${places#*,} ;; *) places='' ;; esac
        place=${place#"${place%%[! ]*}"} place=${place%"${place##*[! ]}"}
        [ -n "$place" ] || continue
        case $place in /*) ;; *) place=$base/$place ;; esac
        hand_in "$place"
        inside=$inside,$handed
    done
    [ -z "$inside" ] || mounts="$mounts --env $(quote "MODELYARD_WORKLOADS=${inside#,}")"
}

put_in_place() {
    if [ -z "$unpack" ]; then mv -f -- "$part" "$output"; return; fi
    mkdir -- "$part.d" && tar -x -o -f "$part" -C "$part.d" || return 1
    if [ ! -d "$output" ]; then mv -- "$part.d" "$output"; return; fi
    # the folder itself stays: it may be the one that the caller is in
    find "$part.d" -mindepth 1 -maxdepth 1 -exec mv -- {} "$output" \;
    rmdir -- "$part.d" # fails where something is left
}

check_folder() { # sets output to the whole path and part to the archive that is unpacked there
    case $unpack in /*) output=$unpack ;; *) output=$here/$unpack ;; esac
    output=${output%/}
    [ ! -e "$output" ] || { [ -d "$output" ] && [ -z "$(ls -A "$output")" ]; } ||
        fail "$output is there already and not empty; name another folder"
    command -v tar >/dev/null || fail 'tar is missing here, which unpacks what is downloaded; install it'
    part=$output.$$.part
    [ ! -d "$output" ] || part=$output/.$$.part
    trap 'rm -rf -- "$part" "$part.said" "$part.d"' EXIT
    (: >"$part") 2>/dev/null || fail "$output cannot be made; name another folder"
}

check_output() { # sets output to the whole path and part to what it is until all of it is there
    case $output in /*) ;; *) output=$here/$output ;; esac
    [ ! -d "$output" ] || fail "$output is a folder; name a file with $option"
    [ ! -e "$output" ] || [ -f "$output" ] || fail "$output is no plain file; name another one with $option"
    [ ! -e "$output" ] || [ -n "$replace" ] ||
        fail "$output is there already; name another file with $option${replacing:+, or replace it with $replacing}"
    part=$output.$$.part
    trap 'rm -f -- "$part" "$part.said"' EXIT
    (: >"$part") 2>/dev/null || fail "$output cannot be written; name another file with $option"
}

# Compose may leave at an interrupt without the container; then the command in it is told, and its last words shown.
interrupt_container() {
    trap '' INT TERM
    words=$(mktemp "${TMPDIR:-/tmp}/modelyard.XXXXXX")
    if [ -n "$output" ]; then # what it says is on stderr, and data on stdout
        docker logs --follow --since "$(date +%s)" "$container" 2>"$words" >/dev/null &
    else
        docker logs --follow --since "$(date +%s)" "$container" >"$words" 2>&1 &
    fi
    follower=$!
    sleep 1
    docker kill --signal INT "$container" >/dev/null 2>&1 || :
    code=130
    if [ -n "$running" ] && kill -0 "$running" 2>/dev/null; then # the signal was for this process only
        code=0
        wait "$running" || code=$?
    else
        wait "$follower" || :
        grep -v '^Error response from daemon' "$words" >&2 || :
    fi
    rm -f "$words"
    exit "$code"
}

hand_in_config() { # of a policy it is NAME=VALUE
    handed=$1
    [ "$what" = 'policy add' ] || hand_in_file "$1"
}

hand_in_file() { # a config is a file, or a name that ships with the workload
    handed=$1
    case $1 in /*) path=$1 ;; *) path=$here/$1 ;; esac
    [ ! -f "$path" ] || hand_in "$1"
}
