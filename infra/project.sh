#!/bin/sh
# What MLproject runs: a training of pokewatch in the run that `mlflow run` has made, on the stack that is chosen here.
#   project.sh DATA_PATH EXPERIMENT_NAME RUN_NAME      each may be empty
set -eu
unset CDPATH
root=$(cd -- "$(dirname -- "$0")/.." && pwd -P)
data=$1 experiment=$2 name=$3
run=${MLFLOW_RUN_ID:-} store=${MLFLOW_TRACKING_URI:-}
# They are this run's, and no business of the services that are started here.
unset MLFLOW_RUN_ID MLFLOW_TRACKING_URI MLFLOW_EXPERIMENT_ID MLFLOW_EXPERIMENT_NAME

set -- train pokewatch
[ -z "$data" ] || set -- "$@" --data "$data"
[ -z "$experiment" ] || set -- "$@" --experiment-name "$experiment"
[ -z "$name" ] || set -- "$@" --run-name "$name"
case $store in
    http://* | https://*) set -- "$@" --into-run "$run" ;;
    *)
        cat >&2 <<EOF
modelyard: mlflow run was not told where the stack is: its run ${run:-} is in ${store:-no store}, where no stack reads it,
modelyard: and stays empty. The training becomes a run of the stack's MLflow instead. To have one run, say before:
modelyard:   make up && eval "\$(make -s env)"
EOF
        ;;
esac
exec sh "$root/infra/launch.sh" "$@"
