"""MLflow's experiments, page by page."""

from collections.abc import Iterator

from mlflow import MlflowClient
from mlflow.entities import Experiment, ViewType

_PAGE = 1000  # as many as MLflow gives at once


def list_experiments(client: MlflowClient, *, view: int = ViewType.ACTIVE_ONLY) -> Iterator[Experiment]:
    """All MLflow experiments of a view: those that are not deleted, or the others, or both."""
    token = None
    while True:
        page = client.search_experiments(view_type=view, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
