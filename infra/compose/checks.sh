# shellcheck shell=sh
# What must be so before anything is started. Each check_… sets found, and remedy where it returns 1.

MEMORY_MB=3072
PORTS='MODELYARD_MLFLOW_PORT:5000 MODELYARD_S3_PORT:9000 MODELYARD_CONSOLE_PORT:9001 MODELYARD_POSTGRES_PORT:'
OTHER_STACK='or take the stack that needs no Docker: STACK=embedded'

require() { # CHECK…
    for check in "$@"; do
        "$check" || fail "$found; $remedy"
    done
}

bounded() { # COMMAND…: an engine that hangs is no engine
    if command -v timeout >/dev/null 2>&1; then timeout 20 "$@"; else "$@"; fi
}

find_engine() { # sets engine to its version, or found and remedy
    if ! command -v docker >/dev/null 2>&1; then
        found='Docker is not installed' remedy='install Docker Engine 25 or newer with its Compose plugin'
        return 1
    fi
    if engine=$(bounded docker version --format '{{.Server.Version}}' 2>&1); then return; fi
    case $engine in
        *'permission denied'*)
            found="the Docker engine does not let $(id -un) in"
            remedy="ask for it (sudo usermod -aG docker $(id -un)) and sign in again"
            ;;
        *)
            found="no Docker engine answers ($(printf '%s' "${engine:-nothing within 20 s}" | tail -n 1))"
            remedy='start it (sudo systemctl start docker, or Docker Desktop)'
            ;;
    esac
    return 1
}

is_older() { # VERSION MAJOR MINOR; a version that is no number is taken for new
    version=${1#v}
    major=${version%%[!0-9]*}
    minor=${version#*.}
    minor=${minor%%[!0-9]*}
    [ -n "$major" ] && { [ "$major" -lt "$2" ] || { [ "$major" -eq "$2" ] && [ "${minor:-0}" -lt "$3" ]; }; }
}

check_engine() {
    if ! find_engine; then remedy="$remedy, $OTHER_STACK"; return 1; fi
    found="Docker Engine $engine"
    is_older "$engine" 25 0 || return 0
    remedy="25 or newer is needed: install a newer one, $OTHER_STACK"
    return 1
}

check_compose() {
    if ! version=$(docker compose version --short 2>/dev/null); then
        found='Docker has no Compose plugin (docker compose)'
        remedy="install it (docker-compose-plugin, on Debian docker-compose), $OTHER_STACK"
        return 1
    fi
    found="Docker Compose $version"
    is_older "$version" 2 24 || return 0
    remedy="2.24 or newer is needed: install a newer one, $OTHER_STACK"
    return 1
}

check_buildx() {
    if found=$(docker buildx version 2>/dev/null); then
        driver=$(docker buildx inspect 2>/dev/null | awk '$1 == "Driver:" { print $2 }')
        case $driver in '' | docker) return ;; esac
        found="the builder of Buildx ($driver) does not see this engine's own images"
        remedy="choose the engine's: docker buildx use default (or BUILDX_BUILDER=default)"
        return 1
    fi
    found='Docker has no Buildx plugin, which builds the images'
    remedy="install it (docker-buildx-plugin, on Debian docker-buildx), $OTHER_STACK"
    return 1
}

check_settings() { # those that Compose would refuse with a message of its own
    found='ports and sizes are numbers'
    for pair in $PORTS; do
        port=$(setting "${pair%%:*}" "${pair#*:}")
        case $port in
            '' | [1-9] | [1-9][0-9] | [1-9][0-9][0-9] | [1-9][0-9][0-9][0-9]) continue ;;
            [1-6][0-9][0-9][0-9][0-9]) [ "$port" -gt 65535 ] || continue ;;
        esac
        found="${pair%%:*}='$port' is no port"
        remedy='name one from 1 to 65535 (also in .env)'
        return 1
    done
    case $(setting MODELYARD_MIN_FREE_MB 1024) in
        *[!0-9]*)
            found="MODELYARD_MIN_FREE_MB='$(setting MODELYARD_MIN_FREE_MB)' is no number"
            remedy='name a number of MiB'
            return 1
            ;;
    esac
}

