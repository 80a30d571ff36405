"""``modelyard worker``: one worker in the foreground."""

from typing import Annotated

import typer

from modelyard.errors import StackNotRunning, UnknownName
from modelyard.settings import Settings, load_container_settings, load_settings
from modelyard.stack.addresses import Addresses
from modelyard.stack.current import get_stack
from modelyard.store.jobs import DEFAULT_QUEUE, check_queue
from modelyard.workers.config import Role, WorkerConfig

_ROLES: dict[str, Role] = {"trainer": "trainer", "evaluator": "evaluator"}


def worker(
    role: Annotated[str, typer.Argument(metavar="trainer|evaluator", help="Which jobs it does.")],
    queue: Annotated[str, typer.Option(help="Of which queue; the stack's own workers take those of default.")] = (
        DEFAULT_QUEUE
    ),
) -> None:
    """Work on queued jobs, one at a time, until SIGTERM or Ctrl-C; what is not done then is given back."""
    if role not in _ROLES:
        raise UnknownName("worker", role, _ROLES)
    check_queue(queue)
    settings = load_settings()
    addresses = get_stack().find_addresses(settings)
    if addresses is None:
        raise StackNotRunning("there is no stack to work for; start it with make up (modelyard up)")
    from modelyard.workers.worker import run_worker

    run_worker(build_config(_ROLES[role], addresses, settings, queue=queue))


def build_config(role: Role, addresses: Addresses, settings: Settings, *, queue: str = DEFAULT_QUEUE) -> WorkerConfig:
    """What a worker of this role and queue needs to know of a stack."""
    container = load_container_settings()
    return WorkerConfig(
        role=role,
        queue=queue,
        dsn=addresses.dsn(role),
        tracking_uri=addresses.tracking_uri,
        ui_url=addresses.ui_url,
        raw_uri=addresses.raw_uri,
        claim_s=settings.claim_s,
        pause_s=settings.retry_pause_s,
        heartbeat=str(container.heartbeat) if container else None,
        secret=str(addresses.secrets / f"{role}.password") if addresses.secrets else None,
    )
