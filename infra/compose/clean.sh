# shellcheck shell=sh
# Back to a fresh clone. What the stack keeps goes only when that is asked for by name.

clean() {
    # first what may be refused
    if [ -n "${VOLUMES:-}" ]; then remove_volumes; fi
    if [ -z "${YES:-}" ] && [ -t 0 ]; then
        printf 'Remove the virtual environment and the caches of %s? [y/N] ' "$root" >&2
        read -r answer || answer=
        case $answer in [yY]*) ;; *) say 'nothing was removed'; exit 2 ;; esac
    fi
    rm -rf .venv dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
}

remove_volumes() {
    why='its volumes are to be removed'
    require check_engine check_compose check_settings
    load_project
    require check_project
    volumes=$(list_volumes)
    if [ -z "$volumes" ]; then tell stack "$project: has no volumes"; return; fi
    tell stack "$project: every run, model, dataset and password in these volumes will be lost:"
    printf '%s\n' "$volumes" | sed 's/^/         /' >&2
    if [ -z "${YES:-}" ]; then
        [ -t 0 ] || fail 'nobody is there to ask, and nothing was removed; YES=1 VOLUMES=1 removes them unasked'
        printf 'Type %s to remove them: ' "$project" >&2
        read -r answer || answer=
        [ "$answer" = "$project" ] || fail 'nothing was removed'
    fi
    down --volumes
    # shellcheck disable=SC2086  # a list of names
    docker volume rm $volumes >/dev/null 2>&1 || :
    rm -rf -- ".workers/$project"
    left=$(list_volumes | tr '\n' ' ')
    [ -z "$left" ] ||
        fail "something else uses these volumes, and they are still there: $left; docker ps --filter volume=NAME shows what"
    tell stack "$project: its volumes are removed"
}
