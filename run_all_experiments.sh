#!/bin/sh
# Every model type of eeg_remission at both levels, as one sweep; further arguments go to it, e.g. --data FILE --best.
set -eu
unset CDPATH
root=$(cd -- "$(dirname -- "$0")" && pwd -P)
exec sh "$root/infra/launch.sh" sweep eeg_remission \
    --model-type random_forest,logistic_regression,gradient_boosting --set level=window,participant "$@"
