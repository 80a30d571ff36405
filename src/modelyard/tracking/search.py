"""Runs found by MLflow's own filter, in all its experiments."""

import re
from collections.abc import Sequence

from mlflow import MlflowClient, MlflowException
from mlflow.entities import Run

from modelyard.errors import BadInput, UnknownName
from modelyard.tracking.experiments import list_experiments

_PAGE = 1000  # as many as MLflow gives at once
_FIELD = re.compile(r"\bmetrics?\.(?:`([^`]+)`|\"([^\"]+)\"|([\w./-]+))", re.IGNORECASE)
_EXAMPLE = 'e.g. --where "metrics.test_rmse < 0.5 and tags.workload = \'houses\'" --order-by "metrics.test_rmse asc"'


def search_runs(
    client: MlflowClient,
    *,
    where: str = "",
    order_by: Sequence[str] = (),
    experiment: str | None = None,
    nb_runs: int = 20,
) -> list[Run]:
    """The first runs that meet a filter, by default the newest, of all MLflow experiments or of one.

    Args:
        where: MLflow's filter syntax, e.g. ``metrics.test_rmse < 0.5 and tags.workload = 'houses'``.
        order_by: e.g. ``metrics.test_rmse asc``.
        experiment: name of an MLflow experiment.
        nb_runs: how many at most.

    Raises:
        BadInput: MLflow refuses the filter or the order; its reason is the text.
        UnknownName: there is no such MLflow experiment.
    """
    experiments = {found.name: str(found.experiment_id) for found in list_experiments(client)}
    if experiment is not None and experiment not in experiments:
        raise UnknownName("MLflow experiment", experiment, experiments)
    ids = list(experiments.values()) if experiment is None else [experiments[experiment]]
    runs: list[Run] = []
    token = None
    try:
        while len(runs) < nb_runs:
            size = min(_PAGE, nb_runs - len(runs))
            page = client.search_runs(ids, where, max_results=size, order_by=list(order_by) or None, page_token=token)
            runs.extend(page)
            token = page.token
            if not token:
                break
    except MlflowException as error:
        if error.error_code not in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
            raise
        raise BadInput(f"MLflow refuses this search: {' '.join(error.message.split())}; {_EXAMPLE}") from None
    return runs


def list_named_metrics(*texts: str) -> list[str]:
    """The metrics that filters and orders name, in their order."""
    found = [next(filter(None, groups)) for text in texts for groups in _FIELD.findall(text)]
    return list(dict.fromkeys(found))
