#!/bin/bash
# Starts PostgreSQL in a container, and on an empty volume makes the cluster first. What it promises is the public
# image's contract (docs/airgap.md lists it). It differs in one thing: a first start that was killed in the middle
# begins anew at the next, because the cluster is made in a folder of its own and moved when it is whole.
set -euo pipefail

fail() {
    echo "postgres: $1" >&2
    exit 1
}

# from_file NAME [DEFAULT]: the value of NAME, or of the file that NAME_FILE names
from_file() {
    local name=$1 file=${1}_FILE
    if [[ -n ${!file:-} ]]; then
        [[ -z ${!name:-} ]] || fail "$name and $file are both set: unset one"
        [[ -r ${!file} ]] || fail "$file names ${!file}, which cannot be read by $(id -un 2>/dev/null || id -u)"
        export "$name=$(<"${!file}")"
    else
        export "$name=${!name:-${2:-}}"
    fi
    unset "$file"
}

# wants_only_to_be_told ARGUMENT…: a question to the program, for which no cluster is needed
wants_only_to_be_told() {
    local argument
    for argument in "$@"; do
        case $argument in -\? | --help | --describe-config | -V | --version) return 0 ;; esac
    done
    return 1
}

make_cluster() {
    if [[ -z $POSTGRES_PASSWORD && $POSTGRES_HOST_AUTH_METHOD != trust ]]; then
        fail "the volume is empty and there is no password for ${POSTGRES_USER}: set POSTGRES_PASSWORD_FILE or POSTGRES_PASSWORD"
    fi
    local options=(--username="$POSTGRES_USER" --no-instructions)
    [[ -z $POSTGRES_PASSWORD ]] || options+=(--pwfile=/dev/stdin)
    [[ -z ${POSTGRES_INITDB_WALDIR:-} ]] || options+=(--waldir="$POSTGRES_INITDB_WALDIR")
    eval "options+=($POSTGRES_INITDB_ARGS)" # it may hold quoted arguments
    initdb "${options[@]}" <<<"$POSTGRES_PASSWORD"
    local method=${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption "$@")}
    printf '\n# from anywhere else\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

# run_sql ARGUMENT…: psql as the superuser on the server that only the socket reaches
run_sql() {
    PGPASSWORD=$POSTGRES_PASSWORD PGHOST='' PGHOSTADDR='' psql --no-psqlrc --no-password --set ON_ERROR_STOP=1 \
        --username "$POSTGRES_USER" "$@"
}
# the name under which the public image offers it to a script that is sourced below
docker_process_sql() { run_sql --dbname "$POSTGRES_DB" "$@"; }

run_first_scripts() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        [[ -e $file ]] || continue
        echo "postgres: $file"
        case $file in
            *.sh)
                # a script that may not be executed is read into this shell, as the public image does
                # shellcheck disable=SC1090
                if [[ -x $file ]]; then "$file"; else source "$file"; fi ;;
            *.sql) docker_process_sql --file "$file" ;;
            *.sql.gz) gzip -dc "$file" | docker_process_sql ;;
            *) echo "postgres: left alone, its name ends in none of .sh .sql .sql.gz" ;;
        esac
    done
}

# fill_cluster ARGUMENT…: a server for a moment, without a network, so that nobody meets a half-made database
fill_cluster() {
    "$@" -c listen_addresses= &
    local server=$! waited
    for ((waited = 0; waited < 600; waited++)); do
        if PGHOST='' pg_isready --quiet --username "$POSTGRES_USER" --dbname postgres; then break; fi
        kill -0 "$server" 2>/dev/null || fail "the server for the first scripts did not start; its messages stand above"
        sleep 0.1
    done
    if [[ -z $(run_sql --dbname postgres --tuples-only --set name="$POSTGRES_DB" \
        <<<"select 1 from pg_database where datname = :'name'") ]]; then
        run_sql --dbname postgres --quiet --set name="$POSTGRES_DB" <<<'create database :"name"'
    fi
    run_first_scripts
    kill -INT "$server"
    wait "$server"
}

# bring_in FOLDER: what is in it goes to PGDATA; PG_VERSION last, which says that the cluster is whole
bring_in() {
    local entry
    for entry in "$1"/*; do
        [[ $entry == */PG_VERSION ]] || mv -T "$entry" "$PGDATA/${entry##*/}"
    done
    mv "$1/PG_VERSION" "$PGDATA/PG_VERSION"
    rmdir "$1"
}

main() {
    [[ ${1:-} != -* ]] || set -- postgres "$@"
    if [[ ${1:-} != postgres ]] || wants_only_to_be_told "$@"; then
        exec "$@"
    fi

    if [[ $(id -u) == 0 ]]; then
        mkdir -p "$PGDATA" /run/postgresql
        chmod 700 "$PGDATA"
        chmod 3775 /run/postgresql
        find "$PGDATA" /run/postgresql \! -user postgres -exec chown postgres:postgres {} +
        exec setpriv --reuid=postgres --regid=postgres --init-groups -- "${BASH_SOURCE[0]}" "$@"
    fi

    if ! { mkdir -p "$PGDATA" && chmod 700 "$PGDATA"; } 2>/dev/null; then
        fail "$PGDATA is not a folder of user $(id -u), which runs the server: give it to this user (chown)"
    fi
    if [[ ! -s $PGDATA/PG_VERSION ]]; then
        local final=$PGDATA unfinished=$PGDATA/first-start.unfinished finished=$PGDATA/first-start.finished
        trap 'exit 1' INT TERM # the first process of a container would ignore both
        if [[ ! -d $finished ]]; then
            from_file POSTGRES_PASSWORD
            from_file POSTGRES_USER postgres
            from_file POSTGRES_DB "$POSTGRES_USER"
            from_file POSTGRES_INITDB_ARGS
            export POSTGRES_HOST_AUTH_METHOD=${POSTGRES_HOST_AUTH_METHOD:-}
            rm -rf "$unfinished"
            export PGDATA=$unfinished # for the first scripts too
            make_cluster "${@:2}"
            fill_cluster "$@"
            export PGDATA=$final
            mv -T "$unfinished" "$finished"
        fi
        bring_in "$finished"
        echo "postgres: the cluster is made"
    fi
    unset POSTGRES_PASSWORD PGPASSWORD # the server needs neither
    exec "$@"
}

main "$@"
