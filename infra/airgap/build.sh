#!/bin/sh
# Builds the base images from packages alone, for an engine that reaches no registry. docs/airgap.md tells more.
#   build.sh [--fresh] [debian|python|golang|postgres …]      all of them when none is named
# A base that was made from the same files stays as it is; --fresh makes it anew, with today's packages.
set -eu
bundle=${MODELYARD_CA_BUNDLE:-/dev/null}
case $bundle in /*) ;; *) bundle=$PWD/$bundle ;; esac
export MODELYARD_CA_BUNDLE="$bundle"
cd "$(dirname "$0")"

say() { echo "airgap: $1"; }
fail() { # what is wrong, and the way out
    echo "airgap: $1" >&2
    [ -z "${2:-}" ] || echo "airgap: $2" >&2
    exit 2
}

fresh=
[ "${1:-}" != --fresh ] || { fresh=1; shift; }
for base in "$@"; do
    case $base in
        debian | python | golang | postgres) ;;
        *) fail "there is no base named $base" "Choose from: debian python golang postgres" ;;
    esac
done
[ $# -gt 0 ] || set -- python golang postgres
case " $* " in *" debian "*) ;; *) set -- debian "$@" ;; esac # the others stand on it

[ -r "$bundle" ] || fail "MODELYARD_CA_BUNDLE names $bundle, which cannot be read" "Name a readable file of PEM certificates, or unset it."
case "${DEBIAN_MIRROR:-} ${DEBIAN_SECURITY_MIRROR:-}" in
    *://*@*) fail "the address of a mirror holds a user or a password, which would stay in the images" \
        "Name a mirror that asks for none in DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR." ;;
esac
command -v docker >/dev/null || fail "the program docker is not here" "Install it (Debian: apt install docker.io docker-cli docker-buildx docker-compose)."
answer=$(docker version --format '{{.Server.Version}}' 2>&1) ||
    fail "no Docker engine answers: $(echo "$answer" | tail -n 1)" \
    "Start it (systemctl start docker), or use an account that may: one in the group docker, or root."
export DOCKER_BUILDKIT=1
docker buildx version >/dev/null 2>&1 || fail "docker has no buildx, which builds the images" "Install it (Debian: apt install docker-buildx)."
driver=$(docker buildx inspect 2>/dev/null | awk '$1 == "Driver:" { print $2 }')
[ "$driver" = docker ] || fail "the chosen builder of buildx ($driver) does not see this engine's own images" \
    "Choose the engine's builder: docker buildx use default (or BUILDX_BUILDER=default)."

work=$(mktemp -d "${TMPDIR:-/tmp}/modelyard-airgap.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM

# step NAME WAY-OUT COMMAND…: runs it; a line of its output every ten seconds, and the end of it when it fails
step() {
    step_name=$1 way_out=$2
    shift 2
    began=$(date +%s)
    rm -f "$work/done"
    { "$@" 2>&1 && touch "$work/done"; } | tee "$work/log" | while IFS= read -r line; do
        now=$(date +%s)
        if [ $((now - ${last:-$began})) -ge 10 ]; then
            last=$now
            printf 'airgap:   %4d s  %.100s\n' $((now - began)) "$line"
        fi
    done
    if [ ! -e "$work/done" ]; then
        tail -n 25 "$work/log" >&2
        fail "$step_name failed; its last lines stand above" "$way_out"
    fi
}

# inputs_of FILE…: what a base is made from, as one hash; the mirrors stay in the image, so they count
inputs_of() {
    { cat "$@"; echo "${DEBIAN_MIRROR:-} ${DEBIAN_SECURITY_MIRROR:-} ${below:-}"; } | sha256sum | cut -d ' ' -f 1
}

# is_there TAG INPUTS
is_there() {
    [ "$(docker image inspect --format '{{index .Config.Labels "io.modelyard.airgap.inputs"}}' "$1" 2>/dev/null)" = "$2" ]
}

tell_built() { # NAME TAG
    say "$1: $2, $(docker image inspect --format '{{.Size}}' "$2" | awk '{ printf "%.0f MB", $1 / 1000000 }'), $(($(date +%s) - base_began)) s"
}

make_debian() { # TAG INPUTS
    [ "$(id -u)" = 0 ] || fail "debootstrap needs root, and this is $(id -un)" \
        "Run this step once as root: sudo -E sh infra/airgap/build.sh debian (the others need only an account that may use docker)."
    command -v debootstrap >/dev/null || fail "the program debootstrap is not here" "Install it (Debian, Ubuntu: apt install debootstrap)."
    [ -r /usr/share/keyrings/debian-archive-keyring.gpg ] || fail "the keys of Debian's archive are not here" \
        "Install them (Debian, Ubuntu: apt install debian-archive-keyring)."
    step debootstrap "Is the mirror reachable? DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR name another, MODELYARD_CA_BUNDLE its certificates." \
        sh debian.sh "$work"
    step "docker import" "Is there room where Docker keeps its data? See: docker system df" \
        docker import --change 'CMD ["/bin/sh"]' --change 'ENV LANG=C.UTF-8' --change 'LABEL io.modelyard.airgap=true' \
        --change "LABEL io.modelyard.airgap.inputs=$2" "$work/debian.tar" "$1"
}

make_other() { # TAG INPUTS NAME
    # the proxies' names without a value: docker takes them from here and keeps them out of the image
    step "the image $1" "Are the mirrors reachable from a build? MODELYARD_BUILD_NETWORK=host builds in this machine's network." \
        docker build --progress plain --network "${MODELYARD_BUILD_NETWORK:-default}" --secret "id=ca_bundle,src=$bundle" \
        --build-arg http_proxy --build-arg https_proxy --build-arg no_proxy \
        --label io.modelyard.airgap=true --label "io.modelyard.airgap.inputs=$2" \
        ${fresh:+--no-cache} --tag "$1" --file "$3.Dockerfile" .
}

for base in "$@"; do
    case $base in
        debian) tag=modelyard/airgap-debian:trixie inputs=$(inputs_of debian.sh) ;;
        python) tag=modelyard/airgap-python:3.13 inputs=$(inputs_of python.Dockerfile) ;;
        golang) tag=modelyard/airgap-golang:1 inputs=$(inputs_of golang.Dockerfile) ;;
        postgres) tag=modelyard/airgap-postgres:17 inputs=$(inputs_of postgres.Dockerfile postgres-entrypoint.sh) ;;
    esac
    if [ -z "$fresh" ] && is_there "$tag" "$inputs"; then
        say "$base: $tag is there, made from these files"
    else
        base_began=$(date +%s)
        say "$base: making $tag"
        if [ "$base" = debian ]; then make_debian "$tag" "$inputs"; else make_other "$tag" "$inputs" "$base"; fi
        tell_built "$base" "$tag"
    fi
    [ "$base" != debian ] || below=$(docker image inspect --format '{{.Id}}' "$tag")
done
