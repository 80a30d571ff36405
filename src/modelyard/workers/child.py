"""The process in which one attempt of a job runs, so that its memory is returned and its faults end nothing else."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn
from uuid import UUID

from modelyard.workers.config import WorkerConfig
from modelyard.workers.memory import offer_first

ENDED, CANCELLED, INTERRUPTED = 0, 4, 130  # exit codes; with ENDED the attempt's end is on record


def carry_out(order: dict[str, Any]) -> int:
    """Do what a worker has ordered, and say by the exit code how that ended."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        offer_first()
        from modelyard.workers import orders

        config = WorkerConfig.from_json(order["config"])
        job_id, attempt = UUID(order["job_id"]), int(order["attempt"])
        output = Path(order["output"]) if order["output"] else None
        if order["do"] == "fail":
            orders.show_failed(config, job_id=job_id, attempt=attempt, output=output, reason=order["reason"])
            return ENDED
        return ENDED if orders.run(config, job_id=job_id, attempt=attempt, output=output) else CANCELLED
    except KeyboardInterrupt:
        return INTERRUPTED


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
