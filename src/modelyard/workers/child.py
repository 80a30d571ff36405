"""The process in which one attempt of a job runs, so that its memory is returned and its faults end nothing else.

Started by a worker as ``python -m modelyard.workers.child``; the order is one line of JSON on the standard input.
"""

import gc
import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn
from uuid import UUID

from modelyard.workers.config import WorkerConfig
from modelyard.workers.memory import offer_first

ENDED, CANCELLED, INTERRUPTED = 0, 4, 130  # exit codes; with ENDED the attempt's end is on record


def main() -> int:
    """Wait for an order, carry it out, and say by the exit code how that ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    offer_first()
    gc.disable()
    from modelyard.workers import orders  # takes seconds: this process may have been started ahead of its order

    gc.freeze()  # what was imported stays to the end, and looking through it takes a second of its own
    gc.enable()
    line = sys.stdin.readline()
    if not line:
        return ENDED
    threading.Thread(target=end_with_worker, daemon=True).start()
    order: dict[str, Any] = json.loads(line)
    config = WorkerConfig.from_json(order["config"])
    job_id, attempt = UUID(order["job_id"]), int(order["attempt"])
    output = Path(order["output"]) if order["output"] else None
    try:
        if order["do"] == "fail":
            orders.show_failed(config, job_id=job_id, attempt=attempt, output=output, reason=order["reason"])
            return ENDED
        return ENDED if orders.run(config, job_id=job_id, attempt=attempt, output=output) else CANCELLED
    except KeyboardInterrupt:
        return INTERRUPTED


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def end_with_worker() -> None:
    """The worker holds the other end of our input: when that ends, the worker is gone."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