check_project() {
    others=
    nb=0
    while IFS= read -r folder; do
        [ -n "$folder" ] || continue
        nb=$((nb + 1))
        [ "$(cd -- "$folder" 2>/dev/null && pwd -P)" = "$root" ] || others=$folder
    done <<EOF
$(docker ps --all --filter "label=com.docker.compose.project=$project" --filter "$MADE_BY_COMPOSE" \
    --format '{{or (.Label "com.docker.compose.project.working_dir") "no folder"}}')
EOF
    found="$project, $nb containers"
    [ -n "$others" ] || return 0
    found="a stack named $project is there already, and belongs to $others"
    remedy="stop that one (make down in its folder, or docker compose -p $project down)"
    remedy="$remedy, or give this one a name of its own: COMPOSE_PROJECT_NAME=$project-2 in .env"
    return 1
}

engine_is_here() {
    case $(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null) in
        '' | unix:* | npipe:*) ;;
        *) return 1 ;;
    esac
}

listens() { # PORT: whether anything on this machine listens where we would
    engine_is_here || return 1
    if [ -r /proc/net/tcp ]; then
        cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$(printf '%04X' "$1")" '
            $4 == "0A" && $2 ~ "^(0+|0100007F|0+FFFF00000100007F):" port "$" { found = 1 }
            END { exit !found }'
    else
        netstat -an 2>/dev/null | grep -E "[.:]$1[[:space:]].*LISTEN" >/dev/null
    fi
}

find_holder() { # PORT: sets holder to who has it, unless that is this stack
    holder=$(docker ps --filter "publish=$1" --format '{{.Label "com.docker.compose.project"}} {{.Names}}' | head -n 1)
    case $holder in
        "$project "*) return 1 ;;
        ?*) holder="the container ${holder#* }" ;;
        *) holder='another program'; listens "$1" ;;
    esac
}

check_ports() {
    found='' taken='' remedy=''
    for pair in $PORTS; do
        name=${pair%%:*}
        port=$(setting "$name" "${pair#*:}")
        printf '%s\n' "$config" | grep -F "published: \"$port\"" >/dev/null || continue
        found="$found${found:+, }$port"
        if find_holder "$port"; then
            taken="$taken${taken:+, }port $port is in use by $holder"
            # one far from the stack's other ports
            free=$((port % 50000 + 10010))
            while [ "$free" -lt 65535 ] && find_holder "$free"; do free=$((free + 1)); done
            remedy="$remedy${remedy:+ }$name=$free"
        fi
    done
    if [ -z "$taken" ]; then found="$found are free, or this stack's"; return; fi
    found=$taken
    remedy="stop that, or name another port in .env or on the command line: $remedy"
    return 1
}

check_disk() {
    folder=$(docker info --format '{{.DockerRootDir}}')
    found='the engine is on another machine, so not looked at'
    engine_is_here || return 0
    needed=$(setting MODELYARD_MIN_FREE_MB "${least_mb:-1024}")
    free=$(df -Pk "$folder" 2>/dev/null | awk 'NR == 2 { print int($4 / 1024) }')
    found="$folder: $free MiB free"
    if [ -z "$free" ]; then found="$folder is not to be seen from here, so not looked at"; return; fi
    [ "$free" -lt "$needed" ] || return 0
    found="$found, and $needed MiB are needed"
    remedy='free some where Docker keeps its data (docker system df shows what does), or lower MODELYARD_MIN_FREE_MB'
    return 1
}

check_memory() {
    total=$(($(docker info --format '{{.MemTotal}}') / 1048576))
    found="the Docker engine has $total MiB of memory"
    [ "$total" -lt "$MEMORY_MB" ] || return 0
    found="$found, and the stack needs $MEMORY_MB"
    remedy="give it more (in Docker Desktop: Settings, Resources), $OTHER_STACK"
    return 1
}

check_images() {
    if find_image; then found="made from the files that are here"; return; fi
    find_bases
    found='will be built from images that are here'
    for base in $missing; do
        image=${base#*=}
        found="$image will be pulled"
        if ! answer=$(bounded docker manifest inspect "$image" 2>&1); then name_missing "$base" "$answer"; return 1; fi
    done
}
