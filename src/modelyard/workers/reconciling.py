"""The process in which an evaluator reconciles MLflow with the records, so that it never holds what that imports.

Started by a worker as ``python -m modelyard.workers.reconciling STATUS``; it is ordered as a fork server is, once.
"""

import os
import signal
import sys
from typing import Any

from modelyard.errors import ModelyardError, WorkHeld
from modelyard.workers.config import WorkerConfig
from modelyard.workers.fork_server import follow_orders
from modelyard.workers.memory import offer_first

MARK = "reconcile: "  # of a line for the worker's log
NICENESS = 10


def main() -> int:
    """Wait for the order, and carry it out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    offer_first(score=900)  # before a job: the next minute brings another reconciliation
    os.nice(NICENESS)
    return follow_orders(_reconcile, forks=False)


def _reconcile(order: dict[str, Any]) -> int:
    """Reconcile once; what was found is printed where it is not what was found the time before."""
    config = WorkerConfig.from_json(order["config"])
    from modelyard.pipeline.projection import Finding
    from modelyard.pipeline.reconcile import reconcile
    from modelyard.pipeline.session import open_session

    found: list[Finding] = []
    try:
        with open_session(config, dsn=config.dsn, application_name="modelyard reconcile", user=config.role) as session:
            done = reconcile(session, part=order["part"], wait_s=0, tell=found.append)
    except WorkHeld:
        return 0  # another evaluator does it in this moment
    except ModelyardError as error:
        _say(*found, " ".join(str(error).split()))
        return 0
    _say(*(found if done.recorded else ()), *(f"held: {name}: another process projects it" for name in done.held))
    return 0


def _say(*lines: object) -> None:
    for line in lines:
        print(f"{MARK}{line}")


if __name__ == "__main__":
    sys.exit(main())
