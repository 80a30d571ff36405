# shellcheck shell=sh
# The services: whether they are as they should be, brought up, shown, stopped.

ONE_SHOTS='secrets init'
AT_ONCE='is already in use by container|already in progress|No such container'
SERVICE_NAME='{{.Label "com.docker.compose.service"}}'
WAIT_S=600
# images that Compose built carry its labels, and hand them on to containers that it did not make; not this one
MADE_BY_COMPOSE=label=com.docker.compose.project.working_dir

load_project() { # sets config and project
    export_facts
    if ! config=$(docker compose --profile cli config 2>/dev/null); then
        answer=$(docker compose --profile cli config 2>&1 >/dev/null | tail -n 1)
        fail "docker-compose.yml cannot be used as it is set up: $answer; see .env and COMPOSE_FILE"
    fi
    project=$(printf '%s\n' "$config" | sed -n 's/^name: *"*\([^"]*\)"*$/\1/p')
    load_own_workers
}

list_containers() { # FORMAT
    docker ps --all --filter "label=com.docker.compose.project=$project" --filter "$MADE_BY_COMPOSE" \
        --filter label=com.docker.compose.oneoff=False --format "$1"
}

list_volumes() { docker volume ls --quiet --filter "label=com.docker.compose.project=$project"; }

is_running() { list_containers '{{.State}}' | grep -x running >/dev/null; }

require_running() {
    is_running && return
    say 'the stack is not running; start it with make up'
    [ "$command" = status ] && exit 1
    exit 2
}

count_trainers() { list_containers "$SERVICE_NAME" | grep -c -x trainer || :; }

is_current() { # [TRAINERS]: whether every service is there, healthy, and as its image and settings are now
    [ -z "$1" ] || [ "$1" -eq "$(count_trainers)" ] || return 1
    {
        docker compose config --hash '*'
        # an image whose tag has gone to a newer one is shown by its id, without a colon
        list_containers "$SERVICE_NAME "'{{.Label "com.docker.compose.config-hash"}} {{.Image}} {{.Status}}'
    } | awk -v one_shots=" $ONE_SHOTS " -v trainers="$1" '
        NF == 2 { hash[$1] = $2; next }
        {
            well = index(one_shots, " " $1 " ") ? /Exited \(0\)/ : / Up / && !/\((un|health: |Paused)/
            if (hash[$1] != $2 || $3 !~ /:/ || $3 ~ /^sha256:/ || !well) bad = 1
            seen[$1] = 1
        }
        END {
            for (service in hash) if (!seen[service] && !(service == "trainer" && trainers == "0")) bad = 1
            exit bad
        }'
}

bring_up() { # [TRAINERS]: quick where nothing is to be done
    ready=yes
    find_image || ready=
    if [ -n "$ready" ] && is_current "$1"; then return; fi
    require check_ports check_disk check_memory
    [ -n "$ready" ] || build_images
    trainers=${1:-$(count_trainers)}
    [ -n "$1" ] || [ "$trainers" -gt 0 ] || trainers=1
    if [ -z "$(list_containers x)" ] && [ -n "$(list_volumes)" ]; then
        tell stack "compose: goes on with what the volumes of $project hold"
    fi
    tell stack "compose: starting $project"
    for attempt in 1 2 3; do
        watched start docker compose up --detach --wait --wait-timeout "$WAIT_S" --no-build --remove-orphans \
            --scale "trainer=$trainers" && return
        # another command is at it too
        if [ "$attempt" = 3 ] || ! grep -E "$AT_ONCE" "$log" >/dev/null; then explain_start; fi
        sleep 3
    done
}

explain_start() {
    for service in secrets postgres minio init mlflow trainer evaluator $(list_own_services); do
        line=$(list_containers "$SERVICE_NAME {{.ID}} {{.Status}}" |
            grep -E "^$service .*(Exited \([1-9]|unhealthy|Restarting)" | head -n 1)
        [ -n "$line" ] || continue
        state=$(printf '%s' "$line" | grep -E -o 'Exited \([0-9]+\)|Restarting \([0-9]+\)|unhealthy')
        id=${line#* }
        printed=$(docker logs --tail 40 "${id%% *}" 2>&1 | grep -v '^[[:space:]]*$' || :)
        ours=$(printf '%s\n' "$printed" | sed -n 's/^modelyard: //p' | tail -n 1)
        last=$(printf '%s\n' "$printed" | tail -n 3 | cut -c 1-300 | tr '\n' '|' | sed -e 's/|$//' -e 's/|/ | /g')
        ours=${ours:-${last:-it printed nothing}}
        fail "$service did not start ($state): $ours; make logs SERVICE=$service shows all of it"
    done
    line=$(tail -n 1 "$log" | cut -c 1-300)
    case $line in
        *'already in use'* | *'already allocated'*) check_ports || fail "$found; $remedy" ;;
        *'No such image'*) line="$line; make images builds it" ;;
    esac
    fail "the stack did not start: $line"
}

up() { # [--trainers N]
    trainers=
    case ${1:-} in
        --trainers) trainers=${2:-} ;;
        --trainers=*) trainers=${1#*=} ;;
        ?*) fail "up takes --trainers N, and no $1" ;;
    esac
    case $#,$trainers in
        0,) ;;
        *,[0-9] | *,10) ;;
        *) fail "TRAINERS='$trainers': the number must be 0 to 10" ;;
    esac
    tell stack "compose: $why"
    bring_up "$trainers"
    tell stack "$project: all services are healthy, $(count_trainers) trainer(s)"
    print_addresses
}

down() { # [--volumes]
    containers=$(docker ps --all --quiet --filter "label=com.docker.compose.project=$project" --filter "$MADE_BY_COMPOSE")
    scratch=
    if [ -n "$containers" ]; then
        # shellcheck disable=SC2086  # a list of ids
        scratch=$(docker inspect --format '{{range .Mounts}}{{if eq .Type "volume"}}{{println .Name}}{{end}}{{end}}' \
            $containers | grep -E -x '[0-9a-f]{64}' || :)
    fi
    watched stop docker compose --profile cli down --remove-orphans "$@" ||
        fail "the stack did not stop: $(tail -n 1 "$log")"
    # scratch space has no name, and nobody would find it again
    # shellcheck disable=SC2086
    [ -z "$scratch" ] || docker volume rm --force $scratch >/dev/null 2>&1 || :
    if [ -n "${1:-}" ]; then
        tell stack "$project: its containers are removed"
    elif [ -n "$containers" ]; then
        tell stack "$project: stopped; its volumes stay"
    else
        tell stack "$project: was not running"
    fi
}

show_logs() { # [SERVICE…] [OPTION…]
    services=$(docker compose config --services)
    for argument in "$@"; do
        case $argument in -*) continue ;; esac
        printf '%s\n' "$services" | grep -F -x -e "$argument" >/dev/null ||
            fail "there is no service $argument; there are: $(printf '%s\n' "$services" | sort | tr '\n' ' ')"
    done
    exec docker compose logs --tail "${TAIL:-200}" "$@"
}
