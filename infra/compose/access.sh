# shellcheck shell=sh
# Where people and notebooks find the services. No password is printed, only the command that shows it.

SHOW='docker compose --progress quiet run --rm --no-deps --no-TTY --entrypoint'

has_minio() { printf '%s\n' "$config" | grep -E '^  minio:$' >/dev/null; }

print_addresses() {
    echo "MLflow   http://localhost:$(setting MODELYARD_MLFLOW_PORT 5000)"
    ! has_minio || echo "MinIO    http://localhost:$(setting MODELYARD_CONSOLE_PORT 9001)"
}

print_urls() {
    print_addresses
    if has_minio; then
        echo "         sign in as notebook, to look; the password is aws_secret_access_key in:"
        echo "           COMPOSE_PROJECT_NAME=$project $SHOW cat cli /secrets/notebook_credentials"
        echo "         sign in as the administrator; name and password:"
        echo "           COMPOSE_PROJECT_NAME=$project $SHOW cat init /secrets/minio/root_user /secrets/minio/root_password"
        echo "S3       http://localhost:$(setting MODELYARD_S3_PORT 9000)"
        echo "         as notebook; eval \"\$(make -s env)\" sets a shell up for it"
    fi
    echo "Postgres make psql"
}

print_environment() { # for a notebook on this machine; the keys are read when the text is evaluated
    mlflow=http://127.0.0.1:$(setting MODELYARD_MLFLOW_PORT 5000)
    store=http://127.0.0.1:$(setting MODELYARD_S3_PORT 9000)
    printf 'export %s=%s\n' \
        MLFLOW_TRACKING_URI "$(quote "$mlflow")" \
        MLFLOW_HTTP_REQUEST_MAX_RETRIES 3 \
        MLFLOW_HTTP_REQUEST_TIMEOUT 60 \
        MLFLOW_S3_ENDPOINT_URL "$(quote "$(setting MODELYARD_S3_ENDPOINT "$store")")" \
        AWS_DEFAULT_REGION "$(quote "$(setting MODELYARD_S3_REGION us-east-1)")" \
        NO_PROXY localhost,127.0.0.1 \
        no_proxy localhost,127.0.0.1
    if ! has_minio; then
        keys=$(setting MODELYARD_S3_CREDENTIALS_FILE)
        case $keys in /*) ;; *) keys=$root/$keys ;; esac
        printf 'export AWS_SHARED_CREDENTIALS_FILE=%s\n' "$(quote "$keys")"
        return
    fi
    for name in aws_access_key_id aws_secret_access_key; do
        # shellcheck disable=SC2016  # for the shell that evaluates it
        printf 'export %s="$(cd %s && COMPOSE_PROJECT_NAME=%s %s sed cli -n %s /secrets/notebook_credentials </dev/null)"\n' \
            "$(printf '%s' "$name" | tr '[:lower:]' '[:upper:]')" "$(quote "$root")" "$project" "$SHOW" \
            "$(quote "s/^$name *= *//p")"
    done
}
