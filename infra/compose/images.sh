# shellcheck shell=sh
# The images: made from the files that are here, and known by a label with their hash.

MADE_FROM='docker-compose.yml .dockerignore pyproject.toml README.md LICENSE requirements src sql services
    infra/postgres infra/minio'
BUILD_SETTINGS='MODELYARD_CA_BUNDLE MODELYARD_BUILD_NETWORK GOPROXY GOSUMDB DEBIAN_MIRROR DEBIAN_SECURITY_MIRROR'
BASES='PYTHON_IMAGE GOLANG_IMAGE POSTGRES_IMAGE MINIO_IMAGE'

replaced=''

hash_tree() {
    sum=sha256sum
    command -v sha256sum >/dev/null 2>&1 || sum='shasum -a 256'
    # shellcheck disable=SC2086  # both are lists
    {
        printf '%s\n' "$MODELYARD_COMMIT $MODELYARD_DIRTY"
        for name in $BASES GO_TOOLCHAIN; do printf '%s\n' "$(setting "$name")"; done
        find $MADE_FROM -type f ! -path '*/__pycache__/*' -exec $sum {} + | LC_ALL=C sort
    } | $sum | cut -c 1-64
}

find_image() { # whether the images are here and were made from these files
    tag=$(setting MODELYARD_TAG local)
    tree=$(hash_tree)
    label='{{with .Config.Labels}}{{index . "io.modelyard.tree"}}{{end}}'
    [ "$(docker image inspect --format "$label" "modelyard/cli:$tag" 2>/dev/null)" = "$tree" ] || return 1
    for image in $(docker compose config --images | sort -u); do is_here "$image" || return 1; done
}

is_here() { docker image inspect "$1" >/dev/null 2>&1; } # IMAGE

name_airgapped() { # VARIABLE: the base that make images AIRGAP=1 builds for it
    case $1 in
        PYTHON_IMAGE) echo modelyard/airgap-python:3.13 ;;
        GOLANG_IMAGE) echo modelyard/airgap-golang:1 ;;
        POSTGRES_IMAGE) echo modelyard/airgap-postgres:17 ;;
    esac
}

find_bases() { # sets missing to VARIABLE=IMAGE…; takes an air-gapped base where nobody named another one
    missing=
    for base in $(printf '%s\n' "$config" | sed -n 's/^ *\([A-Z]*_IMAGE\): *"*\([^" ]*\)"*$/\1=\2/p' | sort -u); do
        name=${base%%=*}
        image=${base#*=}
        airgapped=$(name_airgapped "$name")
        if [ "$image" = built ] || is_here "$image"; then
            :
        elif [ -n "$airgapped" ] && [ -z "$(setting "$name")" ] && is_here "$airgapped"; then
            export "$name=$airgapped"
            replaced="$replaced $airgapped"
        else
            missing="$missing $base"
        fi
    done
}

name_missing() { # VARIABLE=IMAGE ANSWER: sets found and remedy
    found="the image ${1#*=} could not be had: $(printf '%s' "$2" | tail -n 1)"
    name=${1%%=*}
    remedy='where no registry answers, make images AIRGAP=1 builds what is needed'
    if [ "$name" = MINIO_IMAGE ]; then
        remedy='name another one, or none (MINIO_IMAGE=): then MinIO is built from source'
    elif [ -n "$name" ] && [ -n "$(setting "$name")" ]; then
        remedy="name another one, or none ($name=): $remedy"
    elif [ -n "$name" ]; then
        remedy="$remedy; $name names an image of your own"
    fi
}

build_images() {
    # a first build takes all that images, layers and caches need
    is_here "modelyard/cli:$(setting MODELYARD_TAG local)" || least_mb=8192
    require check_buildx check_disk
    find_bases
    if [ -n "$replaced" ]; then tell stack "compose: base images made without a registry:$replaced"; fi
    for base in $missing; do
        tell stack "compose: pulling ${base#*=}"
        watched pull docker pull "${base#*=}" && continue
        name_missing "$base" "$(cat "$log")"
        fail "$found; $remedy"
    done
    tell stack 'compose: building the images; the first time takes minutes, later only what changed'
    # the label comes last: where it is, every image was built
    export BUILDKIT_PROGRESS=plain
    watched build env MODELYARD_TREE= docker compose build || explain_build
    build_own_workers
    watched build env MODELYARD_TREE="$tree" docker compose build secrets || explain_build
}

explain_build() {
    image=$(sed -n 's/.*failed to resolve source metadata for \([^ ]*\): .*/\1/p' "$log" | tail -n 1)
    if [ -n "$image" ]; then
        name_missing "=$image" "$(tail -n 1 "$log")"
        fail "$found; $remedy"
    fi
    if grep -q 'no space left on device' "$log"; then
        fail 'the disk is full where Docker keeps its data; docker system df shows what takes it,' \
            'docker builder prune frees the cache of builds'
    fi
    # what the failed step printed last, between two lines of dashes, its name first
    step=$(awk '/^------$/ { inside = !inside; if (inside) text = ""; next } inside { text = text $0 "\n" }
        END { printf "%s", text }' "$log" | sed -e 's/^[0-9][0-9.]* //' | cut -c 1-200)
    [ -n "$step" ] || step=$(tail -n 1 "$log" | cut -c 1-300)
    printf '%s\n' "$step" | sed 1d | tail -n 10 >&2
    name=$(printf '%s\n' "$step" | sed -n '1s/^ > \(\[[^]]*\]\).*/step \1, /p')
    trap - EXIT # the file stays
    fail "the images could not be built: $name$(printf '%s\n' "$step" | tail -n 1). All of it is in $log;" \
        'where packages come from is set by PIP_INDEX_URL, GOPROXY, MODELYARD_CA_BUNDLE and MODELYARD_BUILD_NETWORK'
}

make_images() {
    if [ -n "${AIRGAP:-}" ]; then
        for name in $BUILD_SETTINGS; do
            value=$(setting "$name")
            [ -z "$value" ] || export "$name=$value"
        done
        sh infra/airgap/build.sh >&2 || exit 2
    fi
    tree=$(hash_tree)
    build_images
    docker images --filter "reference=modelyard/*:$(setting MODELYARD_TAG local)"
}
