# shellcheck shell=sh
# Settings as Compose sees them: from the environment, else from .env, which is read and never run.

setting() { # NAME [DEFAULT]
    eval "value=\${$1:-}; given=\${$1+yes}"
    if [ -z "$given" ] && [ -r .env ]; then
        value=$(
            LC_ALL=C sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1[[:space:]]*=[[:space:]]*//p" .env |
                tail -n 1 | tr -d '\r' | LC_ALL=C sed -e 's/^"\([^"]*\)".*/\1/' -e t -e "s/^'\([^']*\)'.*/\1/" -e t \
                -e 's/^#.*//' -e 's/[[:space:]]#.*//' -e 's/[[:space:]]*$//'
        )
    fi
    printf '%s' "${value:-${2:-}}"
}

# What docker-compose.yml is told of who calls and of the code. Without git the commit stays unknown.
export_facts() {
    MODELYARD_PERSON=$(setting MODELYARD_PERSON "$(id -un)")
    MODELYARD_STACK_WHY=$why
    MODELYARD_COMMIT=
    if [ "$(git rev-parse --show-toplevel 2>/dev/null)" = "$root" ]; then # not that of a repository around the clone
        MODELYARD_COMMIT=$(git rev-parse --verify HEAD 2>/dev/null) || MODELYARD_COMMIT=
    fi
    MODELYARD_DIRTY=
    if [ -n "$MODELYARD_COMMIT" ] && changed=$(git status --porcelain -- src sql requirements services 2>/dev/null); then
        MODELYARD_DIRTY=${changed:+true}
        MODELYARD_DIRTY=${MODELYARD_DIRTY:-false}
    fi
    export MODELYARD_PERSON MODELYARD_STACK_WHY MODELYARD_COMMIT MODELYARD_DIRTY
}
